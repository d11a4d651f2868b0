"""Where in the picture a network looks: on aligned faces, position is information."""

from __future__ import annotations

import torch
from torch import Tensor


def places_of(image: Tensor) -> Tensor:
    """Where each pixel of pictures [b,c,h,w] is: column and row, [b,2,h,w] in (-1,1)."""
    b, _, h, w = image.shape
    rows, columns = ((torch.arange(n, device=image.device, dtype=image.dtype) + 0.5) * (2 / n) - 1 for n in (h, w))
    return torch.stack((columns.expand(h, w), rows[:, None].expand(h, w))).expand(b, -1, -1, -1)
