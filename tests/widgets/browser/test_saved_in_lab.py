"""What stays of the painter: in a notebook that is opened without its kernel, and in files."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import PIL.Image

CELL = """\
import base64
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
painter
"""


def test_a_saved_notebook_shows_the_last_picture_and_how_to_go_on(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, wait_for=".facemug-painter .fm-moment")
    page = notebook.page
    assert page.locator(".facemug-still").count() == 1 and not page.locator(".facemug-still").is_visible()
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.click(box["x"] + 100, box["y"] + 100)
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy")
    page.locator(".fm-moment").nth(1).wait_for()
    last = notebook.kernel("base64.b64encode(painter.still()).decode()")
    page.wait_for_function("text => document.querySelector('.facemug-still img').src.endsWith(text)", arg=last)
    notebook.save()
    # In the file: what exports and prints show.
    outputs = nbformat.read(notebook.server.folder / notebook.name, as_version=4).cells[1].outputs
    assert [sorted(one.data)[-1] for one in outputs] == ["text/plain", "text/plain"]
    assert last in "".join(outputs[1].data["text/html"]) and not any("image/png" in one.data for one in outputs)
    # Opened again, with another kernel.
    for session in notebook.server.get("/api/sessions"):
        notebook.server.ask(f"/api/sessions/{session['id']}", "DELETE")
    notebook.open()
    still = page.locator(".facemug-still")
    still.wait_for(state="visible")
    page.wait_for_timeout(3000)
    assert still.locator("img").get_attribute("src").endswith(last) and base64.b64decode(last)[:4] == b"\x89PNG"
    assert "run this cell" in still.inner_text()
    assert not page.get_by_text("model not found").locator("visible=true").count()


def test_what_was_made_is_downloaded_copied_and_wiped(open_notebook: Any, tmp_path: Path) -> None:
    notebook = open_notebook(CELL, wait_for=".facemug-painter .fm-moment")
    page = notebook.page
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy")
    page.wait_for_selector(".fm-edit[aria-disabled=false]")
    with page.expect_download(timeout=60_000) as coming:
        page.click(".fm-download")
    coming.value.save_as(tmp_path / "edit.zip")
    with zipfile.ZipFile(tmp_path / "edit.zip") as held:
        assert {"edit.json", "edit.png", "edit_mask.png"} <= set(held.namelist())
        edited = np.asarray(PIL.Image.open(held.open("edit.png")))
    assert edited.tolist() == notebook.kernel("painter.photo.tolist()")
    page.click(".fm-copy")
    page.locator(".fm-code").wait_for(state="visible")
    assert page.locator(".fm-code").input_value() == notebook.kernel("painter.code()")
    # The wipe: the photo to the left of it, the picture to the right.
    base = """() => [...document.querySelector(".fm-base").getContext("2d").getImageData(0, 0, 256, 256).data]"""
    after = np.array(page.evaluate(base)).reshape(256, 256, 4)
    page.locator(".fm-wipe").fill("1")
    before = np.array(page.evaluate(base)).reshape(256, 256, 4)
    page.locator(".fm-wipe").fill("0.5")
    wiped = np.array(page.evaluate(base)).reshape(256, 256, 4)
    assert np.array_equal(wiped[:, :126], before[:, :126]) and np.array_equal(wiped[:, 128:], after[:, 128:])
    assert (before[128, 90:126] != after[128, 90:126]).any() and notebook.console == []
