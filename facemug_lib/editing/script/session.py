"""A sitting at the lab bench: every picture that was made of one photo, and how to come back to any of them.

Edits follow each other; going back to an earlier picture and editing on from there begins a branch. The way from the photo to any
picture is an edit script, and every picture here was made by replaying one, so that it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemug_lib.editing.drawing import read_face
from facemug_lib.editing.editor import Editor, EditResult
from facemug_lib.editing.known_faces import sampled_face
from facemug_lib.editing.script.edit_script import EditScript, Replayed, Replayer, SampleRecord, Step
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.faces.photos import PhotoLike
from facemug_lib.progress import Progress


@dataclass(frozen=True, eq=False)
class PhotoScript:
    """An edit script and the photo that it was made on."""

    script: EditScript
    face: AlignedFace

    def replay(self, editor: Editor) -> Replayed:
        """Make all of it again, from the photo on."""
        return Replayer.of(editor, self.face).replay(self.script)

    def write(self, path: Path | str) -> Path:
        """Write the script as a file for `facemug replay`."""
        return self.script.write(path)


@dataclass(frozen=True, eq=False)
class Moment:
    """One picture of a sitting. ``number`` counts from 0, the photo itself, which alone has neither parent nor result."""

    number: int
    parent: int | None
    script: EditScript
    face: AlignedFace
    result: EditResult | None = None

    @property
    def name(self) -> str:
        """What the edit that led here was called."""
        return self.script.steps[-1].name if self.script.steps else "photo"


class Session:
    """The pictures made of one photo, as a tree; :attr:`current` is the one that the next edit starts from.

    Every picture keeps the whole photo in memory: 3 bytes a pixel of an 8-bit one, 123 MB at 41 megapixels.
    """

    def __init__(self, editor: Editor, photo: PhotoLike | AlignedFace | SampleRecord, face: int | None = None) -> None:
        """``face`` picks one of several faces in a photo, 0 is the leftmost. A sample record stands for the face that it says how
        to make; nobody needs a file to replay its script. Raises :class:`FacemugError` for a photo without a usable face."""
        self.editor = editor
        sample = photo if isinstance(photo, SampleRecord) else None
        start = read_face(photo, face) if sample is None else sampled_face(editor.prior, **sample.model_dump())
        self._replayer = Replayer.of(editor, start)
        self.moments = [Moment(0, None, EditScript.begun(editor, start, sample), start)]
        self.current = self.moments[0]

    @property
    def script(self) -> PhotoScript:
        """The way from the photo to the current picture."""
        return PhotoScript(self.current.script, self.moments[0].face)

    def apply(self, step: Step, progress: Progress | None = None) -> Moment:
        """Edit the current picture; the result becomes the current one. Raises :class:`FacemugError` for an edit that makes no
        sense; then, and where ``progress`` raises, everything stays as it was."""
        script = self.current.script.added(step)
        replayed = self._replayer.replay(script, progress=progress)
        moment = Moment(len(self.moments), self.current.number, script, replayed.face, replayed.results[-1])
        self.moments.append(moment)
        self.current = moment
        return moment

    def go(self, number: int) -> Moment:
        """Make picture ``number`` the current one."""
        if not 0 <= number < len(self.moments):
            raise FacemugError(f"there is no picture {number}: the history has 0 … {len(self.moments) - 1}")
        self.current = self.moments[number]
        return self.current

    def branches(self) -> Mapping[int, int]:
        """Picture → the row that it is drawn in: an edit goes on in its parent's row where it is the first one made of it, any
        other opens a row of its own."""
        rows, used, first = {0: 0}, 1, set()
        for moment in self.moments[1:]:
            if moment.parent in first:
                rows[moment.number], used = used, used + 1
            else:
                rows[moment.number] = rows[moment.parent]
                first.add(moment.parent)
        return rows

    @property
    def photo(self) -> np.ndarray:
        """The whole photo with all edits up to the current picture."""
        return self.current.face.original
