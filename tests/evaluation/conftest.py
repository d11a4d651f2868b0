from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent.parent / "editing" / "tiny.py")
tiny_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_module)


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The small prior, judges and editor of the editing tests."""
    return tiny_module


@pytest.fixture(scope="session")
def editor():
    return tiny_module.tiny_editor()
