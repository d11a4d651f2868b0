"""Pictures of the notebooks: rows of faces, overlays, curves of a run, tables.

Images are [b,3,h,w] in [-1,1] everywhere in the library; one-channel maps (masks, strokes, shares) are in [0,1].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.files import replacing
from facemug_lib.pictures import pixels_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from facemug_lib.modalities.conditions import Conditions

FIGURE_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


def heat(values: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """A map [b,1,h,w] as pictures [b,3,h,w] in [-1,1], dark violet at ``low`` to yellow at ``high``."""
    from matplotlib import colormaps

    scaled = ((values.detach().float().cpu()[:, 0] - low) / (high - low)).clamp(0, 1).numpy()
    colours = torch.from_numpy(colormaps["viridis"](scaled)[..., :3].astype(np.float32))
    return colours.permute(0, 3, 1, 2) * 2 - 1


def guidance_picture(image: Tensor, conditions: Conditions, exemplar: Tensor | None = None) -> Tensor:
    """What an edit asks for as one picture [b,3,h,w]: ``image`` [b,3,h,w], and inside the mask the guidance on white.

    From below: the exemplar [b,3,h,w], labels in their palette, painted colour, strokes in black.
    """
    from facemug_lib.modalities.semantics import colourise, labels_of

    conditions = conditions.to(image.device)
    inside = torch.ones_like(image) if exemplar is None else exemplar.to(image.device)
    inside = torch.where(conditions.semantics.any(dim=1, keepdim=True), colourise(labels_of(conditions.semantics)), inside)
    inside = torch.where(conditions.colour.any(dim=1, keepdim=True), conditions.colour, inside)
    inside = torch.where(conditions.sketch > 0.5, -1.0, inside)
    return torch.where(conditions.mask > 0.5, inside, image)


def show_rows(rows: Mapping[str, Tensor], columns: Sequence[str] | None = None, inches: float = 1.5) -> Figure:
    """One row of pictures per name, each [b,3,h,w] in [-1,1] or [b,1,h,w] in [0,1]; ``columns`` are titles of the first row.

    Rows may differ in length. The figure is shown when the cell ends; save it with ``figure.savefig(figure_path(...))``.
    """
    return _grid([list(row) for row in rows.values()], list(rows), columns or (), inches)


def show_columns(columns: Mapping[str, Tensor], inches: float = 1.5) -> Figure:
    """The same with one column per name, all of one length: for many things said of few faces."""
    return _grid([list(line) for line in zip(*columns.values(), strict=True)], (), list(columns), inches)


def _grid(pictures: Sequence[Sequence[Tensor]], row_names: Sequence[str], column_names: Sequence[str], inches: float) -> Figure:
    from matplotlib import pyplot

    width = max(len(line) for line in pictures)
    margin = 0.08 * max(map(len, row_names), default=0)  # what a letter of the names takes, in inches
    figure, axes = pyplot.subplots(len(pictures), width, figsize=(inches * width + margin, inches * len(pictures) + 0.2),
                                   squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set(color="0.85", linewidth=0.5)  # so that an empty picture is still seen
    for line, row in zip(axes, pictures, strict=True):
        for axis, picture in zip(line, row, strict=False):
            axis.imshow(pixels_of(picture))
    for line, name in zip(axes, row_names, strict=False):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for axis, title in zip(axes[0], column_names, strict=False):
        axis.set_title(title, fontsize=9)
    return figure


def figure_format(path: Path) -> str:
    """What a figure called ``path`` is saved as, "png" or "jpeg". Raises :class:`FacemugError` for any other ending."""
    found = FIGURE_FORMATS.get(path.suffix.lower())
    if found is None:
        raise FacemugError(f"cannot write {path.name or path}: the name must end in {' or '.join(FIGURE_FORMATS)}")
    return found


def save_figure(figure: Figure, path: Path, dpi: float) -> None:
    """Write a figure as what its name says (:func:`figure_format`), whole or not at all, and let go of it."""
    from matplotlib import pyplot

    form = figure_format(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format=form, pil_kwargs=None if form == "png" else {"quality": 90})
    pyplot.close(figure)


def show_photo(photos: Mapping[str, np.ndarray], inches: float = 4.0) -> Figure:
    """Whole photos, uint8 [h,w,3] or [h,w], side by side under their names."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(photos), figsize=(inches * len(photos), inches), squeeze=False, layout="constrained")
    for axis, (name, photo) in zip(axes[0], photos.items(), strict=True):
        axis.imshow(photo, cmap="gray")
        axis.set_title(name, fontsize=9)
        axis.axis("off")
    return figure


def show_curves(run: Path | str, names: Iterable[str] | None = None) -> Figure:
    """Losses of a training run over the images it has seen, from its ``stats.jsonl``; one panel per loss."""
    from matplotlib import pyplot

    path = Path(run) / "stats.jsonl"
    if not path.is_file():
        raise FacemugError(f"{run} holds no stats.jsonl: give the folder of a training run")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if "losses" in line]
    names = list(names or dict.fromkeys(name for line in lines for name in line["losses"]))
    figure, axes = pyplot.subplots(1, len(names), figsize=(2.4 * len(names), 2), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        points = [(line["images"], line["losses"][name]) for line in lines if name in line["losses"]]
        axis.plot(*zip(*points, strict=True), marker=".") if points else None
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("images", fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None, digits: int = 3) -> pandas.DataFrame:
    """Rows as a table without an index column; ``columns`` chooses and orders, numbers are rounded to ``digits``."""
    import pandas

    pandas.set_option("display.max_colwidth", 240)  # what a setting means is a sentence
    frame = pandas.DataFrame(list(rows), columns=columns)
    # Rounded as text, cell by cell: a column of settings mixes whole numbers, fractions and words.
    frame = frame.map(lambda value: f"{value:.{digits}f}" if isinstance(value, float) and digits >= 0 else value)
    frame.index = [""] * len(frame)
    return frame


def scores_table(scores: Mapping[str, Mapping[str, float]], digits: int = 3) -> pandas.DataFrame:
    """Scores by name (rows) of several networks (columns): ``{"before": {...}, "after": {...}}``."""
    names = dict.fromkeys(name for column in scores.values() for name in column)
    return table([{"score": name} | {who: column.get(name) for who, column in scores.items()} for name in names], digits=digits)


def lost_numbers(stage: str, profile: str) -> pandas.DataFrame:
    """The settings of ``stage`` whose value is not stated by the paper, under ``profile``, with meaning and basis.

    The paper's published text lost its numbers; each stage's settings say what stands in their place.
    """
    from facemug_lib.training.profiles import StageSettings
    from facemug_lib.training.stages import numbers_table

    own = [row for row in numbers_table(stage) if row["name"] not in StageSettings.model_fields or row["name"] == "lr"]
    rows = [{"name": row["name"], "value": f"{row[profile]}", "meaning": row["meaning"], "basis": row["basis"]} for row in own]
    return table(rows)


def editor_numbers(*parts: str) -> pandas.DataFrame:
    """The editor's settings with meaning and basis: all of them, or those of ``parts`` (pass, refine, textedit, toning, pose)."""
    from facemug_lib.editing.settings import numbers_table

    rows = [row for row in numbers_table() if not parts or row["part"] in parts]
    return table([row | {"value": f"{row['value']}"} for row in rows])
