"""One part of a face at a time, by lines or by labels (FACEMUG Fig. 9, 10, 25, 26).

Lines and labels are another face's. Only wrinkles and a beard are strokes drawn here, since no sampled face is sure to have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.judges import Judges
from facemug_lib.figures.plotting import guidance_picture, show_rows
from facemug_lib.modalities import masks
from facemug_lib.modalities.sketch import pencil_sketch
from facemug_lib.pictures import as_8_bit
from facemug_lib.progress import silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Guidance = Literal["sketch", "semantics"]
PARTS: dict[str, tuple[str, ...]] = {
    "sketch": ("eyes", "brows", "nose", "mouth", "chin", "hair", "wrinkles", "beard"),
    "semantics": ("eyes", "brows", "nose", "mouth", "hair", "face"),
}
REGIONS = {"eyes": ("eyes", 10), "brows": ("brows", 10), "nose": ("nose", 8), "mouth": ("lips", 12), "face": ("face", 4)}
"""Part → the region of the label map that it is, and by how many pixels its hole exceeds it."""
DRAWN = ("wrinkles", "beard")


@dataclass(frozen=True, eq=False)
class PartEdits:
    """face [1,3,256,256]; by part: asked [1,3,256,256] (the guidance in its hole), made [1,3,256,256], and how well the
    guidance agrees with the face as it was and as it is now (F1 of strokes, or mIoU of labels, inside the hole)."""

    face: Tensor
    guidance: Guidance
    asked: dict[str, Tensor]
    made: dict[str, Tensor]
    agreement: dict[str, tuple[float, float]]


def hole(part: str, own: Tensor, other: Tensor) -> Tensor:
    """Where ``part`` is changed [1,1,256,256] on a face with labels ``own`` [1,256,256] that gets what one with ``other`` has."""
    if part in REGIONS:
        region, dilation = REGIONS[part]
        return torch.maximum(*(masks.semantic(labels, region, dilation) for labels in (own, other)))
    rows = torch.arange(own.shape[1]).view(1, 1, -1, 1)
    if part == "hair":
        features = masks.semantic(own, ("nose", "eyes", "brows", "lips"), 8)
        return torch.maximum(masks.semantic(own, "hair", 5), masks.semantic(other, "hair", 5) * (rows < 205)) * (1 - features)
    skin = masks.semantic(own, "skin")
    if part == "wrinkles":
        return skin * (rows < _edge(own, "brows", "top") - 2)
    if part == "beard":
        return skin * (rows > _edge(own, "nose", "bottom"))
    if part == "chin":
        return masks.semantic(own, ("skin", "neck"), 8) * (rows > _edge(own, "lips", "bottom") + 3) * (rows < 248)
    raise FacemugError(f"no part {part!r} of a face: choose from {', '.join(dict.fromkeys(sum(PARTS.values(), ())))}")


def _edge(labels: Tensor, region: str, side: Literal["top", "bottom"]) -> int:
    """The first or last row of a region; the middle of the picture where a face has none."""
    rows = masks.semantic(labels, region)[0, 0].any(dim=1).nonzero()[:, 0]
    return int(rows[0 if side == "top" else -1]) if len(rows) else labels.shape[1] // 2


def drawn_strokes(part: str, where: Tensor) -> Tensor:
    """Strokes [1,1,256,256] of wrinkles or of a beard inside ``where`` [1,1,256,256]."""
    rows, columns = (torch.arange(where.shape[-1]).view(shape) for shape in ((-1, 1), (1, -1)))
    if part == "wrinkles":
        bend = (3 * torch.cos((columns - 128) / 22)).round()
        lines = (rows + bend) % 13 < 2
    else:
        shift = 5 * torch.div(rows, 9, rounding_mode="floor")
        lines = ((columns + shift) % 10 < 2) & (rows % 9 < 6)
    inner = -torch.nn.functional.max_pool2d(-where, 9, 1, 4)  # strokes keep off the hole's edge
    return lines[None, None] * (inner > 0.5).float()


def data(editor: Editor, judges: Judges, face: Tensor, labels: Tensor, other: Tensor, other_labels: Tensor, guidance: Guidance,
         parts: Sequence[str] = (), refine: int = 0, seed: int = 0) -> PartEdits:
    """Edit ``face`` [1,3,256,256] with labels [1,256,256] once for each part (all), towards ``other`` of the same shapes."""
    sketch, plan = pencil_sketch(other), {}
    for part in parts or PARTS[guidance]:
        mask = hole(part, labels, other_labels)
        lines = drawn_strokes(part, mask) if part in DRAWN else sketch
        if not bool(mask.any()):
            raise FacemugError(f"this face shows no {part}: choose another face, or leave that part out")
        plan[part] = Edit(face, mask, **{guidance: lines if guidance == "sketch" else other_labels}, seed=seed,
                          guidance_frame="aligned")
    results = dict(zip(plan, editor.edit_many(list(plan.values()), refine=refine, progress=silent), strict=True))
    made = {part: as_8_bit(result.image.cpu()) for part, result in results.items()}
    asked = {part: guidance_picture(face, result.conditions.to("cpu")) for part, result in results.items()}
    agreement = {part: (_agreement(judges, face, edit, guidance), _agreement(judges, made[part], edit, guidance))
                 for part, edit in plan.items()}
    return PartEdits(face, guidance, asked, made, agreement)


def _agreement(judges: Judges, picture: Tensor, edit: Edit, guidance: Guidance) -> float:
    if guidance == "sketch":
        return float(metrics.sketch_agreement(picture, edit.sketch, edit.mask))
    return metrics.mean_iou(metrics.semantic_counts(judges.parse(picture), edit.semantics, edit.mask)[0])


def draw(edits: PartEdits) -> Figure:
    """A column per part: what is asked for, what is made of it, and the agreement before and after."""
    figure = show_rows({"asked": torch.cat(list(edits.asked.values())), "made": torch.cat(list(edits.made.values()))},
                       list(edits.asked), inches=1.5)
    name = "F1" if edits.guidance == "sketch" else "mIoU"
    for axis, (before, after) in zip(figure.axes[len(edits.made):], edits.agreement.values(), strict=True):
        axis.set_xlabel(f"{name} {before:.2f} → {after:.2f}", fontsize=8)
    return figure
