"""Latent warping on and off: pictures (FACEMUG Fig. 13) and what it changes in numbers (Fig. 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.guided import Row
from facemug_lib.evaluation.tables import COLUMNS
from facemug_lib.evaluation.warping_ablation import OFF, ON, WarpingProtocol
from facemug_lib.figures.plotting import show_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ("lpips_alex", "arcface", "pose")


@dataclass(frozen=True, eq=False)
class WarpedEdits:
    """Faces with a hole, exemplars in another pose, and the edits without and with warping, all [n,3,256,256]."""

    holes: Tensor
    exemplars: Tensor
    without: Tensor
    warped: Tensor


def data(protocol: WarpingProtocol, indices: Sequence[int], shown: int = 4, family: str = "centre") -> WarpedEdits:
    """Of the faces ``indices`` the first ``shown`` that have an exemplar turned by 20° or more, as :class:`WarpingProtocol` pairs
    them. Raises :class:`FacemugError` where no face has one."""
    _, turns = protocol.exemplars("foreign", indices)
    chosen = [index for index, turn in zip(indices, turns.tolist(), strict=True) if turn >= 20][:shown]
    if not chosen:
        raise FacemugError(f"no two of {len(indices)} faces differ by 20 degrees of yaw: take more faces")
    without, exemplars, _ = protocol.pictures(f"foreign, {family}, {OFF}", chosen)
    warped, _, _ = protocol.pictures(f"foreign, {family}, {ON}", chosen)
    cases = protocol.test_set.cases(family, chosen)
    return WarpedEdits(torch.where(cases.masks > 0.5, 1.0, cases.images), exemplars, without, warped)


def draw(edits: WarpedEdits) -> Figure:
    """A row per face: the hole, the exemplar, the edit without and with warping."""
    return show_columns({"hole": edits.holes, "exemplar": edits.exemplars, "no warping": edits.without, "warped": edits.warped})


def draw_scores(rows: Sequence[Row]) -> Figure:
    """The paired change by warping of every score, with its standard error, per kind of hole; ``rows`` are the protocol's.

    Left of the line warping lowers a score, right of it it raises it; the arrow at each title says which is better.
    """
    from matplotlib import pyplot

    changed = [row for row in rows if row["changes"]]
    if not changed:
        raise FacemugError("no face has an exemplar that is turned by 20 degrees or more: take more faces")
    names = [f"{row['exemplar']}, {row['mask']} (N {row['n']})" for row in changed]
    figure, axes = pyplot.subplots(1, len(SCORES), figsize=(9, 0.32 * len(names) + 1.1), sharey=True, layout="constrained")
    for axis, score in zip(axes, SCORES, strict=True):
        found = {place: row["changes"][score] for place, row in enumerate(changed) if score in row["changes"]}
        values, errors = [one.value for one in found.values()], [one.error or 0 for one in found.values()]
        axis.errorbar(values, list(found), xerr=errors, fmt="o", color="0.2", markersize=4)
        axis.axvline(0, color="0.6", linestyle=":")
        axis.set_title(f"{COLUMNS[score].title} {COLUMNS[score].better}", fontsize=9)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.locator_params(axis="x", nbins=4)
        axis.set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("change by warping, with minus without", fontsize=8)
    return figure
