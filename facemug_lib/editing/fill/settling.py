"""The painted picture settled in the photo: in its tones (:mod:`.toning`) and without a seam (:mod:`.blending`).

What every edit ends with, and what a generator with the base "settled" begins with: it learns only what these two cannot mend.
"""

from __future__ import annotations

from torch import Tensor, nn

from facemug_lib.editing.fill.blending import REACH, blend
from facemug_lib.editing.fill.toning import toned_like


def settled(parser: nn.Module | None, raw: Tensor, photo: Tensor, mask: Tensor, shares: Tensor) -> Tensor:
    """``raw`` in the hole ``mask`` [b,1,s,s] (1 = hole) of ``photo``; pictures [b,3,s,s] in [-1,1]; known pixels are copied.

    ``shares`` [b], 0 … 1: how far the photo's tones are wanted. Without a ``parser``, which tells hair from skin, tones stay as
    they were painted. The light of the hole's edge reaches as far into it, measured by the picture, at every size.
    """
    raw = raw.clamp(-1, 1)
    if parser is not None and bool((shares > 0).any()):
        raw = toned_like(parser, raw, photo, mask, shares)
    return blend(raw, photo, mask, reach=REACH * mask.shape[-1] / 256)
