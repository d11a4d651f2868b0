"""Where the clone lies, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facemug_lib.errors import FacemugError

CLONE = Path(__file__).resolve().parent.parent
"""The folder that holds the package: its notebooks, figures and data lie beside it."""


def require_folder(path: Path) -> None:
    """Raise :class:`FacemugError` where the folder that ``path`` is to be written to does not exist."""
    if not path.parent.is_dir():
        raise FacemugError(f"no folder {path.parent}: make it first or write elsewhere")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to: it takes ``path``'s place when the block ends, and goes if it fails.

    Its name is hidden and has no suffix, so that what a killed process leaves is never taken for a picture; name the format
    when saving. The file gets the permissions of the one it replaces, or those that the umask leaves to a new one.
    """
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}"  # a name may have 255 bytes
    # Opened by hand: tempfile's functions give 0600 whatever the umask, and asking for the umask means to change it meanwhile.
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = stat.S_IMODE((path.stat() if path.exists() else os.fstat(handle)).st_mode)
        os.close(handle)
        yield temporary
        temporary.chmod(mode)  # only now: some writers make the file anew, and the old one may have been read-only
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
