"""Faces varied at random, so that the networks meet more than the faces there are.

:func:`augment_faces` makes the targets of latent warping: scaling, shift, colour jitter, region masking. Its ranges of colour and
shift are DiffAugment's (Zhao et al. 2020); the scaling range is ours. :func:`jittered` and :func:`photograph` make sampled faces
and photographs look as if they came from other cameras.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.faces.dataset import FaceBatch, known_codes
from facemug_lib.modalities.draws import chance, uniform
from facemug_lib.modalities.masks import free_form
from facemug_lib.pictures import similarity_grid
from facemug_lib.training.profiles import GuidedSettings


def augment_faces(images: Tensor, generator: torch.Generator, *, scale_range: float = 0.25, translation: float = 0.125,
                  brightness: float = 0.5, saturation: float = 1.0, contrast: float = 0.5,
                  masked_share: float = 0.5) -> Tensor:
    """I_a, the augmented I_0 of FACEMUG Algorithm 2, line 3: images [b,3,h,w] in [-1,1] → the same shape and range.

    Keeps the pose, changes size, place and colours, and hides a free-form region (as zeros, "unknown") of ``masked_share`` of
    them. ``generator`` is a CPU one.
    """
    b, _, h, w = images.shape

    def per_sample(low: float, high: float, count: int = 1) -> Tensor:
        return uniform((b, count), low, high, generator).to(images.device)

    # Bilinear scaling by 2^U(±scale_range) and a shift: one resampling.
    zoom, shift = torch.exp2(-per_sample(-scale_range, scale_range)), per_sample(-2 * translation, 2 * translation, 2)
    grid = similarity_grid(images, torch.zeros_like(zoom[:, 0]), zoom[:, 0], shift)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    images = images + per_sample(-brightness, brightness)[..., None, None]
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * per_sample(1 - saturation, 1 + saturation)[..., None, None]
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * per_sample(1 - contrast, 1 + contrast)[..., None, None]

    is_masked = chance((b,), masked_share, generator).to(images.device).view(-1, 1, 1, 1)
    return images.clamp(-1, 1) * (1 - free_form(b, h, w, generator, device=images.device) * is_masked)


def jittered(images: Tensor, labels: Tensor | None, generator: torch.Generator, *, turn: float, zoom: float,
          shift: float) -> tuple[Tensor, Tensor | None]:
    """Faces [b,3,h,w] and their label maps [b,h,w] turned by up to ±``turn`` degrees, scaled by up to 2^±``zoom`` and shifted by
    up to ±``shift`` of the side. Pixels that come in from outside mirror the picture; their label is -1, unknown."""
    device, count = images.device, len(images)
    angle = uniform((count,), -turn, turn, generator).to(device) * math.pi / 180
    scale = torch.exp2(uniform((count,), -zoom, zoom, generator)).to(device)
    offset = 2 * uniform((count, 2), -shift, shift, generator).to(device)
    grid = similarity_grid(images, angle, scale, offset)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if labels is None:
        return images, None
    labels = F.grid_sample(labels[:, None].float() + 1, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return images, labels[:, 0].round().long() - 1


def varied_photographs(batch: FaceBatch, settings: GuidedSettings, generator: torch.Generator) -> FaceBatch:
    """The batch with its photographs moved and photographed a little otherwise; faces of known codes stay as they are."""
    s, known = settings, known_codes(batch)
    if s.real is None or bool(known.all()):
        return batch
    labels = batch.extra.get("labels")
    images, labels = jittered(batch.images, labels, generator, turn=s.real_turn, zoom=s.real_zoom, shift=s.real_shift)
    changed = chance((len(batch),), s.real_photographed, generator).to(images.device).view(-1, 1, 1, 1)
    images = torch.where(changed, photograph(images, generator), images)
    images = torch.where(known.view(-1, 1, 1, 1), batch.images, images)
    extra = dict(batch.extra)
    if labels is not None:
        extra["labels"] = torch.where(known.view(-1, 1, 1), batch.extra["labels"], labels)
    return FaceBatch(images, batch.codes, extra)


def photograph(images: Tensor, generator: torch.Generator) -> Tensor:
    """Exposure, contrast, gamma, white balance, saturation, softness and noise of everyday cameras; [b,3,h,w] in [-1,1]."""
    device, count = images.device, len(images)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return uniform((count, channels, 1, 1), low, high, generator).to(device)

    light = ((images + 1) / 2).clamp(1e-4, 1)
    light = light ** torch.exp2(draw(-0.6, 0.6))
    light = light * torch.exp2(draw(-0.4, 0.4)) * torch.exp2(draw(-0.15, 0.15, 3))
    grey = light.mean(1, keepdim=True)
    light = grey + (light - grey) * draw(0.3, 1.4)
    middle = light.mean((1, 2, 3), keepdim=True)
    light = middle + (light - middle) * draw(0.7, 1.3)
    images = light * 2 - 1
    # Unsharp masking and softening in one: mix with a blurred copy, by a negative or positive share.
    blurred = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    images = images + (blurred - images) * draw(-0.5, 0.9)
    noise = torch.randn(images.shape, generator=generator).to(device)
    return (images + noise * draw(0.0, 0.06)).clamp(-1, 1)
