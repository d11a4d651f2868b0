"""Inception-V3 features, as FID, KID and U-IDS compare them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.assets import asset_path

SIDE = 299


class Inception(nn.Module):
    """The network of the original FID: images [b,3,h,w] in [-1,1] to features [b,2048].

    Its file (81 MB) is fetched when the first one is made. Images are rounded to 8 bits, as files are, and stretched to
    299×299 by the bilinear rule of the reference implementations (pixel (0, 0) stays where it is). Frozen, no gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.jit.load(str(asset_path("inception")), map_location="cpu").eval()
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        pixels = ((image.float().clamp(-1, 1) + 1) * 127.5).round()
        # TensorFlow's range: 255 becomes 0.9921875, not 1.
        return self.network((resize_like_fid(pixels) - 128) / 128).flatten(1)


def resize_like_fid(pixels: Tensor) -> Tensor:
    """Bilinear resampling of [b,3,h,w] to 299×299 without half-pixel shift or smoothing, as StyleGAN's FID does."""
    count, channels, height, width = pixels.shape
    theta = torch.tensor([[1.0, 0.0, 1 / width - 1 / SIDE], [0.0, 1.0, 1 / height - 1 / SIDE]], device=pixels.device)
    grid = F.affine_grid(theta.expand(count, -1, -1), [count, channels, SIDE, SIDE], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
