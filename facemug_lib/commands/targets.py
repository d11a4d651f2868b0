"""Where commands write pictures: found out before the work, so that nothing is made that cannot be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import WRITABLE, Photo
from facemug_lib.files import distinct_names, require_no_input_overwritten, require_writable_file, require_writable_folder

JPEG = (".jpg", ".jpeg")


def picture_target(out: Path, source: Path, inputs: Iterable[Path | None] = ()) -> Path:
    """The file that the picture made of ``source`` goes to: ``out``, or in it where that is a folder.

    Raises :class:`FacemugError` where no picture can be written, or where one of ``inputs`` or the source would be overwritten.
    """
    return picture_targets(out, [source], inputs, may_make=False)[0]


def picture_targets(out: Path, sources: Sequence[Path], inputs: Iterable[Path | None] = (), *,
                    may_make: bool = True) -> list[Path]:
    """The file for each source. ``out`` is a folder if it is there as one, if there are several sources, or if it ends in
    nothing and ``may_make`` allows it; every picture is then called like its source.

    Raises :class:`FacemugError` as :func:`picture_target` does. Nothing is made yet.
    """
    is_picture = out.suffix.lower() in WRITABLE
    if out.is_dir() or (may_make and not out.suffix) or (len(sources) > 1 and not is_picture):
        require_writable_folder(out)
        targets = [out / name for name in distinct_names(sources, ".png")]
    elif len(sources) > 1:
        raise FacemugError(f"--out {out} for {len(sources)} photos: name a folder")
    else:
        targets = [checked_file(out)]
    require_no_input_overwritten(targets, (*sources, *inputs))
    return targets


def checked_file(out: Path) -> Path:
    """``out``, if a picture can be written there."""
    if not out.is_dir() and out.suffix.lower() not in WRITABLE:
        raise FacemugError(f"cannot write {out.name or out}: the name must end in .png, .tif or .jpg, or be that of a folder "
                           "that is there")
    require_writable_file(out)
    return out


def check_transparency(target: Path, photo: Photo) -> None:
    """Raise :class:`FacemugError` where ``target`` cannot hold the transparency of ``photo``."""
    if target.suffix.lower() in JPEG and not photo.is_grey and photo.pixels.shape[2] == 4:
        raise FacemugError(f"{photo.name} is transparent and {target.name} would lose that, JPEG has none: write .png")


def is_compressed(target: Path) -> bool:
    """Whether the file's format changes every pixel a little."""
    return target.suffix.lower() in JPEG
