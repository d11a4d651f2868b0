"""A training step that is looked at and teaches nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from facemug_lib.training.stage import StepContext


@dataclass
class Watched(StepContext):
    """A step that updates nothing and tells what it would have descended on."""

    totals: dict[str, list[float]] = field(default_factory=dict)

    def update(self, optimizer: str, loss: Tensor) -> None:
        self.totals.setdefault(optimizer, []).append(loss.item())


def watched(images_seen: int = 0, *, seed: int = 0, batch: int = 4) -> Watched:
    """A step after ``images_seen`` images; the same seed draws the same."""
    generator = torch.Generator().manual_seed(seed)
    return Watched(Accelerator(cpu=True), torch.device("cpu"), {}, generator, generator, images_seen, batch)
