from __future__ import annotations

import socket
from pathlib import Path

import nbformat
import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.widgets import app


def test_the_page_lies_where_voila_is_told_to_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "elsewhere")
    photo = tmp_path / "a.png"
    found = app.environment(photo=photo, bank=None)
    first, second = found["JUPYTER_PATH"].split(":")
    assert (Path(first) / "voila" / "templates" / "facemug" / "index.html.j2").is_file() and second == "elsewhere"
    assert found["FACEMUG_PHOTO"] == str(photo.resolve()) and not set(app.GIVEN.values()) & set(app.environment())
    nbformat.validate(nbformat.read(app.PAGE / "app.ipynb", as_version=4))


def test_the_template_names_no_other_site() -> None:
    templates = list((app.PAGE / "voila").rglob("*.j2"))
    assert templates and not any("http" in path.read_text() for path in templates)


def test_a_photo_that_is_not_there_is_said_before_a_server_starts(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match=r"no file .*none\.png: check the path"):
        app.serve(tmp_path / "none.png")


def test_a_taken_port_is_said_before_a_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(app, "run", lambda command, variables: asked.append(command) or 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FacemugError, match=f"port {port} is taken by another program: name another with --port, such as "):
            app.serve(port=port)
        assert not asked
    assert app.serve(port=port) == 0
    assert f"--port={port}" in asked[0] and "--Voila.port_retries=0" in asked[0]  # nor does it move where one comes in between
