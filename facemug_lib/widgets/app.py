"""The bench as a page of its own, for people without JupyterLab: the same widgets, served by Voilà."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ipywidgets

from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.widgets.explorer import Explorer
from facemug_lib.widgets.painter import Painter

PAGE = Path(__file__).parent / "page"
PHOTO = "FACEMUG_PHOTO"


def bench() -> ipywidgets.Tab:
    """Painter and explorer on one set of networks, with the photo that :func:`serve` was given; what the page shows."""
    editor = Editor.load()
    photo = os.environ.get(PHOTO) or None
    return ipywidgets.Tab([Painter(editor, photo), Explorer(editor, photo=photo)], titles=["Painter", "Explorer"])


def environment(photo: Path | None = None) -> dict[str, str]:
    """The variables that Voilà needs to find the page's template, beside the caller's own."""
    found = [str(PAGE), os.environ.get("JUPYTER_PATH", "")]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(filter(None, found))} | ({PHOTO: str(photo.resolve())} if photo else {})


def serve(photo: Path | None = None, port: int = 8866, browser: bool = True, theme: str = "light") -> int:
    """Serve the page until somebody stops it; the server's exit status. Raises :class:`FacemugError` for a photo that is none."""
    if photo is not None and not photo.is_file():
        raise FacemugError(f"no file {photo}: check the path of the photo")
    command = [sys.executable, "-m", "voila", str(PAGE / "app.ipynb"), f"--port={port}", "--template=facemug", f"--theme={theme}"]
    return subprocess.call([*command, *([] if browser else ["--no-browser"])], env=environment(photo))
