"""The notebooks themselves in JupyterLab, with the shipped networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from facemug_lib.commands.notebook_parameters import resolve_parameters
from facemug_lib.commands.runner import find_notebook

pytestmark = pytest.mark.slow


def copied(name: str, folder: Path) -> str:
    """A notebook of the suite with the parameters of its smoke profile, in a folder; the copy's name."""
    source = find_notebook(name)
    notebook = load_notebook_node(str(source))
    notebook = parameterize_notebook(notebook, resolve_parameters(notebook, source.name, "smoke", {}))
    nbformat.write(notebook, folder / source.name)
    return source.name


def test_the_painter_of_notebook_08(open_notebook: Any, lab: Any) -> None:
    notebook = open_notebook(name=copied("08", lab.folder), wait_for=".facemug-painter .fm-moment >> nth=1", patience=300_000)
    page = notebook.page
    page.locator(".facemug-painter").scroll_into_view_if_needed()
    before = np.array(notebook.kernel("painter.photo.tolist()"), np.uint8)
    page.click(".facemug-painter .fm-tool-region")
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.55 * box["height"])  # the nose
    notebook.until("painter.received['stroke'] == 1")
    page.click(".fm-edit")
    notebook.until("painter.current == 2 and not painter.busy", 120)
    after = np.array(notebook.kernel("painter.photo.tolist()"), np.uint8)
    painted = ("torch.from_numpy(__import__('numpy').frombuffer(__import__('zlib').decompress("
               "painter._snapshots[2]['layers']['mask']), 'uint8').reshape(1, 1, 256, 256) / 255)")
    mask = np.array(notebook.kernel(f"painter.session.first.mask_to_photo({painted}).tolist()"), bool)
    assert 50 < mask.sum() < 20_000 and (after != before)[mask].any() and not (after != before)[~mask].any()
    assert notebook.kernel("torch.equal(painter.script.replay(editor).face.image, painter.image)")
    assert notebook.console == []


def test_the_explorer_of_notebook_06(open_notebook: Any, lab: Any) -> None:
    notebook = open_notebook(name=copied("06", lab.folder), wait_for=".facemug-explorer-image", patience=300_000)
    page = notebook.page
    slider = page.locator(".facemug-slider-smile [role=slider], .facemug-slider-smile .noUi-handle").first
    slider.scroll_into_view_if_needed()
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    notebook.until("explorer.state.attributes.get('smile') == 0.5")
    assert notebook.kernel("explorer.wait(60)")
    assert notebook.kernel("torch.equal(explorer.image, prior.synthesize(moved(prior.broadcast(prior.w_of_seeds([face_seed])), "
                           "dict(explorer.state.attributes), directions)).clamp(-1, 1).cpu())")
    assert notebook.console == []
