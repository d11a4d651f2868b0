"""Faces whose codes are known: sampled ones, and photographs that :meth:`facemug_lib.editing.editor.Editor.fit` has fitted.

Altering such a face takes one pass of the prior: nothing has to be read from its picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from facemug_lib.editing.fill.blending import altered
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, open_face
from facemug_lib.faces.code_space import CodeSpace, code_groups

MIXED_GROUPS = ("coarse", "middle", "fine")
"""Groups of codes (:func:`facemug_lib.faces.code_space.code_groups`) that can be taken from a second face."""
ROUNDING = 0.51 / 127.5  # what saving in 8 bits changes a value by, at most


@torch.no_grad()
def sampled_codes(prior: CodeSpace, seed: int, psi: float = 0.7, mix_seed: int | None = None,
                  mix_layers: Sequence[str] = ()) -> Tensor:
    """Codes [1,t,512] of a seed's face at truncation ``psi``; the groups ``mix_layers`` are those of the face of ``mix_seed``."""
    if unknown := [name for name in mix_layers if name not in MIXED_GROUPS]:
        raise FacemugError(f"no group of codes is called {unknown[0]!r}: choose from {', '.join(MIXED_GROUPS)}")
    codes = prior.broadcast(prior.w_of_seeds([seed], psi)).float()
    if mix_seed is None or not mix_layers:
        return codes
    is_other = torch.zeros(1, codes.shape[1], 1, dtype=torch.bool, device=codes.device)
    for name in mix_layers:
        is_other[:, slice(*code_groups(codes.shape[1])[name])] = True
    return torch.where(is_other, prior.broadcast(prior.w_of_seeds([mix_seed], psi)).float(), codes)


@torch.no_grad()
def sampled_face(prior: CodeSpace, seed: int, psi: float = 0.7, mix_seed: int | None = None, mix_layers: Sequence[str] = (), *,
                 paint: Callable[[Tensor], Tensor] | None = None) -> AlignedFace:
    """The face that the prior samples for a seed, with its codes; aligned as it is.

    The face itself has 8-bit values, so that it survives its PNG; ``likeness`` is the picture before rounding. ``paint``
    (codes → picture of 256 px) replaces the prior's own pass by an equal one.
    """
    codes = sampled_codes(prior, seed, psi, mix_seed, mix_layers)
    likeness = (prior.synthesize(codes, 256) if paint is None else paint(codes)).float()
    face = open_face(likeness.clamp(-1, 1), aligned=True)
    return replace(face, codes=codes.cpu(), likeness=likeness.cpu())


def is_the_priors_own(face: AlignedFace) -> bool:
    """Whether the prior's likeness of a face misses nothing of it but rounding."""
    return float((face.image - face.likeness.clamp(-1, 1)).abs().max()) <= ROUNDING


def shown_as(face: AlignedFace, raw: Tensor) -> Tensor:
    """A face of known codes as it looks after they moved; ``raw`` [1,3,256,256] is the prior's picture of the moved ones."""
    if is_the_priors_own(face):
        return raw
    return altered(face.image.to(raw), face.likeness.to(raw), raw)
