"""Fixtures that the tests of several rooms share; a room's conftest imports those that it needs."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import tiny as tiny_module
import torch
from stubs import COUNT, StubJudges

from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.pictures import to_pixels


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The small prior, judges and editor."""
    return tiny_module


@pytest.fixture(scope="session")
def editor() -> Editor:
    """Untrained networks, the generator a narrow one, on a prior of a few numbers."""
    return tiny_module.tiny_editor()


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


@pytest.fixture(scope="session")
def faces() -> TestSet:
    """A test set of random blots."""
    coarse = torch.rand(2 * COUNT, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    pixels = to_pixels(torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic"))
    labels = StubJudges().parse(pixels.float() / 127.5 - 1).to(torch.uint8)
    return TestSet("toys", pixels[:COUNT], tuple(map(str, range(COUNT))), labels[:COUNT], pixels[COUNT:], "random blots")


@pytest.fixture
def reading_editor(editor: Editor) -> Editor:
    """The same with an encoder that depends on what it is shown and leaves the mean code, the untrained one's only answer."""
    def encoder(shown: torch.Tensor) -> torch.Tensor:
        return 1.5 * editor.prior.broadcast(editor.prior.mean_w[None]) + 0.3 + shown[:, 4:].mean((1, 2, 3))[:, None, None]

    return Editor(editor.prior, encoder, editor.warping, editor.generator, experts=editor.experts)
