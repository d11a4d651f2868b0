"""A real JupyterLab and a real browser without a window: what measures the widgets, and what tests them.

Needs playwright (`pip install playwright`) and a Chromium; nothing else of the library does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import BlockingKernelClient

from facemug_lib.errors import FacemugError
from facemug_lib.widgets import app

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_VARIABLE = "FACEMUG_BROWSER"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"]
PATIENCE = 120_000  # ms; a cold disk and two slow cores


def find_browser() -> str:
    """The Chromium to use; FACEMUG_BROWSER names another one. Raises :class:`FacemugError` where there is none."""
    path = os.environ.get(BROWSER_VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FacemugError(f"no Chromium: install one (apt-get install chromium), or name one with {BROWSER_VARIABLE}")
    if shutil.which(path) is None:
        raise FacemugError(f"{BROWSER_VARIABLE} names {path}, which is no program: give the path of a Chromium")
    if importlib.util.find_spec("playwright") is None:
        raise FacemugError("no playwright, which drives the browser: pip install playwright")
    return path


@contextmanager
def running_browser() -> Iterator[Any]:
    """A Chromium without a window."""
    path = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


@dataclass
class Server:
    """A running server, with its folder of notebooks."""

    url: str
    token: str
    folder: Path
    runtime: Path
    log: Path

    def ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        return json.loads(self.ask(path))


@contextmanager
def serving(command: list[str], folder: Path, ready: str, token: str = "",
            variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server in a process of its own, with an empty folder of notebooks, and settings that nobody else has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    notebooks, runtime = folder / "notebooks", folder / "runtime"
    for path in (notebooks, runtime, folder / "config"):
        path.mkdir(parents=True)
    known = {name: value for name, value in app.environment().items() if not name.startswith(("JPY_", "FACEMUG_WIDGETS"))}
    known |= {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(runtime),
              "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
              "FACEMUG_SESSIONS": "off"}
    # The toast that asks for news would lie over what is clicked.
    quiet = folder / "config" / "labconfig"
    quiet.mkdir()
    (quiet / "page_config.json").write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    # Cells that are scrolled out of sight are drawn, too.
    tracker = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text('{"windowingMode": "none"}')
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", *command, f"--port={port}"], cwd=notebooks,
                                   env=known | dict(variables or {}), stdout=out, stderr=subprocess.STDOUT)
    try:
        server = Server(f"http://127.0.0.1:{port}", token, notebooks, runtime, log)
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                server.ask(ready)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no server: {log.read_text()[-2000:]}") from None
                time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def jupyterlab(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """JupyterLab on an empty folder below ``folder``; ``variables`` are set for it and its kernels."""
    token = secrets.token_hex(16)
    command = ["jupyterlab", "--no-browser", "--allow-root", "--ServerApp.root_dir=.", "--LabApp.expose_app_in_browser=True",
               f"--IdentityProvider.token={token}"]
    with serving(command, folder, "/api/status", token, variables) as server:
        yield server


@dataclass
class Notebook:
    """A notebook in the browser, and a second line to its kernel."""

    page: Any
    server: Server
    name: str
    console: list[str] = field(default_factory=list)
    _client: BlockingKernelClient | None = None

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.console.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))

    def write(self, *cells: str) -> None:
        """Make the notebook."""
        content = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
        content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(content, self.server.folder / self.name)

    def open(self) -> None:
        self.page.goto(f"{self.server.url}/lab/tree/{self.name}?token={self.server.token}&reset", timeout=PATIENCE)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        self.page.wait_for_selector("text=Idle >> visible=true", timeout=PATIENCE)

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()

    def save(self) -> None:
        self.page.get_by_role("menuitem", name="File", exact=True).click()
        self.page.locator('.lm-Menu-item[data-command="docmanager:save"]').click()
        self.page.wait_for_timeout(500)

    def restart(self) -> None:
        """Restart the kernel as the menu does, by keyboard: the mouse may be in the middle of something."""
        self._client = None
        self.page.evaluate("() => { window.jupyterapp.commands.execute('kernelmenu:restart'); }")
        self.page.wait_for_selector(".jp-Dialog .jp-mod-accept")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".jp-Dialog", state="detached")

    def change_theme(self, theme: str) -> None:
        """JupyterLab's theme, "Light" or "Dark"."""
        change = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
        self.page.evaluate(change, f"JupyterLab {theme}")
        self.page.wait_for_function("(light) => document.body.dataset.jpThemeLight === light", arg=str(theme == "Light").lower())
        self.page.wait_for_timeout(500)  # its colours come a moment later

    @property
    def connection(self) -> Path:
        """The file that says how to reach the kernel. Voilà names no kernels: there it is the only one."""
        if not self.server.token:
            return max(self.server.runtime.glob("**/kernel-*.json"), key=lambda path: path.stat().st_mtime)
        known = next(one["kernel"]["id"] for one in self.server.get("/api/sessions") if one["path"] == self.name)
        return self.server.runtime / f"kernel-{known}.json"

    def kernel(self, expression: str, timeout: float = 120) -> Any:
        """The value of an expression in the kernel; it must be plain data."""
        if self._client is None:
            self._client = self._connected(timeout)
        reply = self._client.execute("", user_expressions={"value": f"__import__('json').dumps({expression})"}, reply=True,
                                     timeout=timeout)
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", f"{expression}: {value.get('ename')}: {value.get('evalue')}"
        return json.loads(eval(value["data"]["text/plain"]))  # the repr of a JSON text

    def _connected(self, timeout: float) -> BlockingKernelClient:
        """A client of the kernel; one that is just being restarted looks dead for a while."""
        deadline = time.monotonic() + timeout
        while True:
            client = BlockingKernelClient(connection_file=str(self.connection))
            client.load_connection_file()
            client.start_channels()
            try:
                client.wait_for_ready(max(1.0, deadline - time.monotonic()))
                return client
            except RuntimeError:
                client.stop_channels()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def until(self, expression: str, seconds: float = 60) -> Any:
        """Wait until an expression in the kernel is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.kernel(expression)):
            assert time.monotonic() < deadline, f"{expression} is still {value!r}"
            self.page.wait_for_timeout(100)
        return value
