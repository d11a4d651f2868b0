"""Where the clone lies, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from facemug_lib.errors import FacemugError

CLONE = Path(__file__).resolve().parent.parent
"""The folder that holds the package: its notebooks, figures and data lie beside it."""


def weights_dir() -> Path:
    """Folder of the shipped weights: ``FACEMUG_WEIGHTS`` or ``data/weights`` of the clone."""
    override = os.environ.get("FACEMUG_WEIGHTS")
    return Path(override) if override else CLONE / "data" / "weights"


def require_writable_file(path: Path) -> None:
    """Raise :class:`FacemugError` where no file ``path`` can be written: found out by beginning to, and leaving nothing."""
    if path.is_dir():
        raise FacemugError(f"cannot write {path}: it is a folder, name a file in it")
    if not path.parent.is_dir():
        raise FacemugError(f"no folder {path.parent}: make it first or write elsewhere")
    try:
        with replacing(path, keep=False):
            pass
    except OSError as error:
        raise FacemugError(f"cannot write {path}: {error.strerror or error}") from error


def require_writable_folder(path: Path) -> None:
    """Raise :class:`FacemugError` where ``path`` is no folder that can be written in, nor could be made as one. Makes nothing."""
    there = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if not there.is_dir():
        raise FacemugError(f"{there} is a file: name a folder")
    try:
        with replacing(there / "file", keep=False):
            pass
    except OSError as error:
        raise FacemugError(f"cannot write into {there}: {error.strerror or error}") from error


def require_no_input_overwritten(targets: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raise :class:`FacemugError` where a file that is to be written is one of ``inputs``, by whatever way it is named."""
    taken = {path.resolve() for path in inputs if path is not None}
    for target in targets:
        if target.resolve() in taken:
            raise FacemugError(f"writing {target} would overwrite an input: name another file or folder to write to")


def files_in(folder: Path, suffixes: Sequence[str], *, deep: bool = True) -> list[Path]:
    """The files of ``folder``, and of those in it where ``deep``, that end in one of ``suffixes``, sorted.

    Hidden ones do not count: what begins with a dot is a program's own, a Mac's ``._photo.jpg`` or a half-written file.
    """
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in suffixes and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def distinct_names(paths: Sequence[Path], suffix: str) -> list[str]:
    """A file name for what is made of each path, no two the same: its own with ``suffix`` instead; where others would have that
    too, behind its whole name, and then with the folders that it lies in before that.

    Upper and lower case count as equal, as they do on many disks. Raises :class:`FacemugError` for a path that is given twice.
    """
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    detail, names, count = [0] * len(paths), [], Counter()
    for _ in range(max(map(len, parts), default=0)):
        stems = ["_".join(own[-more:]) if more else Path(own[-1]).stem for own, more in zip(parts, detail, strict=True)]
        names = [stem + suffix for stem in stems]
        count = Counter(name.casefold() for name in names)
        detail = [more + (count[name.casefold()] > 1) for name, more in zip(names, detail, strict=True)]
    if len(count) < len(names):
        first, second, *_ = [path for path, name in zip(paths, names, strict=True) if count[name.casefold()] > 1]
        both = f"{first} is given twice" if first == second else f"{first} and {second} would be written to one file"
        raise FacemugError(f"{both}: name each picture once, or treat them in two runs")
    return names


@contextmanager
def replacing(path: Path, keep: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to: it takes ``path``'s place when the block ends, and goes if it fails.

    Its name is hidden and has no suffix, so that what a killed process leaves is never taken for a picture; name the format
    when saving. Where ``path`` is a link, what it leads to is replaced. The file gets the permissions of the one it replaces, or
    those that the umask leaves to a new one. Without ``keep`` the temporary file goes in any case. An error of the disk names the
    file.
    """
    path = Path(os.path.realpath(path))
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}"  # a name may have 255 bytes
    # Opened by hand: tempfile's functions give 0600 whatever the umask, and asking for the umask means to change it meanwhile.
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = stat.S_IMODE((path.stat() if path.exists() else os.fstat(handle)).st_mode)
        os.close(handle)
        yield temporary
        temporary.chmod(mode)  # only now: some writers make the file anew, and the old one may have been read-only
        if keep:
            os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk's error names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
