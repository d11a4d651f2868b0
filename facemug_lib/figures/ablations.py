"""The ablations beside the paper's Table VI, and their curves, of what :mod:`facemug_lib.evaluation.ablations` has kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.ablations import SCORES, VARIANTS, over_seeds, paired
from facemug_lib.evaluation.tables import COLUMNS
from facemug_lib.figures import score_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"FID": 3, "U-IDS %": 2, "LPIPS": 4}  # its columns, and their digits
LPIPS = replace(COLUMNS["lpips_alex"], digits=4)


def rows(outcomes: Sequence[Mapping[str, Any]], view: str = "hole") -> list[dict[str, str]]:
    """A row per variant: the paper's scores, then ours with standard errors over seeds, and how far its LPIPS is above A's."""
    scores, above = over_seeds(outcomes, view), paired(outcomes, view, "lpips_alex")
    shown = [name for name in SCORES if any(name in found for found in scores.values())]
    found = []
    for letter in (letter for letter in VARIANTS if letter in scores):
        variant, own = VARIANTS[letter], scores[letter]
        row = {"": letter, "generator": variant.name}
        row |= {f"paper {title}": f"{value:.{PAPER[title]}f}" for title, value in zip(PAPER, variant.paper, strict=True)}
        columns = COLUMNS | {"lpips_alex": LPIPS}
        row |= {columns[name].title: columns[name].shown(own[name]) if name in own else "–" for name in shown}
        row["LPIPS above A"] = LPIPS.shown(above[letter]) if letter in above else ""
        row["seeds"] = str(own["lpips_alex"].n)
        found.append(row)
    return found


def draw(outcomes: Sequence[Mapping[str, Any]], view: str = "hole") -> Figure:
    """The table, under what all runs had."""
    if not outcomes:
        raise FacemugError("no ablation has finished: nothing to show")
    budget = outcomes[0]["budget"]
    given = "nothing but the face around the hole" if view == "hole" else "with sketch, labels and colours"
    title = (f"Table VI: each trained for {budget['images']:,} images at {budget['size']} px\n{outcomes[0]['test']} test faces, "
             f"irregular holes, {given}; ± one standard error over seeds")
    return score_table.draw(rows(outcomes, view), title)


def draw_curves(outcomes: Sequence[Mapping[str, Any]], names: Sequence[str] = ("lpips_hole", "lpips_guided")) -> Figure:
    """Scores on unseen faces while training: the mean over seeds for each variant, and the range of the seeds.

    The dotted line is the prior's picture of the same codes in the hole, which all but E begin with.
    """
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(names), figsize=(4.2 * len(names), 3), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for letter in (letter for letter in VARIANTS if any(one["variant"] == letter for one in outcomes)):
            points: dict[int, list[float]] = {}
            for line in (line for one in outcomes if one["variant"] == letter for line in one["curve"] if name in line):
                points.setdefault(line["images"], []).append(line[name])
            images = sorted(points)
            means = [sum(points[at]) / len(points[at]) for at in images]
            (line,) = axis.plot(images, means, marker=".", label=f"{letter}: {VARIANTS[letter].name}")
            axis.fill_between(images, [min(points[at]) for at in images], [max(points[at]) for at in images],
                              color=line.get_color(), alpha=0.15, linewidth=0)
        before = [line[f"prior_{name}"] for one in outcomes for line in one["curve"] if f"prior_{name}" in line]
        if before:
            axis.axhline(sum(before) / len(before), color="0.4", linestyle=":", label="the prior's picture")
        axis.set_xlabel("images", fontsize=8)
        axis.set_title(name.replace("_", " ").replace("lpips", "LPIPS,"), fontsize=9)
        axis.tick_params(labelsize=8)
    axes[0][0].legend(fontsize=7)
    return figure
