"""The painter in a real JupyterLab: what is painted arrives, what is not painted stays, and nothing is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

CELL = """\
import numpy as np, torch
from facemug_lib.widgets.painter import Painter
painter = Painter(editor, seed=3)
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
