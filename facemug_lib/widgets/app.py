"""The bench as a page of its own, for people without JupyterLab: the same widgets, served by Voilà."""

from __future__ import annotations

import errno
import os
import socket
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


def tabs() -> ipywidgets.Tab:
    """Painter and explorer on one set of networks, with the photo that :func:`serve` was given; what the page shows."""
    editor = Editor.load()
    photo = os.environ.get(PHOTO) or None
    return ipywidgets.Tab([Painter(editor, photo), Explorer(editor, photo=photo)], titles=["Painter", "Explorer"])


def environment(photo: Path | None = None) -> dict[str, str]:
    """The variables that Voilà needs to find the page's template, beside the caller's own."""
    found = [str(PAGE), os.environ.get("JUPYTER_PATH", "")]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(filter(None, found))} | ({PHOTO: str(photo.resolve())} if photo else {})


def require_free_port(port: int) -> None:
    """Raise :class:`FacemugError` where no page can be served on ``port`` of this machine."""
    for family, kind, protocol, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # as the server does: what was closed a moment ago is free; elsewhere this means another thing
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # a machine without IPv6
                    continue
                why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise FacemugError(f"port {port} {why}: name another with --port, such as {_free_port()}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def serve(photo: Path | None = None, port: int = 8866, browser: bool = True, theme: str = "light") -> int:
    """Serve the page until somebody stops it; the server's exit status.

    Raises :class:`FacemugError` for a photo that is none, and for a port that another program has: elsewhere, nobody would look
    for the page.
    """
    require_free_port(port)
    if photo is not None and not photo.is_file():
        raise FacemugError(f"no file {photo}: check the path of the photo")
    command = [sys.executable, "-m", "voila", str(PAGE / "app.ipynb"), f"--port={port}", "--Voila.port_retries=0",
               "--template=facemug", f"--theme={theme}"]
    return subprocess.call([*command, *([] if browser else ["--no-browser"])], env=environment(photo))
