"""Tiny networks' inputs: 32-px conditions, codes and a bank of few channels."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from facemug_lib.models.aggregation import MAP_CHANNELS, AggregationConfig
from facemug_lib.models.generator import GeneratorConfig

SIZE, CODES, DIM = 32, 5, 16
BANK = {4: 12, 8: 10, 16: 8}


@dataclass
class Given:
    """What the generator asks of conditions."""

    tensors: dict[str, Tensor]
    present: Tensor

    def maps(self) -> dict[str, Tensor]:
        return self.tensors


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def given(generator: torch.Generator) -> Given:
    tensors = {name: torch.randn(2, c, SIZE, SIZE, generator=generator) for name, c in MAP_CHANNELS.items()}
    return Given(tensors, torch.ones(2, 4, dtype=torch.bool))


@pytest.fixture
def bank(generator: torch.Generator) -> dict[str, object]:
    """The generator's other arguments: codes, features, prior_image."""
    return {
        "codes": torch.randn(2, CODES, DIM, generator=generator),
        "features": {r: torch.randn(2, c, r, r, generator=generator) for r, c in BANK.items()},
        "prior_image": torch.randn(2, 3, SIZE, SIZE, generator=generator).clamp(-1, 1),
    }


@pytest.fixture
def tiny() -> GeneratorConfig:
    return GeneratorConfig(
        widths=(12, 8, 8, 4), bank_channels=(*BANK.values(), 0), code_layers=((0, 0, 0), (1, 2, 2), (2, 3, 3), (4, 4, 4)),
        num_codes=CODES, code_dim=DIM, global_dim=6, bottleneck=4, style_rank=5, separable_from=8,
        aggregation=AggregationConfig(width=3, hidden=4, score_hidden=4, stride=2),
    )
