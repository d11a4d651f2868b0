from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from facemug_lib.editing.directions import constant
from facemug_lib.editing.editor import Editor

_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent.parent / "editing" / "tiny.py")
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="session")
def editor() -> Editor:
    """The tiny editor of the editing tests, with two directions."""
    plain = tiny.tiny_editor()
    light = constant("light", -plain.prior.paint.mean(1).view(17, 512).sum(0), "factor")
    other = constant("smile", torch.randn(512, generator=torch.Generator().manual_seed(4)), "factor").restricted("upper")
    return plain.with_directions({"light": light.scaled(0.05 / float(light.vector[0].norm()), "tests"),
                                  "smile": other.scaled(0.02, "tests")})
