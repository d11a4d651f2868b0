"""Sample grids: rows of pictures as one uint8 array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def picture_grid(rows: Sequence[Tensor], gap: int = 2) -> np.ndarray:
    """Rows of pictures, each [b,c,h,w] in [-1,1] with c 1 or 3, to uint8 [H,W,3] with white gaps. Rows differ in c alone."""
    height, width = rows[0].shape[2:]
    canvas = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        pixels = ((row.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
        for j, picture in enumerate(pixels.permute(0, 2, 3, 1).cpu().numpy()):
            top, left = i * (height + gap), j * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    return canvas
