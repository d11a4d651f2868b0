"""How close a picture is to the true one, by pure mathematics: PSNR and SSIM, over whole pictures or inside holes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PEAK = 2.0  # pictures span [-1, 1]
LEAST_ERROR = 1e-10
"""Mean squared error that PSNR counts as none, 106 dB: an 8-bit picture of 256 px that differs in one value has 3e-10."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio [b] in dB of pictures [b,c,h,w], clipped to [-1,1] (peak 2), to their targets.

    Over the pixels where ``mask`` [b,1,h,w] is 1, or over all. At most 106 dB, NaN for an empty hole.
    """
    error = (image.clamp(-1, 1) - target.clamp(-1, 1)).square().mean(1, keepdim=True)
    return 10 * torch.log10(PEAK**2 / _inside(error, mask).clamp_min(LEAST_ERROR))


def ssim(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity [b], at most 1, of pictures [b,c,h,w] in [-1,1] (Wang et al. 2004).

    Gaussian window of 11×11 and sigma 1.5, population variances, mirrored borders, each colour channel on its own: the map of
    scikit-image with ``gaussian_weights=True, use_sample_covariance=False``. It is averaged over the pixels where ``mask``
    [b,1,h,w] is 1, or over all; windows near a hole's edge see the kept pixels around it. NaN for an empty hole. At least 6
    pixels a side.
    """
    maps = torch.cat((image, target, image.square() + target.square(), image * target), dim=1)
    mean_x, mean_y, square, product = _blur(maps).chunk(4, dim=1)
    means, squared_means = mean_x * mean_y, mean_x.square() + mean_y.square()
    # Only the sum of the two variances is needed, so four blurred maps are enough.
    structure = (2 * (product - means) + _C2) / (square - squared_means + _C2)
    luminance = (2 * means + _C1) / (squared_means + _C1)
    return _inside((structure * luminance).mean(1, keepdim=True), mask)


def _inside(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean [b] of values [b,1,h,w] over the hole; 0 / 0 is the NaN of an empty one."""
    if mask is None:
        return values.mean((1, 2, 3))
    hole = mask > 0.5
    return torch.where(hole, values, 0).sum((1, 2, 3)) / hole.sum((1, 2, 3))


def _blur(x: Tensor) -> Tensor:
    """Separable Gaussian window over each channel, borders mirrored with the edge pixel repeated."""
    radius, channels = _WINDOW // 2, x.shape[1]
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / _SIGMA) ** 2)
    taps = (taps / taps.sum()).to(x)
    for dim in (2, 3):
        x = torch.cat((x.narrow(dim, 0, radius).flip(dim), x, x.narrow(dim, x.shape[dim] - radius, radius).flip(dim)), dim)
    # Depthwise convolutions of planar tensors are five times slower on a CPU.
    x = x.contiguous(memory_format=torch.channels_last)
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
