from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)


@pytest.fixture(scope="session")
def editor():
    """Untrained networks, the generator a narrow one, on a prior of a few numbers."""
    return tiny.tiny_editor()


@pytest.fixture(scope="session")
def face() -> torch.Tensor:
    """An aligned "face" [1,3,256,256]: smooth, not constant, not 8-bit."""
    draw = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 3, 9, 9, generator=draw) * 1.6 - 0.8
    return torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="session")
def mask() -> torch.Tensor:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 90:170, 70:200] = 1
    return mask


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()
