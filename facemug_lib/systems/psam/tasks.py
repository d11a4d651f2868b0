"""PSAM's four tasks: makeup, expression, illumination, aging. What their labels are, and how a face's own are read.

The paper's labels are 0 or 1 and drawn by hand. Ours are numbers from 0 to 1 that are *read*: off the expert's attributes, off
the shading of the skin, off the colours of lips, lids and cheeks. A strength between 0 and 1 therefore has a meaning, and the
label of a known pair's target says exactly what the target shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.systems.common.rendering import TRAIT_NAMES

Readings = Mapping[str, Tensor]  # name → [b]; the names of facemug_lib.experts.traits.TRAITS, and those of makeup.amounts

LIGHT_SIDE = 0.18
"""Difference of the skin's halves (trait ``light``) at which a face counts as lit from one side altogether: 1.5 deviations over
sampled faces."""
OPEN = (0.05, 0.30)  # of the trait mouth_open: closed, wide open
MIDDLE_AGE, OLD, YOUNG = 35.0, 65.0, 15.0  # years


@dataclass(frozen=True)
class Task:
    """One task: the names of its labels, how they are read, and whether they exclude one another.

    ``moves`` name the prior's attributes whose pairs belong to the task. ``one_of`` : the labels add up to 1, and the class loss
    is a cross entropy; otherwise each label is judged alone.
    """

    name: str
    labels: tuple[str, ...]
    read: Callable[[Readings], Tensor]  # → [b,n] in [0,1]
    moves: tuple[str, ...] = ()
    one_of: bool = False

    def class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """How far a discriminator's class logits [b,n] are from the labels [b,n] (PSAM, StarGAN): binary cross entropy summed
        over the labels, or the cross entropy of one class of n; batch mean. Labels between 0 and 1 are probabilities."""
        if self.one_of:
            return F.cross_entropy(logits.float(), labels)
        return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum") / len(labels)


def _share(value: Tensor, low: float, high: float) -> Tensor:
    """Where ``value`` lies from ``low`` (0) to ``high`` (1), clipped; what could not be read (NaN) counts as ``low``."""
    return torch.nan_to_num((value - low) / (high - low), nan=0.0).clamp(0, 1)


def _expression(readings: Readings) -> Tensor:
    return torch.stack((readings["smile"].sigmoid(), _share(readings["mouth_open"], *OPEN)), dim=1)


def _illumination(readings: Readings) -> Tensor:
    light = torch.nan_to_num(readings["light"], nan=0.0)
    left, right = _share(-light, 0.0, LIGHT_SIDE), _share(light, 0.0, LIGHT_SIDE)
    return torch.stack((left, right, 1 - left - right), dim=1)


def _aging(readings: Readings) -> Tensor:
    age = readings["age"]
    return torch.stack((_share(age, MIDDLE_AGE, YOUNG), _share(age, MIDDLE_AGE, OLD)), dim=1)


def _makeup(readings: Readings) -> Tensor:
    return torch.stack([readings[name].clamp(0, 1) for name in ("lips", "eyes", "cheeks")], dim=1)


TASKS: dict[str, Task] = {task.name: task for task in (
    Task("makeup", ("lips", "eyes", "cheeks"), _makeup),
    Task("expression", ("smile", "mouth_open"), _expression, moves=("smile", "mouth_open")),
    Task("illumination", ("left", "right", "soft"), _illumination, moves=("light",), one_of=True),
    Task("aging", ("younger", "older"), _aging, moves=("age",)),
)}


@dataclass(frozen=True)
class Request:
    """What a user's attribute means: the task, and the labels at full strength of either sign; None keeps a label as it is."""

    task: str
    up: tuple[float | None, ...]
    down: tuple[float | None, ...] | None  # None: there is no less of it than none


REQUESTS: dict[str, Request] = {
    "lipstick": Request("makeup", (1.0, None, None), (0.0, None, None)),
    "eye_shadow": Request("makeup", (None, 1.0, None), (None, 0.0, None)),
    "blush": Request("makeup", (None, None, 1.0), (None, None, 0.0)),
    "smile": Request("expression", (1.0, None), (0.0, None)),
    "mouth_open": Request("expression", (None, 1.0), (None, 0.0)),
    "light": Request("illumination", (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "soft_light": Request("illumination", (0.0, 0.0, 1.0), None),
    "age": Request("aging", (0.0, 1.0), (1.0, 0.0)),
}
"""The attributes that can be asked for, and what of the labels each changes."""


def requested(own: Tensor, name: str, strength: float) -> Tensor:
    """Labels [b,n] that ask faces with labels ``own`` [b,n] for ``strength`` of attribute ``name``.

    From 0 (the face as it is) to 1 or −1 they move straight to the labels of :data:`REQUESTS`; 1 = as much as the labels know.
    Raises :class:`FacemugError` for an attribute that PSAM has not, and for a strength out of range.
    """
    if name not in REQUESTS:
        raise FacemugError(f"PSAM has no attribute {name!r}: choose from {', '.join(REQUESTS)}")
    request = REQUESTS[name]
    lowest = 0.0 if request.down is None else -1.0
    if not lowest <= strength <= 1.0:
        raise FacemugError(f"strength of {name} is {strength:g}: use a number from {lowest:g} to 1, 0 changes nothing")
    aim = request.up if strength >= 0 else request.down
    wanted = own.clone()
    for place, value in enumerate(aim):
        if value is not None:
            wanted[:, place] = own[:, place].lerp(torch.full_like(own[:, place], value), abs(strength))
    return wanted


def require_tasks(names: str) -> tuple[Task, ...]:
    """The tasks that a setting names, with commas between. Raises :class:`FacemugError` for one that there is not."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in TASKS]:
        raise FacemugError(f"PSAM has no task {unknown[0]!r}: choose from {', '.join(TASKS)}")
    if not wanted:
        raise FacemugError(f"no task is named: choose from {', '.join(TASKS)}")
    return tuple(TASKS[name] for name in dict.fromkeys(wanted))


def readable(traits: Tensor) -> dict[str, Tensor]:
    """Name → [b] of traits [b,13], as the systems' faces bring them."""
    return dict(zip(TRAIT_NAMES, traits.unbind(1), strict=True))
