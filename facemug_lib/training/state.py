"""What a run is at a moment: its networks, their averages, their optimizers, and how many images they have seen."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from facemug_lib.errors import FacemugError
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.stage import Stage


@dataclass(frozen=True)
class Place:
    """Where this process computes, and which of how many it is."""

    accelerator: Accelerator
    device: torch.device
    precision: str  # "bf16" or "fp32"

    @classmethod
    def of(cls, device: torch.device | str, precision: str) -> Place:
        """``precision`` "auto" is bf16 autocast on CUDA and fp32 on the CPU. Several processes take a GPU each."""
        accelerator = Accelerator(cpu=torch.device(device).type == "cpu")
        device = accelerator.device if accelerator.num_processes > 1 else torch.device(device)
        if precision == "auto":
            precision = "bf16" if device.type == "cuda" else "fp32"
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 where bf16 is off: penalties, the mapping network, experts
        return cls(accelerator, device, precision)

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def world(self) -> int:
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def autocast(self) -> torch.autocast:
        """bf16 inside the block if that is the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def any_rank(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any of the processes."""
        if self.world == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device), reduction="sum") > 0)


@dataclass
class RunState:
    """The networks that are trained, what is averaged over them, and their optimizers."""

    modules: Mapping[str, nn.Module]
    averages: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    images_seen: int = 0
    seconds: float = 0.0  # of training before this call

    @classmethod
    def of(cls, stage: Stage, place: Place, channels_last: bool | None) -> RunState:
        """A stage's networks, moved to their device and equal on all processes; ``channels_last`` None: on CUDA, and in bf16 (a
        step of the generator on a CPU takes half as long in bf16, and no less without that layout)."""
        if channels_last is None:
            channels_last = place.device.type == "cuda" or place.precision == "bf16"
        for module in stage.modules.values():
            module.to(place.device).train()
            if channels_last:
                module.to(memory_format=torch.channels_last)
            if place.world > 1:
                for tensor in [*module.parameters(), *module.buffers()]:
                    torch.distributed.broadcast(tensor.data, src=0)
        averages = {name: copy.deepcopy(stage.modules[name]).eval().requires_grad_(False) for name in stage.ema}
        optimizers = stage.optimizers()
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        return cls(stage.modules, averages, optimizers)

    @property
    def shipped(self) -> dict[str, nn.Module]:
        """The networks as they are judged and shipped: averaged where there is an average."""
        return {**self.modules, **self.averages}

    def restore(self, out: Path) -> None:
        """Go on from the newest complete checkpoint in ``out``, if there is one."""
        found = newest_checkpoint(out)
        if found is None:
            return
        images_seen, state = found
        try:
            for part in ("modules", "averages", "optimizers"):
                for name, thing in getattr(self, part).items():
                    thing.load_state_dict(state[part][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise FacemugError(f"the resume state in {out} does not fit these networks ({str(error).splitlines()[0]}): "
                               "use another --out, or delete that folder") from error
        self.images_seen, self.seconds = images_seen, float(state["seconds"])

    def checkpoint(self, seconds: float) -> dict[str, Any]:
        """What :meth:`restore` needs, as nested dicts; ``seconds`` of training so far."""
        parts = {part: {name: thing.state_dict() for name, thing in getattr(self, part).items()}
                 for part in ("modules", "averages", "optimizers")}
        return {**parts, "images_seen": self.images_seen, "seconds": seconds}

    def set_learning_rates(self, factor: float) -> None:
        """Every learning rate is ``factor`` times the stage's own."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    @torch.no_grad()
    def average(self, batch: int, halflife: int, rampup: float | None) -> None:
        """Exponential moving average with a half-life in images, shorter at the start of a run (as in StyleGAN2-ADA)."""
        length = halflife if rampup is None else min(halflife, self.images_seen * rampup)
        decay = 0.5 ** (batch / max(length, 1e-8))
        for name, average in self.averages.items():
            ours, theirs = list(average.parameters()), list(self.modules[name].parameters())
            if ours:
                torch._foreach_lerp_(ours, theirs, 1 - decay)
            for mine, new in zip(average.buffers(), self.modules[name].buffers(), strict=True):
                mine.copy_(new)


@contextmanager
def inference(modules: Mapping[str, nn.Module], place: Place) -> Iterator[None]:
    """Networks in eval mode, no gradients, the training precision; afterwards each is in the mode it was in."""
    modes = {name: module.training for name, module in modules.items()}
    for module in modules.values():
        module.eval()
    try:
        with torch.no_grad(), place.autocast():
            yield
    finally:
        for name, module in modules.items():
            module.train(modes[name])
