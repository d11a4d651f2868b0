"""What the training loop asks of a stage: its networks, its step, its scores, its weights.

A stage is one object. :func:`facemug_lib.training.loop.train` owns everything else: batches, randomness, averaging,
checkpoints, statistics. Nothing needs to be inherited; any object with these members trains.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.faces.dataset import FaceBatch

__all__ = ["FaceBatch", "ImageSource", "Stage", "StageClass", "StepContext", "average_gradients"]

if TYPE_CHECKING:
    from accelerate import Accelerator  # slow to import, and whoever edits needs none

    from facemug_lib.faces.dataset import FaceSource
    from facemug_lib.training.profiles import StageSettings

ImageSource = Literal["faces", "coded_faces", "codes"]
"""``faces``: images, and codes when known. ``coded_faces``: images whose codes are known. ``codes``: codes alone, no images."""


@dataclass
class StepContext:
    """What one step may use. The generators are keyed by (seed, rank, images seen), so a resumed run draws the same numbers."""

    accelerator: Accelerator
    device: torch.device
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator  # on the CPU
    device_generator: torch.Generator  # on `device`; the CPU one itself when training on the CPU
    images_seen: int  # before this step
    batch: int  # images of one step, over all processes
    clip_norm: float | None = None  # largest gradient norm per optimizer
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def step_index(self) -> int:
        """How many steps were made before this one."""
        return self.images_seen // self.batch

    def is_turn(self, every: int) -> bool:
        """True on step 0 and every ``every``-th step after it: for lazy regularisers and costly losses."""
        return self.step_index % every == 0

    def full_precision(self) -> AbstractContextManager[Any]:
        """Switches bf16 autocast off inside the block (gradient penalties need it)."""
        return torch.autocast(self.device.type, enabled=False) if self.precision == "bf16" else nullcontext()

    def update(self, optimizer: str, loss: Tensor) -> None:
        """One optimizer step on ``loss``: zero, backward, mean over processes, clip, step.

        Every rank must call it the same number of times and in the same order. Gradients that the backward pass leaves on
        parameters of other optimizers are dropped when those are next zeroed here.
        """
        chosen = self.optimizers[optimizer]
        chosen.zero_grad(set_to_none=True)
        with self.full_precision():
            self.accelerator.backward(loss)
        parameters = [parameter for group in chosen.param_groups for parameter in group["params"]]
        average_gradients(self.accelerator, parameters)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        chosen.step()


def average_gradients(accelerator: Accelerator, parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one flat all-reduce; nothing to do with one process.

    An explicit all-reduce instead of a DDP wrapper keeps networks bare: a GAN step runs them several times, frozen and not,
    and penalises gradients, all of which DDP's hooks only tolerate with special settings.
    """
    if accelerator.num_processes == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = accelerator.reduce(torch.cat([parameter.grad.flatten() for parameter in parameters]), reduction="mean")
    pieces = flat.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad.copy_(piece.view_as(parameter))


class Stage(Protocol):
    """One training stage. ``modules`` are the trainable networks; helpers that stay frozen are the stage's own business.

    The loop moves ``modules`` to the device and calls ``step`` inside bf16 autocast on CUDA. It averages the networks named
    in ``ema``; ``evaluate``, ``sample_grid`` and ``export`` get ``modules`` with those replaced by their averages, in eval mode,
    without gradients.
    """

    name: str
    modules: dict[str, nn.Module]
    ema: tuple[str, ...]
    image_source: ImageSource

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """New optimizers over ``modules``; called once, after the networks are on their device."""
        ...

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        """Train on one batch (use ``context.update``); return the losses to log, as floats or detached scalars."""
        ...

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """Scores on ``count`` fixed faces that training never sees."""
        ...

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """A picture of what the networks do now: uint8 [h,w,3]."""
        ...

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        """What to ship: weights name -> (state dict, config that rebuilds the network)."""
        ...


class StageClass(Protocol):
    """What :mod:`facemug_lib.training.run` asks of a stage's class, to make a run of a profile and some settings."""

    name: ClassVar[str]
    settings_class: ClassVar[type[StageSettings]]
    presets: ClassVar[dict[str, dict[str, Any]]]  # profile → what it changes; only where training/profiles.py has no row for it

    @classmethod
    def build(cls, settings: StageSettings, device: torch.device, init: str = "scratch") -> Stage:
        """The stage with its networks, fresh or from where ``init`` says (:mod:`facemug_lib.training.start`)."""
        ...

    def source(self, data: str, device: torch.device) -> FaceSource:
        """The stage's own faces for ``--data data``; without this method it gets those of :func:`.stages.build_source`."""
        ...
