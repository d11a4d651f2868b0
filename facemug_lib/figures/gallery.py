"""Edits that nobody chose: the first faces of a test set, each with the kind of edit that is its turn.

``facemug gallery`` makes the sheet that the README shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.guided import maps_of, planned
from facemug_lib.evaluation.protocols import EDIT_SEEDS, TestSet
from facemug_lib.figures.plotting import guidance_picture, show_rows
from facemug_lib.progress import Tell, silent, untold

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facemug_lib.editing.result import EditResult

ACROSS = 2  # edits side by side on the sheet


@dataclass(frozen=True)
class Kind:
    """One kind of edit: which hole (a mask family), and what is said about it; all guidance shows another face."""

    name: str
    family: str
    guidance: tuple[str, ...] = ()


KINDS = (
    Kind("irregular hole", "irregular"),
    Kind("face from exemplar", "face", ("exemplar",)),
    Kind("face by sketch", "face", ("sketch",)),
    Kind("hair by labels", "hair", ("semantics",)),
    Kind("hair by colour", "hair", ("colour",)),
    Kind("centre by all four", "centre", ("sketch", "semantics", "colour", "exemplar")),
)


def kind_of(index: int) -> Kind:
    """Whose turn it is on face ``index``: shifted by one every round, so that no kind meets the same size of hole every time."""
    return KINDS[(index + index // len(KINDS)) % len(KINDS)]


@dataclass(frozen=True, eq=False)
class GalleryEdit:
    """What was asked of one face, and the answers; pictures [1,3,256,256] in [-1,1].

    asked: the face with the guidance painted into its hole; made: by name, the one-pass edit and perhaps the refined one.
    """

    index: int
    kind: Kind
    face: Tensor
    asked: Tensor
    made: dict[str, Tensor]


def data(editor: Editor, test_set: TestSet, count: int = 24, refine: int = 0,
         tell: Tell = untold) -> list[GalleryEdit]:
    """Edits of faces 0 … ``count`` − 1, in one pass and, with ``refine``, also after that many steps of latent optimisation.

    The kinds take turns, seeds are i mod 5, and guidance comes from the face that :meth:`TestSet.exemplar_of` pairs face i with.
    """
    if not 1 <= count <= len(test_set) or len(test_set) < 2:
        raise FacemugError(f"{count} edits of {len(test_set)} faces: ask for 1 … {len(test_set)}, of a set of 2 faces or more")
    found: dict[int, GalleryEdit] = {}
    for kind in KINDS:
        mine = [index for index in range(count) if kind_of(index) == kind]
        for places in batches(len(mine)):
            for one in _edits(editor, test_set, kind, mine[places.start:places.stop], refine):
                found[one.index] = one
            tell(f"{test_set.name}: {len(found)} of {count} edits")
    return [found[index] for index in range(count)]


def _edits(editor: Editor, test_set: TestSet, kind: Kind, indices: Sequence[int], refine: int) -> list[GalleryEdit]:
    cases = test_set.cases(kind.family, indices)
    others = [test_set.exemplar_of(index) for index in indices]
    maps = maps_of(cases.exemplars, test_set.labels[others].long()) | {"exemplar": cases.exemplars}
    plan = planned(cases.images, cases.masks, [index % EDIT_SEEDS for index in indices],
                   {name: maps[name] for name in kind.guidance})
    made: dict[str, list[EditResult]] = {"one pass": editor.edit_many(plan)}
    if refine:
        made[f"+ {refine} steps"] = editor.edit_many(plan, refine=refine, progress=silent)
    return [
        GalleryEdit(index, kind, cases.images[place:place + 1],
                    guidance_picture(cases.images[place:place + 1], made["one pass"][place].conditions,
                                     cases.exemplars[place:place + 1] if "exemplar" in kind.guidance else None),
                    {name: results[place].image.cpu() for name, results in made.items()})
        for place, index in enumerate(indices)
    ]


def draw(edits: Sequence[GalleryEdit]) -> Figure:
    """All edits as one picture, two to a row: face, what was asked, what was made."""
    if not edits:
        raise FacemugError("there is no edit to show")
    rows = {}
    for start in range(0, len(edits), ACROSS):
        line = edits[start:start + ACROSS]
        name = "\n".join(f"{one.index}: {one.kind.name}" for one in line)
        rows[name] = torch.cat([picture for one in line for picture in (one.face, one.asked, *one.made.values())])
    return show_rows(rows, ["face", "asked", *edits[0].made] * ACROSS, inches=1.25)
