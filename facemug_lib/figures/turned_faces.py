"""Faces turned by each method, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from facemug_lib.evaluation.head_pose import Turned, compare
from facemug_lib.faces.landmarks import HeadPose
from facemug_lib.figures.plotting import show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

data = compare
"""Turns the faces: see :func:`facemug_lib.evaluation.head_pose.compare`."""


def draw(turned: Sequence[Turned], inches: float = 1.5) -> Figure:
    """A column per face: the face, the one to be like, and the answers, each with its yaw and pitch and its ArcFace likeness."""
    shown = {"face": [one.face for one in turned]}
    words = [[_angles(next(iter(one.results.values())).before) for one in turned]]
    if all(one.like is not None for one in turned):
        shown["pose of"] = [one.like for one in turned]
        words.append([_angles(next(iter(one.results.values())).wanted) for one in turned])
    for way in turned[0].results:
        results = [one.results[way] for one in turned]
        shown[way.replace(", ", ",\n")] = [one.raw for one in results]
        words.append([f"{_angles(one.after)}, id {one.identity:.2f}" for one in results])
    figure = show_rows({name: torch.cat(pictures) for name, pictures in shown.items()}, inches=inches)
    for axis, text in zip(figure.axes, [text for line in words for text in line], strict=True):
        axis.set_xlabel(text, fontsize=7, labelpad=2)
    return figure


def _angles(pose: HeadPose | None) -> str:
    return "no face seen" if pose is None else f"{round(pose.yaw):+d}°, {round(pose.pitch):+d}°"
