"""Painter and explorer as a page: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import INPUT, Bank, Weights


def serve_app(
    photo: Annotated[Path | None, typer.Argument(help="The photo to begin with; a sampled face without one.", **INPUT)] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    dark: Annotated[bool, typer.Option("--dark", help="The dark theme.")] = False,
    pages: Annotated[int, typer.Option(min=1, help="How many pages may be open at a time; each takes 1 to 2 GB of memory.")] = 4,
    weights: Weights = None,
    bank: Bank = None,
) -> None:
    """Serve painter and explorer as a page of its own.

    For people without JupyterLab; it needs no other site. A page that is reloaded goes on where it was; what is left of a page
    that was closed ends after a minute.

    Example: facemug app photo.jpg --port 8866
    """
    from facemug_lib.widgets.app import serve

    raise typer.Exit(serve(photo, port, browser, "dark" if dark else "light", weights, bank, pages))
