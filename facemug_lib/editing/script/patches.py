"""What an edit changed of a photo, in so few bytes that a thousand of them can be kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Patch:
    """The difference of two pictures of one shape and type, to the last bit, within the box around all that differs.

    Differences are those of whole numbers that wrap around, so that they can be added and taken away in any order; floats are
    taken as the whole numbers that their bits spell.
    """

    box: tuple[slice, slice]
    shape: tuple[int, ...]
    data: bytes  # compressed

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> Patch:
        """What has to be added to ``before`` [h, w] or [h, w, c] to get ``after``."""
        differs = _words(before) != _words(after)
        differs = differs if differs.ndim == 2 else differs.any(axis=2)
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        box = (slice(0, 0), slice(0, 0))
        if len(rows):
            box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        change = _words(after)[box] - _words(before)[box]
        # Neighbours changed alike: their differences are mostly small, which is what compresses well.
        steps = np.diff(change, axis=1, prepend=np.zeros_like(change[:, :1]))
        return cls(box, change.shape, zlib.compress(steps.tobytes()))

    def add(self, pixels: np.ndarray) -> None:
        """Turn ``before``, in place, into ``after``."""
        _words(pixels)[self.box] += self._change(pixels)

    def take_away(self, pixels: np.ndarray) -> None:
        """Turn ``after``, in place, into ``before``."""
        _words(pixels)[self.box] -= self._change(pixels)

    def _change(self, pixels: np.ndarray) -> np.ndarray:
        words = _words(pixels).dtype
        steps = np.frombuffer(zlib.decompress(self.data), words).reshape(self.shape)
        return np.cumsum(steps, axis=1, dtype=words)


def _words(pixels: np.ndarray) -> np.ndarray:
    """The same memory as unsigned whole numbers."""
    return pixels.view(f"u{pixels.itemsize}")
