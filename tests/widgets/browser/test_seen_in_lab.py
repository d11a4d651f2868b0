"""Whether everything of the widgets can be read and found, in both themes, on small pages and at 150 % zoom."""

from __future__ import annotations

from typing import Any

from contrast import measured

CELL = """\
from facemug_lib.widgets.explorer import Explorer
from facemug_lib.widgets.painter import Painter
editor = tiny.steerable_editor()
painter = Painter(editor, seed=3)
def paint():
    painter._receive(painter, {"kind": "stroke", "layer": "mask", "box": [60, 70, 50, 40]}, [memoryview(b"\\xff" * 2000)])
paint()
painter.edit()
painter.wait()
paint()
painter.vary()
painter.wait()
painter.error = "no face found in holiday.jpg: choose a photo with a face"
painter.saved = {"file": "x", "text": "3 edits of holiday.jpg", "name": "holiday.jpg", "can_go_on": True}
painter
"""
TABS = 7
BOXES = """() => Object.fromEntries(["tools", "scroll", "layer-semantics", "tool-brush"].map((name) => {
    const box = document.querySelector(`.fm-${name}`).getBoundingClientRect();
    return [name, [box.left, box.top, box.right, box.bottom]];
}))"""

CUT = """[...document.querySelectorAll('.fm-tools button')].filter((one) => one.scrollWidth > one.clientWidth + 1)
         .map((one) => one.textContent)"""


def test_texts_and_controls_stand_out_in_both_themes(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, "explorer = Explorer(editor, seed=3)\nexplorer", wait_for=".facemug-explorer-image[src^=blob]")
    page = notebook.page
    page.wait_for_selector(".fm-variation >> nth=3")
    for one in (".fm-layer-semantics", ".fm-attributes summary", ".fm-influence summary"):
        page.click(one)
    notebook.kernel("explorer._fail('no photo was named: type the path of a file')")
    for theme in ("Light", "Dark"):
        notebook.change_theme(theme)
        page.locator(".fm-text").focus()
        found = measured(page, ".facemug-painter")
        assert found["low"] == [] and found["texts"] > 90 and found["controls"] > 80, (theme, found)
        for tab in range(TABS):
            page.locator(".facemug-tabs .lm-TabBar-tab").nth(tab).click()
            page.wait_for_timeout(150)
            found = measured(page, ".facemug-explorer")
            assert found["low"] == [] and found["texts"] > 10 and found["controls"] >= 4, (theme, tab, found)
    # The measure itself: what is too faint is found.
    page.evaluate("document.querySelector('.fm-edit').style.color = 'rgb(120, 160, 200)'")
    (line,) = measured(page, ".facemug-painter")["low"]
    assert "fm-edit" in line
    require_face_beside_palette(page)
    assert notebook.console == []


def require_face_beside_palette(page: Any) -> None:
    """The whole face is in sight together with the tools, at 150 % zoom of 1280 × 1000 and 1920 × 1000, and 900 px wide."""
    for width, height in ((853, 667), (1280, 667), (900, 800), (900, 1000)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        page.evaluate("document.querySelector('.facemug-painter').scrollIntoView({ block: 'start' })")
        page.wait_for_timeout(200)
        frame = page.locator(".jp-WindowedPanel-outer").bounding_box()
        bottom, right = frame["y"] + frame["height"], frame["x"] + frame["width"]
        boxes = page.evaluate(BOXES)
        for name, box in boxes.items():
            is_in_sight = box[0] >= frame["x"] and box[1] >= frame["y"] - 1 and box[2] <= right and box[3] <= bottom
            assert is_in_sight or name == "tools" and box[1] < bottom, (width, height, name, boxes)
        left, top, right, bottom = boxes["scroll"]
        assert right - left >= 230 and abs((right - left) - (bottom - top)) < 2, (width, height, boxes)
        assert page.evaluate(CUT) == [], (width, height)
