from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("kinds", Path(__file__).with_name("kinds.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


@pytest.fixture(scope="session")
def kinds():
    """The module beside this one: pictures in every kind of file."""
    return module
