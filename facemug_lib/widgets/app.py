"""Painter and explorer as a page of their own, for people without JupyterLab; Voilà serves it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets

from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import SeveralFaces
from facemug_lib.widgets.explorer import Explorer
from facemug_lib.widgets.painter import Painter

PAGE = Path(__file__).parent / "page"
GIVEN = {"photo": "FACEMUG_PHOTO", "weights": "FACEMUG_PAGE_WEIGHTS", "bank": "FACEMUG_PAGE_BANK"}
"""What :func:`serve` is given, and the variable in which the page's kernel finds it."""


def tabs() -> ipywidgets.Tab:
    """Painter and explorer on one set of networks, with what :func:`serve` was given; what the page shows."""
    photo, weights, bank = (os.environ.get(variable) or None for variable in GIVEN.values())
    editor = Editor.load(weights=weights, bank=bank)
    try:
        painter, explorer = Painter(editor, photo), Explorer(editor, photo=photo)
    except SeveralFaces:  # one is chosen on the page
        painter, explorer = Painter(editor), Explorer(editor)
        painter.open_photo(photo)
    return ipywidgets.Tab([painter, explorer], titles=["Painter", "Explorer"])


def environment(**given: Path | None) -> dict[str, str]:
    """The caller's variables, and those by which Voilà finds the page's template and the page what it is ``given``
    (:data:`GIVEN`)."""
    found = [str(PAGE), os.environ.get("JUPYTER_PATH", "")]
    paths = {GIVEN[name]: str(path.resolve()) for name, path in given.items() if path is not None}
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(filter(None, found))} | paths


def require_free_port(port: int) -> None:
    """Raise :class:`FacemugError` where no page can be served on ``port`` of this machine."""
    for family, kind, protocol, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # as the server does: a port that was closed a moment ago counts as free
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


def serve(photo: Path | None = None, port: int = 8866, browser: bool = True, theme: str = "light",
          weights: Path | None = None, bank: Path | None = None, pages: int = 4) -> int:
    """Serve the page until somebody stops it; the server's exit status. ``weights`` and ``bank`` are :meth:`Editor.load`'s.
    ``pages`` may be open at a time: each has a kernel with networks of its own.

    Raises :class:`FacemugError` for a photo that is none, for weights and a bank that do not belong together, and for a port that
    another program uses. No other port is taken in its place: nobody would look for the page there.
    """
    require_free_port(port)
    if photo is not None and not photo.is_file():
        raise FacemugError(f"no file {photo}: check the path of the photo")
    if weights is not None or bank is not None:
        Editor.load("cpu", weights, bank=bank)  # says what is wrong here, not on the page
    command = [sys.executable, "-m", "facemug_lib.widgets.page_server", str(PAGE / "app.ipynb"), f"--port={port}",
               "--Voila.port_retries=0", "--template=facemug", f"--theme={theme}", f"--PageServer.pages={pages}"]
    given = environment(photo=photo, weights=weights, bank=bank)
    return run([*command, *([] if browser else ["--no-browser"])], given)


def run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a server until it ends; its exit status. Who ends this process ends the server, which ends its kernels."""
    with subprocess.Popen(command, env=dict(variables)) as process:
        def pass_on(number: int, frame: Any) -> None:
            process.terminate()

        passed_on = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if os.name == "posix" else [])]
        kept = {one: signal.signal(one, pass_on) for one in passed_on}
        try:
            return process.wait()
        finally:
            for one, handler in kept.items():
                signal.signal(one, handler)
