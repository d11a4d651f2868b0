"""The Explorer's other pictures: the grid of faces, the pins, and the filmstrip with its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from facemug_lib.editing.script.exploring import Exploration, View
from facemug_lib.editing.script.filmstrip import strip
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import SeveralFaces
from facemug_lib.seeds import LARGEST_SEED
from facemug_lib.widgets.desk import Desk
from facemug_lib.widgets.explorer_controls import Controls, described, encoded, label, said
from facemug_lib.widgets.worker import Turn

FACES = 12  # of the grid
PIN = 96  # px, before the page makes a thumbnail of it
SHORT = ("paint", "original", "pin", "code", "script", "export")  # what long work gives way to


def cut_out(several: SeveralFaces) -> list[np.ndarray]:
    """The faces of a photo, each cut out with a little around it, made small."""
    whole = PIL.Image.fromarray(several.photo.rgb8())
    cuts = []
    for face in several.faces:
        x0, y0, x1, y1 = map(float, face.box)
        half = 0.7 * max(x1 - x0, y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        cut = whole.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
        cuts.append(np.asarray(cut.resize((PIN, PIN), PIL.Image.Resampling.BILINEAR, reducing_gap=2)))
    return cuts


class OtherPictures:
    """Fills the panel's grid, pins and filmstrip. Everything here is called by the worker.

    ``working`` shows how far long work is: what, how many of how many; None when it has ended.
    """

    def __init__(self, exploration: Exploration, controls: Controls, desk: Desk, working: Callable[..., None], seed: int) -> None:
        self._exploration, self._controls, self._desk, self._working = exploration, controls, desk, working
        self._next_seed = seed
        self._frames: Tensor | None = None

    def fill_grid(self, psi: float, turn: Turn) -> None:
        """Show the faces of the next :data:`FACES` seeds."""
        seeds = [(self._next_seed + place) % (LARGEST_SEED + 1) for place in range(FACES)]
        self._next_seed = seeds[-1] + 1
        self._controls.grid.clear()
        for seed, picture in zip(seeds, self._exploration.thumbnails(seeds, psi), strict=True):
            self._controls.grid.show(encoded(picture, "jpeg"), f"{seed}", f"The face of seed {seed}", seed)
            self._desk.give_way(turn, *SHORT)

    def pin(self, view: View) -> None:
        """Keep what is chosen, with a small picture of it."""
        small = torch.nn.functional.interpolate(self._exploration.preview(view), (PIN, PIN), mode="bilinear", antialias=True)
        number = len(self._controls.pins) + 1
        self._controls.pins.show(encoded(small, "jpeg"), f"pin {number}", described(view), view)

    def make_filmstrip(self, view: View, turn: Turn) -> None:
        """Paint one attribute from its first strength to its last."""
        c = self._controls
        strengths = np.linspace(c.first.value, c.last.value, c.count.value).tolist()
        frames: list[Tensor] = []
        self._frames = None
        try:
            self._working("filmstrip", 0, len(strengths))
            for frame in self._exploration.frames(view, c.swept.value, strengths):
                frames.append(frame)
                self._working("filmstrip", len(frames), len(strengths))
                self._desk.give_way(turn, *SHORT)
        finally:
            self._working(None)
        self._frames = torch.cat(frames)
        c.strip.value = encoded(strip(self._frames, 96), "png")
        c.strip.layout.display = None
        c.swept_to.value = said(f"{len(frames)} pictures: {label(c.swept.value)} from {strengths[0]:+g} to {strengths[-1]:+g}")

    def export(self, write: Callable[[str, Tensor], Path], name: str, turn: Turn) -> None:
        """Write the filmstrip to a file."""
        if self._frames is None:
            raise FacemugError("there is no filmstrip yet: press Make filmstrip first")
        path = write(name, self._frames)
        with PIL.Image.open(path) as written:  # a film plays there and back
            moving = getattr(written, "n_frames", 1)
        holds = f"{moving} frames, there and back" if moving > 1 else f"{len(self._frames)} pictures"
        self._controls.swept_to.value = said(f"wrote {path}, {holds}, {path.stat().st_size / 1024:.0f} KB")
