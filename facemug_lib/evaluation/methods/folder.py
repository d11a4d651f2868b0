"""Pictures of other people's methods, read instead of made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import read_photo
from facemug_lib.files import files_in
from facemug_lib.pictures import to_floats


class Folder:
    """Pictures that others made for the exported cases, read instead of computed.

    ``folder`` holds ``<set>/<family>/<index:06d>.png`` or ``<index:06d>_inpaint.png``, 256 × 256 px. Pixels outside the holes
    are scored as the peer made them: nothing is composited, so a method that repaints the known pixels pays for it.
    """

    def __init__(self, folder: Path | str, name: str) -> None:
        self.folder, self.names = Path(folder), (name,)
        if not self.folder.is_dir():
            raise FacemugError(f"{self.folder} is not a folder: name the folder with {name}'s pictures, "
                               "<set>/<family>/<index>.png inside")
        if not files_in(self.folder, (".png",)):
            raise FacemugError(f"no picture in {self.folder}: it should hold {name}'s, <set>/<family>/<index>.png")

    def describe(self) -> dict[str, Any]:
        """With the SHA-256 of all its pictures."""
        digest = hashlib.sha256()
        for path in files_in(self.folder, (".png",)):
            digest.update(path.relative_to(self.folder).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
        return {"method": "folder", "name": self.names[0], "pictures": digest.hexdigest()}

    def pictures(self, set_name: str, family: str, indices: Sequence[int]) -> Tensor:
        """The pictures [n,3,256,256] in [-1,1] of these faces of a test set under a mask family."""
        return torch.stack([self._read(self.folder / set_name / family, index) for index in indices])

    def _read(self, place: Path, index: int) -> Tensor:
        plain, suffixed = place / f"{index:06d}.png", place / f"{index:06d}_inpaint.png"
        path = plain if plain.is_file() else suffixed
        if not path.is_file():
            raise FacemugError(f"no picture {plain} nor {suffixed.name} beside it: every exported case needs one")
        try:
            pixels = read_photo(path).rgb8()
        except FacemugError as error:
            raise FacemugError(f"{path} cannot be read as a picture: "
                               f"write it as an 8-bit PNG of {FACE_SIZE} × {FACE_SIZE} px") from error
        if pixels.shape[:2] != (FACE_SIZE, FACE_SIZE):
            raise FacemugError(f"{path} has {pixels.shape[1]} × {pixels.shape[0]} px: {FACE_SIZE} × {FACE_SIZE} px are expected")
        return to_floats(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
