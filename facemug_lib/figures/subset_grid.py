"""All 32 subsets of five modalities on one photograph (FACEMUG Fig. 12): what ``facemug subsets`` shows and measures.

Guidance that nobody gives is read from the photo's own face, and the exemplar is then its mirror image, as on the test faces of
:class:`facemug_lib.evaluation.guided.SubsetProtocol`.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.drawing import Drawing, FaceLike, Picture, read_exemplar
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.inputs import INFLUENCES
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.guided import SUBSETS, edited, likeness, maps_of, planned_subset
from facemug_lib.evaluation.judges import Judges
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.modalities.semantics import colourise
from facemug_lib.pictures import as_8_bit, ink, overlay, pixels_of
from facemug_lib.progress import Tell, untold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GUIDANCE_AND_EXEMPLAR = INFLUENCES[1:]
SUBSET_COLUMNS = tuple(subset for subset in SUBSETS.values() if set(subset) <= {"sketch", "semantics", "colour"})
BANDS = {
    ("image",): "With the image: only the hole is made anew",
    ("image", "exemplar"): "With the image and the exemplar",
    (): "Without the image: the whole picture is made anew",
    ("exemplar",): "Without the image, with the exemplar",
}
"""The rows of the figure: what is common to each, and its heading."""
SIDE, GAP, CAPTION, HEADING, DPI = 1.75, 0.12, 0.52, 0.34, 150  # of the figure; inches, and pixels an inch


@dataclass(frozen=True, eq=False)
class SubsetGrid:
    """face [1,3,256,256], mask [1,1,256,256], and guidance by name, as :class:`~facemug_lib.editing.editor.Edit` takes it in the
    aligned frame; sources: where each guidance is from; pictures [1,3,256,256] and scores by the names of :data:`SUBSETS`."""

    face: Tensor
    mask: Tensor
    guidance: dict[str, Tensor]
    sources: dict[str, str]
    pictures: dict[str, Tensor]
    scores: dict[str, dict[str, float]]
    how: str


def data(editor: Editor, judges: Judges, face: AlignedFace, mask: Picture, given: Mapping[str, FaceLike] | None = None,
         refine: int = 0, seed: int = 0, tell: Tell = untold, exemplar_face: int | None = None) -> SubsetGrid:
    """Edit ``face`` once with each subset, and compare every picture with it.

    ``mask`` and ``given`` (sketch, semantics, colour, exemplar; what is left out is the face's own) are in the photo's
    coordinates, tensors in the aligned frame; ``exemplar_face`` picks one of several faces in the exemplar. Raises
    :class:`FacemugError` for pictures that do not fit, and for given guidance that says nothing inside the mask.
    """
    given = given or {}
    if exemplar_face is not None and "exemplar" not in given:
        raise FacemugError(f"exemplar_face {exemplar_face} picks a face of no exemplar: give one (--exemplar)")
    if unknown := sorted(set(given) - set(GUIDANCE_AND_EXEMPLAR)):
        raise FacemugError(f"guidance names {unknown[0]!r}: choose from {', '.join(GUIDANCE_AND_EXEMPLAR)}")
    drawing, images = Drawing.on(face, "photo"), as_8_bit(face.image)
    hole = drawing.mask(mask)
    guidance = maps_of(images, judges.parse(images)) | {"exemplar": images.flip(-1)}
    sources = dict.fromkeys(GUIDANCE_AND_EXEMPLAR, "the photo's own") | {"exemplar": "the photo's mirror image"}
    for name, picture in given.items():
        guidance[name] = read_exemplar(picture, exemplar_face) if name == "exemplar" else getattr(drawing, name)(picture)
        sources[name] = Path(picture).name if isinstance(picture, str | Path) else "given"
    for name in GUIDANCE_AND_EXEMPLAR:
        spoken = planned_subset(images, hole, [seed], guidance, ("image", name))[0]
        if getattr(spoken, name) is None:
            if name in given:
                raise FacemugError(f"the {name} guidance says nothing inside the mask: draw where the mask is white")
            tell(f"note: the photo's own {name} says nothing inside the mask")
    pictures, scores = {}, {}
    names = list(SUBSETS)
    for places in batches(len(names)):
        part = names[places.start:places.stop]
        plan = [planned_subset(images, hole, [seed], guidance, SUBSETS[name])[0] for name in part]
        made = edited(editor, plan, refine)
        many = len(part)
        found = likeness(judges, made, images.expand(many, -1, -1, -1), hole.expand(many, -1, -1, -1))
        for place, name in enumerate(part):
            pictures[name] = made[place:place + 1]
            scores[name] = {score: float(values[place]) for score, values in found.items()}
        tell(f"{places.stop} of {len(names)} subsets")
    how = f"{refine} refinement steps" if refine else "one feed-forward pass"
    return SubsetGrid(images, hole, guidance, sources, pictures, scores, f"{how}, seed {seed}")


def table(grid: SubsetGrid) -> str:
    """The scores as CSV: one line per subset, with 1 and 0 for the modalities that it has and lacks."""
    text = io.StringIO()
    rows = [{"subset": name} | {modality: int(modality in SUBSETS[name]) for modality in INFLUENCES}
            | {score: f"{value:.6f}" for score, value in found.items()} for name, found in grid.scores.items()]
    lines = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue()


# -- the figure -----------------------------------------------------------------------------------------------------------


def draw(grid: SubsetGrid) -> Figure:
    """What is asked on top; below, a row for each of :data:`BANDS` and a column for each subset of sketch, semantics, colour."""
    from matplotlib import pyplot

    across, row = len(SUBSET_COLUMNS), HEADING + SIDE + CAPTION
    width, height = across * (SIDE + GAP) + GAP, (1 + len(BANDS)) * row + GAP
    figure = pyplot.figure(figsize=(width, height))

    def place(line: int, column: int) -> Axes:
        """An empty frame; line 0 is that of the inputs."""
        bottom = height - line * row - HEADING - SIDE
        axis = figure.add_axes(((GAP + column * (SIDE + GAP)) / width, bottom / height, SIDE / width, SIDE / height))
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set(color="0.8", linewidth=0.5)
        return axis

    def heading(line: int, text: str) -> None:
        figure.text(GAP / width, 1 - (line * row + HEADING - 0.08) / height, text, fontsize=10, fontweight="bold", va="bottom")

    heading(0, "What is given")
    notes = grid.sources | {"image": "the hole is outlined", "mask": f"{float(grid.mask.mean()):.0%} of the picture"}
    for column, (name, picture) in enumerate(_inputs(grid).items()):
        axis = place(0, column)
        axis.imshow(pixels_of(picture[0]))
        axis.contour(grid.mask[0, 0].numpy(), [0.5], colors="#e6007e", linewidths=1)
        _caption(axis, name, notes.get(name, ""))
    legend = (f"Made with {grid.how}, from the\nmodalities named under each picture.\n"
              "Guidance outside of the hole counts only without the image.\n\n"
              "LPIPS: distance to the photo (AlexNet), lower is nearer.\n"
              "identity: ArcFace cosine with the photo, higher is nearer.")
    figure.text((GAP + (len(GUIDANCE_AND_EXEMPLAR) + 2) * (SIDE + GAP)) / width, 1 - (HEADING + 0.05) / height, legend,
                fontsize=8, va="top", linespacing=1.5)
    for line, (common, title) in enumerate(BANDS.items(), start=1):
        heading(line, title)
        for column, own in enumerate(SUBSET_COLUMNS):
            name = next(name for name, subset in SUBSETS.items() if set(subset) == {*common, *own})
            axis, scores = place(line, column), grid.scores[name]
            axis.imshow(pixels_of(grid.pictures[name][0]))
            _caption(axis, f"LPIPS {scores['lpips_alex']:.3f}   identity {scores['arcface']:z.2f}", name)
    return figure


def _inputs(grid: SubsetGrid) -> dict[str, Tensor]:
    """The mask and the five modalities as pictures."""
    colour = grid.guidance["colour"]
    return {
        "image": grid.face,
        "mask": overlay(grid.face, grid.mask),
        "sketch": ink(grid.guidance["sketch"]),
        "semantics": colourise(grid.guidance["semantics"]),
        "colour": torch.where((colour != 0).any(1, keepdim=True), colour, 1.0),
        "exemplar": grid.guidance["exemplar"],
    }


def _caption(axis: Axes, first: str, second: str) -> None:
    """A line under a picture, and one or two smaller ones under that."""
    axis.text(0, -0.03, first, transform=axis.transAxes, fontsize=8, va="top")
    lines = textwrap.wrap(second.replace("+ ", "+\N{NO-BREAK SPACE}"), 31)  # breaks before a plus, not after it
    axis.text(0, -0.115, "\n".join(lines), transform=axis.transAxes, fontsize=7, va="top", color="0.35")
