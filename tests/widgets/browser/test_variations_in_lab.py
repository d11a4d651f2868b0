"""Several seeds of one edit in a real JupyterLab; and what is shown of mask and brush."""

from __future__ import annotations

from typing import Any

CELL = """\
import itertools, threading, torch
from facemug_lib.faces.alignment import open_face
from facemug_lib.widgets.painter import Painter
painter = Painter(tiny.steerable_editor(), open_face(torch.linspace(-1, 1, 256).expand(1, 3, 256, 256), aligned=True))
go_on = threading.Event()
def hold(painter):
    # seeds are being tried until go_on is set
    try_out = painter.session.try_out
    def held(steps, progress, check):
        for number in itertools.count():
            if go_on.wait(0.1):
                return try_out(steps, progress, check)
            progress(number % 40, 40)
    painter.session.try_out = held
painter
"""
FACE = """() => { const values = document.querySelector(".fm-base").getContext("2d").getImageData(0, 0, 256, 256).data;
                  return [values[4 * (120 * 256 + 120)], [...values].reduce((a, b, i) => (a * 31 + b) % 1000003, 7)]; }"""
PAINT = """() => { const values = document.querySelector(".fm-paint").getContext("2d").getImageData(0, 0, 256, 256).data;
    let black = 0, painted = 0;
    for (let i = 0; i < values.length; i += 4) {
        painted += values[i + 3] > 0;
        black += values[i + 3] === 255 && values[i] === 0; }
    return [painted, black]; }"""


def drag(page: Any) -> None:
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.45 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=6)
    page.mouse.up()


def test_one_of_four_seeds_is_taken(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, wait_for=".facemug-painter .fm-moment")
    page = notebook.page
    drag(page)
    notebook.until("painter.received['stroke'] == 1")
    # The die.
    page.click(".fm-die")
    notebook.until("painter.seed != 0")
    assert page.locator(".fm-seed").input_value() == str(notebook.kernel("painter.seed"))
    page.locator(".fm-seed").fill("40")
    notebook.until("painter.seed == 40")
    # Cancelled by Escape, and then made.
    notebook.kernel("hold(painter)")
    page.click(".fm-vary")
    notebook.until("painter.share > 0")
    page.keyboard.press("Escape")
    notebook.until("not painter.busy and painter.note.startswith('cancelled')")
    assert not page.locator(".fm-variation").count()
    notebook.kernel("go_on.set()")
    page.locator(".fm-paint").focus()
    page.keyboard.press("v")
    page.wait_for_selector(".fm-variation >> nth=3")
    assert page.locator(".fm-variation").all_inner_texts() == ["40", "41", "42", "43"]
    page.click(".fm-more-seeds")
    page.wait_for_selector(".fm-variation >> nth=7")
    # Each is looked at on the face, by mouse and by keyboard; the photo comes back.
    page.mouse.move(5, 5)
    plain = page.evaluate(FACE)
    page.locator(".fm-variation").nth(1).hover()
    page.wait_for_function(f"JSON.stringify(({FACE})()) !== '{plain}'.replaceAll(' ', '')")
    looked = page.evaluate(FACE)
    page.mouse.move(5, 5)
    assert page.evaluate(FACE) == plain
    page.locator(".fm-variation").nth(1).focus()
    assert page.evaluate(FACE) == looked
    page.locator(".fm-paint").focus()
    assert page.evaluate(FACE) == plain
    # One is taken, and is the edit; undo offers them all again, and Escape takes none.
    page.locator(".fm-variation").nth(2).click()
    notebook.until("painter.current == 1 and not painter.busy")
    page.wait_for_selector(".fm-variations", state="hidden")
    assert notebook.kernel("painter.script.script.steps[0].seed") == 42 == int(page.locator(".fm-seed").input_value())
    assert page.locator(".fm-moment").count() == 2
    page.locator(".fm-paint").focus()
    page.keyboard.press("Control+z")
    page.wait_for_selector(".fm-variation >> nth=7")
    page.keyboard.press("Escape")
    page.wait_for_selector(".fm-variations", state="hidden")
    notebook.until("painter.received['dismiss'] == 1")
    assert page.evaluate(FACE) == plain
    # The mask's outline: a switch and a key.
    painted, black = page.evaluate(PAINT)
    assert painted > 500 and black > 20
    page.click(".fm-outline")
    page.wait_for_function(f"({PAINT})()[1] === 0")
    assert page.evaluate(PAINT)[0] == painted
    page.locator(".fm-paint").focus()
    page.keyboard.press("o")
    page.wait_for_function(f"({PAINT})()[1] === {black}")
    assert page.locator(".fm-outline").is_checked()
    # The brush shows its size while it changes, in the middle of the face, and then no longer.
    page.locator(".fm-size").focus()
    page.mouse.move(5, 5)
    page.locator(".fm-size").fill("64")
    page.wait_for_selector(".fm-ring", state="visible")
    ring, face = page.locator(".fm-ring").bounding_box(), page.locator(".fm-paint").bounding_box()
    assert abs(ring["width"] - face["width"] / 4) < 2
    assert abs(ring["x"] + ring["width"] / 2 - face["x"] - face["width"] / 2) < 2
    page.wait_for_selector(".fm-ring", state="hidden")
    assert notebook.console == []
