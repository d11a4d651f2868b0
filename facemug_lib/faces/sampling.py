"""The face of a seed: the same whatever other faces are made beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def faces_of_seeds(prior: torch.nn.Module, seeds: Sequence[int], psi: float, size: int) -> tuple[Tensor, Tensor]:
    """(codes [b,t,512], faces [b,3,size,size] in [-1,1]). They are made one by one: how a sum is
    rounded depends on the size of the batch, and a seed shall always give the same pixels."""
    codes = prior.broadcast(prior.w_of_seeds(seeds, psi))
    return codes, torch.cat([prior.synthesize(code, size).float().clamp(-1, 1) for code in codes.split(1)])
