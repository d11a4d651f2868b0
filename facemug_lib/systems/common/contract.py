"""What a sibling system is to the rest of the house; :mod:`facemug_lib.systems` tells it in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.weights import load_module, read_weights

if TYPE_CHECKING:
    from facemug_lib.training.stage import StageClass

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class SystemAttribute:
    """Something that a system can change. 0 changes nothing, 1 is the method's own whole edit.

    ``meaning``: what a positive strength does and, where ``low`` is below 0, what a negative one does. ``low``, ``high``: the
    strengths that make sense. ``trait``: the trait of :data:`facemug_lib.experts.traits.TRAITS` that tells whether it worked,
    which rises with the strength; None where no judge reads it.
    """

    meaning: str
    low: float = -1.0
    high: float = 1.0
    trait: str | None = None


class System(Protocol):
    """A trained system. The class stands in the system's own file, which names it ``SYSTEM``."""

    name: ClassVar[str]  # of the file, of the stage and of the weights
    title: ClassVar[str]  # the paper, in a line
    stage: ClassVar[type[StageClass]]
    all_attributes: ClassVar[Mapping[str, SystemAttribute]]  # what it can be trained for
    size: int  # side of the pictures that it takes and gives
    attributes: Mapping[str, SystemAttribute]  # what these weights were trained for
    networks: nn.Module  # all that decides a picture: its weights tell one trained system from another

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """The system of a weights file (use :func:`load_networks`)."""
        ...

    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """Edited pictures of aligned faces, both [b,3,size,size] in [-1,1]; ``strengths`` are checked, and at least one is given.

        A pure function of its arguments: no randomness, no gradients. ``images`` are on the system's device.
        """
        ...


def load_networks(name: str, path: Path, build: Callable[[dict[str, Any]], Module], device: torch.device | str) -> Module:
    """The networks of system ``name`` from its weights file, frozen: ``build(config)`` filled with the file's tensors.

    The stage must have exported them with ``"system": name`` in their config. Raises :class:`FacemugError` for a file that is not
    there, is of another system, or does not fit the network that its header describes.
    """
    if not path.is_file():
        raise FacemugError(f"no weights of {name} at {path}: train them with `facemug train {name} --install`, or name a file")
    _, config, card = read_weights(path)
    if config.get("system") != name:
        raise FacemugError(f"{path} holds weights of {config.get('system') or card.get('stage') or 'another network'}, not of "
                           f"{name}: name a file that `facemug train {name}` wrote")
    return load_module(path, build, device)


def checked_strengths(strengths: Mapping[str, float], attributes: Mapping[str, SystemAttribute], name: str,
                      all_attributes: Mapping[str, SystemAttribute] | None = None) -> dict[str, float]:
    """The strengths as floats; what system ``name`` with these trained ``attributes`` cannot do is refused in one line."""
    if not strengths:
        raise FacemugError(f"nothing to change: give {name} a strength for one of {', '.join(attributes)}")
    checked = {}
    for attribute, strength in strengths.items():
        if attribute not in attributes:
            known = attribute in (all_attributes or {})
            why = "these weights were not trained for it" if known else f"{name} has no attribute of that name"
            raise FacemugError(f"no attribute {attribute!r}: {why}, choose from {', '.join(attributes)}")
        one = attributes[attribute]
        is_number = isinstance(strength, int | float) and not isinstance(strength, bool) and math.isfinite(strength)
        if not is_number or not one.low <= strength <= one.high:
            raise FacemugError(f"strength of {attribute} is {strength!r}: {name} takes {one.low:g} to {one.high:g}, 0 changes "
                               "nothing")
        checked[attribute] = float(strength)
    return checked


@torch.no_grad()
def edited(system: System, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
    """:meth:`System.edit` with everything checked: pictures [b,3,size,size] in [-1,1] to the same, on the system's device.

    Strengths of 0 are left out; where nothing is left, the pictures come back as they are.
    """
    wanted = {name: value for name, value in
              checked_strengths(strengths, system.attributes, system.name, system.all_attributes).items() if value}
    if images.ndim != 4 or images.shape[1:] != (3, system.size, system.size):
        raise FacemugError(f"pictures of shape {list(images.shape)}: {system.name} takes [b, 3, {system.size}, {system.size}] "
                           "in [-1, 1], aligned faces")
    images = images.to(next(system.networks.parameters()).device, torch.float32)
    return system.edit(images, wanted).float().clamp(-1, 1) if wanted else images
