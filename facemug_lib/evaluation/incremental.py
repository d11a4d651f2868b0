"""Ten edits in a row, each on the last one's picture: what drifts where nothing was to be edited (FACEMUG Figs. 1, 8, 23)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.guided import Row, arrays, averages, maps_of, planned
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.protocols import EDIT_SEEDS, TestSet, edit_groups
from facemug_lib.faces.alignment import open_face
from facemug_lib.modalities import masks
from facemug_lib.pictures import as_8_bit, to_pixels
from facemug_lib.store import Arrays, digest


class Increment(NamedTuple):
    """Where one edit happens (``"irregular"``, or a region of the first parse) and what it is given ("" = nothing)."""

    region: str
    guidance: str


INCREMENTS = (
    Increment("irregular", ""), Increment("lips", "colour"), Increment("brows", "sketch"), Increment("irregular", "exemplar"),
    Increment("hair", "colour"), Increment("eyes", "semantics"), Increment("irregular", "sketch"), Increment("nose", "exemplar"),
    Increment("irregular", "semantics"), Increment("lips", ""),
)
SMALL = (0.02, 0.08)  # share of the picture that an irregular hole covers
DILATION = 4  # pixels
DYE = (0.25, -0.1, -0.15)  # what colour edits add to the region's own colour, R, G, B in [-1,1]
COPIED, RESYNTHESISED, PASTED = "copied outside the holes", "whole picture made anew", "pasted into the photo"


def step_holes(step: int, indices: Sequence[int], labels: Tensor) -> Tensor:
    """The holes [n,1,256,256] of step ``step`` on faces with labels [n,256,256]; irregular where a face has no such region."""
    holes = []
    for index, own in zip(indices, labels, strict=True):
        region = INCREMENTS[step].region
        hole = None if region == "irregular" else masks.semantic(own[None], region, DILATION)
        if hole is None or not hole.any():
            draw = torch.Generator().manual_seed(8_000_000 + len(INCREMENTS) * index + step)
            hole = masks.irregular(1, FACE_SIZE, FACE_SIZE, SMALL, draw)
        holes.append(hole)
    return torch.cat(holes)


class Script(NamedTuple):
    """What is asked for in all steps of n faces: guidance by name, from other faces but for the colours, the own ones dyed."""

    indices: Sequence[int]
    labels: Tensor
    guidance: dict[str, Tensor]

    @classmethod
    def of(cls, indices: Sequence[int], images: Tensor, labels: Tensor, exemplars: Tensor, exemplar_labels: Tensor) -> Script:
        guidance = maps_of(exemplars, exemplar_labels)
        guidance["colour"] = (maps_of(images, labels)["colour"] + torch.tensor(DYE).view(1, 3, 1, 1)).clamp(-1, 1)
        return cls(indices, labels, guidance | {"exemplar": exemplars})

    def edits(self, step: int, faces: Tensor) -> tuple[list[Edit], Tensor]:
        """The edits of step ``step`` on the pictures reached so far, and their holes."""
        holes = step_holes(step, self.indices, self.labels)
        wanted = INCREMENTS[step].guidance
        seeds = [index % EDIT_SEEDS for index in self.indices]  # one seed for all steps: no drift is to come from another draw
        return planned(faces, holes, seeds, {wanted: self.guidance[wanted]} if wanted else {}), holes


@dataclass(frozen=True, eq=False)
class IncrementalProtocol:
    """:data:`INCREMENTS` on aligned faces, copied outside the holes as the editor does, and for contrast whole pictures fed back.

    After each step, over all outside of the holes so far: ``changed``, how many 8-bit values differ from the first picture, and
    ``outside_lpips_alex`` to it, with the first picture put into the holes of both, so that it is 0 if nothing drifted.
    ``edited`` is the share of the picture that the holes cover; ``arcface`` the cosine of the whole face with the first.
    """

    editor: Editor
    judges: Judges
    test_set: TestSet
    units: Sequence[str] = (COPIED, RESYNTHESISED)

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        others = [self.test_set.exemplar_of(index) for index in indices]
        return {"protocol": "incremental", "unit": unit, "indices": list(indices), "steps": [list(step) for step in INCREMENTS],
                "faces": digest(*(values[chosen] for values in (self.test_set.pixels, self.test_set.labels)
                                  for chosen in (list(indices), others)))}

    def pictures(self, unit: str, indices: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """After each step: the pictures [n,3,256,256], and all holes so far [n,1,256,256]."""
        others = [self.test_set.exemplar_of(index) for index in indices]
        images = self.test_set.images(indices)
        script = Script.of(indices, images, self.test_set.labels[list(indices)].long(), self.test_set.images(others),
                           self.test_set.labels[others].long())
        made, unions = [images], [torch.zeros(len(images), 1, FACE_SIZE, FACE_SIZE)]
        for step in range(len(INCREMENTS)):
            plan, holes = script.edits(step, made[-1])
            results = self.editor.edit_many(plan)
            made.append(as_8_bit(torch.cat([(one.raw if unit == RESYNTHESISED else one.image).cpu() for one in results])))
            unions.append(torch.maximum(unions[-1], holes))
        return made[1:], unions[1:]

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        images = self.test_set.images(indices)
        truths, identities = self.judges.embedded(images), self.judges.arcface(images)
        scores: dict[str, list[Tensor]] = {}
        for made, union in zip(*self.pictures(unit, indices), strict=True):
            outside = torch.where(union > 0.5, images, made)
            for name, values in (("changed", (to_pixels(outside) != to_pixels(images)).sum((1, 2, 3)).double()),
                                 ("outside_lpips_alex", self.judges.lpips_to(truths, outside)),
                                 ("arcface", metrics.cosine(self.judges.arcface(made), identities)),
                                 ("edited", union.mean((1, 2, 3)))):
                scores.setdefault(name, []).append(values)
        return arrays({name: torch.stack(values, dim=1) for name, values in scores.items()})

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """One row per chain and step."""
        return [row for unit, found in measured.items() for row in step_rows(self.test_set.name, unit, found, indices)]


@dataclass(frozen=True, eq=False)
class PhotoProtocol:
    """:data:`INCREMENTS` on whole photographs, each step on what ``paste_back`` gave: ``changed`` values at full size, as above.

    Place k of the indices is ``photos[k]``; its exemplar is face k of ``test_set``. The photo's alignment is found once.
    """

    editor: Editor
    judges: Judges
    test_set: TestSet
    photos: Sequence[Path | str]
    units: Sequence[str] = (PASTED,)

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        files = [hashlib.sha256(Path(self.photos[index]).read_bytes()).hexdigest() for index in indices]
        others = [index % len(self.test_set) for index in indices]
        return {"protocol": "photographs", "unit": unit, "photos": files, "steps": [list(step) for step in INCREMENTS],
                "faces": digest(self.test_set.pixels[others], self.test_set.labels[others]), "indices": list(indices)}

    def pictures(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """After each step: the photo in its own layout and type, and all its edited pixels so far, bool [h,w]."""
        face = open_face(self.photos[index])
        other = [index % len(self.test_set)]
        script = Script.of([index], face.image, self.judges.parse(face.image), self.test_set.images(other),
                           self.test_set.labels[other].long())
        made, unions = [face.original], [np.zeros(face.original.shape[:2], dtype=bool)]
        for step in range(len(INCREMENTS)):
            plan, holes = script.edits(step, face.image)
            made.append(self.editor.edit_many([replace(plan[0], face=face)])[0].paste_back())
            unions.append(unions[-1] | face.mask_to_photo(holes))
            face = face.repainted(made[-1])
        return made[1:], unions[1:]

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        changed, edited = [], []
        for index in indices:
            original = open_face(self.photos[index]).original
            made, unions = self.pictures(index)
            changed.append([int((picture != original)[~union].sum()) for picture, union in zip(made, unions, strict=True)])
            edited.append([float(union.mean()) for union in unions])
        return {"changed": np.array(changed, dtype=float), "edited": np.array(edited)}

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """One row per step."""
        return [row for unit, found in measured.items() for row in step_rows("photographs", unit, found, indices)]


def step_rows(set_name: str, chain: str, measured: Arrays, indices: Sequence[int]) -> list[Row]:
    """A row for every step of arrays [n,steps]; ``most_changed`` is the worst face's count of changed values."""
    groups = edit_groups(indices)
    return [{"part": "incremental", "set": set_name, "mask": step.region, "edit": step.guidance or "no guidance", "chain": chain,
             "step": number + 1, "n": len(indices), "reference": chain == RESYNTHESISED,
             "scores": averages({name: values[:, number] for name, values in measured.items()}, groups),
             "most_changed": int(measured["changed"][:, number].max())}
            for number, step in enumerate(INCREMENTS)]
