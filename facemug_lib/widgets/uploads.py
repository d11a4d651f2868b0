"""Photos that are dropped on a widget: they come from the browser in parts, with a name that cannot be trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import PIL.Image

from facemug_lib.editing.drawing import read_face
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import SeveralFaces, open_face
from facemug_lib.faces.photos import Photo, photo_from_bytes
from facemug_lib.pictures import pixels_of
from facemug_lib.widgets.layers import data_url

LARGEST_FILE = 256 * 2**20  # bytes of a photo that is dropped
LARGEST_EXEMPLAR = 768  # px; the networks look at no more, and the picture is kept inside the script
LARGEST_OFFER = 900  # px of a photo that is shown for choosing a face


class Uploads:
    """Files on their way, one at a time for each purpose: ``what`` is "photo" or "exemplar"."""

    def __init__(self) -> None:
        self.parts: dict[str, list[bytes]] = {}  # what → the parts that have come
        self.refused: set[str] = set()  # … whose file is too large: the browser sends the rest of it all the same

    def add(self, what: str, name: str, part: int, parts: int, data: bytes) -> bytes | None:
        """Take part number ``part``, from 0, of ``parts``. Returns the whole file with the last one, and None before.

        Raises :class:`FacemugError` for a file of more than :data:`LARGEST_FILE` bytes. Its parts are thrown away, and each that
        still comes is answered in the same way, so that this is the line that stays on the page. Raises :class:`ValueError` for
        a part that does not follow the one before.
        """
        is_last = part + 1 == parts
        if part == 0:
            self.parts[what] = []
            self.refused.discard(what)
        held = self.parts.get(what, [])
        if what not in self.refused and part != len(held):
            raise ValueError(f"part {part} of {name} came where part {len(held)} was due")
        if what in self.refused or sum(map(len, held)) + len(data) > LARGEST_FILE:
            self.parts.pop(what, None)
            (self.refused.discard if is_last else self.refused.add)(what)
            raise FacemugError(f"{name} has more than {LARGEST_FILE >> 20} MiB: scale it down first")
        held.append(data)
        return b"".join(self.parts.pop(what)) if is_last else None


def file_name(name: str) -> str:
    """A file's name from the browser as one that can be written anywhere."""
    plain = re.sub(r"[^\w. ()-]", "_", Path(name.replace("\\", "/")).name)[-100:]
    return plain if plain.strip(". ") else "photo"


def read_exemplar(name: str, data: bytes) -> PIL.Image.Image:
    """The exemplar in a file's bytes. Raises :class:`FacemugError` where it shows no face: nobody could replay the script then;
    :class:`SeveralFaces` where one has to be chosen."""
    photo = photo_from_bytes(data, name)
    open_face(photo)  # of a whole photo, faces are found best
    picture = PIL.Image.fromarray(photo.rgb8())
    if max(picture.size) > LARGEST_EXEMPLAR:
        picture.thumbnail((LARGEST_EXEMPLAR, LARGEST_EXEMPLAR), PIL.Image.Resampling.LANCZOS)
    read_face(picture)
    return picture


def chosen_exemplar(photo: Photo, number: int) -> PIL.Image.Image:
    """One face of a photo that shows several, cut out."""
    return PIL.Image.fromarray(pixels_of(open_face(photo, face=number, size=512).image[0]))


@dataclass(frozen=True, eq=False)
class Offer:
    """A photo of several faces, of which one is to be chosen. ``is_known``: the photo is a file that others have."""

    what: Literal["photo", "exemplar"]
    several: SeveralFaces
    is_known: bool

    def shown(self) -> dict[str, Any]:
        """What the browser shows: the photo, made small, and the box of each face in parts of its width and height."""
        photo = self.several.photo
        picture = PIL.Image.fromarray(photo.rgb8())
        picture.thumbnail((LARGEST_OFFER, LARGEST_OFFER))
        across = (photo.width, photo.height) * 2
        boxes = [[float(place) / length for place, length in zip(face.box, across, strict=True)] for face in self.several.faces]
        return {"what": self.what, "name": Path(photo.name).name, "picture": data_url(picture, "JPEG"), "boxes": boxes}
