"""Label maps for faces that come without any, and conditions that leave nothing to chance, for evaluations and pictures.

The random ones of training are :func:`facemug_lib.modalities.dropout.training_conditions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.sketch import pencil_sketch

GUIDANCE = MODALITIES[1:]


class Parser(Protocol):
    """Whoever labels faces: the expert, or what teaches it."""

    def parse(self, images: Tensor) -> Tensor:
        """Label maps, long [b,h,w], of images [b,3,h,w] in [-1,1]."""
        ...


def labels_from(batch: FaceBatch, expert: Parser | None) -> Tensor:
    """Label maps [b,h,w] of a batch: those it carries; of a face without one, or of which nothing is known, the expert's parse.

    The expert is asked only where it is needed.
    """
    labels = batch.extra.get("labels")
    is_unread = torch.ones(len(batch), dtype=torch.bool) if labels is None else (labels < 0).flatten(1).all(1)
    if not bool(is_unread.any()):
        return labels
    if expert is None:
        raise FacemugError("no label maps: train the expert first (`facemug train expert --install`), or put labels/<name>.png "
                           "beside the images")
    with torch.no_grad():
        parsed = expert.parse(batch.images[is_unread.to(batch.images.device)]).to(batch.images.device)
    if labels is None:
        return parsed
    labels = labels.clone()
    labels[is_unread] = parsed.to(labels.dtype)
    return labels


def whole_conditions(images: Tensor, labels: Tensor, mask: Tensor, guidance: Iterable[str] = GUIDANCE) -> Conditions:
    """Masked images with the named guidance shown everywhere and the others absent: what evaluations and grids use."""
    everything = Conditions.build(mask, images, pencil_sketch(images), labels, region_mean(images, labels), check=False)
    return everything.select(("image", *guidance))
