"""The entanglement matrix: what one unit of each direction does to every trait, and to who the person is.

Taught in `notebooks/06_latent_directions.ipynb`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facemug_lib.evaluation.attributes import Effect, effects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

data = effects
"""Measures: see :func:`facemug_lib.evaluation.attributes.effects`."""


def draw(effects: Sequence[Effect], traits: Sequence[str]) -> Figure:
    """The entanglement matrix: a row per direction, a column per trait, in standard deviations per unit; identity last."""
    from matplotlib import pyplot

    values = np.array([[one.change[name].value for name in traits] for one in effects])
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(0.62 * len(traits) + 3, 0.36 * len(effects) + 1.6), width_ratios=(len(traits), 1), layout="constrained")
    image = left.imshow(values, cmap="RdBu_r", vmin=-1.2, vmax=1.2, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        left.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=7,
                  color="white" if abs(value) > 0.8 else "black")
    left.set_xticks(range(len(traits)), [name.replace("_", " ") for name in traits], rotation=40, ha="right", fontsize=8)
    left.set_yticks(range(len(effects)), [one.direction.name.replace("_", " ") for one in effects], fontsize=8)
    left.set_title("change per unit, in standard deviations", fontsize=9)
    identities = np.array([[one.identity.value] for one in effects])
    right.imshow(identities, cmap="Greys_r", vmin=0, vmax=1, aspect="auto")
    for row, (value,) in enumerate(identities):
        right.text(0, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="black" if value > 0.5 else "white")
    right.set_xticks([0], ["identity kept"], rotation=40, ha="right", fontsize=8)
    right.set_yticks([])
    figure.colorbar(image, ax=right, fraction=0.5, pad=0.3)
    return figure
