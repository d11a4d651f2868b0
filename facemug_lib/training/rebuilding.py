"""What image losses compare: the prior's pictures of codes, and the faces they should show."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rebuilt_and_target(prior: nn.Module, codes: Tensor, images: Tensor, known: Tensor | None,
                       size: int | None) -> tuple[Tensor, Tensor]:
    """The prior's pictures of ``codes`` [b,t,512] and what to compare them with, both [b,3,h,w]: the first b of ``images``.

    ``size`` is the pictures' side, None for the images' own. At a smaller one the targets are, where codes are ``known``, the
    prior's own pictures of these: each size has a picture head of its own, and two heads differ by more than good codes do.
    """
    count = len(codes)
    if size is None:
        return prior.synthesize(codes).float(), images[:count]
    rebuilt = prior.synthesize(codes, size).float()
    if known is None:
        return rebuilt, F.interpolate(images[:count], size=(size, size), mode="area")
    with torch.no_grad():
        return rebuilt, prior.synthesize(known[:count], size).float()
