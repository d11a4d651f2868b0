from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from facemug_lib.editing.script.staged import StagedPainter
from facemug_lib.faces.prior import FacePrior


@pytest.fixture(scope="module")
def prior() -> FacePrior:
    return FacePrior.load().to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def codes(prior: FacePrior) -> torch.Tensor:
    return prior.broadcast(prior.w_of_seeds([3])).contiguous()


@pytest.fixture
def ran(prior: FacePrior) -> Iterator[list[int]]:
    """The layers of the prior that have run; layer i works at 8·2^i px."""
    numbers: list[int] = []
    hooks = [layer.register_forward_pre_hook(lambda *given, number=number: numbers.append(number))
             for number, layer in enumerate(prior.layers)]
    yield numbers
    for hook in hooks:
        hook.remove()


def test_the_stages_end_in_the_priors_own_picture(prior: FacePrior, codes: torch.Tensor, ran: list[int]) -> None:
    painter = StagedPainter(prior)
    small = painter.paint(codes, 64)
    assert ran == [0, 1, 2, 3]
    whole = painter.paint(codes, 256)
    assert ran == [0, 1, 2, 3, 4, 5]
    painter.paint(codes.clone(), 256)
    assert len(ran) == 6  # nothing changed
    with torch.no_grad():
        assert torch.equal(small, prior.synthesize(codes, 64)) and torch.equal(whole, prior.synthesize(codes, 256))


def test_what_late_codes_leave_alone_is_used_again(prior: FacePrior, codes: torch.Tensor, ran: list[int]) -> None:
    painter, other = StagedPainter(prior), codes.clone()
    other[:, 11:] += 0.1  # the codes of 64² are 10, 11 and 12
    painter.paint(codes, 64)
    ran.clear()
    found = painter.paint(other, 64)
    assert ran == [3]
    with torch.no_grad():
        assert torch.equal(found, prior.synthesize(other, 64)) and not torch.equal(found, prior.synthesize(codes, 64))


def test_stopped_work_is_gone_on_with(prior: FacePrior, codes: torch.Tensor, ran: list[int]) -> None:
    painter, left = StagedPainter(prior), iter([None, InterruptedError])

    def check() -> None:
        if (error := next(left)) is not None:
            raise error

    with pytest.raises(InterruptedError):
        painter.paint(codes, 256, check)
    assert ran == [0, 1, 2, 3, 4]
    painter.paint(codes, 128)
    assert ran == [0, 1, 2, 3, 4]
