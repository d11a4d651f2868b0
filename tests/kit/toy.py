"""A stage that trains in milliseconds, for tests of the loop: a linear map from images to codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.training.stage import StepContext

RUN = dict(images=96, batch=8, checkpoint_every=24, stats_every=24, ema_halflife=64, warmup=32, decay=32,
           report=lambda line: None)
"""Options of the loop for a toy run with checkpoints on its way."""


class ToyFaces:
    has_codes = True

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        numbers = [np.random.default_rng((seed, index)) for index in indices]
        images = np.stack([one.standard_normal((3, 8, 8), dtype=np.float32) for one in numbers])
        return FaceBatch(torch.from_numpy(images), torch.from_numpy(images[:, :1, 0]))

    def describe(self) -> str:
        return "toy faces"


class ToyStage:
    """``memory_limit``: batches above it run out of memory. ``kill_at``: dies by SIGKILL when so many images were seen."""

    name = "toy"
    ema = ("net",)
    image_source = "coded_faces"

    def __init__(self, noise: float = 0.1, memory_limit: int = 10**9, kill_at: int = 10**9, rate: float = 1e-2) -> None:
        torch.manual_seed(0)
        dropout = nn.Dropout(0.1 if noise else 0.0)
        self.modules = {"net": nn.Sequential(nn.Flatten(), nn.Linear(192, 16), dropout, nn.Linear(16, 8))}
        self.noise, self.memory_limit, self.kill_at, self.rate = noise, memory_limit, kill_at, rate

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"net": torch.optim.Adam(self.modules["net"].parameters(), lr=self.rate)}

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        if context.images_seen >= self.kill_at:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if len(batch) > self.memory_limit:
            raise torch.OutOfMemoryError("toy memory is full")
        images = batch.images + self.noise * torch.randn(batch.images.shape, generator=context.generator)
        loss = (self.modules["net"](images) - batch.codes[:, 0]).square().mean()
        context.update("net", loss)
        return {"mse": loss.detach()}

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        faces = ToyFaces().draw(range(count), seed=-1 + 2**32)
        return {"mse": (modules["net"](faces.images) - faces.codes[:, 0]).square().mean().item()}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict]]:
        return {"toy": (modules["net"].state_dict(), {"width": 16})}
