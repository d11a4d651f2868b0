"""Is an edit as sharp as the photograph around it? Measured on whole photographs, at their own size, as they are pasted back.

Three questions to the pixels of a picture and its hole, in pixels of the photo:

* :func:`detail_energy`: how much is there of what is finer than about 3 px? Inside of the hole over the ring around it, with the
  photo's own ratio beside it, for a face has other detail than a wall;
* :func:`edge_gradient`: how far do neighbours on the two sides of the hole's edge differ? Over the photo's own difference there;
* LPIPS to the photo, of the square around the face at 512 px.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.fill.blending import RING
from facemug_lib.editing.sharp import at_size, side_in_photo
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.guided import Row
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.metrics import Score
from facemug_lib.evaluation.protocols import EDIT_SEEDS, edit_groups, hole
from facemug_lib.faces.alignment import AlignedFace, luma_of, open_face
from facemug_lib.store import Arrays

SIGMA = 1.0  # pixels of the photo; detail is what a Gaussian of this width removes
MARGIN = 3  # pixels on both sides of the hole's edge that are left out of detail: there the Gaussian sees both sides
ALIKE = (0.8, 1.25)  # of the photo's own detail: who has this much is as sharp as the photo
LPIPS_SIZE = 512
OWN, SMALL, AUTO = "the photo itself", "size 256", "size auto"
HOLES = ("face", "hair")


def ring_around(where: np.ndarray, width: int) -> np.ndarray:
    """The pixels within ``width`` px of ``where`` (bool [h,w]) and outside of it, bool [h,w]."""
    distance = cv2.distanceTransform((~where).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return ~where & (distance <= width)


def inner(where: np.ndarray, margin: int = MARGIN) -> np.ndarray:
    """Bool [h,w]: ``where`` without what lies within ``margin`` px of its edge; the picture's own border is no edge."""
    return cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > margin


def detail_energy(grey: np.ndarray, where: np.ndarray) -> float:
    """Mean square of what is finer than about 3 px in a grey picture [h,w], over ``where`` (bool [h,w]); NaN over nothing."""
    grey = grey.astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT_101)
    return float(np.square(fine[where], dtype=np.float64).mean()) if where.any() else float("nan")


def edge_gradient(grey: np.ndarray, where: np.ndarray) -> float:
    """Mean absolute difference of neighbours, one in ``where`` (bool [h,w]) and one outside, of a grey picture [h,w]; NaN where
    there are none."""
    grey = grey.astype(np.float32)
    steps = [np.abs(np.diff(grey, axis=axis))[np.diff(where, axis=axis)] for axis in (0, 1)]
    across = np.concatenate(steps)
    return float(across.mean()) if len(across) else float("nan")


def sharpness(picture: np.ndarray, photo: np.ndarray, where: np.ndarray, width: int) -> dict[str, float]:
    """Ratios of a grey edit [h,w] of a grey ``photo`` in the hole ``where``, NaN where the photo has nothing to compare with.

    ``detail_ring``: energy of its detail in the hole over that in the ``width`` px around. ``detail_own``: over that of the photo
    in the same hole. ``seam``: its gradient across the hole's edge over the photo's.
    """
    inside, ring = inner(where), inner(~where) & ring_around(where, width)
    energy = detail_energy(picture, inside)
    return {"detail_ring": _over(energy, detail_energy(photo, ring)), "detail_own": _over(energy, detail_energy(photo, inside)),
            "seam": _over(edge_gradient(picture, where), edge_gradient(photo, where))}


def _over(value: float, other: float) -> float:
    return value / other if other > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class SharpnessProtocol:
    """Holes of one kind (``family``) on photographs at their own size, filled without guidance: painted at 256 px and as large as
    the photo shows the face, beside the photo itself.

    Scores are :func:`sharpness` and ``lpips_512``. Ratios are averaged by their logarithms; ``alike`` is the share of
    photographs whose detail is within :data:`ALIKE` of their own.
    """

    editor: Editor
    judges: Judges
    photos: Sequence[Path | str]
    family: str = "face"
    units: Sequence[str] = (OWN, SMALL, AUTO)
    _memory: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict, init=False, repr=False)

    def describe(self, unit: str, indices: Sequence[int]) -> dict[str, Any]:
        files = [hashlib.sha256(Path(self.photos[index]).read_bytes()).hexdigest() for index in indices]
        return {"protocol": "sharpness", "unit": unit, "family": self.family, "photos": files, "indices": list(indices)}

    def case(self, index: int) -> tuple[AlignedFace, np.ndarray]:
        """The face of photo ``index``, and its hole, bool [h,w], in the photo."""
        face = open_face(self.photos[index])
        return face, face.mask_to_photo(hole(self.family, index, self.judges.parse(face.image)[0]))

    def pictures(self, face: AlignedFace, where: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """The whole photo of each unit, in its own layout. The small edit is the larger one's coarse part."""
        made = self.editor.edit_many([Edit(face, where, seed=seed, size="auto")])[0]
        return {OWN: face.original, SMALL: replace(made, sharp=None).paste_back(), AUTO: made.paste_back()}

    def _scores(self, index: int) -> dict[str, dict[str, float]]:
        if index not in self._memory:
            face, where = self.case(index)
            made = self.pictures(face, where, index % EDIT_SEEDS)
            width = round(RING * side_in_photo(face) / face.size)
            large = at_size(face, LPIPS_SIZE)
            truth = self.judges.embedded(large.image)
            scores = {}
            for unit, picture in made.items():
                found = sharpness(_grey(face, picture), _grey(face, face.original), where, width)
                found["lpips_512"] = float(self.judges.lpips_to(truth, large.repainted(picture).image)[0])
                scores[unit] = found
            self._memory[index] = scores
        return self._memory[index]

    def measure(self, unit: str, indices: Sequence[int]) -> Arrays:
        found = [self._scores(index)[unit] for index in indices]
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def rows(self, measured: Mapping[str, Arrays], indices: Sequence[int]) -> list[Row]:
        """One row for each unit."""
        return [{"part": "sharpness", "set": "photographs", "mask": self.family, "edit": unit, "n": len(indices),
                 "reference": unit == OWN, "scores": summary(found, edit_groups(indices))} for unit, found in measured.items()]


def summary(measured: Arrays, groups: np.ndarray) -> dict[str, Score]:
    """The scores of n photographs: geometric means of the ratios, the mean of LPIPS, and ``alike``."""
    own = measured["detail_own"]
    alike = np.where(np.isfinite(own), (own >= ALIKE[0]) & (own <= ALIKE[1]), np.nan)
    return {**{name: _geometric_mean(measured[name], groups) for name in ("detail_ring", "detail_own", "seam")},
            "alike": metrics.mean_score(alike, groups), "lpips_512": metrics.mean_score(measured["lpips_512"], groups)}


def _geometric_mean(values: np.ndarray, groups: np.ndarray) -> Score:
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        return Score(float("nan"), None, 0)
    logs = np.log(values[known])
    return Score(*metrics.jackknife(lambda keep: float(np.exp(logs[keep].mean())), groups[known]), int(known.sum()))


def _grey(face: AlignedFace, picture: np.ndarray) -> np.ndarray:
    """A photo's pixels in its own layout as brightness, float32 [h,w] in 0 … 1."""
    values = picture.astype(np.float32) / face.photo.white
    return values if values.ndim == 2 else luma_of(values[..., :3])
