from __future__ import annotations

import pytest

from facemug_lib.widgets import still


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*still.LIVE, still.WIDGETS_VARIABLE, "SERVER_SOFTWARE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("name", "value", "headless"), [
    ("JPY_SESSION_NAME", "a.ipynb", False), ("SERVER_SOFTWARE", "voila/0.5", False), ("SERVER_SOFTWARE", "jupyter", True),
    ("FACEMUG_WIDGETS", "live", False), ("FACEMUG_WIDGETS", "still", True), ("HOME", "/", True)])
def test_who_is_there_is_seen_from_the_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str,
                                                   headless: bool) -> None:
    monkeypatch.setenv(name, value)
    assert still.is_headless() is headless


def test_a_headless_kernel_gets_the_picture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "Widget()"}
    assert still.mimebundle(live, b"png", "a face") == {"text/plain": "a face", "image/png": b"png"}
    monkeypatch.setenv("FACEMUG_WIDGETS", "live")
    shown = still.mimebundle(live, b"png", "a face")
    assert shown["application/vnd.jupyter.widget-view+json"] == {"model_id": "x"} and shown["image/png"] == b"png"
