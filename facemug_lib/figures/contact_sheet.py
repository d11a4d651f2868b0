"""The contact sheet of an evaluation. Its data are what :func:`facemug_lib.evaluation.evaluate.evaluate` has measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.evaluation.completion import Measured, shown_faces
from facemug_lib.evaluation.protocols import FAMILIES, TestSet
from facemug_lib.figures.plotting import show_rows
from facemug_lib.pictures import to_floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(test_sets: Sequence[TestSet], measured: Sequence[Measured]) -> Figure:
    """Faces of every set and family, chosen by their number alone: true face, hole, and what each method made of it."""
    methods = list(dict.fromkeys(one.method for one in measured if "pictures" in one.arrays))
    rows: dict[str, Tensor] = {}
    blank = torch.ones(3, 256, 256)
    for test_set in test_sets:
        for family in (name for name in FAMILIES if any(one.family == name for one in measured)):
            for position, face in enumerate(one for one in shown_faces(family) if one < len(test_set)):
                cases = test_set.cases(family, [face])
                line = [cases.images[0], torch.where(cases.masks[0] > 0.5, 1.0, cases.images[0])]
                for method in methods:
                    found = next((one.arrays["pictures"] for one in measured if (one.set, one.family, one.method)
                                  == (test_set.name, family, method) and "pictures" in one.arrays), ())
                    line.append(to_floats(torch.from_numpy(found[position])) if position < len(found) else blank)
                rows[f"{test_set.name}\n{family}\nface {face}"] = torch.stack(line)
    return show_rows(rows, ["true face", "hole", *methods], inches=1.3)
