"""Photos that are opened in the painter: another one, and one of several faces."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
from skimage.data import astronaut

CELL = """\
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
painter
"""


def png(pixels: np.ndarray, name: str) -> dict[str, Any]:
    held = io.BytesIO()
    PIL.Image.fromarray(pixels).save(held, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": held.getvalue()}


def test_another_photo_asks_first_and_one_of_two_faces_is_clicked(open_notebook: Any) -> None:
    notebook = open_notebook(CELL, wait_for=".facemug-painter .fm-moment")
    page, give = notebook.page, notebook.page.locator(".fm-file-photo")
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.click(box["x"] + 100, box["y"] + 100)
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy")
    page.wait_for_selector(".fm-edit[aria-disabled=false]")
    # An edit would be lost: the page asks, and no is no.
    two = png(np.hstack([astronaut(), astronaut()[:, ::-1]]), "two.png")
    give.set_input_files(two)
    page.wait_for_selector(".fm-question:has-text('two.png') >> visible=true")
    assert "1 edit" in page.locator(".fm-question:not(.fm-saved)").inner_text()
    page.click(".fm-no")
    page.wait_for_selector(".fm-question:not(.fm-saved)", state="hidden")
    assert notebook.kernel("[len(painter.history), painter.received['file']]") == [2, 0]
    # Yes opens it; both faces are outlined, and a click takes one.
    give.set_input_files(two)
    page.click(".fm-yes")
    page.locator(".fm-face").nth(1).wait_for(timeout=60_000)
    assert page.locator(".fm-face").count() == 2 and notebook.kernel("len(painter.history)") == 2
    picture = page.locator(".fm-photo img").bounding_box()
    face = page.locator(".fm-face").nth(1).bounding_box()
    assert face["x"] > picture["x"] + picture["width"] / 2 and face["x"] + face["width"] < picture["x"] + picture["width"]
    page.locator(".fm-face").nth(1).click()
    notebook.until("painter.photo.shape == (512, 1024, 3) and not painter.busy", 120)
    assert notebook.kernel("bool(painter.session.first.face.box[0] > 512)")
    page.wait_for_selector(".fm-crowd", state="hidden")
    assert page.locator(".fm-moment").count() == 1 and notebook.console == []
