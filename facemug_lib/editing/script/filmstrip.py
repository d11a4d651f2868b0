"""Rows of pictures as files: a PNG strip and a moving GIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import write_image
from facemug_lib.files import replacing, require_writable_file
from facemug_lib.pictures import pixels_of


def checked_target(path: Path | str, suffix: str) -> Path:
    """The path as one that can be written to. Raises :class:`FacemugError` for another suffix or a missing folder."""
    text = str(path).strip()
    if not text or Path(text).suffix.lower() != suffix:
        raise FacemugError(f"cannot write {text!r}: the name must end in {suffix}")
    target = Path(text).expanduser()
    require_writable_file(target)
    return target


def strip(frames: Tensor, size: int | None = None, gap: int = 2) -> np.ndarray:
    """Frames [n,3,h,w] in [-1,1] side by side, uint8 [h, n·w + gaps, 3] with white gaps; reduced to ``size`` px a frame."""
    if size is not None and size != frames.shape[-1]:
        frames = torch.nn.functional.interpolate(frames, (size, size), mode="bilinear", antialias=True)
    parts: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        if number and gap:
            parts.append(np.full((frame.shape[1], gap, 3), 255, np.uint8))
        parts.append(pixels_of(frame))
    return np.concatenate(parts, axis=1)


def write_strip(path: Path | str, frames: Tensor) -> Path:
    """Write frames [n,3,h,w] side by side to a .png file."""
    return write_image(checked_target(path, ".png"), strip(frames))


def write_gif(path: Path | str, frames: Tensor, seconds: float = 0.12, there_and_back: bool = True) -> Path:
    """Write frames [n,3,h,w] to a .gif file that plays forever, ``seconds`` each, forwards and then backwards."""
    target = checked_target(path, ".gif")
    pictures = [PIL.Image.fromarray(pixels_of(frame)).quantize(256) for frame in frames]
    if there_and_back:
        pictures += pictures[-2:0:-1]
    try:
        with replacing(target) as temporary:
            pictures[0].save(temporary, "GIF", save_all=True, append_images=pictures[1:], duration=round(1000 * seconds), loop=0)
    except OSError as error:
        raise FacemugError(f"cannot write {target}: {error.strerror or error}") from error
    return target
