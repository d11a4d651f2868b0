"""Random numbers for the modalities: drawn where the generator lives, used where the pixels live.

A CPU generator therefore gives the same masks on every device. Without a generator a fresh one with an
unpredictable seed is used; PyTorch's global state is never read nor changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def as_generator(generator: torch.Generator | None) -> torch.Generator:
    """The generator itself, or a fresh CPU one seeded by the operating system."""
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    return generator


def uniform(shape: Sequence[int], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Float32 draws from U(low, high) on the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device) * (high - low) + low


def integers(shape: Sequence[int], low: int, high: int, generator: torch.Generator) -> Tensor:
    """Long draws from {low, ..., high - 1} on the generator's device."""
    return torch.randint(low, high, tuple(shape), generator=generator, device=generator.device)


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Float32 draws from N(0, 1) on the generator's device."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device)


def chance(shape: Sequence[int], probability: float, generator: torch.Generator) -> Tensor:
    """Bool draws that are true with the given probability, on the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device) < probability
