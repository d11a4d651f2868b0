"""The photo's own complexion in the hole: what networks get wrong where the photo is known, they get wrong under the mask too.

The encoder sees the neck, the ears and the hair of a face whose middle is hidden, and yet what it paints comes out too light or
too grey. The same picture also shows these known parts, so by how much its colours are off can be measured, material by material.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facemug_lib.editing.fill.blending import grown
from facemug_lib.editing.fill.recolouring import ONE_COLOUR, regions
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

MATERIALS = (ONE_COLOUR[0], ("hair",), ("cloth",), ("background",))
"""Classes that are measured together, as one person has one complexion."""
CARRIED = ((*ONE_COLOUR[0], "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"), *MATERIALS[1:])
"""Classes that are shifted together: what sees the same light as the skin goes along with it."""
SURE = 0.6  # probability from which a pixel counts as showing a material
ENOUGH = 1000.0  # known pixels of a material that are trusted by half
MARGIN = 3  # pixels around the hole that are not measured: labels are unsure there
_MEASURED, _SHIFTED = ([[SEMANTIC_CLASSES.index(name) for name in names] for names in groups] for groups in (MATERIALS, CARRIED))


def toned(raw: Tensor, photo: Tensor, mask: Tensor, painted: Tensor, shown: Tensor) -> Tensor:
    """``raw``, painted for ``photo`` with the hole ``mask`` [b,1,h,w], in the photo's tones; pictures [b,3,h,w] in [-1,1].

    ``painted`` and ``shown`` [b,19,h,w] are the probabilities of the classes in ``raw`` and in the photo with its hole filled.
    For each material the mean of photo − raw over the n known pixels where both show it is added, times
    n/(n + :data:`ENOUGH`), to that material all over the picture. What is not known anywhere stays as it was painted.
    """
    known = ~grown(mask, MARGIN)
    both = (regions(painted, _MEASURED) > SURE) & (regions(shown, _MEASURED) > SURE) & known  # [b,r,h,w]
    number = both.sum((2, 3))
    missing = torch.einsum("brhw,bchw->brc", both.to(raw), photo - raw) / (number + ENOUGH)[..., None]
    shift = torch.einsum("brhw,brc->bchw", regions(painted, _SHIFTED), missing)
    return (raw + shift).clamp(-1, 1)
