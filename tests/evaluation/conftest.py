from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation.protocols import TestSet, to_pixels

sys.path.insert(0, str(Path(__file__).parent))  # makes the stand-ins importable
from stubs import COUNT, StubJudges

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


@pytest.fixture
def reading_editor(editor: Editor) -> Editor:
    """The same with an encoder that depends on what it is shown and leaves the mean code, the untrained one's only answer."""
    def encoder(shown: torch.Tensor) -> torch.Tensor:
        return 1.5 * editor.prior.broadcast(editor.prior.mean_w[None]) + 0.3 + shown[:, 4:].mean((1, 2, 3))[:, None, None]

    return Editor(editor.prior, encoder, editor.warping, editor.generator, experts=editor.experts)


@pytest.fixture(scope="session")
def faces() -> TestSet:
    """A test set of random blots."""
    coarse = torch.rand(2 * COUNT, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    pixels = to_pixels(torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic"))
    labels = StubJudges().parse(pixels.float() / 127.5 - 1).to(torch.uint8)
    return TestSet("toys", pixels[:COUNT], tuple(map(str, range(COUNT))), labels[:COUNT], pixels[COUNT:], "random blots")
