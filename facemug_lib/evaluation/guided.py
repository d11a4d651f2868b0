"""Was the guidance obeyed? The editor on the same holes with different guidance, scored against what was asked for.

A protocol is measured in pieces: a *unit* (one way of editing) on a few faces at a time gives plain arrays, which can be kept on
disk; rows are made of all arrays at the end. Here: guidance obeyed (the paper's tables IV, V and VII as with-and-without
comparisons) and all 32 subsets of five modalities (Fig. 12). Warping is in
:mod:`.warping_ablation`, edits in a row in :mod:`.incremental`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.inputs import INFLUENCES
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.cases import Cases
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.metrics import Score
from facemug_lib.evaluation.protocols import TestSet, edit_groups
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.sketch import pencil_sketch
from facemug_lib.pictures import as_8_bit, to_pixels
from facemug_lib.progress import Tell, silent, untold
from facemug_lib.store import Arrays, Keep, digest, keep_nothing

Row = dict[str, Any]


class GuidedProtocol(Protocol):
    """What :func:`run` measures.

    ``describe`` says in plain data everything that a unit's arrays depend on but the editor's weights and the judges; ``measure``
    gives arrays whose first axis is that of ``indices``, NaN = not measured; ``rows`` sums up the joined arrays of all units.
    """

    units: Sequence[str]

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]: ...

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays: ...

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]: ...


def run(protocol: GuidedProtocol, count: int, keep: Keep = keep_nothing,
        tell: Tell = untold) -> list[Row]:
    """The rows of ``protocol`` over faces 0 … ``count`` − 1, in batches at fixed places: a larger count reuses what is kept."""
    if count < 1:
        raise FacemugError(f"{count} faces: measure 1 or more")
    pieces: dict[str, list[Arrays]] = {unit: [] for unit in protocol.units}
    for indices in batches(count):
        for unit in protocol.units:
            pieces[unit].append(keep(protocol.describe(unit, indices),
                                     lambda unit=unit, indices=indices: protocol.measure(unit, indices)))
        tell(f"{type(protocol).__name__}: {indices[-1] + 1} of {count} faces")
    measured = {unit: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                for unit, parts in pieces.items()}
    return protocol.rows(measured, range(count))


# -- shared by the protocols ----------------------------------------------------------------------------------------------


def planned(images: Tensor, masks: Tensor, seeds: Sequence[int], guidance: Mapping[str, Tensor]) -> list[Edit]:
    """An edit for each face of [n,3,256,256]. ``guidance``: name → batch; what says nothing inside a hole is left out there."""
    edits = []
    for place, seed in enumerate(seeds):
        mask = masks[place:place + 1]
        given = {name: maps[place:place + 1] for name, maps in guidance.items() if name == "exemplar"}
        for name in guidance.keys() - given.keys():
            one = guidance[name][place:place + 1]
            speaks = one >= 0 if name == "semantics" else (one != 0).any(1)
            if bool((speaks & (mask[:, 0] > 0.5)).any()):
                given[name] = one
        edits.append(Edit(images[place:place + 1], mask, seed=seed, guidance_frame="aligned", **given))
    return edits


def edited(editor: Editor, edits: Sequence[Edit], refine: int = 0) -> Tensor:
    """The edits' pictures [n,3,256,256] as an 8-bit file keeps them, after ``refine`` steps of latent optimisation."""
    results = editor.edit_many(edits, refine=refine, progress=silent)
    return as_8_bit(torch.cat([result.image.cpu() for result in results]))


def maps_of(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The guidance that faces [n,3,256,256] with labels [n,256,256] give: sketch, semantics and colour."""
    return {"sketch": pencil_sketch(images), "semantics": labels, "colour": region_mean(images, labels)}


def arrays(scores: Mapping[str, Tensor]) -> Arrays:
    """On the CPU, as NumPy arrays."""
    return {name: values.detach().cpu().numpy() for name, values in scores.items()}


def averages(measured: Arrays, groups: np.ndarray, baseline: Arrays | None = None) -> dict[str, Score]:
    """The mean of every score with its error over seed groups; ``iou`` [n,2,19] is pooled to ``miou``.

    With ``baseline``: the means of the paired differences to it, face by face, whose errors are much smaller than those of the
    two means, because both ways of editing met the same faces and holes.
    """
    result = {}
    for name, values in measured.items():
        if name == "iou":
            result["miou"] = _miou(values, groups, None if baseline is None else baseline[name])
        elif values.ndim == 1:
            result[name] = metrics.mean_score(values if baseline is None else values - baseline[name], groups)
    return result


def _miou(counts: np.ndarray, groups: np.ndarray, baseline: np.ndarray | None) -> Score:
    def pooled(values: np.ndarray, keep: Any) -> float:
        return float(metrics.mean_iou(torch.from_numpy(values[keep].sum(0))))

    def statistic(keep: Any) -> float:
        return pooled(counts, keep) - (0.0 if baseline is None else pooled(baseline, keep))

    value, error = metrics.jackknife(statistic, groups)
    return Score(value, error, len(counts))


# -- guidance obeyed ------------------------------------------------------------------------------------------------------

NO_GUIDANCE = "no guidance"
GUIDED_EDITS: dict[str, tuple[str, ...]] = {
    NO_GUIDANCE: (),
    "+ sketch": ("sketch",),
    "+ semantics": ("semantics",),
    "+ colour": ("colour",),
    "+ exemplar": ("exemplar",),
    "+ sketch + semantics + colour": ("sketch", "semantics", "colour"),
}
REFERENCES = ("true face", "exemplar's face", "stranger's face")
"""Real faces in the hole: what each score can reach, and what it is when nobody listens."""
Wish = Literal["own", "foreign"]


@dataclass(frozen=True, eq=False)
class GuidanceProtocol:
    """Face-sized holes, filled without guidance and with each kind of it, on the same faces, holes and seeds.

    ``wish="own"`` asks for the true face's maps, as the paper does: the photo around the hole suggests the same, so an editor
    that ignores them still scores well, and only the difference to "no guidance" counts. ``wish="foreign"`` asks for the
    exemplar's maps, which nothing else suggests. The exemplar is another face of the set in both.

    Every score is measured for every edit: ``miou`` of the parse with the requested map inside the hole; ``sketch``, F1 of the
    strokes; ``colour``, ΔE2000 of region means; ``exemplar_arcface`` and ``exemplar_facenet``, cosines with the exemplar (no
    training has seen FaceNet); ``lpips_alex`` to the true face.
    """

    editor: Editor
    judges: Judges
    test_set: TestSet
    wish: Wish = "own"
    family: str = "face"
    refine: int = 0  # steps of latent optimisation
    units: Sequence[str] = (*GUIDED_EDITS, *REFERENCES)
    _memory: dict[tuple[int, ...], _Asked] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.test_set) < 4:
            raise FacemugError(f"{len(self.test_set)} faces: an owner, an exemplar and a stranger take a set of 4 or more")

    def stranger_of(self, index: int) -> int:
        """A face that is neither face ``index`` nor its exemplar."""
        other = index ^ 2
        return other if other < len(self.test_set) else index - 2

    def _asked(self, indices: Sequence[int]) -> _Asked:
        """What is asked for on these faces; the last answer is remembered, for all units share it."""
        key = tuple(indices)
        if key not in self._memory:
            cases = self.test_set.cases(self.family, indices)
            images, labels = cases.images, cases.labels
            if self.wish == "foreign":
                others = [self.test_set.exemplar_of(index) for index in indices]
                images, labels = cases.exemplars, self.test_set.labels[others].long()
            strangers = self.test_set.images([self.stranger_of(index) for index in indices])
            self._memory.clear()
            self._memory[key] = _Asked(cases, images, maps_of(images, labels), strangers)
        return self._memory[key]

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        asked = self._asked(indices)
        return {"protocol": "guidance", "unit": unit, "wish": self.wish, "refine": self.refine,
                "cases": asked.cases.fingerprint(), "wanted": digest(to_pixels(asked.images), asked.maps["semantics"]),
                "strangers": digest(asked.strangers)}

    def pictures(self, unit: str, indices: Sequence[int]) -> Tensor:
        """The hole filled in the unit's way: [n,3,256,256]."""
        asked, cases = self._asked(indices), self._asked(indices).cases
        if unit in REFERENCES:
            real = dict(zip(REFERENCES, (cases.images, cases.exemplars, asked.strangers), strict=True))[unit]
            return torch.where(cases.masks > 0.5, real, cases.images)
        guidance = asked.maps | {"exemplar": cases.exemplars}
        plan = planned(cases.images, cases.masks, cases.seeds, {name: guidance[name] for name in GUIDED_EDITS[unit]})
        return edited(self.editor, plan, self.refine)

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        asked, cases, judges = self._asked(indices), self._asked(indices).cases, self.judges
        pictures = self.pictures(unit, indices)
        labels = asked.maps["semantics"]
        return arrays({
            "iou": metrics.semantic_counts(judges.parse(pictures), labels, cases.masks),
            "sketch": metrics.sketch_agreement(pictures, asked.maps["sketch"], cases.masks),
            "colour": metrics.colour_error(pictures, asked.images, labels, cases.masks),
            "exemplar_arcface": metrics.cosine(judges.arcface(pictures), judges.arcface(cases.exemplars)),
            "exemplar_facenet": metrics.cosine(judges.facenet(pictures), judges.facenet(cases.exemplars)),
            "lpips_alex": judges.lpips(pictures, cases.images),
        })

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """One row per edit and reference. ``scores``: means; ``changes``: paired differences, with minus without guidance."""
        groups = edit_groups(indices)
        return [{"part": "guidance", "set": self.test_set.name, "mask": self.family, "wish": self.wish, "refine": self.refine,
                 "edit": unit, "n": len(indices), "reference": unit in REFERENCES, "scores": averages(found, groups),
                 "changes": averages(found, groups, measured[NO_GUIDANCE])
                 if unit in GUIDED_EDITS and unit != NO_GUIDANCE else {}}
                for unit, found in measured.items()]


@dataclass(frozen=True, eq=False)
class _Asked:
    """Faces with holes; the faces [n,3,256,256] whose maps are requested; the maps; faces that nobody asked for."""

    cases: Cases
    images: Tensor
    maps: dict[str, Tensor]
    strangers: Tensor


# -- all subsets ----------------------------------------------------------------------------------------------------------

SUBSETS: dict[str, tuple[str, ...]] = {
    " + ".join(chosen) or "none": chosen for size in range(len(INFLUENCES) + 1) for chosen in combinations(INFLUENCES, size)
}
"""All 32 subsets of image, sketch, semantics, colour and exemplar."""
SUBSET_NOTE = ("guidance is taken from the true face, and the exemplar is its mirror image: the same person from another side; "
               "without the image the whole picture is made anew, from a random face where nothing at all is given")
RANKED = {"hole_lpips_alex": 1, "arcface": -1}  # score → which way is better: 1, lower


def planned_subset(images: Tensor, masks: Tensor, seeds: Sequence[int], guidance: Mapping[str, Tensor],
                   subset: Sequence[str]) -> list[Edit]:
    """Edits of faces [n,3,256,256] given a subset of all ``guidance``; without the image the whole picture is hole."""
    return planned(images, masks if "image" in subset else torch.ones_like(masks), seeds,
                   {name: guidance[name] for name in subset if name != "image"})


def likeness(judges: Judges, pictures: Tensor, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """How near pictures [n,3,256,256] are to the true faces: the scores [n] of :class:`SubsetProtocol`."""
    truths = judges.embedded(images)
    return {
        "lpips_alex": judges.lpips_to(truths, pictures),
        "hole_lpips_alex": judges.lpips_to(truths, torch.where(masks > 0.5, pictures, images)),
        "arcface": metrics.cosine(judges.arcface(pictures), judges.arcface(images)),
    }


@dataclass(frozen=True, eq=False)
class SubsetProtocol:
    """All 32 subsets of five modalities on a face-sized hole (Fig. 12, which always shows the image and has text as its fifth).

    ``lpips_alex``: to the true face, of the picture as made; ``hole_lpips_alex``: with the true pixels around the hole put into
    every picture, so that subsets with and without the image can be compared; ``arcface``: cosine with the true face, as made.
    """

    editor: Editor
    judges: Judges
    test_set: TestSet
    family: str = "face"
    units: Sequence[str] = tuple(SUBSETS)
    _memory: dict[tuple[int, ...], tuple[Cases, dict[str, Tensor]]] = field(default_factory=dict, init=False, repr=False)

    def _asked(self, indices: Sequence[int]) -> tuple[Cases, dict[str, Tensor]]:
        """Faces with holes, and all guidance; the last answer is remembered, for all units share it."""
        key = tuple(indices)
        if key not in self._memory:
            cases = self.test_set.cases(self.family, indices)
            cases = replace(cases, exemplars=cases.images.flip(-1))
            self._memory.clear()
            self._memory[key] = cases, maps_of(cases.images, cases.labels) | {"exemplar": cases.exemplars}
        return self._memory[key]

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        return {"protocol": "subsets", "unit": unit, "cases": self._asked(indices)[0].fingerprint()}

    def pictures(self, unit: str, indices: Sequence[int]) -> Tensor:
        """Edits [n,3,256,256] given the unit's subset."""
        (cases, guidance), subset = self._asked(indices), SUBSETS[unit]
        return edited(self.editor, planned_subset(cases.images, cases.masks, cases.seeds, guidance, subset))

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        cases, pictures = self._asked(indices)[0], self.pictures(unit, indices)
        return arrays(likeness(self.judges, pictures, cases.images, cases.masks))

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """One row per subset; ``ranks``: its place among all 32, 1 = best."""
        groups = edit_groups(indices)
        rows = [{"part": "subsets", "set": self.test_set.name, "mask": self.family, "edit": unit, "modalities": SUBSETS[unit],
                 "n": len(indices), "reference": False, "scores": averages(found, groups), "note": SUBSET_NOTE, "ranks": {}}
                for unit, found in measured.items()]
        for name, sign in RANKED.items():
            for rank, row in enumerate(sorted(rows, key=lambda row: sign * row["scores"][name].value), start=1):
                row["ranks"][name] = rank
        return rows
