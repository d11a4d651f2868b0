"""Differentiable-style augmentation of target faces for latent warping: scaling, shift, colour jitter, region masking.

The ranges of colour and shift are DiffAugment's (Zhao et al. 2020); the scaling range is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.modalities.draws import chance, uniform
from facemug_lib.modalities.masks import free_form


def augment_faces(images: Tensor, generator: torch.Generator, *, scale_range: float = 0.25, translation: float = 0.125,
                  brightness: float = 0.5, saturation: float = 1.0, contrast: float = 0.5,
                  masked_share: float = 0.5) -> Tensor:
    """I_a = augment(I_0) of FACEMUG Algorithm 2: images [b,3,h,w] in [-1,1] → the same shape and range.

    Keeps the pose, changes size, place and colours, and hides a free-form region (as zeros, "unknown") of ``masked_share`` of
    them. ``generator`` is a CPU one.
    """
    b, _, h, w = images.shape

    def per_sample(low: float, high: float, count: int = 1) -> Tensor:
        return uniform((b, count), low, high, generator).to(images.device)

    # Bilinear scaling by 2^U(±scale_range) and a shift: one resampling.
    zoom, shift = torch.exp2(-per_sample(-scale_range, scale_range)), per_sample(-2 * translation, 2 * translation, 2)
    theta = images.new_zeros(b, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom[:, 0]
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, (b, 1, h, w), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    images = images + per_sample(-brightness, brightness)[..., None, None]
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * per_sample(1 - saturation, 1 + saturation)[..., None, None]
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * per_sample(1 - contrast, 1 + contrast)[..., None, None]

    is_masked = chance((b,), masked_share, generator).to(images.device).view(-1, 1, 1, 1)
    return images.clamp(-1, 1) * (1 - free_form(b, h, w, generator, device=images.device) * is_masked)
