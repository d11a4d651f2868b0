"""Where the clone lies, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
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
    when saving.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
