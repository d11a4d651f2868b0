"""Who wins when guidance contradicts itself: what ``facemug influence`` shows and measures.

Inside the hole of one face the sketch of a second is asked for together with the semantic map of a third, and influence is moved
from the sketch to the map: in one pass, where it weighs what each changes in the encoder's codes, and after refining, where it
weighs the terms of the loss. It also weighs the shares of the aggregation (Eq. 16), which change no pixel before the generator
has learned.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.guided import maps_of, planned
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.figures.plotting import guidance_picture
from facemug_lib.modalities.semantics import colourise
from facemug_lib.pictures import as_8_bit, ink, pixels_of
from facemug_lib.progress import Tell, silent, untold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INFLUENCE_SETTINGS: dict[str, dict[str, float]] = {
    "sketch alone": {"sketch": 1.0, "semantics": 0.0},
    "sketch 2, map 0.25": {"sketch": 2.0, "semantics": 0.25},
    "sketch 1, map 1": {"sketch": 1.0, "semantics": 1.0},
    "sketch 0.25, map 2": {"sketch": 0.25, "semantics": 2.0},
    "map alone": {"sketch": 0.0, "semantics": 1.0},
}
FOUR = 4  # faces that guide each other: each lends its sketch to its neighbour and its map to the one after
SHOWN = 2  # faces in the figure
SIDE, GAP, CAPTION, MARGIN, DPI = 1.3, 0.08, 0.22, 0.32, 80  # of the figure; inches, and pixels an inch


@dataclass(frozen=True, eq=False)
class Contradiction:
    """Faces with holes and two wishes for each, and how they were met.

    faces [n,3,256,256]; asked [n,3,256,256], both wishes drawn into the hole; sketch [n,1,256,256]; labels [n,256,256].
    pictures [n,3,256,256] and scores [n] by (way of editing, setting); ``sketch``: F1 of the strokes, ``semantics``: mIoU of the
    parse with the map, both inside the hole.
    """

    faces: Tensor
    asked: Tensor
    sketch: Tensor
    labels: Tensor
    pictures: dict[tuple[str, str], Tensor]
    scores: dict[tuple[str, str], dict[str, Tensor]]

    def means(self) -> dict[tuple[str, str], dict[str, float]]:
        """The scores' means over faces."""
        return {key: {name: float(values.mean()) for name, values in found.items()} for key, found in self.scores.items()}


def data(editor: Editor, judges: Judges, test_set: TestSet, count: int = 4, refine: int = 24,
         tell: Tell = untold) -> Contradiction:
    """Edit faces 0 … ``count`` − 1 under each of :data:`INFLUENCE_SETTINGS`, in one pass and with ``refine`` steps.

    The sketch is of the face that :meth:`TestSet.exemplar_of` pairs face i with, the map of its neighbour two places on.
    """
    if count < 1 or len(test_set) < FOUR * -(-count // FOUR):
        raise FacemugError(f"{count} faces of a set of {len(test_set)}: ask for 1 or more, of a set in fours")
    parts = []
    for indices in batches(count, FOUR):
        parts.append(_measured(editor, judges, test_set, list(indices), refine, tell))
        tell(f"influence: {indices[-1] + 1} of {count} faces")
    keys = parts[0].pictures
    return Contradiction(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("faces", "asked", "sketch", "labels")),
        {key: torch.cat([part.pictures[key] for part in parts]) for key in keys},
        {key: {name: torch.cat([part.scores[key][name] for part in parts]) for name in parts[0].scores[key]} for key in keys})


def _measured(editor: Editor, judges: Judges, test_set: TestSet, indices: list[int], refine: int,
              tell: Tell) -> Contradiction:
    cases = test_set.cases("face", indices)
    drawn, mapped = [index ^ 1 for index in indices], [index ^ 2 for index in indices]
    sketch = maps_of(test_set.images(drawn), test_set.labels[drawn].long())["sketch"]
    labels = test_set.labels[mapped].long()
    plan = planned(cases.images, cases.masks, cases.seeds, {"sketch": sketch, "semantics": labels})
    pictures, scores = {}, {}
    for steps in (0, refine) if refine else (0,):
        way = f"+ {steps} steps" if steps else "one pass"
        for setting, influence in INFLUENCE_SETTINGS.items():
            results = editor.edit_many(plan, influence=influence, refine=steps, progress=silent)
            made = as_8_bit(torch.cat([result.image.cpu() for result in results]))
            if influence["sketch"] == influence["semantics"]:
                asked = torch.cat([guidance_picture(cases.images[place:place + 1], result.conditions.to("cpu"))
                                   for place, result in enumerate(results)])
            counts = metrics.semantic_counts(judges.parse(made), labels, cases.masks)
            pictures[way, setting] = made
            scores[way, setting] = {"sketch": metrics.sketch_agreement(made, sketch, cases.masks),
                                    "semantics": torch.tensor([metrics.mean_iou(one) for one in counts])}
            tell(f"{way}, {setting}: sketch {scores[way, setting]['sketch'].mean():.3f}, "
                 f"map {scores[way, setting]['semantics'].mean():.3f}")
    return Contradiction(cases.images, asked, sketch, labels, pictures, scores)


def table(found: Contradiction) -> str:
    """The scores of every face, and their means, as CSV."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["face", "way", "setting", "sketch_f1", "map_miou"])
    for (way, setting), scores in found.scores.items():
        for face, pair in enumerate(zip(scores["sketch"].tolist(), scores["semantics"].tolist(), strict=True)):
            lines.writerow([face, way, setting, *(f"{value:.4f}" for value in pair)])
    for (way, setting), means in found.means().items():
        lines.writerow(["mean", way, setting, *(f"{value:.4f}" for value in means.values())])
    return text.getvalue()


# -- the figure -----------------------------------------------------------------------------------------------------------


def draw(found: Contradiction) -> Figure:
    """The first faces: what is asked on the left, a row for each way of editing, a column for each setting; means at the foot."""
    from matplotlib import pyplot

    ways = list(dict.fromkeys(way for way, _ in found.pictures))
    faces, row = min(SHOWN, len(found.faces)), SIDE + CAPTION
    head, foot = 0.3, 0.16 + 0.17 * len(ways)
    width = 2 * (SIDE + GAP) + MARGIN + len(INFLUENCE_SETTINGS) * (SIDE + GAP) + GAP
    height = head + faces * len(ways) * row + foot
    figure = pyplot.figure(figsize=(width, height))

    def left(column: int) -> float:
        return GAP + column * (SIDE + GAP) + (MARGIN if column > 1 else 0)

    def show(line: int, column: int, picture: Tensor, caption: str = "") -> Axes:
        axis = figure.add_axes((left(column) / width, 1 - (head + line * row + SIDE) / height, SIDE / width, SIDE / height))
        axis.imshow(pixels_of(picture))
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set(color="0.8", linewidth=0.5)
        axis.text(0.5, -0.03, caption, transform=axis.transAxes, fontsize=7.5, va="top", ha="center")
        return axis

    for column, setting in enumerate(INFLUENCE_SETTINGS, start=2):
        figure.text((left(column) + SIDE / 2) / width, 1 - (head - 0.08) / height, setting, fontsize=8, fontweight="bold",
                    ha="center")
    for face in range(faces):
        inputs = [(found.faces, "face"), (found.asked, "asked"), (ink(found.sketch), "sketch"), (colourise(found.labels), "map")]
        for place, (pictures, name) in enumerate(inputs if len(ways) > 1 else inputs[:2]):
            show(face * len(ways) + place // 2, place % 2, pictures[face], name)
        for line, way in enumerate(ways, start=face * len(ways)):
            for column, setting in enumerate(INFLUENCE_SETTINGS, start=2):
                scores = found.scores[way, setting]
                axis = show(line, column, found.pictures[way, setting][face],
                            f"sketch {scores['sketch'][face]:.2f}   map {scores['semantics'][face]:.2f}")
                if column == 2:
                    axis.set_ylabel(way, fontsize=9)
    means = found.means()
    for line, way in enumerate(ways):
        at = (foot - 0.17 - 0.17 * line) / height
        figure.text((left(2) - 0.06) / width, at, f"{way}, mean of {len(found.faces)} faces", fontsize=7.5, ha="right")
        for column, setting in enumerate(INFLUENCE_SETTINGS, start=2):
            text = "   ".join(f"{name} {value:.2f}" for name, value in zip(("sketch", "map"), means[way, setting].values(),
                                                                          strict=True))
            figure.text((left(column) + SIDE / 2) / width, at, text, fontsize=7.5, ha="center")
    return figure
