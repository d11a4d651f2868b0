"""All photographs of a folder, aligned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.landmarks import FaceAnalyzer
from facemug_lib.faces.photos import READABLE, write_image
from facemug_lib.files import distinct_names, files_in, require_no_input_overwritten, require_writable_folder


@dataclass(frozen=True)
class AlignReport:
    """What :func:`align_folder` did: files written, and (photo, reason) for those it could not align."""

    written: list[Path]
    skipped: list[tuple[Path, str]]


def align_folder(source: Path | str, out: Path | str, size: int = 256, face: int | None = None, *,
                 analyzer: FaceAnalyzer | None = None,
                 progress: Callable[[Iterable[Path]], Iterable[Path]] = iter) -> AlignReport:
    """Align every photo under ``source`` (or the one photo it names) into PNG files of the same names under ``out``.

    Sub-folders are kept. A photo that cannot be aligned is reported and skipped. ``progress`` may wrap the list of
    photos, as ``tqdm`` does. Raises :class:`FacemugError` if there is no photo at all or ``out`` cannot be made.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if not source.exists():
        raise FacemugError(f"no file or folder {source}: check the path")
    root = source if source.is_dir() else source.parent
    photos = files_in(source, READABLE) if source.is_dir() else [source]
    # Crops written earlier below the source are results, not photos.
    photos = [p for p in photos if source == p or out.resolve() not in p.resolve().parents or out.resolve() == root.resolve()]
    if not photos:
        raise FacemugError(f"no photo in {source}: it should hold {', '.join(READABLE)} files")
    require_writable_folder(out)
    targets = dict(zip(photos, _targets(photos, root, out), strict=True))
    written: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for photo in progress(photos):
        try:
            aligned = open_face(photo, face=face, size=size, analyzer=analyzer)
        except FacemugError as error:
            skipped.append((photo, str(error)))
            continue
        target = targets[photo]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacemugError(f"cannot make the folder {target.parent}: {error.strerror or error}") from error
        written.append(write_image(target, aligned.image, like=aligned.photo))
    return AlignReport(written, skipped)


def _targets(photos: list[Path], root: Path, out: Path) -> list[Path]:
    """Where the crop of each photo goes, no two to the same file and none over a photo."""
    found: dict[Path, Path] = {}
    for folder in dict.fromkeys(photo.parent for photo in photos):
        inside = [photo for photo in photos if photo.parent == folder]
        for photo, name in zip(inside, distinct_names(inside, ".png"), strict=True):
            found[photo] = out / folder.relative_to(root) / name
    require_no_input_overwritten(found.values(), photos)
    return [found[photo] for photo in photos]
