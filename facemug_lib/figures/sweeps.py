"""One face at several strengths of every direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from facemug_lib.editing.latent.directions import Direction
from facemug_lib.figures.plotting import show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


@torch.no_grad()
def data(prior: nn.Module, directions: Sequence[Direction], codes: Tensor,
         strengths: Sequence[float] = STRENGTHS) -> dict[str, Tensor]:
    """Name → pictures [n,3,256,256] of one face, codes [1,t,512], at each strength."""
    return {one.name.replace("_", " "): torch.cat([prior.synthesize(codes + strength * one.vector.to(codes), 256).clamp(-1, 1)
                                                   for strength in strengths]) for one in directions}


def draw(sweeps: Mapping[str, Tensor], strengths: Sequence[float] = STRENGTHS) -> Figure:
    """A row per direction, a column per strength."""
    return show_rows(sweeps, [f"{strength:+g}" for strength in strengths], inches=1.1)
