"""The contact sheet of the systems' comparison: what each made of the same faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from facemug_lib.evaluation.systems_comparison import Judgement, TestFaces
from facemug_lib.figures.plotting import show_rows
from facemug_lib.pictures import as_8_bit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10


def draw(faces: TestFaces, found: Sequence[Judgement], attribute: str = "smile") -> Figure:
    """The first :data:`SHOWN` faces of a set, chosen by nobody, one row for each way of sending them to the other side."""
    wanted = ["+" if sign > 0 else "-" for sign in faces.signs(attribute)[:SHOWN]]
    rows = {"face": faces.images[:SHOWN]}
    if attribute in faces.pairs:
        rows["known pair"] = faces.pairs[attribute][:SHOWN]
    unchanged = as_8_bit(faces.images)
    rows |= {one.way: one.pictures[:SHOWN] for one in found
             if (one.faces, one.attribute) == (faces.name, attribute) and not torch.equal(one.pictures, unchanged)}
    return show_rows(rows, [f"{attribute} {sign}" for sign in wanted], inches=1.2)
