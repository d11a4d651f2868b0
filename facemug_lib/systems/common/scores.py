"""How good edits of sampled faces are, against the same faces moved by the prior: cheap scores for every system's training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.systems.common.rendering import SIDES, TRAIT_NAMES, Maker

CHANGED = 0.12  # of a range of 2: where face and pair differ by more, on average around a point, the attribute has its region
AROUND = 9  # pixels at 128 px


def around(x: Tensor) -> Tensor:
    """The mean of the points about each point of [b,c,s,s]; a border counts what there is of them."""
    side = AROUND * x.shape[-1] // 128 | 1
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def changed_region(images: Tensor, pair: Tensor) -> Tensor:
    """Where an attribute shows: [b,1,h,w] in {0,1}, 1 where faces [b,3,h,w] and their pairs differ around a point."""
    return (around((images - pair).abs().mean(1, keepdim=True)) > CHANGED).float()


@torch.no_grad()
def pair_scores(edited: Tensor, faces: FaceBatch, attribute: str, maker: Maker) -> dict[str, float]:
    """Scores of ``edited`` [b,3,s,s], which were meant to go to the other side of ``attribute``, as the pairs of ``faces`` did.

    ``…_right``: share that the expert sees on the side where the pair is. ``…_moved``: by how many deviations towards it.
    ``…_kept``: L1 outside the region in which face and pair differ (0 is untouched; pictures in [-1,1]). ``…_pair``: L1 to the
    known pair, and ``…_pair_unedited`` that of the face itself, which a useful edit must be below.
    """
    sides, pair = SIDES[attribute], faces.extra["pair"]
    column = TRAIT_NAMES.index(sides.trait)
    before, after, aim = (traits[:, column] for traits in
                          (faces.extra["traits"], maker.read(edited)[1].to(edited.device), faces.extra["pair_traits"]))
    wanted = torch.where(aim >= before, 1.0, -1.0)
    outside = 1 - changed_region(faces.images, pair)
    kept = ((edited - faces.images).abs().mean(1, keepdim=True) * outside).sum() / outside.sum().clamp(min=1)
    scores = {"right": ((after - sides.middle) * (aim - sides.middle) > 0).float().nanmean(),
              "moved": (wanted * (after - before) / sides.deviation).nanmean(), "kept": kept,
              "pair": (edited - pair).abs().mean(), "pair_unedited": (faces.images - pair).abs().mean()}
    return {f"{attribute}_{name}": float(value) for name, value in scores.items()}
