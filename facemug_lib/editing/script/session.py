"""A sitting at the painter: every picture that was made of one photo, and how to come back to any of them.

Edits follow each other; going back to an earlier picture and editing on from there begins a branch. The way from the photo to any
picture is an edit script, and every picture here was made by replaying one, so that it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from facemug_lib.editing.drawing import read_face
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.known_faces import sampled_face
from facemug_lib.editing.script.edit_script import EditScript, Replayed, Replayer, SampleRecord, Step
from facemug_lib.editing.script.patches import Patch
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.faces.photos import PhotoLike
from facemug_lib.progress import Check, Progress, unchecked


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
    """One picture of a sitting. ``number`` counts from 0, the photo itself, which alone has neither parent nor patch.

    patch: how its pixels differ from its parent's. seconds, remarks: of the edit that made it.
    """

    number: int
    parent: int | None
    script: EditScript
    patch: Patch | None = None
    seconds: float = 0.0
    remarks: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What the edit that led here was called."""
        return self.script.steps[-1].name if self.script.steps else "photo"


class Session:
    """The pictures made of one photo, as a tree; :attr:`current` is the one that the next edit starts from, and :attr:`face` what
    it shows; :attr:`first` is the photo's own face.

    In memory are the photo and the current picture. Of every other one only what its edit changed is kept, compressed.
    """

    def __init__(self, editor: Editor, photo: PhotoLike | AlignedFace | SampleRecord, face: int | None = None) -> None:
        """``face`` picks one of several faces in a photo, 0 is the leftmost. A sample record stands for the face that it says how
        to make; nobody needs a file to replay its script. Raises :class:`FacemugError` for a photo without a usable face."""
        self.editor = editor
        sample = photo if isinstance(photo, SampleRecord) else None
        start = read_face(photo, face) if sample is None else sampled_face(editor.prior, **sample.model_dump())
        self._replayer = Replayer.of(editor, start)
        self.moments = [Moment(0, None, EditScript.begun(editor, start, sample))]
        self.current = self.moments[0]
        self.first = self.face = self._replayer.begin(self.current.script.photo)[0]

    @classmethod
    def remade(cls, editor: Editor, photo: AlignedFace | SampleRecord, made: Sequence[tuple[int, Step]], current: int,
               progress: Progress | None = None, check: Check = unchecked) -> Session:
        """A session whose pictures are made again: ``made`` has the parent's number and the edit of each, in their order.
        ``progress`` counts in hundredths of an edit; what it or ``check`` raises ends the work."""
        session = cls(editor, photo)
        for place, (parent, step) in enumerate(made):
            def report(done: int, total: int, place: int = place) -> None:
                if progress is not None:
                    progress(100 * place + 100 * done // max(total, 1), 100 * len(made))

            report(0, 1)
            session.go(parent)
            session.apply(step, report, check)
        session.go(current)
        return session

    @property
    def script(self) -> PhotoScript:
        """The way from the photo to the current picture."""
        return PhotoScript(self.current.script, self.first)

    def apply(self, step: Step, progress: Progress | None = None, check: Check = unchecked) -> Moment:
        """Edit the current picture; the result becomes the current one. ``check`` is called between the parts of the work. Raises
        :class:`FacemugError` for an edit that makes no sense; then, and where ``progress`` or ``check`` raises, everything stays
        as it was."""
        script = self.current.script.added(step, self.editor.hashes_of(step.system))
        face, made = self._replayer.make(self.face, step, progress=progress, check=check)
        patch = Patch.between(self.face.original, face.original)
        check()
        moment = Moment(len(self.moments), self.current.number, script, patch, made.seconds, made.remarks)
        self.moments.append(moment)
        self.current, self.face = moment, face
        return moment

    def try_out(self, steps: Sequence[Step], progress: Progress | None = None, check: Check = unchecked) -> list[Tensor]:
        """What each of these edits would make of the current picture: aligned faces [1,3,256,256] in [-1,1]. They are made
        together, and none becomes part of the session; :meth:`apply` makes the one that is wanted again, alike but for rounding
        and a softer seam. Raises what :meth:`apply` raises."""
        return self._replayer.images(self.face, steps, progress, check)

    def go(self, number: int) -> Moment:
        """Make picture ``number`` the current one."""
        face = self.face_of(number)
        self.current, self.face = self.moments[number], face
        return self.current

    def face_of(self, number: int) -> AlignedFace:
        """The face as picture ``number`` shows it, made from the current one by the patches between the two. Raises
        :class:`FacemugError` where there is no such picture."""
        if not 0 <= number < len(self.moments):
            raise FacemugError(f"there is no picture {number}: the history has 0 … {len(self.moments) - 1}")
        if number == self.current.number:
            return self.face
        if number == 0:
            return self.first
        here, there = self._way_to(self.current.number), self._way_to(number)
        pixels = self.face.original.copy()
        for one in here - there:
            self.moments[one].patch.take_away(pixels)
        for one in there - here:
            self.moments[one].patch.add(pixels)
        return self.first.repainted(pixels)

    def _way_to(self, number: int) -> set[int]:
        """The pictures that were made one after the other from the photo to picture ``number``."""
        way = set()
        while number:
            way.add(number)
            number = self.moments[number].parent
        return way

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
        return self.face.original
