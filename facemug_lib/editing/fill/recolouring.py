"""Colours that are obeyed: a painted region gets the colour that was asked for, and keeps its shading and texture.

The paper's colour modality holds the mean colour of every semantic region (FACEMUG §II-F4). One pass of the networks follows it
only roughly. Once the picture is painted, the difference to the wanted colour can be measured, and is added here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
import skimage.measure
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.modalities.colour import area_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

ONE_COLOUR = (("skin", "nose", "l_ear", "r_ear", "neck"), ("l_brow", "r_brow"), ("l_eye", "r_eye"), ("u_lip", "l_lip"))
"""Classes that a stroke means together; every other class is a region by itself."""
LEVELS = 32  # of each channel, in which two neighbouring pixels must agree to be one stroke
SMALLEST = 16  # pixels; smaller ones are the soft edges of others
LEAST_STROKE_SHARE = 0.1  # share of a stroke that must lie on the region it means
SEAM = 12.0
_REGIONS = tuple(tuple(SEMANTIC_CLASSES.index(name) for name in names) for names in (
    *ONE_COLOUR, *((name,) for name in SEMANTIC_CLASSES if not any(name in several for several in ONE_COLOUR))))
_REGION_OF = (0, *(1 + next(region for region, indices in enumerate(_REGIONS) if index in indices)
                   for index in range(len(SEMANTIC_CLASSES))))  # of label + 1; 0 is for what is not labelled


def regions(classes: Tensor, groups: Sequence[Sequence[int]] = _REGIONS) -> Tensor:
    """Scores of the 19 classes [b,19,h,w] summed up to those of groups, [b,r,h,w]; by default the regions of one colour."""
    return torch.stack([classes[:, list(indices)].sum(1) for indices in groups], dim=1)


def recoloured(image: Tensor, colour: Tensor, mask: Tensor, seen: Tensor, meant: Tensor) -> Tensor:
    """``image`` with the colours of ``colour`` under ``mask`` [b,1,h,w]; pictures [b,3,h,w] in [-1,1], h and w even.

    Pixels of ``colour`` that are not 0 are painted. ``seen`` [b,19,h,w] are the probabilities of the classes in ``image``;
    ``meant`` [b,h,w] are labels of what the strokes were painted on, -1 = nothing.

    1. A stroke is a connected area of one colour. It means the region that most of it was painted on.
    2. Only its pixels that show this region in ``image`` count: where hair has become short, a colour for hair must not dye the
       wall. Their mean colour and the stroke's give a shift.
    3. Normalised convolution (Knutsson and Westin, 1993) spreads the shifts over the whole region, which several strokes share.
    4. A small stroke may lie in a shadow. So the region's mean is then moved to the mean of its colours.
    5. Where the region goes on beyond the mask, the shift fades over about :data:`SEAM` pixels.
    """
    moved = [_recoloured(*sample) for sample in zip(image, colour, mask, regions(seen), meant, strict=True)]
    return torch.where(mask > 0.5, torch.stack(moved).clamp(-1, 1), image)


def recoloured_like(parser: nn.Module, image: Tensor, photo: Tensor, conditions: Conditions, influence: float) -> Tensor:
    """Finished pictures [b,3,h,w] in the colours that were asked for, by ``influence`` 0 … 1 of the way.

    What a stroke was painted on is what the labels under it say, and without labels what the photo shows there.
    """
    wanted = conditions.present[:, MODALITIES.index("colour")]
    pictures, drawn = image[wanted], conditions.semantics[wanted]
    meant = torch.where(drawn.any(dim=1), drawn.argmax(dim=1), parser(photo[wanted]).semantics.argmax(dim=1))
    made = recoloured(pictures, conditions.colour[wanted], conditions.mask[wanted],
                      parser(pictures).semantics.softmax(dim=1), meant)
    image = image.clone()
    image[wanted] = torch.lerp(pictures, made, min(1.0, influence))
    return image


def _recoloured(image: Tensor, colour: Tensor, mask: Tensor, shares: Tensor, meant: Tensor) -> Tensor:
    found = shares.argmax(dim=0)
    strokes = _strokes(colour, mask)
    is_shown = _says(strokes, meant, found)
    wanted = torch.cat((colour, colour - image))  # the colours, and the ways to them
    wanted = area_mean(wanted[None], (strokes * is_shown)[None], int(strokes.max()) + 1)
    shift = torch.zeros_like(image)
    for region in range(len(shares)):
        known = (is_shown & (found == region)).to(image)
        if bool(known.any()):
            matte = shares[region] * mask[0]
            target, way = spread(wanted, known[None, None])[0].split(3)
            missing = ((target - image - way) * matte).sum((1, 2)) / matte.sum()
            fading = _fading((found == region) & (mask[0] < 0.5))
            shift = shift + shares[region] * fading * (way + missing[:, None, None])
    return image + shift


def _fading(kept: Tensor) -> Tensor:
    """How much may change, 0 … 1, near what keeps its colour, bool [h,w]."""
    if not bool(kept.any()):
        return torch.ones(kept.shape, device=kept.device)
    distance = scipy.ndimage.distance_transform_edt(~kept.cpu().numpy())
    return torch.from_numpy(1 - np.exp(-np.square(distance / SEAM))).to(kept.device, torch.float32)


def _strokes(colour: Tensor, mask: Tensor) -> Tensor:
    """Number of the stroke that each pixel belongs to, long [h,w]; 0 = not painted."""
    painted = (colour != 0).any(0) & (mask[0] > 0.5)
    level = ((colour + 1) * (LEVELS / 2)).long().clamp(0, LEVELS - 1)
    value = (1 + (level[0] * LEVELS + level[1]) * LEVELS + level[2]) * painted
    return torch.from_numpy(skimage.measure.label(value.cpu().numpy(), background=0, connectivity=1).astype(np.int64)).to(
        colour.device)


def _says(strokes: Tensor, meant: Tensor, found: Tensor) -> Tensor:
    """Where a stroke lies on the region that it means, bool [h,w]; ``found`` [h,w] is the region that is seen there."""
    count, names = int(strokes.max()) + 1, len(_REGIONS) + 1

    def votes(of: Tensor) -> Tensor:
        return torch.bincount((strokes * names + of).flatten(), minlength=count * names).view(count, names)

    most, wanted = votes(torch.tensor(_REGION_OF, device=strokes.device)[meant.long() + 1])[:, 1:].max(dim=1)
    there = votes(1 + found)[:, 1:]
    size = there.sum(1)
    counts = (most > 0) & (size >= SMALLEST) & (there.gather(1, wanted[:, None])[:, 0] >= LEAST_STROKE_SHARE * size)
    counts[0] = False  # what is not painted
    return counts[strokes] & (wanted[strokes] == found)


def spread(values: Tensor, known: Tensor) -> Tensor:
    """``values`` [b,c,h,w] where ``known`` [b,1,h,w] is 1, and everywhere else what is known near by; h and w even.

    The weight of a known pixel at a distance of r is 1/(1 + (r/2)²)²: no scale is preferred, so that close strokes meet sharply
    and distant ones run into each other softly.
    """
    coarse = F.avg_pool2d(torch.cat((values * known, known), dim=1), 2).double()  # a quarter of the work, and hardly to be seen
    h, w = coarse.shape[2:]
    ys, xs = (torch.minimum(torch.arange(2 * n), 2 * n - torch.arange(2 * n)).to(coarse) for n in (h, w))  # wrapped around
    weight = torch.fft.rfft2((1 + ys[:, None].square() + xs.square()) ** -2)
    sums = torch.fft.irfft2(torch.fft.rfft2(coarse, s=(2 * h, 2 * w)) * weight, s=(2 * h, 2 * w))[..., :h, :w]
    filled = (sums[:, :-1] / sums[:, -1:].clamp_min(1e-12)).to(values)
    return F.interpolate(filled, values.shape[2:], mode="bilinear", align_corners=False)
