"""Keys and buttons of the widgets in a real JupyterLab: none reaches the notebook, and none leaves page and kernel apart."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest

CELL = """\
import base64, io, itertools, threading, numpy as np, torch
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
def layers_of(painter):
    held = io.BytesIO()
    np.savez_compressed(held, **{name: painter.layers[name] for name in ("mask", "sketch", "semantics", "colour")})
    return base64.b64encode(held.getvalue()).decode()
go_on = threading.Event()
def hold_edits(painter):
    # edits tell that they go on, and do not end, until go_on is set
    apply = painter.session.apply
    def held(step, progress, check):
        for number in itertools.count():
            if go_on.wait(0.25):
                return apply(step, progress, check)
            progress(number % 40, 40)
    painter.session.apply = held
painter
"""
EXPLORER = """\
from facemug_lib.widgets.explorer import Explorer
explorer = Explorer(tiny.steerable_editor(), seed=3)
explorer
"""
CELLS = "[...document.querySelectorAll('.jp-Notebook .jp-Cell')].map((cell) => cell.classList.contains('jp-CodeCell'))"
STORE = """async () => {
    const view = document.querySelector(".facemug-painter").facemug;
    const texts = {};
    for (const [name, values] of Object.entries(view.store.layers)) {
        let text = "";
        for (let i = 0; i < values.length; i += 8192) text += String.fromCharCode(...values.subarray(i, i + 8192));
        texts[name] = btoa(text);
    }
    return texts;
}"""


@pytest.fixture
def notebook(open_notebook: Any) -> Any:
    return open_notebook(CELL, wait_for=".facemug-painter .fm-moment")


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """A place of the face, given in its pixels, on the page."""
    box = page.locator(".fm-paint").bounding_box()
    return box["x"] + x / 256 * box["width"], box["y"] + y / 256 * box["height"]


def in_kernel(notebook: Any) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(base64.b64decode(notebook.kernel("layers_of(painter)")))))


def require_agreement(notebook: Any) -> dict[str, np.ndarray]:
    """Every layer is the same on the page and in the kernel; what it is."""
    for _ in range(20):  # what is on its way arrives
        notebook.page.wait_for_timeout(500)
        held = in_kernel(notebook)
        shown = {name: np.frombuffer(base64.b64decode(text), np.uint8) for name, text in notebook.page.evaluate(STORE).items()}
        differing = [name for name in shown if not np.array_equal(shown[name], held[name].ravel())]
        if not differing:
            return held
    pending = notebook.page.evaluate("(({ stroke, sent }) => [stroke && { ...stroke, before: 0, box: 0 }, sent.length])"
                                     "(document.querySelector('.facemug-painter').facemug.store)")
    raise AssertionError(f"{differing} differ; {pending}; {notebook.kernel('[painter.error, dict(painter.received)]')}")


def test_no_key_of_the_painter_reaches_the_notebook(notebook: Any) -> None:
    page = notebook.page
    before = page.evaluate(CELLS)
    page.click(".fm-attributes summary")
    for focus in (".fm-paint", ".fm-edit", ".fm-moment", ".fm-attribute-smile", ".fm-attributes summary", ".fm-painted-size",
                  ".fm-system", ".fm-text"):
        page.locator(focus).first.focus()
        for key in ("x", "m", "a", "b", "d", "d", "z", "j", "k", "y"):
            page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert page.evaluate(CELLS) == before and page.locator(".facemug-painter").count() == 1
    assert page.locator(".fm-text").input_value() == "xmabddzjky"
    # The arrow keys move a slider, and nothing else.
    slider = page.locator(".fm-attribute-smile")
    slider.focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    notebook.until("painter.attributes.get('smile') == 0.2")
    assert slider.input_value() == "0.2" and page.evaluate("document.activeElement.matches('.fm-attribute-smile')")
    assert notebook.console == []


def test_no_key_of_the_explorer_reaches_the_notebook(open_notebook: Any) -> None:
    notebook = open_notebook(EXPLORER, wait_for=".facemug-explorer-image[src^=blob]")
    page = notebook.page
    before = page.evaluate(CELLS)
    for focus in (".facemug-reset", ".facemug-pin", ".facemug-slider-smile .noUi-handle", ".facemug-compare select"):
        page.locator(focus).first.focus()
        for key in ("x", "m", "a", "b", "d", "d"):
            page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert page.evaluate(CELLS) == before and page.locator(".facemug-explorer").count() == 1
    page.click(".facemug-reset", button="right")
    page.wait_for_timeout(300)
    assert not page.locator(".lm-Menu").count()
    assert notebook.console == []


def test_the_right_button_erases_and_steals_no_release(notebook: Any) -> None:
    page = notebook.page
    before = page.evaluate(CELLS)
    page.mouse.move(*place(page, 60, 80))
    page.mouse.down()
    page.mouse.move(*place(page, 180, 80), steps=5)
    page.mouse.down(button="right")
    page.mouse.move(*place(page, 180, 100), steps=3)
    page.mouse.up()
    page.mouse.move(*place(page, 100, 200), steps=5)  # the left button is up: this paints nothing
    page.mouse.up(button="right")
    page.mouse.move(*place(page, 30, 230), steps=3)
    notebook.until("painter.received['stroke'] == 1")
    mask = require_agreement(notebook)["mask"]
    assert mask[80, 60] and mask[80, 180] and mask[99, 180] and not mask[150:].any()
    # A drag with the right button takes paint away.
    page.mouse.move(*place(page, 60, 80))
    page.mouse.down(button="right")
    page.mouse.move(*place(page, 100, 80), steps=5)
    page.mouse.up(button="right")
    notebook.until("painter.received['stroke'] == 2")
    mask = require_agreement(notebook)["mask"]
    assert not mask[80, 55:105].any() and mask[80, 130]
    # A stroke whose pointer is taken away ends.
    page.mouse.move(*place(page, 60, 200))
    page.mouse.down()
    page.mouse.move(*place(page, 90, 200), steps=3)
    page.evaluate("""() => {
        const canvas = document.querySelector('.fm-paint');
        for (let id = 0; id < 9; id++) if (canvas.hasPointerCapture(id)) canvas.releasePointerCapture(id);
    }""")
    page.mouse.move(*place(page, 150, 200), steps=3)
    page.mouse.up()
    notebook.until("painter.received['stroke'] == 3")
    mask = require_agreement(notebook)["mask"]
    assert mask[200, 75] and not mask[200, 120:].any()
    assert not page.locator(".lm-Menu").count() and page.evaluate(CELLS) == before
    # The space bar held while the cursor moves makes a line.
    page.locator(".fm-paint").focus()
    page.mouse.move(*place(page, 60, 230))
    page.keyboard.down(" ")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.up(" ")
    notebook.until("painter.received['stroke'] == 4")
    assert require_agreement(notebook)["mask"][230, 60:90].all()
    assert notebook.console == []


def test_what_is_typed_and_painted_during_an_edit(notebook: Any) -> None:
    page = notebook.page
    notebook.kernel("hold_edits(painter)")
    page.mouse.move(*place(page, 60, 80))
    page.mouse.down()
    page.mouse.move(*place(page, 180, 80), steps=5)
    page.mouse.up()
    page.click(".fm-edit")
    notebook.until("painter.share > 0")
    field = page.locator(".fm-text")
    field.click()
    page.keyboard.type("a smiling person", delay=120)
    assert field.input_value() == "a smiling person"
    notebook.until("painter.text == 'a smiling person'")  # before the field is left
    assert notebook.kernel("painter.busy") == "editing"
    # Painting is off, and looks it.
    assert page.locator(".facemug-painter.fm-off").count() == 1 and "painting goes on" in page.locator(".fm-status").inner_text()
    page.mouse.move(*place(page, 60, 180))
    page.mouse.down()
    page.mouse.move(*place(page, 180, 180), steps=5)
    page.mouse.up()
    for name in ("undo", "clear", "clear-all"):
        assert page.locator(f".fm-{name}").get_attribute("aria-disabled") == "true"
        page.locator(f".fm-{name}").click(force=True)
    page.locator(".fm-paint").focus()
    page.keyboard.press(" ")
    mask = require_agreement(notebook)["mask"]
    assert mask[80, 100] and not mask[150:].any() and notebook.kernel("painter.received['stroke']") == 1
    notebook.kernel("go_on.set()")
    notebook.until("painter.current == 1 and not painter.busy", 120)
    assert field.input_value() == "a smiling person" == notebook.kernel("painter.text")
    page.wait_for_selector(".facemug-painter:not(.fm-off)")
    assert not require_agreement(notebook)["mask"].any()
    # Undo right after an edit: the picture before, with its mask.
    page.locator(".fm-paint").focus()
    page.keyboard.press("Control+z")
    notebook.until("painter.current == 0")
    assert np.array_equal(require_agreement(notebook)["mask"], mask) and page.locator(".fm-moment").count() == 2
    assert page.locator(".fm-moment").first.get_attribute("aria-pressed") == "true"
    # Escape counts from the very moment on in which the edit is asked for.
    notebook.kernel("go_on.clear()")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Escape")
    notebook.until("painter.received['cancel'] == 1 and not painter.busy and painter.note.startswith('cancelled')")
    page.wait_for_selector(".fm-status:has-text('cancelled')")
    page.wait_for_selector(".facemug-painter:not(.fm-off)")
    assert np.array_equal(require_agreement(notebook)["mask"], mask)
    assert notebook.console == []


BUTTONS = (".fm-undo", ".fm-redo", ".fm-clear", ".fm-clear-all", ".fm-edit", ".fm-revise",
           ".fm-moment >> nth=0", ".fm-moment >> nth=-1",
           *(f".fm-layer-{name}" for name in ("mask", "sketch", "semantics", "colour")),
           *(f".fm-tool-{name}" for name in ("brush", "eraser", "line", "fill", "region")),
           ".fm-compare", ".fm-size", ".fm-opacity")
KEYS = (*"xmabcdelfryzjk1234[]+-0", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Delete", "Backspace", "Enter", "Home",
        "Control+z", "Control+z", "Control+Shift+Z", "Control+y", "Control+Enter", "Escape", "Tab")


class Hands:
    """Somebody who does anything at all in a painter, by a seeded generator."""

    def __init__(self, page: Any, seed: int) -> None:
        self.page, self.draw = page, np.random.default_rng(seed)
        self.touch = page.context.new_cdp_session(page)
        self.held: set[str] = set()
        self.fingers = 0

    def somewhere(self) -> tuple[float, float]:
        frame = self.page.locator(".fm-scroll").bounding_box()
        x, y = self.draw.uniform(0.02, 0.98, 2)
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def act(self) -> str:
        """One event; what it was."""
        what = self.draw.choice(["move", "down", "up", "button", "key", "space", "wheel", "finger", "focus"],
                                p=[0.28, 0.16, 0.12, 0.14, 0.14, 0.06, 0.04, 0.04, 0.02])
        getattr(self, what)()
        return str(what)

    def move(self) -> None:
        self.page.mouse.move(*self.somewhere(), steps=3)

    def down(self) -> None:
        button = str(self.draw.choice(["left", "left", "right", "middle"]))
        if button not in self.held:
            self.page.mouse.move(*self.somewhere())
            self.page.mouse.down(button=button)
            self.held.add(button)

    def up(self) -> None:
        for button in [*self.held][:1]:
            self.page.mouse.up(button=button)
            self.held.discard(button)

    def button(self) -> None:
        while self.held:
            self.up()
        one = self.page.locator(str(self.draw.choice(BUTTONS))).first
        if (box := one.bounding_box()) is not None:
            self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def key(self) -> None:
        if self.page.evaluate("!document.activeElement?.closest('.facemug-painter')"):
            self.page.locator(".fm-paint").focus()
        self.page.keyboard.press(str(self.draw.choice(KEYS)))

    def space(self) -> None:
        self.page.locator(".fm-paint").focus()
        self.page.keyboard.down(" ")
        self.page.mouse.move(*self.somewhere(), steps=3)
        self.page.keyboard.press("ArrowRight")
        self.page.keyboard.up(" ")

    def wheel(self) -> None:
        self.page.mouse.move(*self.somewhere())
        self.page.keyboard.down("Control")
        self.page.mouse.wheel(0, float(self.draw.choice([-100, 100])))
        self.page.keyboard.up("Control")

    def finger(self) -> None:
        def places(count: int) -> list[dict[str, float]]:
            return [dict(zip(("x", "y", "id"), (*self.somewhere(), number), strict=True)) for number in range(count)]

        count = int(self.draw.integers(1, 3))
        for kind, points in (("touchStart", count), ("touchMove", count), ("touchEnd", 0)):
            self.touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places(points)})

    def focus(self) -> None:
        self.page.locator(str(self.draw.choice([".fm-text", ".fm-seed", ".fm-edit", ".fm-refine"]))).focus()
        self.page.keyboard.type("7")

    def rest(self) -> None:
        while self.held:
            self.up()


@pytest.mark.parametrize("seed", [0])
def test_whatever_somebody_does_page_and_kernel_agree(notebook: Any, seed: int) -> None:
    page, hands = notebook.page, Hands(notebook.page, seed)
    before = page.evaluate(CELLS)
    done: list[str] = []
    for _ in range(4):
        done += [hands.act() for _ in range(50)]
        hands.rest()
        notebook.until("not painter.busy and not painter._worker.is_busy", 120)
        page.wait_for_selector(".facemug-painter:not(.fm-off)")
        require_agreement(notebook)
        assert page.evaluate(CELLS) == before and page.locator(".facemug-painter").count() == 1, done
    assert len(done) == 200 and len(set(done)) == 9 and notebook.kernel("painter.received['stroke']") > 20
    shown = page.locator(".fm-moment[aria-pressed=true]").get_attribute("title")
    assert shown.startswith(f"Picture {notebook.kernel('painter.current')}:")
    assert "not understood" not in notebook.kernel("painter.error") and notebook.console == []
