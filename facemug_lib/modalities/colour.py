"""The colour modality ``[b, 3, h, w]`` in [-1, 1]: flat colours that say what a region should look like.

The paper's rule is the mean colour of every semantic region (:func:`region_mean`); the authors' released trainer reads
superpixel maps instead (:func:`superpixels`). The first is the default everywhere in this project.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.semantics import NUM_CLASSES

FIXED_POINT = 1 << 20  # sums are taken over integers: exact, so the same on every device and in every order


def region_mean(image: Tensor, labels: Tensor) -> Tensor:
    """Paint each semantic region of ``image`` [b, c, h, w] in its mean colour; labels [b, h, w] in -1..18.

    Unlabelled pixels become 0, the value that means "no colour given".
    """
    if labels.shape != (image.shape[0], *image.shape[2:]):
        raise FacemugError(
            f"labels {tuple(labels.shape)} do not fit the image {tuple(image.shape)}: give [b, h, w] of the same size"
        )
    return area_mean(image, labels.long() + 1, NUM_CLASSES + 1)


def area_mean(values: Tensor, areas: Tensor, count: int) -> Tensor:
    """Paint each area of ``areas`` [b, h, w], numbers below ``count``, in its mean of ``values`` [b, c, h, w]; number 0 is no
    area, and becomes 0."""
    means, _ = _means(values, areas, count)
    means[:, :, 0] = 0
    return _paint(means, areas)


def superpixels(image: Tensor, count: int = 100, compactness: float = 0.5, iterations: int = 5) -> Tensor:
    """Paint ``image`` [b, c, h, w] in the mean colours of about ``count`` superpixels per sample (SLIC in RGB).

    Cells start as a regular grid. Each of the ``iterations`` gives every pixel to the nearest of the nine cells around the one
    it started in, by squared colour distance plus ``compactness`` squared times squared distance in cell widths.
    """
    if count < 1:
        raise FacemugError(f"{count} superpixels: use 1 or more")
    b, _, h, w = image.shape
    down = max(1, round(math.sqrt(count * h / w)))
    across = max(1, round(count / down))
    ys = torch.arange(h, device=image.device)
    xs = torch.arange(w, device=image.device)
    home_y, home_x = ((ys * down) // h)[:, None], ((xs * across) // w)[None]
    # Positions in cell widths, scaled so that plain squared distance is the SLIC distance.
    position_y = ((ys + 0.5) * down / h * compactness)[:, None].expand(h, w)
    position_x = ((xs + 0.5) * across / w * compactness)[None].expand(h, w)
    features = torch.cat((image, torch.stack((position_y, position_x)).expand(b, -1, -1, -1).to(image)), dim=1)
    cells = (home_y * across + home_x).expand(b, h, w)
    means, _ = _means(features, cells, down * across)
    for _ in range(iterations):
        best = torch.full((b, h, w), torch.inf, device=image.device)
        chosen = cells
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near_y, near_x = home_y + dy, home_x + dx
                valid = (near_y >= 0) & (near_y < down) & (near_x >= 0) & (near_x < across)
                near = (near_y.clamp(0, down - 1) * across + near_x.clamp(0, across - 1)).expand(b, h, w)
                distance = (features - _paint(means, near)).square().sum(1).masked_fill(~valid, torch.inf)
                closer = distance < best
                best, chosen = torch.where(closer, distance, best), torch.where(closer, near, chosen)
        cells = chosen
        fresh, sizes = _means(features, cells, down * across)
        means = torch.where(sizes > 0, fresh, means)  # a cell that lost all its pixels keeps its place
    return _paint(means, cells)[:, : image.shape[1]]


def _means(values: Tensor, index: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean of ``values`` [b, c, h, w] over the pixels of each group: [b, c, groups], and group sizes [b, 1, groups]."""
    b, c = values.shape[:2]
    flat = index.flatten(1)[:, None]
    sums = torch.zeros(b, c, groups, dtype=torch.int64, device=values.device)
    sums.scatter_add_(2, flat.expand(-1, c, -1), (values.flatten(2) * FIXED_POINT).round().long())
    sizes = torch.zeros(b, 1, groups, dtype=torch.int64, device=values.device)
    sizes.scatter_add_(2, flat, torch.ones_like(flat))
    return (sums.double() / (sizes.clamp_min(1) * FIXED_POINT)).to(values.dtype), sizes


def _paint(means: Tensor, index: Tensor) -> Tensor:
    """Give every pixel its group's value: means [b, c, groups], index [b, h, w] -> [b, c, h, w]."""
    b, c = means.shape[:2]
    return means.gather(2, index.flatten(1)[:, None].expand(-1, c, -1)).view(b, c, *index.shape[1:])
