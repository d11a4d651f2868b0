"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before anything imports matplotlib or jupyter.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kit"))  # the fakes that several rooms share


@pytest.fixture(autouse=True)
def _keep_the_users_folders_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither write into the clone's figures by way of the caller's settings nor report into an outer run."""
    for name in ("FACEMUG_RESULT", "FACEMUG_FIGURES", "FACEMUG_DONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACEMUG_SESSIONS", "off")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty asset cache, with a pip that reaches no index: what is to be fetched must be put there by the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEMUG_CACHE", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def portraits() -> Path:
    """A folder of portrait photographs, named by FACEMUG_PORTRAITS; tests that want it skip without."""
    folder = os.environ.get("FACEMUG_PORTRAITS")
    if not folder:
        pytest.skip("FACEMUG_PORTRAITS names no folder of photographs")
    assert Path(folder).is_dir(), f"FACEMUG_PORTRAITS names {folder}, which is no folder"
    return Path(folder)
