"""L2M-GAN's losses that no other stage has; the adversarial ones and R1 are those of :mod:`facemug_lib.training.losses`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from facemug_lib.faces.code_space import pixel_norm
from facemug_lib.systems.l2m_gan.networks import Codes


def orthogonality_loss(codes: Codes, is_unit: bool = False) -> Tensor:
    """L_ort = mean|s_re ⊙ s_un| + mean|s̃_re ⊙ s_un|, before and after the transformation.

    Element by element, which is more than orthogonality: Σ s_re·s_un = 0 follows, and no dimension may serve both codes. The loss
    is 0 as well where s_un vanishes and all of the style belongs to the attribute. With ``is_unit`` each part is first brought to
    mean square 1, so that nothing is won by shrinking one (ours).
    """
    unrelated, related, new_related = (pixel_norm(one) if is_unit else one
                                       for one in (codes.unrelated, codes.related, codes.new_related))
    return (related * unrelated).abs().mean() + (new_related * unrelated).abs().mean()


def style_loss(wanted: Tensor, read: Tensor) -> Tensor:
    """L_sty = mean|s̃ − E(G(x, s̃))| of codes [b,d]: the edited face has the style that it was painted in."""
    return (wanted - read).abs().mean()


def cycle_loss(back: Tensor, images: Tensor) -> Tensor:
    """L_cyc = mean|G(G(x, s̃), s) − x| of pictures [b,3,h,w]: with its first style the face is as it was."""
    return (back - images).abs().mean()


def perceptual_loss(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """L_per = mean|φ(x) − φ(G(x, s̃))|, the mean over the levels of a frozen network's features."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(first, second, strict=True)]).mean()


def masked_mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of ``values`` [b] over the faces where ``where`` [b] is true; 0 where there is none."""
    return (values * where).sum() / where.sum().clamp(min=1)


def cosine(codes: Codes) -> tuple[Tensor, Tensor]:
    """Mean |cos| of s_re and s_un, before the transformation and after it: what the orthogonality loss is to make small."""
    before, after = (torch.nn.functional.cosine_similarity(one.float(), codes.unrelated.float(), dim=1).abs().mean()
                     for one in (codes.related, codes.new_related))
    return before, after
