"""What of a known pair is worth learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from facemug_lib.systems.common.scores import CHANGED, around

LEAST = 0.005
"""Of a difference that others are measured by, pictures in [-1,1]. Faces with other makeup are 0.002 apart, with another
expression 0.055: measured by so little, makeup alone would decide what a network learns that has both to do."""
SOFT = 0.05  # below this a difference counts by its square, pictures in [-1,1]


class PairSettings(Protocol):
    """The settings of a system that learns from known pairs."""

    pair_weight: float
    pair_lpips_weight: float


def soft_distance(image: Tensor, target: Tensor) -> Tensor:
    """√(d² + s²) − s of pictures [b,3,h,w], mean of each, [b]: the absolute difference d, but without its corner at 0.

    Where some faces are to grow lighter, others darker and others to stay, the corner makes "change nothing" a place that a
    network does not leave: it pulls every output back to 0 as strongly as the targets pull it away.
    """
    difference = image.float() - target
    return ((difference.square() + SOFT**2).sqrt() - SOFT).mean((1, 2, 3))


def share_left(made: Tensor, images: Tensor, target: Tensor) -> Tensor:
    """How much of what is to change is still to be changed: the distance made–target over images–target, all [b,3,h,w].

    Distances are :func:`soft_distance`. 1 for faces left as they are, 0 for targets met. A smile changes half as much of a
    picture as another age; so measured, both count alike. What changes less than :data:`LEAST` counts less. Faces that are to
    stay count above the line and not below it; where all are to stay, the line is 1.
    """
    apart = soft_distance(images, target)
    changing = apart > 0
    scale = (apart * changing).sum() / changing.sum().clamp(min=1)
    return soft_distance(made, target).mean() / torch.where(changing.any(), scale.clamp(min=LEAST), 1.0)


def pair_terms(settings: PairSettings, perceptual: Callable[[Tensor, Tensor], Tensor] | None, made: Tensor, images: Tensor,
               target: Tensor) -> dict[str, tuple[float, Tensor]]:
    """What edited faces [b,3,h,w] are told by their known pairs: loss → (weight, value)."""
    terms = {"pair": (settings.pair_weight, share_left(made, images, target))}
    if perceptual is not None:
        terms["pair_lpips"] = (settings.pair_lpips_weight, perceptual(made, target).float().mean())
    return terms


def attribute_alone(images: Tensor, pair: Tensor) -> Tensor:
    """The pair where it clearly differs from the face, the face elsewhere, softly in between; all [b,3,h,w] in [-1,1].

    A direction of the prior also moves a background a little, each time otherwise. Nobody could foresee that, and an edit
    should leave it alone. Clearly is :data:`.scores.CHANGED` on average around a point, as for the scores.
    """
    share = around((around((images - pair).abs().mean(1, keepdim=True)) / CHANGED).clamp(0, 1))
    return images.lerp(pair, share)
