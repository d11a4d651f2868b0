from __future__ import annotations

import math

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.models import count_parameters
from facemug_lib.models.latent_warping import CodeModulationBlock, LatentWarping, LatentWarpingConfig

TINY = LatentWarpingConfig(num_codes=3, dim=6, rank=4, hidden=5)


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("rank", [None, 4])
def test_block_is_eq_15_entry_by_entry(rank: int | None, generator: torch.Generator) -> None:
    t, d = 3, 6
    block = CodeModulationBlock(d, rank, None).double()
    torch.nn.init.normal_(block.norm.weight)
    delta, reference = torch.randn(2, 1, t, d, generator=generator).double()
    q, k, v = block.channel_query(reference)[0], block.channel_key(delta)[0], block.channel_value(delta)[0]
    qp, kp, vp = block.position_query(reference)[0], block.position_key(delta)[0], block.position_value(delta)[0]
    q, k, qp, kp = (x.detach() for x in (q, k, qp, kp))
    attended = torch.zeros(t, d, dtype=torch.float64)
    for i in range(t):
        share = softmax([float(q[i] @ k[j]) / math.sqrt(d) for j in range(t)])
        attended[i] += sum(s * v[j] for j, s in enumerate(share))
    for n in range(d):
        share = softmax([float(kp[:, m] @ qp[:, n]) / math.sqrt(d) for m in range(d)])
        attended[:, n] += sum(s * vp[:, m] for m, s in enumerate(share))
    centred = attended - attended.mean(dim=1, keepdim=True)
    normed = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() * block.norm.weight + block.norm.bias
    expected = torch.sigmoid(block.gate(reference)[0]) * normed + block.offset(reference)[0]
    torch.testing.assert_close(block(delta, reference)[0], expected)


def test_starts_as_the_identity_and_learns(generator: torch.Generator) -> None:
    warping = LatentWarping(TINY)
    source, target = torch.randn(2, 4, 3, 6, generator=generator)
    assert torch.equal(warping(source, target), torch.zeros_like(source))
    optimizer = torch.optim.Adam(warping.parameters(), lr=0.02)
    goal = target - source
    first = goal.square().mean().item()
    for _ in range(80):
        loss = (warping(source, target) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_gradients_reach_every_parameter(generator: torch.Generator) -> None:
    warping = LatentWarping(TINY)
    last = warping.blocks[-1]
    for parameter in (last.norm.weight, last.offset[-1].weight):
        torch.nn.init.normal_(parameter)
    source, target = torch.randn(2, 4, 3, 6, generator=generator)
    warping(source, target).square().sum().backward()
    # The channel key's bias adds the same number to all scores of a softmax: it has no effect, by Eq. 15 itself.
    idle = {name for name, p in warping.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-6}
    assert all("channel_key" in name and name.endswith("bias") for name in idle)


def test_sizes() -> None:
    assert count_parameters(LatentWarping()) <= 2_000_000
    with torch.device("meta"):
        paper = LatentWarping(LatentWarpingConfig.paper())
    assert count_parameters(paper) == 4 * (10 * (512 * 512 + 512) + 2 * 512)


def test_wrong_codes_are_refused() -> None:
    with pytest.raises(FacemugError, match="target codes"):
        LatentWarping(TINY)(torch.zeros(1, 3, 6), torch.zeros(1, 4, 6))
