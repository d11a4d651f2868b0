"""How well the expert agrees with its teachers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.experts.student import ATTRIBUTES, ExpertStudent
from facemug_lib.modalities.semantics import NUM_CLASSES, SEMANTIC_CLASSES

if TYPE_CHECKING:
    from facemug_lib.training.distillation.teachers import Teachers

FREQUENT_CLASSES = ("background", "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "u_lip", "l_lip", "hair", "neck", "cloth")
"""The twelve classes that appear in most aligned faces (each in at least four of five)."""


@dataclass(frozen=True)
class Agreement:
    """Expert against teachers over a set of images.

    ``iou``: per class, over all pixels of the set; NaN for a class that neither names. ``accuracy``: share of equal pixels.
    ``attributes``: correlation of the numbers, and share of equal decisions where the expert emits a logit.
    ``confusion`` [19,19] counts pixels: rows the teacher's class, columns the expert's.
    """

    iou: dict[str, float]
    accuracy: float
    attributes: dict[str, float]
    confusion: Tensor
    images: int

    @property
    def miou(self) -> float:
        """Mean IoU over :data:`FREQUENT_CLASSES`."""
        return sum(self.iou[name] for name in FREQUENT_CLASSES) / len(FREQUENT_CLASSES)

    def summary(self) -> dict[str, float]:
        """The numbers worth logging, by name."""
        return {"miou12": self.miou, "pixel_accuracy": self.accuracy, **self.attributes}


def confused(guess: Tensor, truth: Tensor) -> Tensor:
    """How many pixels of label maps [b,h,w] are what and are taken for what, long [19,19] on the CPU: rows the truth, columns the
    guess. Unknown pixels are left out."""
    known = truth >= 0
    pairs = truth[known] * NUM_CLASSES + guess[known]
    return torch.bincount(pairs, minlength=NUM_CLASSES**2).view(NUM_CLASSES, NUM_CLASSES).cpu()


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union [19] of each class; NaN for one that appears on neither side."""
    hit = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - hit
    return torch.where(union > 0, hit / union, torch.nan)


@torch.no_grad()
def compare(student: ExpertStudent, images: Tensor, labels: Tensor, attributes: Tensor, batch: int = 8) -> Agreement:
    """``student`` on images [n,3,h,w] against the teachers' labels [n,h,w] and attributes [n,10], NaN = unknown."""
    confusion = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.long)
    read = []
    for part, truth in zip(images.split(batch), labels.split(batch), strict=True):
        output = student(part)
        confusion += confused(output.semantics.argmax(1), truth)
        read.append(torch.stack([output.attributes[name] for name in ATTRIBUTES], 1))
    agreed = _attribute_agreement(torch.cat(read).cpu().double(), attributes.cpu().double())
    per_class = dict(zip(SEMANTIC_CLASSES, class_iou(confusion).tolist(), strict=True))
    return Agreement(per_class, float(confusion.diagonal().sum() / confusion.sum()), agreed, confusion, len(images))


def agreement(student: ExpertStudent, teachers: Teachers, images: Tensor | Iterable[Tensor], batch: int = 8) -> Agreement:
    """Ask ``teachers`` about images [n,3,h,w] (or an iterable of [b,3,h,w]) and :func:`compare`."""
    parts = images.split(batch) if isinstance(images, Tensor) else list(images)
    labels = [teachers.parse(part) for part in parts]
    attributes = [teachers.attributes(part, label) for part, label in zip(parts, labels, strict=True)]
    return compare(student, torch.cat(list(parts)), torch.cat(labels), torch.cat(attributes), batch)


def _attribute_agreement(read: Tensor, targets: Tensor) -> dict[str, float]:
    result = {}
    for column, (name, attribute) in enumerate(ATTRIBUTES.items()):
        known = targets[:, column].isfinite()
        mine, theirs = read[known, column], targets[known, column]
        if len(mine) < 3:
            continue  # neither a share nor a correlation says anything
        if attribute.logit:
            result[name] = float(((mine > 0) == (theirs > 0.5)).double().mean())
        else:
            result[name] = float(torch.corrcoef(torch.stack((mine, theirs)))[0, 1])
    return result
