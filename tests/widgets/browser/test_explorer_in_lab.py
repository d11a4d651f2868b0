"""The explorer in a real JupyterLab and on a page by Voilà: what the page shows is what the kernel made."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import numpy as np
import PIL.Image
import pytest

CELL = """\
import base64, json, time, torch
from facemug_lib.editing.script.edit_script import EditScript, Replayer
from facemug_lib.pictures import pixels_of
from facemug_lib.widgets import explorer as module
from facemug_lib.widgets.explorer import Explorer
editor = tiny.steerable_editor()
explorer = Explorer(editor, seed=3)
def text_of(image):
    return base64.b64encode(pixels_of(image[0]).tobytes()).decode()
def run(code):
    exec(code.replace('fm.Editor.load("cpu")', 'editor'), {'editor': editor})
    return code
def replayed(path):
    results = Replayer.of(editor, None).replay(EditScript.read(path)).results
    return bool(torch.equal(results[-1].image, explorer.image))
def slow(seconds):
    quick = explorer._exploration.preview
    def preview(*arguments):
        time.sleep(seconds)
        return quick(*arguments)
    explorer._exploration.preview = preview
explorer
"""
READY = ".facemug-explorer-image[src^=blob]"
IMAGE, ORIGINAL = ".facemug-explorer-image", ".facemug-explorer-original"


def pixels(page: Any, selector: str = IMAGE, number: int = 0) -> np.ndarray:
    """The pixels of a picture as the browser decodes them, RGB [h,w,3]."""
    width, height, data = page.evaluate("""async ([selector, number]) => {
        const image = document.querySelectorAll(selector)[number];
        await new Promise((done) => image.complete ? done() : image.addEventListener("load", done, { once: true }));
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth, canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const values = context.getImageData(0, 0, canvas.width, canvas.height).data;
        let text = "";
        for (let i = 0; i < values.length; i += 8192) text += String.fromCharCode(...values.subarray(i, i + 8192));
        return [canvas.width, canvas.height, btoa(text)];
    }""", [selector, number])
    found = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    assert (found[..., 3] == 255).all()
    return found[..., :3]


def in_kernel(notebook: Any, image: str = "explorer.image") -> np.ndarray:
    return np.frombuffer(base64.b64decode(notebook.kernel(f"text_of({image})")), np.uint8).reshape(256, 256, 3)


def settled(notebook: Any, number: int = 0, seconds: float = 30) -> np.ndarray:
    """The page's picture once the kernel has nothing left to do: pixel for pixel the kernel's."""
    deadline = time.monotonic() + seconds
    while True:
        notebook.until("explorer.wait(0)", seconds)
        wanted = in_kernel(notebook)
        found = pixels(notebook.page, number=number)
        if np.array_equal(found, wanted) and notebook.kernel("explorer.wait(0)"):
            return found
        assert time.monotonic() < deadline, "the page does not show the kernel's picture"
        notebook.page.wait_for_timeout(100)


def strength(page: Any, name: str = "smile", view: int = 0) -> float:
    """What a slider shows."""
    return float(page.locator(f".facemug-slider-{name} .widget-readout").nth(view).inner_text().replace("\N{MINUS SIGN}", "-"))


def until_state(notebook: Any, **attributes: float) -> None:
    notebook.until(f"dict(explorer.state.attributes) == {attributes!r}")


def tab(page: Any, title: str) -> None:
    page.locator(".facemug-tabs .lm-TabBar-tab", has_text=title).first.click()


def drag(notebook: Any, moves: int, to: float, meanwhile: Any = None) -> None:
    """Drag the smile slider in ``moves`` moves to a place on its track, from 0 to 1; ``meanwhile`` is called half-way."""
    page = notebook.page
    grip = page.locator(".facemug-slider-smile .noUi-handle").first
    grip.hover()  # waits until it stands still and nothing lies over it
    handle = grip.bounding_box()
    track = page.locator(".facemug-slider-smile .noUi-base").first.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    end = track["x"] + to * track["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, moves + 1):
        page.mouse.move(x + (end - x) * step / moves, y)
        if meanwhile is not None and step == moves // 2:
            meanwhile()
    page.mouse.up()


def test_sliders_and_pictures(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, "explorer", wait_for=f".jp-Cell:nth-of-type(3) {READY}")
    page = notebook.page
    start = settled(notebook)
    assert np.array_equal(settled(notebook, number=1), start)  # both views
    # A drag. Previews as slow as those of real faces; a pause of this test must not look like its end.
    notebook.kernel("[slow(0.2), setattr(module, 'QUIET', 3.0)]")
    before = notebook.kernel("explorer.messages")

    def kernel_answers() -> None:
        asked = time.monotonic()
        assert notebook.kernel("[1 + 1, explorer.wait(0)]", timeout=10) == [2, False] and time.monotonic() - asked < 5

    drag(notebook, 60, 0.8, kernel_answers)
    notebook.until("explorer.wait(0)")
    smile = strength(page)
    assert 1.5 < smile < 2.1
    until_state(notebook, smile=smile)
    dragged = settled(notebook)
    after = notebook.kernel("explorer.messages")
    assert after["pictures"] == before["pictures"] + 1 and 2 <= after["previews"] - before["previews"] <= 25
    assert not np.array_equal(dragged, start) and np.array_equal(settled(notebook, number=1), dragged)
    assert strength(page, view=1) == smile
    notebook.kernel("[slow(0), setattr(module, 'QUIET', 0.08), explorer._exploration.__dict__.pop('preview')] and None")
    # By keyboard, in the other view; up and down must not select another cell.
    handle = page.locator(".facemug-slider-light .noUi-handle").nth(1)
    handle.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    until_state(notebook, smile=smile, light=0.1)
    assert strength(page, "light") == strength(page, "light", 1) == 0.1
    assert page.evaluate("document.activeElement.matches('.facemug-slider-light .noUi-handle')")
    moved = settled(notebook)
    assert np.array_equal(settled(notebook, number=1), moved)
    # A region only: nothing else changes.
    page.locator(".facemug-region select").first.select_option(label="face")
    notebook.until("explorer.state.region == 'face'")
    masked = settled(notebook)
    mask = np.array(notebook.kernel("explorer._exploration.mask(explorer.state)[0, 0].tolist()")) > 0
    assert 0 < mask.sum() < mask.size and np.array_equal(masked[~mask], start[~mask]) and (masked[mask] != start[mask]).any()
    # The face as it was: beside, and in its place.
    compare = page.locator(".facemug-compare select").first
    compare.select_option(label="side by side")
    page.locator(ORIGINAL).first.wait_for(state="visible")
    assert np.array_equal(settled(notebook), masked) and np.array_equal(pixels(page, ORIGINAL), start)
    assert page.locator(IMAGE).first.is_visible()
    compare.select_option(label="original alone")
    page.locator(IMAGE).first.wait_for(state="hidden")
    assert page.locator(ORIGINAL).first.is_visible() and np.array_equal(pixels(page, ORIGINAL), start)
    compare.select_option(label="off")
    page.locator(IMAGE).first.wait_for(state="visible")
    # A pin, another face, and back.
    page.locator(".facemug-pin").first.click()
    page.locator(".facemug-pins-0").first.wait_for()
    page.locator(".facemug-reset").first.click()
    notebook.until("dict(explorer.state.attributes) == {} and explorer.state.region == 'whole picture'")
    assert np.array_equal(settled(notebook), start) and strength(page) == 0
    page.locator(".facemug-pins-0").nth(1).click()
    until_state(notebook, smile=smile, light=0.1)
    assert np.array_equal(settled(notebook), masked) and strength(page, "light") == 0.1
    assert notebook.console == []


def test_files_errors_and_a_reloaded_page(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, wait_for=READY)
    page, folder = notebook.page, notebook.server.folder
    drag(notebook, 5, 0.7)
    notebook.until("explorer.state.attributes")
    page.locator(".facemug-region select").select_option(label="face")
    notebook.until("explorer.state.region == 'face'")
    before = settled(notebook)
    # A filmstrip.
    tab(page, "Sweep")
    page.locator(".facemug-sweep-attribute select").select_option(label="light")
    page.locator(".facemug-sweep-count input").fill("4")
    page.keyboard.press("Tab")
    page.click(".facemug-sweep-make")
    page.wait_for_selector(".facemug-sweep-strip >> visible=true")
    assert pixels(page, ".facemug-sweep-strip").shape == (96, 4 * 96 + 3 * 2, 3)
    page.locator(".facemug-sweep-strip-file-name input").fill("film.png")
    page.click(".facemug-sweep-strip-file")
    page.wait_for_selector(".facemug-written:has-text('wrote film.png') >> visible=true")
    page.locator(".facemug-sweep-gif-file-name input").fill("film.gif")
    page.click(".facemug-sweep-gif-file")
    page.wait_for_selector(".facemug-written:has-text('wrote film.gif') >> visible=true")
    film, gif = PIL.Image.open(folder / "film.png"), PIL.Image.open(folder / "film.gif")
    assert film.size == (4 * 256 + 3 * 2, 256) and gif.size == (256, 256) and gif.n_frames == 6  # there and back
    frames = [np.asarray(film)[:, number * 258:number * 258 + 256] for number in range(4)]
    assert len({frame.tobytes() for frame in frames}) == 4
    assert np.array_equal(settled(notebook), before)  # the picture is where it was
    # The same picture by code, and by a script.
    tab(page, "Save")
    page.click(".facemug-copy-code")
    page.wait_for_function("document.querySelector('.facemug-code textarea').value.includes('editor.edit')")
    code = page.locator(".facemug-code textarea").input_value()
    smile = notebook.kernel("explorer.state.attributes['smile']")
    assert f"'smile': {smile!r}" in code and "seed=3" in code and "'face'" in code
    notebook.kernel(f"run({code!r})")
    assert np.array_equal(np.asarray(PIL.Image.open(folder / "face.png")), before)
    page.locator(".facemug-script-file-name input").fill("mine.json")
    page.click(".facemug-script-file")
    page.wait_for_selector(".facemug-written:has-text('wrote mine.json') >> visible=true")
    assert notebook.kernel("replayed('mine.json')")
    # Errors, in place.
    tab(page, "Face")
    page.wait_for_selector(".facemug-grid-11")
    page.locator(".facemug-photo-path input").fill("nobody.jpg")
    page.click(".facemug-photo-open")
    page.wait_for_selector(".facemug-error:has-text('no file nobody.jpg') >> visible=true")
    assert np.array_equal(settled(notebook), before)
    for name, said in (("broken.png", "broken.png is"), ("text.png", "text.png is not an image")):
        buffer = io.BytesIO()
        PIL.Image.fromarray(before).save(buffer, "PNG")
        data = buffer.getvalue()[:5000] if name == "broken.png" else b"no picture"
        with page.expect_file_chooser() as chooser:
            page.click(".facemug-photo-upload")
        chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": data})
        page.wait_for_selector(f".facemug-error:has-text('{said}') >> visible=true")
        assert np.array_equal(settled(notebook), before) and notebook.kernel("explorer.state.photo is None")
    # The page again.
    notebook.save()
    page.reload()
    page.wait_for_selector(READY, timeout=120_000)
    assert np.array_equal(settled(notebook), before)
    tab(page, "Attributes")
    assert strength(page) == smile and page.locator(".facemug-region select").input_value() == "face"
    drag(notebook, 5, 0.2)
    notebook.until("explorer.state.attributes['smile'] < 0")
    assert not np.array_equal(settled(notebook), before) and page.locator(".facemug-error").is_hidden()
    assert notebook.console == []
    # The kernel restarts in the middle of a drag.
    drag(notebook, 20, 0.6, notebook.restart)
    page.wait_for_timeout(1000)
    assert not [line for line in notebook.console if "TypeError" in line or "explorer" in line.lower()]
    notebook.run_all()
    notebook.until("'explorer' in globals() and explorer.wait(0)", 120)
    page.wait_for_function("document.querySelectorAll('.facemug-explorer').length === 1")
    notebook.until("explorer.state.attributes == {}")
    again = settled(notebook)
    drag(notebook, 5, 0.9)
    notebook.until("explorer.state.attributes")
    assert not np.array_equal(settled(notebook), again)


@pytest.mark.parametrize("width", [1280, 1920])
def test_nothing_overflows(open_notebook: Any, width: int) -> None:
    notebook = open_notebook(CELL, wait_for=READY, width=width)
    page = notebook.page
    page.locator(".facemug-compare select").select_option(label="side by side")
    page.locator(ORIGINAL).wait_for(state="visible")
    for title in ("Attributes", "Face", "Mixing", "Components", "Systems", "Sweep", "Save"):
        tab(page, title)
        if title == "Face":
            page.wait_for_selector(".facemug-grid-0")
        page.wait_for_timeout(200)
        found = page.evaluate("""() => {
            const root = document.querySelector(".facemug-explorer"), frame = root.getBoundingClientRect();
            const visible = [...root.querySelectorAll("*")].filter((one) => one.offsetParent);
            const out = visible.filter((one) => one.getBoundingClientRect().right > frame.right + 0.5);
            const cut = visible.filter((one) => one.matches("button, .widget-label") && one.scrollWidth > one.clientWidth + 1);
            return { out: out.map((one) => one.className), cut: cut.map((one) => one.textContent),
                     wide: root.scrollWidth - root.clientWidth };
        }""")
        assert found == {"out": [], "cut": [], "wide": 0}, title
    assert notebook.console == []


def test_on_a_page_by_voila(open_page: Any) -> None:
    notebook = open_page(CELL, wait_for=READY)
    page = notebook.page
    assert not page.locator("text=import base64").count()  # no code is shown
    before = settled(notebook)
    drag(notebook, 10, 0.75)
    notebook.until("explorer.state.attributes")
    assert not np.array_equal(settled(notebook), before)
    until_state(notebook, smile=strength(page))
    assert notebook.console == []
