"""A real JupyterLab and a real browser. Without a Chromium these tests are skipped, and say so."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import BlockingKernelClient

from facemug_lib.widgets import app

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"]
PATIENCE = 120_000  # ms; a cold disk and two slow cores

TINY = f"""\
import importlib.util, os
spec = importlib.util.spec_from_file_location("tiny", {str(ROOT / "tests" / "editing" / "tiny.py")!r})
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
editor = tiny.tiny_editor()
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window. FACEMUG_BROWSER names another one."""
    path = os.environ.get("FACEMUG_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium: install one (apt-get install chromium), or name one with FACEMUG_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
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


def start(command: list[str], folder: Path, ready: str, token: str = "") -> tuple[subprocess.Popen, Server]:
    """A server in a process of its own, with an empty folder of notebooks, and settings that nobody else has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    notebooks, runtime = folder / "notebooks", folder / "runtime"
    for path in (notebooks, runtime, folder / "config"):
        path.mkdir(parents=True)
    variables = {name: value for name, value in app.environment().items() if not name.startswith(("JPY_", "FACEMUG_WIDGETS"))}
    variables |= {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1",
                  "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    # The toast that asks for news would lie over what is clicked.
    quiet = folder / "config" / "labconfig"
    quiet.mkdir()
    (quiet / "page_config.json").write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", *command, f"--port={port}"], cwd=notebooks, env=variables, stdout=out,
                                   stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}", token, notebooks, runtime, log)
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            server.ask(ready)
            return process, server
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"no server: {log.read_text()[-2000:]}") from None
            time.sleep(0.3)


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on an empty folder, with settings of its own."""
    token = secrets.token_hex(16)
    command = ["jupyterlab", "--no-browser", "--allow-root", "--ServerApp.root_dir=.", "--LabApp.expose_app_in_browser=True",
               f"--IdentityProvider.token={token}"]
    process, server = start(command, tmp_path_factory.mktemp("lab"), "/api/status", token)
    yield server
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="session")
def voila(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Voilà on an empty folder."""
    process, server = start(["voila", "--no-browser", "--Voila.ip=127.0.0.1", "--Voila.connection_dir_root=../runtime",
                             "--template=facemug", "."], tmp_path_factory.mktemp("voila"), "/")
    yield server
    process.terminate()
    process.wait(20)


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
        """Make the notebook, with the small editor in its first cell."""
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TINY), *map(nbformat.v4.new_code_cell, cells)])
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
            self._client = BlockingKernelClient(connection_file=str(self.connection))
            self._client.load_connection_file()
            self._client.start_channels()
            self._client.wait_for_ready(timeout)
        reply = self._client.execute("", user_expressions={"value": f"__import__('json').dumps({expression})"}, reply=True,
                                     timeout=timeout)
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", f"{expression}: {value.get('ename')}: {value.get('evalue')}"
        return json.loads(eval(value["data"]["text/plain"]))  # the repr of a JSON text

    def until(self, expression: str, seconds: float = 60) -> Any:
        """Wait until an expression in the kernel is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.kernel(expression)):
            assert time.monotonic() < deadline, f"{expression} is still {value!r}"
            self.page.wait_for_timeout(100)
        return value


@pytest.fixture
def open_notebook(lab: Server, browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A function from the sources of cells to a :class:`Notebook` whose cells have been run."""
    contexts = []

    def open_it(*cells: str, wait_for: str, width: int = 1280) -> Notebook:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        notebook = Notebook(context.new_page(), lab, f"{request.node.name.replace('[', '-').replace(']', '')}.ipynb")
        notebook.write(*cells)
        notebook.open()
        notebook.run_all()
        notebook.page.wait_for_selector(wait_for, timeout=PATIENCE)
        return notebook

    yield open_it
    for context in contexts:
        context.close()
    for session in lab.get("/api/sessions"):
        lab.ask(f"/api/sessions/{session['id']}", "DELETE")


@pytest.fixture
def open_page(voila: Server, browser: Any) -> Iterator[Any]:
    """A function from the sources of cells to a :class:`Notebook` that Voilà shows as a page."""
    contexts = []

    def open_it(*cells: str, wait_for: str, width: int = 1280) -> Notebook:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        notebook = Notebook(context.new_page(), voila, "app.ipynb")
        notebook.write(*cells)
        notebook.page.goto(f"{voila.url}/voila/render/{notebook.name}", timeout=PATIENCE)
        notebook.page.wait_for_selector(wait_for, timeout=PATIENCE)
        return notebook

    yield open_it
    for context in contexts:
        context.close()
