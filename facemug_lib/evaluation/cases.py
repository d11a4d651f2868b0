"""Test faces with holes: what every method is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.pictures import as_8_bit, to_pixels
from facemug_lib.store import digest


@dataclass(frozen=True, eq=False)
class Cases:
    """Some test faces with holes.

    images [n,3,256,256] float32 in [-1,1] on the 8-bit grid; masks [n,1,256,256] in {0,1}, 1 = hole; labels [n,256,256] long, the
    expert's parse of the true face; exemplars [n,3,256,256], another face of the same set; seeds, an edit seed for each.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    exemplars: Tensor
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """SHA-256 of all that a method may look at."""
        return digest(torch.tensor(self.seeds), to_pixels(self.images), self.masks > 0.5, self.labels.to(torch.int8),
                      to_pixels(self.exemplars))


def subset(cases: Cases, places: Sequence[int]) -> Cases:
    """Some of the cases."""
    places = list(places)
    return replace(cases, images=cases.images[places], masks=cases.masks[places], labels=cases.labels[places],
                   exemplars=cases.exemplars[places], seeds=tuple(cases.seeds[place] for place in places))


def in_batches(cases: Cases) -> Iterator[Cases]:
    """The cases in the batches that share a pass through the networks (:data:`facemug_lib.devices.BATCH`)."""
    for places in batches(len(cases)):
        yield subset(cases, places)


def completed(filled: Tensor, cases: Cases) -> Tensor:
    """``filled`` [n,3,256,256] as an 8-bit file keeps it, with the cases' own pixels outside the holes, bit for bit."""
    return torch.where(cases.masks > 0.5, as_8_bit(filled), cases.images)
