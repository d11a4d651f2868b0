"""Makes the gallery's pictures of the widgets: painter and explorer in JupyterLab, in both themes, on the shipped networks.

By hand, with a Chromium: `python scripts/widget_pictures.py` writes figures/gallery/{painter,explorer}_{light,dark}.png.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from facemug_lib.files import CLONE
from facemug_lib.widgets.live import PATIENCE, Notebook, jupyterlab, running_browser

PAINTER = """\
from skimage.data import astronaut
import facemug_lib as fm
from facemug_lib.widgets.explorer import Explorer
from facemug_lib.widgets.painter import Painter
editor = fm.Editor.load("cpu")
painter = Painter(editor, astronaut())
painter
"""
EXPLORER = """\
explorer = Explorer(editor, seed=12)
explorer
"""
SIDE = 256


def drag(page: Any, *points: tuple[float, float]) -> None:
    """Paint along places of the face, in its pixels."""
    page.locator(".fm-paint").scroll_into_view_if_needed()
    box = page.locator(".fm-paint").bounding_box()
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x / SIDE * box["width"], box["y"] + y / SIDE * box["height"], steps=8)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def paint(notebook: Notebook) -> None:
    """A smile taken away under a mask; then a mask over the eyes, whose edit is tried with four seeds, over the labels."""
    page = notebook.page
    page.locator(".fm-size").fill("48")
    drag(page, (95, 165), (128, 185), (165, 165))
    page.click(".fm-attributes summary")
    page.locator(".fm-attribute-smile").fill("-2")
    page.locator(".fm-refine").fill("8")
    page.click(".fm-edit")
    notebook.until("painter.current == 1 and not painter.busy", 400)
    page.locator(".fm-refine").fill("0")
    drag(page, (88, 116), (168, 116))
    page.click(".fm-vary")
    page.wait_for_selector(".fm-variation >> nth=3", timeout=PATIENCE)
    page.click(".fm-layer-semantics")
    page.click(".fm-attributes summary")
    page.mouse.move(2, 2)


def explore(notebook: Notebook) -> None:
    """Two attributes of a sampled face, beside the face as it was, and pinned."""
    notebook.kernel("[explorer.set(attributes={'smile': 1.5, 'age': -0.5}), explorer.wait()]", 300)
    notebook.kernel("setattr(explorer.controls.compare, 'value', 'beside')")
    notebook.until("explorer.wait(0)")
    notebook.page.click(".facemug-pin")
    notebook.page.wait_for_selector(".facemug-pins-0", timeout=PATIENCE)
    notebook.until("explorer.wait(0)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=CLONE / "figures" / "gallery", help="folder of the pictures")
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, running_browser() as browser, \
            jupyterlab(Path(folder) / "lab") as server:
        notebook = Notebook(browser.new_page(viewport={"width": 1100, "height": 1000}), server, "widgets.ipynb")
        page = notebook.page
        notebook.write(PAINTER, EXPLORER)
        notebook.open()
        page.evaluate("() => { window.jupyterapp.commands.execute('application:toggle-left-area'); }")
        notebook.run_all()
        page.wait_for_selector(".fm-moment", timeout=3 * PATIENCE)
        page.wait_for_selector(".facemug-explorer-image[src^=blob]", timeout=3 * PATIENCE)
        paint(notebook)
        explore(notebook)
        for theme in ("Light", "Dark"):
            notebook.change_theme(theme)
            page.wait_for_timeout(1000)
            for name in ("painter", "explorer"):
                target = out / f"{name}_{theme.lower()}.png"
                page.locator(f".facemug-{name}").screenshot(path=target)
                print(target)


if __name__ == "__main__":
    main()
