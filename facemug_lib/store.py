"""Results on disk by the content they depend on: a killed run goes on where it was, and only what changed is measured again."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from facemug_lib.files import replacing

Arrays = dict[str, np.ndarray]
Keep = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]
"""``keep(description, make)``: the arrays of a description, from wherever they are kept, or made: as :meth:`Store.get`."""


def keep_nothing(description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """The :data:`Keep` of who has nowhere to keep anything."""
    return make()


class Store:
    """A folder of ``<key>.npz`` files.

    The key is the SHA-256 of a plain description of everything the arrays depend on: the test pictures' hash, the method's
    settings and weights, the judges' code. A file appears whole or not at all; one that cannot be read is made again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = 0
        self.made = 0

    def get(self, description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The arrays of ``description``; ``make`` is called only where they are not there yet."""
        path = self.path(description)
        if path.is_file():
            try:
                with np.load(path, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in file.files}
                self.found += 1
                return arrays
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                path.unlink(missing_ok=True)
        arrays = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        self.made += 1
        return arrays

    def path(self, description: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.npz"


def digest(*tensors: Tensor) -> str:
    """SHA-256 of the values of CPU tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
