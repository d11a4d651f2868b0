"""Tensors and pixels: the one place where pictures become 8-bit values, sheets and grids.

Pictures are [b,3,h,w] in [-1,1] everywhere in the library; one-channel maps (masks, strokes, shares) are [b,1,h,w] in [0,1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.errors import FacemugError

TINT = (1.0, 0.1, 0.3)  # of :func:`overlay`; R, G, B in 0…1
LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in how bright a colour looks (ITU-R BT.601, as Pillow's grey)


def similarity_grid(images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The sampling grid [b,h,w,2] of b turned, scaled and shifted copies of pictures [.,.,h,w], for ``grid_sample``.

    ``angle`` [b] in radians, ``scale`` [b], ``shift`` [b,2] in half sides: where a pixel of the copy looks in the picture. A
    scale above 1 looks further out, so the copy's face is smaller.
    """
    turn = torch.stack((torch.stack((angle.cos(), -angle.sin()), -1), torch.stack((angle.sin(), angle.cos()), -1)), 1)
    theta = torch.cat((turn * scale.view(-1, 1, 1), shift[..., None]), -1)
    return F.affine_grid(theta, [len(angle), 1, *images.shape[2:]], align_corners=False)


def reduced(images: Tensor, size: int) -> Tensor:
    """Pictures [b,c,h,w] averaged down to ``size`` px; themselves where they have it."""
    return images if images.shape[-1] == size else F.interpolate(images, size=(size, size), mode="area")


def luma(images: Tensor) -> Tensor:
    """How bright pictures [b,3,…] look: [b,1,…], in the pictures' own range."""
    weights = images.new_tensor(LUMA).view(1, 3, *[1] * (images.ndim - 2))
    return (images * weights).sum(1, keepdim=True)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 of pictures in [-1,1], of the same shape, on the CPU. Values outside are clamped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)


def to_floats(pixels: Tensor) -> Tensor:
    """Pictures in [-1,1] of uint8 pixels."""
    return pixels.float() / 127.5 - 1


def as_8_bit(images: Tensor) -> Tensor:
    """Round pictures in [-1,1] to what an 8-bit file keeps: what is judged is what could be saved."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def pixels_of(picture: Tensor) -> np.ndarray:
    """One picture as uint8 [h,w,3]: [3,h,w] in [-1,1], or [1,h,w] in [0,1] as grey. Values outside are clamped."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise FacemugError(f"a picture of shape {tuple(picture.shape)} cannot be shown: give [3,h,w] or [1,h,w]")
    values = picture.detach().float()
    if len(values) == 1:
        values = values.expand(3, -1, -1) * 2 - 1
    return to_pixels(values).permute(1, 2, 0).contiguous().numpy()


def grey_pixels(plane: Tensor) -> np.ndarray:
    """A map [h,w] in [0,1] as uint8."""
    return (plane.float() * 255).round().byte().cpu().numpy()


def ink(strokes: Tensor) -> Tensor:
    """A sketch [b,1,h,w], 1 = stroke, as it looks on paper: dark lines on white."""
    return 1 - strokes


def overlay(images: Tensor, mask: Tensor, colour: Sequence[float] = TINT, strength: float = 0.45) -> Tensor:
    """Images [b,3,h,w] with the pixels of ``mask`` [b,1,h,w] tinted; ``colour`` is R, G, B in 0…1."""
    tint = torch.tensor(colour, dtype=images.dtype, device=images.device).view(1, 3, 1, 1) * 2 - 1
    return torch.lerp(images, tint.expand_as(images), strength * mask)


def picture_grid(rows: Sequence[Tensor], gap: int = 2) -> np.ndarray:
    """Rows of pictures, each [b,c,h,w] in [-1,1] with c 1 or 3, to uint8 [H,W,3] with white gaps. Rows differ in c alone."""
    height, width = rows[0].shape[2:]
    canvas = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(to_pixels(row.detach().float()).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()):
            top, left = i * (height + gap), j * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    return canvas


def square_grid(pictures: Tensor) -> Tensor:
    """Pictures [n,3,s,s] side by side in rows, as nearly square as can be, on white: [1,3,h,w]."""
    across = math.ceil(math.sqrt(len(pictures)))
    down = math.ceil(len(pictures) / across)
    blank = pictures.new_ones(across * down - len(pictures), *pictures.shape[1:])
    rows = torch.cat((pictures, blank)).unflatten(0, (down, across))
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)[None]
