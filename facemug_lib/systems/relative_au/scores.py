"""What is reported of relative-AU editing beside the scores that all systems share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES, along_axes

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def psnr(made: Tensor, face: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures [b,3,s,s] in [-1,1] (so the peak is 2), mean over the pictures."""
    error = (made.float() - face.float()).square().mean((1, 2, 3)).clamp(min=1e-10)
    return float((10 * torch.log10(4 / error)).mean())


@torch.no_grad()
def ladder(generator: Callable[[Tensor, Tensor], Tensor], images: Tensor, unit: str, steps: tuple[float, ...] = STEPS) -> Tensor:
    """Faces [b,3,s,s] with a unit asked for in steps: [b,k,3,s,s]."""
    way = torch.from_numpy(along_axes({unit: 1.0})).to(images)
    return torch.stack([generator(images, (step * way).expand(len(images), -1)) for step in steps], 1)


def monotony(generator: Callable[[Tensor, Tensor], Tensor], images: Tensor, read: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """``spearman_auNN``: rank correlation of how much of a unit was asked for, 0 … 1 in five steps, and how much the face then
    shows, mean over the faces [b,3,s,s]; 1 is monotone. ``spearman``: their mean. ``reach_auNN``: how much more it shows at 1
    than at 0."""
    scores = {}
    for name, unit in ACTION_UNITS.items():
        column = AXIS_NAMES.index(unit.axis)
        shown = unit.sign * read(ladder(generator, images, name).flatten(0, 1))[:, column].view(len(images), len(STEPS)).numpy()
        # Where nothing moves there is no order: that counts as 0.
        ranks = [spearmanr(STEPS, row).statistic if np.ptp(row) > 0 else 0.0 for row in shown]
        scores[f"spearman_{name}"] = float(np.mean(ranks))
        scores[f"reach_{name}"] = float((shown[:, -1] - shown[:, 0]).mean())
    return {"spearman": float(np.mean([scores[f"spearman_{name}"] for name in ACTION_UNITS]))} | scores
