"""The stand-alone page by Voilà: the same widgets, without JupyterLab."""

from __future__ import annotations

from typing import Any

import numpy as np

CELL = """\
import zlib, numpy as np, torch
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
def mask_of(painter):
    return np.frombuffer(zlib.decompress(painter._snapshots[1]["layers"]["mask"]), np.uint8).reshape(256, 256)
painter
"""


def test_the_painter_edits_on_a_page_of_its_own(open_page: Any) -> None:
    notebook = open_page(CELL, wait_for=".facemug-painter .fm-moment")
    page = notebook.page
    assert not page.locator("text=import numpy").count()  # no code is shown
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=5)
    page.mouse.up()
    notebook.until("painter.received['stroke'] == 1")
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy")
    mask = np.array(notebook.kernel("mask_of(painter).tolist()"), np.uint8)
    assert mask.any()
    changed = np.array(notebook.kernel(
        "(painter.photo != painter.session.first.original).any(axis=2).tolist()"), bool)
    assert changed.any() and not changed[mask == 0].any()
    assert notebook.kernel("torch.equal(painter.script.replay(editor).face.image, painter.image)")
    page.wait_for_selector(".fm-moment >> nth=1")
    assert notebook.console == []
