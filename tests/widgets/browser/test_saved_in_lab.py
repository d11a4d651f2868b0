"""A notebook that is opened without the kernel that made it: what the widgets showed last is there."""

from __future__ import annotations

import base64
from typing import Any

import nbformat

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
