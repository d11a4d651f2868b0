"""A real JupyterLab and a real browser. Without a Chromium these tests are skipped, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.widgets.live import PATIENCE, Notebook, Server, find_browser, jupyterlab, running_browser, serving

ROOT = Path(__file__).resolve().parents[3]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

TINY = f"""\
import os, sys
sys.path.insert(0, {str(ROOT / "tests" / "kit")!r})
import tiny
editor = tiny.tiny_editor()
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window. FACEMUG_BROWSER names another one."""
    try:
        find_browser()
    except FacemugError as error:
        pytest.skip(str(error))
    with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on an empty folder, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder, ONE_THREAD | {"FACEMUG_FIGURES": str(folder / "figures")}) as server:
        yield server


@pytest.fixture(scope="session")
def voila(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Voilà on an empty folder."""
    command = ["voila", "--no-browser", "--Voila.ip=127.0.0.1", "--Voila.connection_dir_root=../runtime", "--template=facemug",
               "."]
    with serving(command, tmp_path_factory.mktemp("voila"), "/", variables=ONE_THREAD) as server:
        yield server


@pytest.fixture
def open_notebook(lab: Server, browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A function from the sources of cells to a :class:`Notebook` whose cells have been run; or from the ``name`` of one that is
    there already. ``patience`` in ms."""
    contexts = []

    def open_it(*cells: str, wait_for: str, width: int = 1280, name: str = "", patience: float = PATIENCE) -> Notebook:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        own = f"{request.node.name.replace('[', '-').replace(']', '')}.ipynb"
        notebook = Notebook(context.new_page(), lab, name or own)
        if not name:
            notebook.write(TINY, *cells)
        notebook.open()
        notebook.run_all()
        notebook.page.wait_for_selector(wait_for, timeout=patience)
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
        notebook.write(TINY, *cells)
        notebook.page.goto(f"{voila.url}/voila/render/{notebook.name}", timeout=PATIENCE)
        notebook.page.wait_for_selector(wait_for, timeout=PATIENCE)
        return notebook

    yield open_it
    for context in contexts:
        context.close()
