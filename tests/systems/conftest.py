"""What the tests of the systems share."""

from __future__ import annotations

from pathlib import Path

import pytest

import facemug_lib.systems as room
from facemug_lib.systems.common import faces as system_faces
from facemug_lib.training import run as runs

FURTHER = Path(__file__).parent.parent / "kit" / "further_systems"


@pytest.fixture
def sixth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A sixth file lies in the room of systems; faces, runs and weights go under ``tmp_path``, which is returned."""
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(FURTHER)])
    monkeypatch.setattr(system_faces, "faces_dir", lambda: tmp_path / "faces")
    monkeypatch.setattr(runs, "runs_dir", lambda: tmp_path / "runs")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "installed"))
    return tmp_path
