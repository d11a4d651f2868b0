"""What the tests of the systems share."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures import astronaut, editor, face, mask  # noqa: F401
from system_fakes import fake_maker

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


@pytest.fixture
def tinted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every system's faces are the small prior's, whose attributes are tints; faces, runs and weights go under ``tmp_path``."""
    def of(settings: system_faces.SystemSettings, data: str = "prior", device: object = "cpu", readings: object = (),
           attributes: object = None) -> system_faces.SystemFaces:
        return system_faces.SystemFaces(fake_maker(settings.size), attributes or settings.attribute_names, settings.pool,
                                        readings=readings)

    monkeypatch.setattr(system_faces, "faces_dir", lambda: tmp_path / "faces")
    monkeypatch.setattr(system_faces.SystemFaces, "of", staticmethod(of))
    monkeypatch.setattr(runs, "runs_dir", lambda: tmp_path / "runs")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "installed"))
    return tmp_path
