from __future__ import annotations

import pytest
import torch

from facemug_lib.editing.staged import StagedPainter
from facemug_lib.faces.prior import FacePrior


@pytest.fixture(scope="module")
def prior() -> FacePrior:
    return FacePrior.load()


@pytest.fixture
def codes(prior: FacePrior) -> torch.Tensor:
    return prior.broadcast(prior.w_of_seeds([3])).contiguous()


def test_stages_end_in_the_priors_own_picture(prior: FacePrior, codes: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    painter, ran = StagedPainter(prior), []
    for number, layer in enumerate(prior.layers):
        layer.register_forward_pre_hook(lambda *given, number=number: ran.append(number))
    try:
        small = painter.paint(codes, 64)
        assert ran == [0, 1, 2, 3, 4] and torch.equal(small, prior.synthesize(codes, 64))
        ran.clear()
        whole = painter.paint(codes, 256)
        assert ran == [5, 5] or ran == [4, 5] or ran == [5]
    finally:
        for layer in prior.layers:
            layer._forward_pre_hooks.clear()
    with torch.no_grad():
        assert torch.equal(whole, prior.synthesize(codes, 256))
