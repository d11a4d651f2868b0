"""The photo's own size: an edit that is finished at 256 px gets the fine detail of the same picture painted larger.

The prior paints up to 1024 px. Blending, tones, colours and the generator's correction decide the coarse part at 256 px, as they
always do; what is finer than those pixels comes from the larger picture, as much of it as the photo shows beside the hole. So a
larger edit is the smaller one with detail, and not another one. (The split is that of Burt and Adelson, "A Multiresolution
Spline", 1983, with one level.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.fill.blending import RING, grown
from facemug_lib.pictures import luma, reduced
from facemug_lib.progress import Check, unchecked

COARSE = 256  # side of the finished edit [px]
GAINS = (0.1, 1.1)  # least and most of the larger picture's detail; photos are often softer than the prior, seldom sharper
SMOOTH_SHARE = 0.25  # of the pixels, those with the least detail: what is left there is grain


def enlarged(coarse: Tensor, size: int) -> Tensor:
    """Pictures [b,c,h,h] at ``size`` px without new detail."""
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)


def fine(picture: Tensor) -> Tensor:
    """What of pictures [b,c,s,s] is finer than :data:`COARSE` px, [b,c,s,s]."""
    return picture - enlarged(reduced(picture, COARSE), picture.shape[-1])


def detailed(coarse: Tensor, raw: Tensor, photo: Tensor, mask: Tensor, seed: int = 0, *, grain: bool = True,
             check: Check = unchecked) -> Tensor:
    """``coarse`` [1,3,256,256], a finished edit, with the detail of ``raw`` [1,3,s,s] in the hole ``mask`` [1,1,s,s] of ``photo``
    [1,3,s,s]; pictures in [-1,1]. Outside of the hole the photo is copied bit for bit.

    ``raw`` is what the prior paints there, at s px. Its detail is scaled to the photo's (:func:`detail_gain`); with ``grain`` it
    also gets the photo's noise, drawn from ``seed``, where the photo has more. ``check`` is called between these; it may raise.
    """
    known, size = mask < 0.5, photo.shape[-1]
    detail, own = fine(raw), fine(photo)
    check()
    detail = detail * detail_gain(raw, photo, detail, own, mask)
    check()
    made = enlarged(coarse, size) + detail
    if grain and bool(known.any()):
        missing = max(0.0, noise_of(own, known) ** 2 - noise_of(detail, ~known) ** 2) ** 0.5
        check()
        draw = torch.Generator().manual_seed(seed)
        noise = fine(torch.randn(1, 1, size, size, generator=draw)).to(made)
        made = made + missing * noise / noise.std()
    return torch.where(known, photo, made.clamp(-1, 1))


def detail_gain(raw: Tensor, photo: Tensor, detail: Tensor, own: Tensor, mask: Tensor) -> float:
    """How much more detail ``own`` the photo has beside the hole than the painted picture has there (``detail``), in
    :data:`GAINS`; 1 where nothing is known.

    Compared where the two agree best: the third of the known pixels within :data:`RING` px of 256 of the hole whose coarse parts
    differ least. There both show the same thing, a cheek or a strand of hair.
    """
    scale = photo.shape[-1] / COARSE
    near = grown(mask, round(RING * scale)) & (mask < 0.5)
    where = near if int(near.sum()) >= 64 else mask < 0.5
    if not bool(where.any()):
        return 1.0
    error = ((raw - detail) - (photo - own)).abs().mean(1, keepdim=True)[where]
    agreeing = error <= error.kthvalue(max(1, len(error) // 3)).values
    sizes = [part.abs().mean(1, keepdim=True)[where][agreeing].mean() for part in (own, detail)]
    return float((sizes[0] / sizes[1].clamp_min(1e-4)).clamp(*GAINS))


def noise_of(detail: Tensor, where: Tensor) -> float:
    """The standard deviation of the grain in ``detail`` [1,3,s,s] at ``where`` [1,1,s,s]: of its brightness, in the
    :data:`SMOOTH_SHARE` of the neighbourhoods (8×8 px) that have the least."""
    side = 8
    inside = F.avg_pool2d(where.float(), side) == 1
    power = F.avg_pool2d(luma(detail).square(), side)[inside]
    if not len(power):
        return 0.0
    return float(power.sort().values[: max(1, int(SMOOTH_SHARE * len(power)))].mean().sqrt())
