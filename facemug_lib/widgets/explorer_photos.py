"""Photographs in the Explorer: opened and fitted by its worker."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from facemug_lib.editing.drawing import read_face
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, SeveralFaces
from facemug_lib.faces.photos import PhotoLike, photo_from_bytes
from facemug_lib.widgets.explorer_controls import encoded, said
from facemug_lib.widgets.explorer_pictures import cut_out
from facemug_lib.widgets.worker import Stopped, Turn


class Opening:
    """The part of an :class:`~facemug_lib.widgets.explorer.Explorer` that opens photos."""

    def _ask_photo(self, face: AlignedFace, refine: int) -> None:
        self._ask("photo", partial(self._fit, face, refine))

    def _open_file(self, name: str, turn: Turn) -> None:
        if not name.strip():
            raise FacemugError("no photo was named: type the path of a file")
        self._open(name.strip(), None, turn)

    def _open_bytes(self, content: bytes, name: str, turn: Turn) -> None:
        self._open(photo_from_bytes(content, name), None, turn)

    def _open(self, photo: PhotoLike, number: int | None, turn: Turn) -> None:
        """Fit a photo; where it shows several faces and none is named, offer them."""
        choice = self.controls.choice
        choice.clear()
        try:
            face = read_face(photo, number)
        except SeveralFaces as several:
            for number, cut in enumerate(cut_out(several)):
                choice.show(encoded(cut, "jpeg"), f"face {number + 1}", "Take this face of the photo", (several.photo, number))
            self.controls.status.value = said(f"{len(several.faces)} faces: choose one under Face")
            return
        self._fit(face, self._state.refine, turn)

    def _fit(self, face: AlignedFace, refine: int, turn: Turn) -> None:
        self._photo_number += 1
        number = self._photo_number

        def progress(done: int, total: int) -> None:
            turn.progress(done, total)
            if number != self._photo_number:
                raise Stopped
            self._working("fitting", done, total)

        self._show(face.image, replace(self._state, photo=face, attributes={}), "png")
        self._working("fitting", 0, refine)
        self.controls.status.value = said(f"fitting the codes of {Path(face.photo.name).name}")
        try:
            self._exploration.face(replace(self._state, photo=face, refine=refine), progress)
            with self._desk.lock:
                if number == self._photo_number:
                    self._state = replace(self._state, photo=face, refine=refine)
        except Stopped:
            self.controls.status.value = said("cancelled: the photo was not fitted")
            raise
        finally:
            self._working(None)
            self._sync()
            self._desk.ask("paint", self._paint)
