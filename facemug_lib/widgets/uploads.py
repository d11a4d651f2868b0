"""Photos that are dropped on a widget: they come from the browser in parts, with a name that cannot be trusted."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, open_face

LARGEST_FILE = 256 * 2**20  # bytes of a photo that is dropped


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


def open_upload(name: str, data: bytes) -> tuple[AlignedFace, str]:
    """The face in a photo that came from the browser, and a remark about it. Of several faces the leftmost is taken."""
    folder = Path(tempfile.mkdtemp(prefix="facemug-"))
    try:
        path = folder / name
        path.write_bytes(data)
        try:
            return open_face(path), ""
        except FacemugError as error:
            if "choose one with face=N" not in str(error):
                raise
            return open_face(path, face=0), f"{name}: the leftmost of several faces; Painter(photo=…, face=N) takes another"
    except FacemugError as error:
        raise FacemugError(str(error).replace(f"{folder}/", "")) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
