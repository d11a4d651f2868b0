from __future__ import annotations

import pytest
import tiny
import torch

from facemug_lib.editing.editor import Editor


@pytest.fixture(scope="session")
def editor() -> Editor:
    """The tiny editor of the editing tests, with two directions."""
    return tiny.steerable_editor()


@pytest.fixture(scope="session")
def face() -> torch.Tensor:
    """An aligned "face" [1,3,256,256] of 8-bit values."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.8
    smooth = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(-1, 1)
    return ((smooth + 1) * 127.5).round() / 127.5 - 1
