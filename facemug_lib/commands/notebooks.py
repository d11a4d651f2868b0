"""Notebooks run headlessly: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    OUTPUT_FOLDER,
    Overrides,
    Profile,
    pairs,
)
from facemug_lib.commands.output import say


def _shown(path: Path | str) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def run(
    notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="Number, name, beginning of a name, or path.")],
    profile: Annotated[Profile, typer.Option(help="How much the run may cost.")] = Profile.smoke,
    settings: Overrides = None,
    out: Annotated[Path | None, typer.Option(
        help="Run folder instead of one under data/runs/notebooks.", **OUTPUT_FOLDER)] = None,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Leave the pictures of figures/ as they are.")] = False,
) -> None:
    """Run one notebook headlessly, with checked parameters.

    Exits 0 only if every cell ran. The executed copy and result.json are kept in the run folder; pictures come to figures/.

    Example: facemug run 03 --profile laptop --set images=5000 --set learning_rate=1e-3
    """
    from facemug_lib.commands.runner import run_notebook

    result = run_notebook(notebook, profile.value, pairs(settings or [], "--set"), out, report=say,
                          figures={} if no_figures else None)
    for name, value in result.metrics.items():
        print(f"{name}: {value}")
    for figure in result.figures:
        print(f"picture: {_shown(figure)}")
    print(f"{result.notebook} ({result.profile}): {result.status} in {result.seconds:.0f} s; "
          f"executed copy and result.json in {_shown(result.folder)}")
    if not result.ok:
        print(f"facemug: error: {result.notebook} failed: {result.error}", file=sys.stderr)
        raise typer.Exit(1)


def site(
    notebooks: Annotated[list[str] | None, typer.Argument(metavar="[NOTEBOOK]...", help="Those to show, named as for "
                                                          "`facemug run`; all.")] = None,
    profile: Annotated[Profile, typer.Option(help="How much the runs may cost.")] = Profile.smoke,
    out: Annotated[Path, typer.Option(help="Folder of the pages.", **OUTPUT_FOLDER)] = Path("site"),
) -> None:
    """Run the notebooks and write them, executed, as pages to read.

    Pictures and formulas are inside the pages: they open without a server and without a network. Begin with index.html.

    Example: facemug site --out site
    """
    from facemug_lib.commands.site import site_command

    results = site_command(out, profile.value, notebooks or (), report=say)
    print(f"{len(results)} notebooks: {_shown(out / 'index.html')}")
    if failed := [result.notebook for result in results if not result.ok]:
        print(f"facemug: error: {', '.join(failed)} failed: see the page", file=sys.stderr)
        raise typer.Exit(1)
