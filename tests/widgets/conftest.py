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


@pytest.fixture(scope="session")
def face() -> torch.Tensor:
    """An aligned "face" [1,3,256,256] of 8-bit values."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.8
    smooth = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(-1, 1)
    return ((smooth + 1) * 127.5).round() / 127.5 - 1
