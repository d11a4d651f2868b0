"""What the editor's steps hand on to one another, and how long they took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from facemug_lib.editing.fill.blending import altered
from facemug_lib.editing.inputs import Batch
from facemug_lib.progress import Check, unchecked


class Painted(NamedTuple):
    """What is painted under the mask [b,3,256,256], each modality's share of it [b,4,256,256], and the bank's features for a
    generator that has still to correct it in the photo; None where none has."""

    raw: Tensor
    shares: Tensor
    features: Mapping[int, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """Where a batch's codes stand before attributes and texts move them.

    codes [b,t,512]. likeness [b,3,256,256]: their picture, where a face is altered that it does not show exactly. by_prior:
    whether the edit shows the prior's own picture, which the codes were fitted to, and not the generator's. known_loss
    [steps+1,b]: of the refinement.
    """

    codes: Tensor
    likeness: Tensor | None = None
    by_prior: bool = False
    known_loss: Tensor | None = None

    def __getitem__(self, place: int) -> Start:
        which = slice(place, place + 1)
        return replace(self, codes=self.codes[which], likeness=None if self.likeness is None else self.likeness[which])

    def shown(self, batch: Batch, raw: Tensor) -> Tensor:
        """What is shown under the mask: the painted picture, or the known face altered by it."""
        if self.likeness is None:
            return raw
        return torch.where(batch.is_altered[:, None, None, None], altered(batch.photo, self.likeness, raw), raw)


@contextmanager
def stoppable(check: Check, *networks: nn.Module) -> Iterator[None]:
    """Within, ``check`` is also called before each layer of ``networks``, so that what it raises ends long work soon. Of other
    threads that use the same networks nothing is asked."""
    mine = threading.get_ident()

    def ask(*_: Any) -> None:
        if threading.get_ident() == mine:
            check()

    layers = [] if check is unchecked else {layer for network in networks for layer in network.modules()}
    hooks = [layer.register_forward_pre_hook(ask) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Clock:
    """Wall time by part, the device's work included. ``check`` is called before each part; it may raise to stop."""

    def __init__(self, device: torch.device, check: Check = unchecked, seconds: Mapping[str, float] | None = None) -> None:
        self.device, self.check, self.seconds = device, check, dict(seconds or {})

    def copy(self) -> Clock:
        """A clock that goes on from here by itself."""
        return Clock(self.device, self.check, self.seconds)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self.check()
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
