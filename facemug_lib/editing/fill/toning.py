"""The photo's own complexion in the hole.

What the networks paint for a face whose middle is hidden often comes out too light or too grey. Their picture also shows the
neck, the ears and the hair, which the photo knows. There the error of the colours is measured, for each material by itself, and
what was painted in the hole is corrected by the same amount.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facemug_lib.editing.fill.blending import grown
from facemug_lib.editing.fill.recolouring import ONE_COLOUR, regions
from facemug_lib.editing.settings import TONING
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

MATERIALS = (ONE_COLOUR[0], ("hair",), ("cloth",), ("background",))
"""Classes that are measured together, as one person has one complexion."""
CARRIED = ((*ONE_COLOUR[0], "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"), *MATERIALS[1:])
"""Classes that are shifted together: what sees the same light as the skin goes along with it."""
_MEASURED, _SHIFTED = ([[SEMANTIC_CLASSES.index(name) for name in names] for names in groups] for groups in (MATERIALS, CARRIED))


def toned(raw: Tensor, photo: Tensor, mask: Tensor, painted: Tensor, shown: Tensor) -> Tensor:
    """``raw``, painted for ``photo`` with the hole ``mask`` [b,1,h,w], in the photo's tones; pictures [b,3,h,w] in [-1,1].

    ``painted`` and ``shown`` [b,19,h,w] are the probabilities of the classes in ``raw`` and in the photo with its hole filled.
    ``TONING`` counts pixels of pictures of 256 px; in others it is as much of the picture.
    For each material the mean of photo − raw over the n known pixels where both show it is added, times
    n/(n + ``TONING.enough``), to that material all over the picture. What is not known anywhere stays as it was painted.
    """
    scale = mask.shape[-1] / 256
    known = ~grown(mask, round(TONING.margin * scale))
    both = (regions(painted, _MEASURED) > TONING.sure) & (regions(shown, _MEASURED) > TONING.sure) & known  # [b,r,h,w]
    number = both.sum((2, 3))
    missing = torch.einsum("brhw,bchw->brc", both.to(raw), photo - raw) / (number + TONING.enough * scale**2)[..., None]
    shift = torch.einsum("brhw,brc->bchw", regions(painted, _SHIFTED), missing)
    return (raw + shift).clamp(-1, 1)


def toned_like(parser: nn.Module, raw: Tensor, photo: Tensor, mask: Tensor, shares: Tensor) -> Tensor:
    """``raw`` [b,3,h,w], moved by ``shares`` [b] of the way into the photo's tones; ``parser`` tells hair from skin."""
    some = shares > 0
    pictures, photos, masks = raw[some], photo[some], mask[some]
    filled = torch.where(masks > 0.5, pictures, photos)
    painted, shown = (parser(one).semantics.softmax(dim=1) for one in (pictures, filled))
    made = raw.clone()
    made[some] = torch.lerp(pictures, toned(pictures, photos, masks, painted, shown), shares[some, None, None, None])
    return made
