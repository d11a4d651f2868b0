"""Draw the gallery's picture of each sibling system: what it makes of every tenth photograph of a folder.

    python scripts/systems_gallery.py PORTRAITS OUT [--system psam] [--run psam=data/runs/psam-1a2b3c4d]

``PORTRAITS`` is a folder of photographs with one face each, at least a hundred for ten columns. Whole faces, one pass. OUT gets
``psam.jpg`` and so on; ``systems.jpg``, where all of them, the prior's direction and the masked edit make the same faces smile;
and with runs ``systems_curves.png``: how much of the way to the known pairs is left, over the images that a run has seen. About
half a minute a system on one CPU core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib import pyplot
from torch.nn import functional as F

from facemug_lib import Editor, open_face, systems
from facemug_lib.evaluation import systems_comparison as comparison
from facemug_lib.faces.photos import pictures_in
from facemug_lib.figures.plotting import save_figure, show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facemug_lib.faces.alignment import AlignedFace

EVERY = 10  # nobody chooses
ROWS = {
    "psam": ("smile=1", "smile=-1", "mouth_open=1", "lipstick=1", "light=-1", "light=1", "age=1", "age=-1"),
    "l2m_gan": ("smile=1", "smile=-1", "mouth_open=1", "gender=1", "gender=-1", "age=1", "age=-1"),
    "relative_au": ("smile=1", "smile=-1", "mouth_open=1", "eyes_open=-1", "eyes_open=1"),
    "diat": ("smile=1", "smile=-1", "mouth_open=1", "glasses=-1", "gender=1", "gender=-1", "age=1", "age=-1"),
}


def curves(runs: Mapping[str, Path]) -> Figure:
    """A panel for each run: the L1 from edits to known pairs over that from the unedited faces, per attribute."""
    figure, axes = pyplot.subplots(1, len(runs), figsize=(3.4 * len(runs), 3), sharey=True, squeeze=False, layout="constrained")
    for axis, (name, folder) in zip(axes[0], runs.items(), strict=True):
        lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
        scored = [(line["images"], line["scores"]) for line in lines if "scores" in line]
        measured = [key.removesuffix("_pair_unedited") for key in scored[-1][1] if key.endswith("_pair_unedited")]
        for attribute in measured:
            axis.plot([images for images, _ in scored], [scores[f"{attribute}_pair"] / scores[f"{attribute}_pair_unedited"]
                                                         for _, scores in scored], marker=".", label=attribute)
        axis.set(title=name, xlabel="images", ylim=(0, 1.05))
        axis.axhline(1, color="grey", lw=0.5)
        axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("L1 to the pair / unedited")
    return figure


def compared(faces: Sequence[AlignedFace], attribute: str = "smile") -> Figure:
    """A row for each way of giving the faces more of ``attribute``."""
    editor = Editor.load()
    ways = [comparison.OfEditor(editor), comparison.OfEditor(editor, is_masked=True)]
    ways += [comparison.OfSystem(systems.load(name)) for name in ROWS]
    rows = {"face": torch.cat([face.image for face in faces])}
    rows |= {way.name: torch.cat([way(face, attribute, 1.0) for face in faces]) for way in ways}
    return show_rows(rows, inches=1.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--system", choices=ROWS, action="append")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER", help="a run whose curve is drawn")
    args = parser.parse_args()
    faces = [open_face(path) for path in pictures_in(args.portraits)[::EVERY]]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run:
        runs = {name: Path(folder) for name, _, folder in (one.partition("=") for one in args.run)}
        save_figure(curves(runs), args.out / "systems_curves.png", 100)
    if not args.system:
        save_figure(compared(faces), args.out / "systems.jpg", 128 / 1.05)
    for name in args.system or ROWS:
        system = systems.load_system(name)
        images = F.interpolate(torch.cat([face.image for face in faces]), (system.size,) * 2, mode="area")
        rows = {"face": images}
        for asked in ROWS[name]:
            attribute, strength = asked.split("=")
            rows[asked] = systems.edited(system, images, {attribute: float(strength)})
        save_figure(show_rows(rows, inches=1.05), args.out / f"{name}.jpg", 128 / 1.05)


if __name__ == "__main__":
    main()
