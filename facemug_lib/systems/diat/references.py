"""DIAT's references: what a face shall have, how the expert says whether it has it, and which user's attribute asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.systems.common.rendering import SIDES, TRAIT_NAMES


class Reference(NamedTuple):
    """One reference: the attribute that it belongs to, and on which side of the average it lies, +1 above or −1 below."""

    attribute: str
    side: int


REFERENCES: dict[str, Reference] = {
    "smiling": Reference("smile", 1), "unsmiling": Reference("smile", -1),
    "mouth_open": Reference("mouth_open", 1), "mouth_closed": Reference("mouth_open", -1),
    "no_glasses": Reference("glasses", -1),
    "older": Reference("age", 1), "younger": Reference("age", -1),
    "male": Reference("gender", 1), "female": Reference("gender", -1),
}
"""Everything that DIAT can be trained for: expressions, accessory removal, age progression, gender transfer."""


def references_of(attributes: tuple[str, ...], side: str = "both") -> tuple[str, ...]:
    """Names of the references of attributes; ``side`` "up" or "down" takes those of one side alone."""
    sides = {"both": (1, -1), "up": (1,), "down": (-1,)}[side]
    found = tuple(name for attribute in attributes for name, one in REFERENCES.items()
                  if one.attribute == attribute and one.side in sides)
    reached = {REFERENCES[name].attribute for name in found}
    if without := [attribute for attribute in attributes if attribute not in reached]:
        every = dict.fromkeys(one.attribute for one in REFERENCES.values())
        way = "" if side == "both" else f"{side}wards "
        raise FacemugError(f"DIAT has no reference {way}for {without[0]!r}: use attributes of {', '.join(every)}")
    return found


def has(traits: Tensor, names: tuple[str, ...]) -> Tensor:
    """Which references faces with traits [b,13] have, bool [b,k]; a trait that cannot be read (NaN) has none."""
    columns = []
    for name in names:
        attribute, side = REFERENCES[name]
        value = traits[:, TRAIT_NAMES.index(SIDES[attribute].trait)]
        columns.append(side * (value - SIDES[attribute].middle) > 0)
    return torch.stack(columns, dim=1)


@dataclass(frozen=True)
class Transfers:
    """Faces and what they shall have.

    source [b,3,s,s] and reference [b] (long); target [b,3,s,s], known where ``paired`` [b]; real [b,3,s,s]: a real face that has
    ``real_reference`` [b], where ``is_real`` [b].
    """

    source: Tensor
    reference: Tensor
    target: Tensor
    paired: Tensor
    real: Tensor
    real_reference: Tensor
    is_real: Tensor


def transfers(batch: FaceBatch, attributes: tuple[str, ...], names: tuple[str, ...], generator: torch.Generator) -> Transfers:
    """What to learn from a batch of the systems' faces, whose streams are ``attributes``, for the references ``names``.

    A sampled face is to become what its pair is; where that is no reference (glasses are taken off, never put on) the two change
    places. A photograph gets a reference that it has not, and is a real face for one that it has, both drawn at random.
    """
    extra = batch.extra
    stream = extra["strength"].abs().argmax(1)
    table = torch.full((len(attributes), 2), -1)
    for place, name in enumerate(names):
        table[attributes.index(REFERENCES[name].attribute), int(REFERENCES[name].side > 0)] = place
    upwards = (extra["strength"].gather(1, stream[:, None])[:, 0] > 0).long()
    wanted, backwards = (table.to(stream.device)[stream, way] for way in (upwards, 1 - upwards))
    turned = (wanted < 0).view(-1, 1, 1, 1)
    source, target = (torch.where(turned, b, a) for a, b in ((batch.images, extra["pair"]), (extra["pair"], batch.images)))
    reference = torch.where(wanted < 0, backwards, wanted)
    paired = extra["has_pair"] & (extra["strength"].abs().amax(1) > 0)

    owned = has(extra["traits"], names)
    draws = torch.rand(2, *owned.shape, generator=generator).to(owned.device)
    lacking = torch.where(owned, -1.0, draws[0]).argmax(1)  # of a photograph that has them all: the first
    having = torch.where(owned, draws[1], -1.0)
    reference = torch.where(paired, reference, lacking)
    real_reference = torch.where(paired, reference, having.argmax(1))
    is_real = torch.where(paired, has(torch.where(turned[:, :, 0, 0], extra["traits"], extra["pair_traits"]), names).gather(
        1, reference[:, None])[:, 0], owned.any(1))
    return Transfers(source, reference, target, paired, torch.where(paired.view(-1, 1, 1, 1), target, batch.images),
                     real_reference, is_real)

