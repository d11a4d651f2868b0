"""Makeup without a makeup data set: colours of lips, lids and cheeks are measured with the parse, and moved there.

How made-up a face is, is where its region's colour, relative to its skin, lies between the median of faces and their most
coloured few percent. The same scale, read backwards, says by how much a region's colour must be moved for any other amount. So
every face is its own known pair.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

PLACES = ("lips", "eyes", "cheeks")
CHEEKS = ((0.355, 0.600), (0.645, 0.600))  # centres (x, y) on FFHQ-aligned faces, as shares of the side …
CHEEK_SPREAD = (0.075, 0.055)  # … and their deviations
LID = 0.035  # how far the lid's colour reaches above the eye, as a share of the side
LEAST = 20.0  # pixels of 128² below which a region says nothing


class Look(NamedTuple):
    """Colours relative to the skin's, [3 places, 3 channels], in units of pictures in [-1,1]: usual, and made up."""

    usual: Tensor
    made_up: Tensor


# Measured by `measured_look` on 320 sampled faces of 128 px (psi 0.7 to 1); notebook 12 measures again.
LOOK = Look(usual=torch.tensor([[-0.073, -0.279, -0.164], [-0.426, -0.358, -0.311], [0.088, 0.045, 0.057]]),
            made_up=torch.tensor([[0.030, -0.416, -0.236], [-0.779, -0.686, -0.626], [0.182, 0.073, 0.056]]))


def _classes(labels: Tensor, names: tuple[str, ...]) -> Tensor:
    return torch.stack([labels == SEMANTIC_CLASSES.index(name) for name in names]).any(0)[:, None].float()


def _blurred(mask: Tensor, radius: float) -> Tensor:
    """A Gaussian blur of masks [b,1,h,w]; ``radius``: its deviation in pixels."""
    reach = max(1, round(2.5 * radius))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=mask.device, dtype=mask.dtype) / radius) ** 2)
    taps = taps / taps.sum()
    mask = F.conv2d(F.pad(mask, (reach, reach, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))
    return F.conv2d(F.pad(mask, (0, 0, reach, reach), mode="replicate"), taps.view(1, 1, -1, 1))


def regions(labels: Tensor) -> Tensor:
    """Where makeup goes, soft masks [b,3,h,w] in [0,1] for lips, lids and cheeks, of label maps [b,h,w]."""
    h, w = labels.shape[1:]
    pixel = h / 128
    skin = _classes(labels, ("skin", "nose"))
    lips = _blurred(_classes(labels, ("u_lip", "l_lip")), 0.8 * pixel)
    eyes = _classes(labels, ("l_eye", "r_eye"))
    # The lid: skin just above the eye, fading upwards. The eye's own pixels stay as they are.
    lifted = torch.zeros_like(eyes)
    for row in range(1, max(2, round(LID * h)) + 1):
        lifted[:, :, :-row] = torch.maximum(lifted[:, :, :-row], eyes[:, :, row:] * (1 - 0.6 * row / (LID * h + 1)))
    lids = _blurred(lifted * skin, 1.2 * pixel) * (1 - _blurred(eyes, 0.6 * pixel))
    y = (torch.arange(h, device=labels.device) + 0.5).view(-1, 1) / h
    x = (torch.arange(w, device=labels.device) + 0.5).view(1, -1) / w
    spots = sum(torch.exp(-0.5 * (((x - cx) / CHEEK_SPREAD[0]) ** 2 + ((y - cy) / CHEEK_SPREAD[1]) ** 2)) for cx, cy in CHEEKS)
    cheeks = spots.clamp(max=1)[None, None] * _blurred(_classes(labels, ("skin",)), 1.5 * pixel)
    return torch.cat((lips, lids, cheeks), dim=1)


def relative_colours(images: Tensor, labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean colour of each region of :func:`regions` minus that of the skin, [b,3 places,3 channels]; NaN where it cannot be seen.

    images [b,3,h,w] in [-1,1], label maps [b,h,w]; ``where``: the regions, where they are known already.
    """
    where = regions(labels) if where is None else where
    weights = torch.cat((where, _classes(labels, ("skin",))), dim=1)
    total = weights.sum((2, 3))
    means = torch.einsum("bphw,bchw->bpc", weights, images) / total.clamp(min=1e-6)[..., None]
    least = LEAST * labels[0].numel() / 128**2
    means = means.masked_fill((total < least)[..., None], torch.nan)
    return means[:, :3] - means[:, 3:]


def measured_look(images: Tensor, labels: Tensor, share: float = 0.05) -> Look:
    """The usual look of faces, and the made-up one: per place the medians, and the mean of the most coloured ``share`` of faces.

    Most coloured means: lips and cheeks whose red is furthest above their green, lids that are darkest against the skin.
    """
    colours = relative_colours(images, labels)
    usual, made_up = [], []
    for place in range(3):
        own = colours[:, place]
        own = own[own.isfinite().all(1)]
        strength = own[:, 0] - own[:, 1] if place != 1 else -own.mean(1)
        top = strength.topk(max(1, round(share * len(own)))).indices
        usual.append(own.median(0).values)
        made_up.append(own[top].mean(0))
    return Look(torch.stack(usual), torch.stack(made_up))


def amounts(images: Tensor, labels: Tensor, look: Look = LOOK, where: Tensor | None = None) -> dict[str, Tensor]:
    """How made-up faces are: place → [b], 0 = as usual, 1 = as the made-up look, on the line between the two. What cannot be seen
    counts as usual."""
    span = (look.made_up - look.usual).to(images)
    beyond = relative_colours(images, labels, where) - look.usual.to(images)
    along = (beyond * span).sum(2) / span.square().sum(1)
    return dict(zip(PLACES, torch.nan_to_num(along, nan=0.0).unbind(1), strict=True))


def made_up(images: Tensor, labels: Tensor, change: Tensor, look: Look = LOOK, where: Tensor | None = None) -> Tensor:
    """Faces [b,3,h,w] with their makeup changed by ``change`` [b,3] of the whole scale at lips, lids and cheeks.

    The region's colour is shifted; its shading, shine and texture stay. Zero changes nothing.
    """
    where = regions(labels) if where is None else where
    span = (look.made_up - look.usual).to(images)
    # A soft mask moves the region's weighted mean by less than its peak: divided out, so that `amounts` reads what was asked.
    reach = where.square().sum((2, 3)) / where.sum((2, 3)).clamp(min=1e-6)
    shift = torch.einsum("bp,pc->bpc", change / reach.clamp(min=0.2), span)
    return (images + torch.einsum("bphw,bpc->bchw", where, shift)).clamp(-1, 1)
