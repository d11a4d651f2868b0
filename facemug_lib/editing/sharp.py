"""At which size an edit is painted, and the edit at that size.

Codes, guidance and everything that is looked at work at 256 px. A face that is larger in its photo is painted larger by the same
codes, so that it is as sharp as what surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from facemug_lib.editing.edit import SIZES, Size
from facemug_lib.editing.fill.blending import altered
from facemug_lib.editing.fill.detail import detailed, enlarged
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, crop_photo
from facemug_lib.faces.warping import similarity_scale
from facemug_lib.progress import Check, unchecked

TOLERANCE = 1.25
"""A face this many times as large as a size is still painted at it: a quarter more pixels is not seen."""
NEEDED = {512: 1.2, 1024: 2.5}  # GiB of memory that painting takes at most


@dataclass(frozen=True, eq=False)
class Sharp:
    """An edit at the photo's own size: the face aligned to s px, what is painted [1,3,s,s] in [-1,1], and where [1,1,s,s]."""

    face: AlignedFace
    image: Tensor
    mask: Tensor


def side_in_photo(face: AlignedFace) -> float:
    """Side in the photo's pixels of the square around the face that is edited."""
    return face.size / similarity_scale(face.matrix)


def size_for(face: AlignedFace, asked: Size, largest: int = SIZES[-1]) -> int:
    """The size at which an edit of ``face`` is painted: ``asked``, or as large as the photo shows it where that is less, and no
    larger than the prior paints. "auto" is as large as the photo shows it."""
    side = side_in_photo(face)
    shown = next((size for size in SIZES if side <= TOLERANCE * size), SIZES[-1])
    return min(shown, largest, SIZES[-1] if asked == "auto" else asked)


def at_size(face: AlignedFace, size: int) -> AlignedFace:
    """The face aligned to ``size`` px."""
    scale = size / face.size
    matrix = face.matrix * scale
    matrix[:, 2] += (scale - 1) / 2  # the crop's corner stays where it is; pixels are counted from their middles
    return replace(face, image=crop_photo(face.photo, matrix, size), matrix=matrix, codes=None, likeness=None)


def sharpened(face: AlignedFace, photo_mask: np.ndarray | None, mask: Tensor, coarse: Tensor, size: int, seed: int,
              paint: Callable[[Tensor, int], Tensor], codes: Tensor, before: Tensor | None, *, grain: bool = True,
              check: Check = unchecked) -> Sharp:
    """The finished edit ``coarse`` [1,3,256,256] at ``size`` px.

    ``mask`` [1,1,256,256] is the hole, ``photo_mask`` the same as it was drawn on the photo, if it was. ``paint(codes, size)`` is
    the prior; ``codes`` [1,t,512] are those of the edit, and ``before`` those of the face, where it was only altered.
    ``grain``: with the photo's noise, drawn from ``seed``. ``check`` is called between the parts; it may raise to stop.
    """
    check_memory(size)
    large = at_size(face, size)
    photo = large.image.to(coarse.device)
    hole = (enlarged(mask, size) >= 0.5).float() if photo_mask is None else large.mask_to_crop(photo_mask).to(coarse.device)
    check()
    raw = paint(codes, size).float().clamp(-1, 1)
    check()
    if before is not None:
        raw = altered(photo, paint(before, size).float().clamp(-1, 1), raw)
    return Sharp(large, detailed(coarse, raw, photo, hole, seed, grain=grain, check=check), hole)


def check_memory(size: int) -> None:
    """Raise :class:`FacemugError` where the machine has not the memory to paint at ``size`` px; with the size that would fit."""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    if free < NEEDED.get(size, 0):
        fits = max(one for one in SIZES if NEEDED.get(one, 0) <= max(free, 0))
        raise FacemugError(f"painting at {size} px takes {NEEDED[size]:g} GiB and {free:.1f} are free: use size={fits} "
                           f"(--size {fits})")
