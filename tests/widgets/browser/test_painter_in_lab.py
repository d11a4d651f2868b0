"""The painter in a real JupyterLab: what is painted arrives, what is not painted stays, and nothing is lost."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from skimage.data import astronaut

CELL = """\
import zlib, numpy as np, torch
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
def mask_of(painter):
    return np.frombuffer(zlib.decompress(painter._snapshots[1]["layers"]["mask"]), np.uint8).reshape(256, 256)
painter
"""
SIZE = 256


def drag(page: Any, *points: tuple[float, float], steps: int = 6) -> None:
    """Press at the first of these places of the face, in its pixels, and drag along the others."""
    box = page.locator(".fm-paint").bounding_box()
    places = [(box["x"] + x / SIZE * box["width"], box["y"] + y / SIZE * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()


def capsule(points: list[tuple[float, float]], radius: float, slack: float) -> np.ndarray:
    """Pixels whose centres lie within radius + slack of a line."""
    ys, xs = np.mgrid[:SIZE, :SIZE] + 0.5
    near = np.full((SIZE, SIZE), np.inf)
    for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
        dx, dy = bx - ax, by - ay
        t = np.clip(((xs - ax) * dx + (ys - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        near = np.minimum(near, np.hypot(xs - ax - t * dx, ys - ay - t * dy))
    return near <= radius + slack


def layer(notebook: Any, name: str) -> np.ndarray:
    return np.array(notebook.kernel(f"painter.layers[{name!r}].tolist()"), np.uint8)


@pytest.fixture
def notebook(open_notebook: Any) -> Any:
    return open_notebook(CELL, wait_for=".facemug-painter .fm-moment")


def test_each_kind_of_layer_arrives_in_the_kernel_stroke_by_stroke(notebook: Any) -> None:
    page = notebook.page
    path = [(60.0, 80.0), (180.0, 90.0), (150.0, 170.0)]
    drag(page, *path)
    notebook.until("painter.received['stroke'] == 1")
    mask = layer(notebook, "mask")
    radius = 10
    assert (mask[capsule(path, radius, -1)] == 255).all() and (mask[~capsule(path, radius, 1)] == 0).all()
    page.click(".fm-layer-sketch")
    page.keyboard.press("[")
    page.click(".fm-tool-line")
    drag(page, (100, 100), (20, 20), (150, 150))  # a line goes straight to where it ends
    notebook.until("painter.received['stroke'] == 2")
    line = [(100.0, 100.0), (150.0, 150.0)]
    sketch = layer(notebook, "sketch")
    assert (sketch[capsule(line, 9, -1)] == 255).all() and (sketch[~capsule(line, 9, 1)] == 0).all()
    page.click(".fm-layer-semantics")
    page.locator(".fm-swatch", has_text="hat").click()
    page.click(".fm-tool-brush")
    drag(page, (200, 30))
    notebook.until("painter.received['stroke'] == 3")
    labels = layer(notebook, "semantics")
    assert set(np.unique(labels)) == {14, 255} and labels[30, 200] == 14
    page.click(".fm-layer-colour")
    page.evaluate("""() => { const input = document.querySelector('.fm-colour'); input.value = '#0a7bff';
                             input.dispatchEvent(new Event('input')); }""")
    drag(page, (30, 200), (60, 220))
    notebook.until("painter.received['stroke'] == 4")
    colour = layer(notebook, "colour")
    assert colour[200, 30].tolist() == [0x0A, 0x7B, 0xFF, 255] and not colour[0, 0].any()
    page.click(".fm-tool-eraser")
    drag(page, (30, 200))
    notebook.until("painter.received['stroke'] == 5")
    erased = layer(notebook, "colour")
    assert not erased[200, 30].any() and erased[220, 60].any()
    # Undo and redo, by button and by key.
    page.click(".fm-undo")
    notebook.until("painter.received['undo'] == 1")
    assert np.array_equal(layer(notebook, "colour"), colour)
    page.locator(".fm-paint").focus()
    for _ in range(4):
        page.keyboard.press("Control+z")
    notebook.until("painter.received['undo'] == 5")
    assert not notebook.kernel("any(painter.layers.is_painted(name) for name in ('mask', 'sketch', 'semantics', 'colour'))")
    page.keyboard.press("Control+Shift+Z")
    notebook.until("painter.received['redo'] == 1")
    assert np.array_equal(layer(notebook, "mask"), mask)
    assert notebook.kernel("dict(painter.received)")["stroke"] == 5
    assert notebook.console == []


def shown(page: Any, selector: str = ".fm-base") -> np.ndarray:
    """The pixels of a canvas, RGBA [s,s,4]: s is 256, and more for a face that the photo shows larger."""
    data = page.evaluate("""(selector) => {
        const canvas = document.querySelector(selector);
        const values = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let text = "";
        for (let i = 0; i < values.length; i += 8192) text += String.fromCharCode(...values.subarray(i, i + 8192));
        return btoa(text);
    }""", selector)
    pixels = np.frombuffer(base64.b64decode(data), np.uint8)
    side = int((len(pixels) / 4) ** 0.5)
    return pixels.reshape(side, side, 4)


def require_shown(page: Any, wanted: np.ndarray) -> None:
    """The face comes to be these pixels: what has been made is on its way."""
    for _ in range(40):
        if np.array_equal(shown(page), wanted):
            return
        page.wait_for_timeout(250)
    raise AssertionError("the page shows another face")


PIXELS = "((painter.image[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).tolist()"


def test_an_edit_shows_what_its_script_makes_again_and_keeps_what_is_not_masked(notebook: Any) -> None:
    page = notebook.page
    before = shown(page)
    drag(page, (70, 90), (170, 90))
    page.click(".fm-layer-sketch")
    drag(page, (80, 85), (150, 95))
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy")
    page.wait_for_selector(".fm-moment >> nth=1")
    mask = np.array(notebook.kernel("mask_of(painter).tolist()"), np.uint8) > 0
    page.wait_for_selector(".fm-edit[aria-disabled=false]")
    page.wait_for_timeout(300)
    after = shown(page)
    assert np.array_equal(after[~mask], before[~mask]) and (after[mask] != before[mask]).any()
    assert np.array_equal(after[..., :3], np.array(notebook.kernel(PIXELS), np.uint8))
    assert notebook.kernel("torch.equal(painter.script.replay(editor).face.image, painter.image)")
    assert not shown(page, ".fm-paint")[..., 3].any()  # nothing lies over the result
    # The photo as it was, while the button is held.
    box = page.locator(".fm-compare").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    assert np.array_equal(shown(page), before)
    page.mouse.up()
    assert np.array_equal(shown(page), after)
    # A second edit, back to the first picture, and a branch.
    page.click(".fm-layer-mask")
    drag(page, (100, 180), (150, 180))
    page.locator(".fm-attributes summary").click()
    page.locator(".fm-attribute-smile").fill("1.5")
    page.locator(".fm-text_source").fill("a man")
    page.click(".fm-edit")
    notebook.until("painter.current == 2 and not painter.busy")
    assert notebook.kernel("painter.script.script.steps[1].attributes") == {"smile": 1.5}
    assert page.locator(".fm-attribute-smile").input_value() == "0"
    page.click(".fm-moment >> nth=1")
    notebook.until("painter.current == 1 and not painter.busy")
    require_shown(page, after)
    page.click(".fm-revise")
    notebook.until("painter.current == 0 and not painter.busy")
    assert notebook.kernel("painter.layers.is_painted('sketch')")
    page.keyboard.press("Control+Enter")
    notebook.until("painter.current == 3 and not painter.busy")
    require_shown(page, after)  # the same edit gives the same pixels
    page.locator(".fm-save-name").fill("mine.json")
    page.click(".fm-save")
    notebook.until("painter.note.startswith('written')")
    written = {path.name for path in notebook.server.folder.iterdir() if path.name.startswith("mine")}
    assert written == {"mine.json", "mine.png"}  # a sampled face needs no file of its own
    counts = notebook.kernel("dict(painter.received)")
    assert counts == {"ready": 1, "stroke": 3, "edit": 3, "go": 1, "revise": 1, "save": 1}
    assert notebook.console == []


def test_a_reloaded_page_finds_everything(notebook: Any) -> None:
    page = notebook.page
    drag(page, (60, 80), (180, 90))
    page.click(".fm-layer-colour")
    drag(page, (90, 85))
    notebook.until("painter.received['stroke'] == 2")
    notebook.kernel("setattr(painter, 'attributes', {'smile': -1.0})")
    page.wait_for_timeout(300)
    before = shown(page, ".fm-paint")
    notebook.save()
    page.reload()
    page.wait_for_selector(".facemug-painter .fm-moment", timeout=120_000)
    notebook.until("painter.received['ready'] == 2")
    page.wait_for_timeout(500)
    assert np.array_equal(shown(page, ".fm-paint"), before) and before[..., 3].any()
    assert page.locator(".fm-attribute-smile").input_value() == "-1"
    page.click(".fm-undo")
    notebook.until("not painter.layers.is_painted('colour')")
    drag(page, (100, 200))
    notebook.until("painter.received['stroke'] == 3")
    assert notebook.console == []


def test_every_view_of_one_painter_shows_the_same_and_two_painters_differ(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, "painter", "other = Painter(editor, seed=4)\nother",
                             wait_for=".jp-Cell:nth-of-type(4) .facemug-painter .fm-moment")
    page = notebook.page
    views = page.locator(".facemug-painter")
    assert views.count() == 3
    views.nth(1).scroll_into_view_if_needed()
    box = views.nth(1).locator(".fm-paint").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    notebook.until("painter.received['stroke'] == 1")
    page.wait_for_timeout(300)
    painted = page.evaluate("""() => [...document.querySelectorAll(".fm-paint")].map((canvas) =>
        canvas.getContext("2d").getImageData(128, 128, 1, 1).data[3] > 0)""")
    assert painted == [True, True, False] and not notebook.kernel("other.layers.is_painted('mask')")
    views.nth(0).locator(".fm-undo").click()
    notebook.until("not painter.layers.is_painted('mask')")
    assert notebook.kernel("dict(painter.received)") == {"ready": 1, "stroke": 1, "undo": 1}
    assert notebook.console == []


def test_tools_zoom_keys_and_fingers(notebook: Any) -> None:
    page = notebook.page
    paint = page.locator(".fm-paint")
    # Fill: the whole empty layer; then the inside of a closed line.
    page.click(".fm-tool-fill")
    drag(page, (128, 128))
    notebook.until("int(painter.layers['mask'].astype(bool).sum()) == 65536")
    page.click(".fm-clear")
    notebook.until("not painter.layers.is_painted('mask')")
    # Region: the part of the face's own labels that was clicked.
    page.click(".fm-tool-region")
    drag(page, (40, 40))
    notebook.until("painter.received['stroke'] == 2")
    own = np.array(notebook.kernel("list(painter.parse)"), np.uint8).reshape(SIZE, SIZE)
    assert np.array_equal(layer(notebook, "mask") > 0, own == own[40, 40])
    page.click(".fm-clear-all")
    # Keys: brush, size, the cursor by arrows, and a dab by the space bar.
    paint.focus()
    page.mouse.move(0, 0)
    for key in ("b", *["["] * 9, "ArrowRight", "ArrowDown", "Shift+ArrowDown", " "):
        page.keyboard.press(key)
    notebook.until("painter.received['stroke'] == 3")
    ys, xs = np.nonzero(layer(notebook, "mask"))
    # The cursor starts where the pointer was last: 6 to the right, 6 + 1 down.
    assert 1 <= len(ys) <= 9 and abs(xs.mean() + 0.5 - 46) < 1 and abs(ys.mean() + 0.5 - 47) < 1
    # Zoomed in, a dab lies where the pointer is.
    page.keyboard.press("Control+z")
    notebook.until("not painter.layers.is_painted('mask')")
    for _ in range(3):
        page.keyboard.press("+")
    frame, box = page.locator(".fm-scroll").bounding_box(), paint.bounding_box()
    assert box["width"] > 3 * frame["width"]
    x, y = frame["x"] + 60, frame["y"] + 70
    page.mouse.click(x, y)
    notebook.until("painter.received['stroke'] == 4")
    ys, xs = np.nonzero(layer(notebook, "mask"))
    assert abs(xs.mean() + 0.5 - (x - box["x"]) / box["width"] * SIZE) < 1
    assert abs(ys.mean() + 0.5 - (y - box["y"]) / box["height"] * SIZE) < 1
    page.keyboard.press("0")
    # One finger paints, two fingers zoom and paint nothing.
    box = paint.bounding_box()
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + a * box["width"], "y": box["y"] + b * box["height"], "id": number}
                  for number, (a, b) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (0.2, 0.5))
    fingers("touchMove", (0.4, 0.5))
    fingers("touchEnd")
    notebook.until("painter.received['stroke'] == 5")
    fingers("touchStart", (0.4, 0.5))
    fingers("touchStart", (0.4, 0.5), (0.6, 0.5))
    fingers("touchMove", (0.3, 0.5), (0.7, 0.5))
    fingers("touchEnd")
    page.wait_for_timeout(300)
    assert notebook.kernel("painter.received['stroke']") == 5
    assert paint.bounding_box()["width"] > 1.5 * box["width"]
    assert notebook.console == []


def jpeg(side: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(astronaut()).resize((side, side), PIL.Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=97)
    return buffer.getvalue()


def test_unusable_and_very_large_photos(notebook: Any) -> None:
    page = notebook.page
    before = shown(page)
    give = page.locator(".fm-file-photo")
    give.set_input_files({"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": jpeg(512)[:3000]})
    page.wait_for_selector(".fm-error:has-text('broken.jpg is damaged')")
    assert np.array_equal(shown(page), before)
    data = jpeg(6400)  # 41 megapixels
    assert len(data) > 2 * 2**20
    give.set_input_files({"name": "huge.jpg", "mimeType": "image/jpeg", "buffer": data})
    notebook.until("painter.photo.shape == (6400, 6400, 3) and not painter.busy", 120)
    page.wait_for_function("document.querySelector('.fm-base').width === 1024")
    assert page.locator(".fm-error").inner_text() == ""
    # It is painted as large as it is shown, or as large as one asks for, and shown so.
    large = shown(page)
    sizes = page.locator(".fm-painted-size option").all_inner_texts()
    assert sizes == ["as in the photo: 1024 px", "256 px", "512 px", "1024 px"]
    page.locator(".fm-painted-size").select_option("512")
    drag(page, (100, 170), (150, 170))
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy", 120)
    page.wait_for_selector(".fm-status:has-text('at 512 px')")
    assert notebook.kernel("painter.script.script.steps[0].size") == 512
    changed = (shown(page) != large).any(axis=2)
    assert changed[4 * 170, 4 * 125] and not changed[: 4 * 150].any()
    # At 512 px the mask has an edge of its own, by less than one of 256 px.
    painted = "torch.nn.functional.max_pool2d(torch.from_numpy(mask_of(painter) / 255)[None, None], 3, 1, 1)"
    outside = f"~painter.session.first.mask_to_photo({painted})"
    assert notebook.kernel(f"bool((painter.photo == painter.session.first.original)[{outside}].all())")
    require_another_system(notebook)
    assert notebook.console == []


def require_another_system(notebook: Any) -> None:
    """A system that has weights takes the place of all other guidance, and edits what is masked."""
    page, name = notebook.page, notebook.kernel("painter.choices['systems'][0]")
    drag(page, (70, 100), (180, 180))  # before the sliders scroll the face away
    notebook.until("painter.layers.is_painted('mask')")
    page.locator(".fm-system").select_option(name)
    page.wait_for_selector(".fm-text", state="hidden")
    assert page.locator(".fm-vary").is_hidden() and page.locator(".fm-edit").is_visible()
    page.wait_for_selector(".fm-systems input[type=range]")
    strengths = page.locator(".fm-systems input[type=range]")
    assert strengths.count() == len(notebook.kernel("list(painter.system_offer)"))
    strengths.last.fill("1")
    page.click(".fm-edit")
    notebook.until("painter.current == 2 and not painter.busy", 120)
    assert notebook.kernel("painter.script.script.steps[1].system") == name and strengths.last.input_value() == "0"
    page.wait_for_selector(".fm-moment >> nth=2")
    page.locator(".fm-system").select_option("")
    page.wait_for_selector(".fm-text", state="visible")


def test_a_kernel_that_restarts_in_the_middle_of_a_stroke(open_notebook: Any) -> None:
    notebook = open_notebook("os.environ['FACEMUG_SESSIONS'] = 'sessions'\n" + CELL, wait_for=".facemug-painter .fm-moment")
    page = notebook.page
    drag(page, (60, 180), (180, 190))
    notebook.until("painter.received['stroke'] == 1")
    mask = layer(notebook, "mask")
    notebook.until("__import__('pathlib').Path('sessions').is_dir() and any(__import__('os').scandir('sessions'))")
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 60, steps=5)
    notebook.restart()
    page.wait_for_timeout(1500)
    page.mouse.move(box["x"] + 180, box["y"] + 90, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert not [line for line in notebook.console if "painter" in line.lower() or "TypeError" in line]
    notebook.run_all()
    notebook.until("'painter' in globals() and painter.received['ready'] >= 1", 120)
    page.wait_for_function("document.querySelectorAll('.facemug-painter .fm-moment').length === 1")
    page.wait_for_timeout(1000)
    # What had been painted before is offered.
    page.click(".fm-go-on")
    notebook.until("painter.layers.is_painted('mask') and not painter.busy")
    assert np.array_equal(layer(notebook, "mask"), mask)
    page.wait_for_selector(".fm-saved", state="hidden")
    drag(page, (60, 80), (180, 90))
    notebook.until("painter.received['stroke'] == 1")


@pytest.mark.parametrize("width", [900, 1280, 1920])
def test_nothing_overflows_and_every_control_has_a_name(open_notebook: Any, width: int) -> None:
    notebook = open_notebook(CELL, wait_for=".facemug-painter .fm-moment", width=width)
    page = notebook.page
    page.click(".fm-layer-semantics")
    top = page.locator(".facemug-painter").bounding_box()["y"]
    face = page.locator(".fm-paint").bounding_box()
    assert face["y"] + face["height"] - top < 780 and face["width"] > 380  # in sight with all labels above or beside it
    page.click(".fm-attributes summary")
    page.click(".fm-influence summary")
    found = page.evaluate("""() => {
        const root = document.querySelector(".facemug-painter"), frame = root.getBoundingClientRect();
        const visible = [...root.querySelectorAll("*")].filter(
            (one) => one.offsetParent && !one.closest(".fm-history, .fm-sheet, .fm-file"));
        const out = visible.filter((one) => one.getBoundingClientRect().right > frame.right + 0.5).map((one) => one.className);
        const cut = visible.filter((one) => one.matches("button") && one.scrollWidth > one.clientWidth + 1);
        const nameless = visible.filter((one) => one.matches("button, input") &&
            !(one.textContent.trim() || one.title || one.closest("label")?.textContent.trim())).map((one) => one.className);
        return { out, cut: cut.map((one) => one.textContent), nameless, wide: root.scrollWidth - root.clientWidth };
    }""")
    assert found == {"out": [], "cut": [], "nameless": [], "wide": 0}
    assert notebook.console == []
