"""The notebooks as pages: everything is inside them, and nothing asks another site for anything."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from facemug_lib.cli import main
from facemug_lib.commands import site
from facemug_lib.commands.runner import list_notebooks
from facemug_lib.errors import FacemugError

MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+?)\$", re.DOTALL)
OUTSIDE = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|url\(|@import|<script""")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def tiny(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    opening = nbformat.v4.new_markdown_cell("# 01 · Tiny\n\n**Purpose.** Shows $x^2$.\n\nNext: [02](02_more.ipynb).")
    parameters = nbformat.v4.new_code_cell('profile: str = "smoke"  # the runner fills it in', metadata={"tags": ["parameters"]})
    return nbformat.v4.new_notebook(cells=[opening, parameters, *cells], metadata={"facemug": {"profiles": {"smoke": {}}}})


def test_an_executed_notebook_becomes_pages(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Through the command: a kernel runs it, the page shows what it printed, the index leads there."""
    code = ["print(6 * 7)", "import math; assert math.pi < 3, 'pi is larger'"]
    good, bad = tmp_path / "01_tiny.ipynb", tmp_path / "02_bad.ipynb"
    nbformat.write(tiny(nbformat.v4.new_code_cell(code[0])), good)
    nbformat.write(tiny(nbformat.v4.new_code_cell(code[1])), bad)
    assert main(["site", str(good), str(bad), "--out", str(tmp_path / "site")]) == 1
    assert "02_bad failed" in capsys.readouterr().err
    page, other, index = ((tmp_path / "site" / f"{name}.html").read_text() for name in ("01_tiny", "02_bad", "index"))
    assert re.search(r"<pre>42\s*</pre>", page) and "FACEMUG_DONE" not in page
    assert 'href="02_more.html"' in page and 'href="01_tiny.html"' in index
    assert "pi is larger" in other and "AssertionError" in index
    assert not OUTSIDE.search(page + other + index)


def test_lines_that_were_printed_one_by_one_stand_together():
    lines = [nbformat.v4.new_output("stream", name=name, text=text)
             for name, text in (("stdout", "step 1\n"), ("stdout", "step 2\n"), ("stderr", "slow\n"), ("stdout", "done\n"))]
    page = site.page(tiny(nbformat.v4.new_code_cell("train()", outputs=lines)), "01_tiny")
    assert re.search(r"<pre>step 1\nstep 2\s*</pre>", page) and page.count("<pre>done") == page.count("<pre>slow") == 1


def test_a_page_shows_pictures_and_no_scripts():
    outputs = [nbformat.v4.new_output("display_data", {
        "application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "image/png": PIXEL, "text/plain": "Painter()"}),
        nbformat.v4.new_output("display_data", {"application/javascript": "alert(1)", "text/plain": "spoken instead"})]
    notebook = tiny(nbformat.v4.new_code_cell("painter", outputs=outputs))
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    page = site.page(notebook, "01_tiny")
    assert f"data:image/png;base64,{PIXEL}" in page and "spoken instead" in page
    assert "Painter()" not in page and not OUTSIDE.search(page)


@pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)
def test_every_formula_of_the_suite_can_be_drawn(path: Path):
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            for block, inline in MATH.findall(re.sub(r"`[^`]*`", "", cell.source)):
                address, _ = site.formula(block or inline, is_block=bool(block))
                assert address.startswith("data:image/svg+xml;base64,")


def test_a_formula_that_cannot_be_drawn_is_named():
    with pytest.raises(FacemugError, match=r"formula .*unheardof"):
        site.formula(r"\unheardof{x}")


def test_a_file_in_the_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "run_notebook", lambda *_, **__: SimpleNamespace())
    (tmp_path / "site").write_text("mine")
    with pytest.raises(FacemugError, match="is a file"):
        site.site_command(tmp_path / "site")
    assert (tmp_path / "site").read_text() == "mine"
