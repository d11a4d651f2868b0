"""The page of `facemug app`, with tiny networks: a reload loses nothing, and no process outlives its page."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from processes import is_running

from facemug_lib.editing.script import saved_session
from facemug_lib.widgets.live import PATIENCE

KIT = Path(__file__).resolve().parents[2] / "kit"
CELL = f"""\
import sys
sys.path.insert(0, {str(KIT)!r})
import ipywidgets, tiny
from facemug_lib.widgets.painter import Painter
from facemug_lib.widgets.explorer import Explorer
editor = tiny.steerable_editor()
ipywidgets.Tab([Painter(editor, seed=3), Explorer(editor, seed=3)], titles=["Painter", "Explorer"])
"""
RUN = "import sys; from facemug_lib.widgets import app; sys.exit(app.run(sys.argv[1:], app.environment()))"


@pytest.fixture
def page_server(browser: Any, tmp_path: Path) -> Iterator[tuple[psutil.Process, str, Path]]:
    """The process that serves, as `facemug app` runs it, two pages at most; its address; what it prints."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "page.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "facemug_lib.widgets.page_server", str(tmp_path / "page.ipynb"), f"--port={port}",
               "--no-browser", "--template=facemug", "--PageServer.pages=2", "--PageServer.patience=8"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", RUN, *command], stdout=out, stderr=subprocess.STDOUT,
                                   env=os.environ | {"OMP_NUM_THREADS": "1", "FACEMUG_SESSIONS": str(tmp_path / "sessions")})
    deadline = time.monotonic() + 120
    while "running at" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)
    yield psutil.Process(process.pid), f"http://localhost:{port}/", log
    process.terminate()
    process.wait(60)


def kernels(server: psutil.Process) -> list[psutil.Process]:
    found = []
    for one in server.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that is just ending
            found += [one] if "ipykernel_launcher" in " ".join(one.cmdline()) else []
    return found


def saved_states(folder: Path) -> list[tuple[int, int]]:
    """How many edits each saved session has, and which picture is its current one."""
    return [(about.edits, saved_session.read(path).current) for path, about in saved_session.known(folder)[0]]


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_reload_finds_the_session_and_nothing_outlives_its_page(page_server: Any, browser: Any) -> None:
    server, url, log = page_server
    console: list[str] = []

    def opened() -> Any:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.on("console", lambda one: console.append(f"{one.text} {one.location}") if one.type == "error" else None)
        page.goto(url, timeout=PATIENCE)
        return page

    page = opened()
    page.wait_for_selector(".facemug-painter .fm-moment", timeout=PATIENCE)
    box = page.locator(".fm-paint").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=5)
    page.mouse.up()
    painted = "[...document.querySelector('.facemug-painter').facemug.store.layers.mask].reduce((a, b) => a + b)"
    count = page.evaluate(painted)
    page.click(".fm-edit")
    page.wait_for_selector(".fm-moment >> nth=1", timeout=PATIENCE)
    page.wait_for_selector(".facemug-painter:not(.fm-off)")
    page.click(".fm-undo")
    page.wait_for_function(f"{painted} === {count}")
    (kernel,) = kernels(server)
    page.reload(timeout=PATIENCE)
    page.wait_for_selector(".fm-moment >> nth=1", timeout=PATIENCE)  # both pictures, and the mask
    page.wait_for_function(f"{painted} === {count}")
    assert kernels(server) == [kernel] and console == []
    # A kernel that crashes takes nothing with it but the undo of strokes.
    until(lambda: saved_states(log.parent / "sessions") == [(1, 0)])  # one edit, which was undone
    kernel.kill()
    until(lambda: not is_running(kernel.pid))  # the signal is sent, and a large process takes its time
    page.reload(timeout=PATIENCE)
    page.click(".fm-go-on", timeout=PATIENCE)
    page.wait_for_selector(".fm-moment >> nth=1", timeout=PATIENCE)
    page.wait_for_function(f"{painted} === {count}")
    until(lambda: len(kernels(server)) == 1)
    (kernel,) = kernels(server)
    page.reload(timeout=PATIENCE)
    page.wait_for_selector(".fm-moment >> nth=1", timeout=PATIENCE)
    assert kernels(server) == [kernel]
    # One more has room, a third has not.
    second = opened()
    second.wait_for_selector(".facemug-painter .fm-moment", timeout=PATIENCE)
    assert len(kernels(server)) == 2
    third = opened()
    third.wait_for_selector("text=2 pages are open, and each takes about")
    assert len(kernels(server)) == 2 and "page 2 of at most 2: each takes about" in log.read_text()
    # A kernel ends after its page.
    second.close()
    until(lambda: kernels(server) == [kernel])
    # Who ends the program ends all of it.
    everything = [server, *server.children(recursive=True)]
    assert len(everything) >= 3
    server.send_signal(signal.SIGTERM)
    gone, alive = psutil.wait_procs(everything, 30)
    assert alive == []
