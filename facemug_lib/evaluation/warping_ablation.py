"""What latent warping is worth (FACEMUG Fig. 14): exemplars in another pose than the face, with and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.guided import Row, arrays, averages, edited, planned
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.protocols import BUCKETS, TestSet, bucket_name, edit_groups
from facemug_lib.store import Arrays, digest

TURN = 20.0  # degrees of yaw between face and exemplar from which on a pair counts
POOL = 8  # neighbours among whom a face finds its foreign exemplar
ABLATED_FAMILIES = ("centre", "irregular")
NONE, OFF, ON = "no exemplar", "exemplar, no warping", "exemplar, warped"
EDITS = {"mirrored": (NONE, OFF, ON), "foreign": (OFF, ON)}
SCORES = {"mirrored": ("lpips_alex", "arcface", "pose"), "foreign": ("arcface", "pose")}


class NoWarping(nn.Module):
    """A latent warping network that moves nothing: ``source + Δw`` is ``source``."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.zeros_like(source)


def without_warping(editor: Editor) -> Editor:
    """The same editor but for the warping; it keeps its directions and text models."""
    return editor.with_warping(NoWarping())


@dataclass(frozen=True, eq=False)
class WarpingProtocol:
    """Centre and irregular holes, an exemplar whose yaw differs by :data:`TURN` degrees or more, warping on and off.

    *Mirrored*: the exemplar is the true face's mirror image, as in Algorithm 2. It is the same person in another pose, so the
    true face is the answer: ``lpips_alex`` and ``arcface`` are taken to it, ``pose`` (degrees) too. Measured without any exemplar
    as well. *Foreign*: the exemplar is the one of eight neighbours whose yaw differs most; ``pose`` is taken to the true face and
    ``arcface`` to the exemplar, and there is no answer to take LPIPS to. Faces that find no such pair are left out, as NaN.
    """

    editor: Editor
    judges: Judges
    test_set: TestSet
    units: Sequence[str] = tuple(f"{form}, {family}, {edit}"
                                 for form in EDITS for family in ABLATED_FAMILIES for edit in EDITS[form])
    _poses: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def poses(self, indices: Sequence[int]) -> Tensor:
        """Yaw, pitch and roll [n,3] of faces of the set, each measured once."""
        missing = [index for index in indices if index not in self._poses]
        if missing:
            self._poses.update(zip(missing, self.judges.pose(self.test_set.images(missing)), strict=True))
        return torch.stack([self._poses[index] for index in indices])

    def pool(self, index: int) -> list[int]:
        """The faces among which face ``index`` finds its foreign exemplar."""
        start = index - index % POOL
        return [other for other in range(start, min(start + POOL, len(self.test_set))) if other != index]

    def exemplars(self, form: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Exemplars [n,3,256,256], and by how many degrees of yaw they differ [n]; NaN where no pose was found."""
        yaw = self.poses(indices)[:, 0]
        if form == "mirrored":
            return self.test_set.images(indices).flip(-1), 2 * yaw.abs()
        chosen, turns = [], []
        for place, index in enumerate(indices):
            pool = self.pool(index) or [index]
            turn = (self.poses(pool)[:, 0] - yaw[place]).abs()
            best = int(turn.nan_to_num(-1).argmax())
            chosen.append(pool[best])
            turns.append(turn[best])
        return self.test_set.images(chosen), torch.stack(turns)

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        form, family, _ = unit.split(", ", 2)
        others = sorted({other for index in indices for other in self.pool(index)}) if form == "foreign" else []
        return {"protocol": "warping", "unit": unit, "cases": self.test_set.cases(family, indices).fingerprint(),
                "pool": digest(self.test_set.pixels[others]), "turn": TURN}

    def pictures(self, unit: str, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[int]]:
        """Edits [m,3,256,256] of the faces that have a turned exemplar, the exemplars, and those faces' places in ``indices``."""
        form, family, edit = unit.split(", ", 2)
        exemplars, turns = self.exemplars(form, indices)
        places = (turns >= TURN).nonzero()[:, 0].tolist()
        if not places:
            return torch.empty(0, 3, *exemplars.shape[2:]), exemplars[:0], []
        cases = self.test_set.cases(family, [indices[place] for place in places])
        plan = planned(cases.images, cases.masks, cases.seeds, {} if edit == NONE else {"exemplar": exemplars[places]})
        return edited(without_warping(self.editor) if edit == OFF else self.editor, plan), exemplars[places], places

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        is_mirrored = unit.startswith("mirrored")
        pictures, exemplars, places = self.pictures(unit, indices)
        scores = {name: torch.full((len(indices),), torch.nan) for name in ("lpips_alex", "arcface", "pose", "turn")}
        scores["turn"] = self.exemplars("mirrored" if is_mirrored else "foreign", indices)[1].float()
        if places:
            truths = self.test_set.images([indices[place] for place in places])
            same = truths if is_mirrored else exemplars
            scores["arcface"][places] = metrics.cosine(self.judges.arcface(pictures), self.judges.arcface(same)).float()
            poses = self.poses([indices[place] for place in places])
            scores["pose"][places] = torch.as_tensor(metrics.angle_error(self.judges.pose(pictures), poses)).float()
            if is_mirrored:
                scores["lpips_alex"][places] = self.judges.lpips(pictures, truths)
        return arrays(scores)

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """A row per form, kind of hole and edit; ``changes``: paired differences, with minus without warping."""
        places = np.arange(len(indices))
        buckets = np.array(indices) % len(BUCKETS)
        holes = {family: (family, places) for family in ABLATED_FAMILIES} | {
            bucket_name(bucket): ("irregular", places[buckets == number]) for number, bucket in enumerate(BUCKETS)}
        rows = []
        for form, edits in EDITS.items():
            for hole, (family, members) in holes.items():
                turned = members[measured[f"{form}, {family}, {ON}"]["turn"][members] >= TURN]
                if not len(turned):
                    continue
                groups = edit_groups([indices[place] for place in turned])
                found = {edit: {name: values[turned] for name, values in measured[f"{form}, {family}, {edit}"].items()
                                if name in SCORES[form]} for edit in edits}
                rows += [{"part": "warping", "set": self.test_set.name, "mask": hole, "exemplar": form, "edit": edit,
                          "n": len(turned), "reference": edit == NONE, "scores": averages(scores, groups),
                          "changes": averages(scores, groups, found[OFF]) if edit == ON else {}}
                         for edit, scores in found.items()]
        return rows
