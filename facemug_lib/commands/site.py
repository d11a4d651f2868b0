"""``facemug site``: the executed notebooks as pages that open without a server, a script or a network.

nbconvert makes the pages. Formulas are drawn here, by matplotlib, because nbconvert leaves them to a script of another site; a
widget shows its still picture.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from facemug_lib.commands.runner import RunResult, find_notebook, list_notebooks, run_notebook
from facemug_lib.errors import FacemugError
from facemug_lib.files import replacing

# What mathtext writes otherwise than LaTeX does.
_SPELLINGS = ((r"\\(mathcal|mathbb) (\w)", r"\\\1{\2}"), (r"\\([td]?frac) *(\d) *(\d)", r"\\\1{\2}{\3}"),
              (r"\\tfrac", r"\\frac"), (r"\^\*", r"^{*}"), (r"\^\\top(?![a-zA-Z])", r"^{\\mathsf{T}}"),
              (r"\\sqrt *(\w)", r"\\sqrt{\1}"), (r"\\[lr]Vert(?![a-zA-Z])", r"\\Vert "),
              (r"\\[bB]igg?\(", r"\\left("), (r"\\[bB]igg?\)", r"\\right)"))
# Of an output's forms the first that it has is shown; scripts and live widgets are none of them.
_SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
_STYLE = """
body { max-width: 66rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a }
.highlight, .output_area pre { padding: .6rem .8rem; overflow-x: auto; font-size: 13px; line-height: 1.45 }
.highlight { margin: .8rem 0; background: #f5f6f8; border-left: 3px solid #7a8aa0 } .highlight pre { margin: 0 }
.output_area pre { margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere } .output_subarea { overflow-x: auto }
code { background: #f0f1f3; padding: 0 .2em } .prompt, .anchor-link { display: none } img { max-width: 100%; height: auto }
p, ul, ol, table { max-width: 60rem }
table { border-collapse: collapse; font-size: 14px; margin: .8rem 0 }
th, td { padding: .2rem .6rem; border: 0; border-bottom: 1px solid #999; text-align: left } th:empty { padding: 0 }
.dataframe { border: 0 } .dataframe thead th { text-align: left !important } .output_markdown td { white-space: nowrap }
.formula { text-align: center; margin: 1rem 0 } nav { font-size: 14px } .failed { color: #a00000; font-weight: bold }
"""


def site_command(out: Path, profile: str = "smoke", notebooks: Sequence[str] = (),
                 report: Callable[[str], None] = print) -> list[RunResult]:
    """Run ``notebooks`` (all) under ``profile`` and write a page of each and an index to the folder ``out``.

    A notebook that fails has its page all the same, up to its error. Returns what became of each.
    """
    if out.exists() and not out.is_dir():
        raise FacemugError(f"--out {out} is a file: name a folder")
    paths = [find_notebook(name) for name in notebooks] or list_notebooks()
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for path in paths:
        result = run_notebook(str(path), profile, report=report)
        results.append(result)
        _write(out / f"{path.stem}.html", page(nbformat.read(Path(result.folder) / path.name, 4), path.stem))
        report(f"{out / path.stem}.html: {result.status}")
    _write(out / "index.html", index(results, [nbformat.read(path, 4) for path in paths]))
    return results


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """An executed notebook as one HTML page that holds everything it shows."""
    notebook.cells = [cell for cell in notebook.cells if "facemug-runner" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.get("outputs", [])[:] = _joined(cell.get("outputs", []))
    notebook.metadata.pop("widgets", None)
    exporter = _Exporter(config=Config({"NbConvertBase": {"display_data_priority": _SHOWN}}), template_name="basic")
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'href="(\w+)\.ipynb"', r'href="\1.html"', body)
    return _shell(title, f'<nav><a href="index.html">All notebooks</a></nav>\n{body}')


def _joined(outputs: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with the pieces of one text put together: lines of progress come one by one and would stand far apart."""
    found: list[nbformat.NotebookNode] = []
    for one in outputs:
        if found and one.output_type == "stream" == found[-1].output_type and one.name == found[-1].name:
            found[-1] = nbformat.from_dict(found[-1] | {"text": found[-1].text + one.text})
        else:
            found.append(one)
    return found


def index(results: Sequence[RunResult], notebooks: Sequence[nbformat.NotebookNode]) -> str:
    """The page that leads to the others."""
    rows = []
    for result, notebook in zip(results, notebooks, strict=True):
        opening = notebook.cells[0].source
        purpose = re.search(r"\*\*Purpose\.\*\* (.+?)\n\n", opening + "\n\n", re.DOTALL)
        state = f"{result.seconds:.0f} s" if result.ok else f'<span class="failed">{html.escape(result.error or "failed")}</span>'
        rows.append(f'<tr><td><a href="{result.notebook}.html">{result.notebook}</a></td><td>'
                    f"{_Exporter.text(purpose[1]) if purpose else ''}</td><td>{state}</td></tr>")
    made = results[0].environment | {"profile": results[0].profile, "started": results[0].started}
    named = ("profile", "started", "git_commit", "torch", "platform")
    facts = ", ".join(f"{name} {made[name]}" for name in named if made.get(name))
    title = "FACEMUG: the notebooks, executed"
    return _shell(title, f"<h1>{title}</h1>\n<table>{''.join(rows)}</table>\n<p>{html.escape(facts)}</p>")


class _Renderer(IPythonRenderer):
    """Markdown with formulas as pictures."""

    def inline_math(self, body: str) -> str:
        picture, depth = formula(body)
        return f'<img src="{picture}" alt="{html.escape(body)}" style="vertical-align:{-depth:.1f}pt">'

    def block_math(self, body: str) -> str:
        return f'<div class="formula"><img src="{formula(body, is_block=True)[0]}" alt="{html.escape(body)}"></div>'


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        return self.text(source)

    @staticmethod
    def text(source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)


def formula(tex: str, is_block: bool = False) -> tuple[str, float]:
    """TeX without dollars → the address of an SVG that holds it, and how far it reaches below the line, in points.

    What has a line to itself is larger, and its fractions are not reduced.
    """
    spelled = " ".join(tex.split())
    if is_block:
        spelled = re.sub(r"\\frac", r"\\dfrac", spelled)
    for pattern, replacement in _SPELLINGS:
        spelled = re.sub(pattern, replacement, spelled)
    picture = io.BytesIO()
    try:
        font = FontProperties(size=14 if is_block else 12, math_fontfamily="cm")
        depth = math_to_image(f"${spelled}$", picture, font, dpi=72, format="svg")
    except ValueError as error:
        raise FacemugError(f"the formula {tex!r} cannot be drawn: {str(error).splitlines()[-1]}") from error
    return "data:image/svg+xml;base64," + base64.b64encode(picture.getvalue()).decode(), depth


def _shell(title: str, body: str) -> str:
    style = _STYLE + HtmlFormatter().get_style_defs(".highlight")
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
            f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n")


def _write(path: Path, content: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
