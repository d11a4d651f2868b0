"""What was painted on a face, in four layers of 256×256 pixels, with undo and redo.

A layer is an array of plain values, the same in the browser and here: a stroke is the box that it changed and the values inside.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import PIL.Image

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.errors import FacemugError
from facemug_lib.modalities.semantics import NUM_CLASSES, PALETTE, UNLABELLED_IN_FILES

DEPTH = 200  # strokes that can be undone
MASK_TINT = np.array([86, 180, 233], np.float32)
LAYERS = ("mask", "sketch", "semantics", "colour")
NOTHING: Mapping[str, np.ndarray] = {name: np.array(value, np.uint8) for name, value in
                                     {"mask": 0, "sketch": 0, "semantics": UNLABELLED_IN_FILES, "colour": (0, 0, 0, 0)}.items()}
"""The value of an unpainted pixel: mask and sketch are 0 or 255, semantics a class or 255, colour RGB and 0 or 255."""


@dataclass(frozen=True, eq=False)
class _Change:
    """Boxes of layers as they were before, and after, compressed; ``mark`` is what the caller gave with the act."""

    boxes: Mapping[str, tuple[slice, slice]]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    mark: Any = None


class Layers:
    """The four layers. ``layers["mask"]`` is uint8 [256,256], as are sketch and semantics; colour is [256,256,4]."""

    def __init__(self) -> None:
        self._pixels = blank()
        self._past: list[_Change] = []
        self._future: list[_Change] = []

    def __getitem__(self, name: str) -> np.ndarray:
        return self._pixels[name]

    # -- painting ---------------------------------------------------------------------------------------------------------

    def stroke(self, name: str, box: tuple[int, int, int, int], values: bytes) -> None:
        """Set the pixels of ``box`` (left, top, width, height) of one layer, row by row. Raises :class:`FacemugError` for
        whatever is no stroke, and changes nothing then."""
        where = _checked_box(name, box)
        shape = (where[0].stop - where[0].start, where[1].stop - where[1].start, *NOTHING[name].shape)
        if len(values) != np.prod(shape):
            raise FacemugError(f"a stroke on the {name} layer has {len(values)} values: its box needs {np.prod(shape)}")
        pixels = np.frombuffer(values, np.uint8).reshape(shape)
        allowed = [0, 255] if name != "semantics" else [*range(NUM_CLASSES), UNLABELLED_IN_FILES]
        if not np.isin(pixels[..., 3] if name == "colour" else pixels, allowed).all():
            raise FacemugError(f"a stroke on the {name} layer has values that mean nothing there: use {allowed}")
        if name == "colour":
            pixels = pixels * (pixels[..., 3:] > 0)  # transparent pixels become 0: erased is the same as never painted
        self._do({name: where}, {name: pixels})

    def fill(self, pixels: Mapping[str, np.ndarray], mark: Any = None) -> None:
        """Set whole layers, as one act that can be undone; ``mark`` is what :meth:`next_mark` gives for it."""
        whole = (slice(0, FACE_SIZE), slice(0, FACE_SIZE))
        self._do({name: whole for name in pixels}, pixels, mark)

    def clear(self, *names: str, mark: Any = None) -> None:
        """Empty these layers, or all. Where they are empty already it is an act only with a ``mark``."""
        filled = [name for name in names or LAYERS if self.is_painted(name)]
        if filled or mark is not None:
            self.fill({name: blank()[name] for name in filled}, mark)

    def undo(self) -> tuple[str, ...]:
        """Take the last act back; the layers that changed. Raises :class:`FacemugError` where there is none."""
        return self._step(self._past, self._future, "undo")

    def redo(self) -> tuple[str, ...]:
        """Do again what was undone last; the layers that changed."""
        return self._step(self._future, self._past, "redo")

    def next_mark(self, what: Literal["undo", "redo"]) -> Any:
        """The mark of the act that this would take back or do again; None where it has none, or there is no act."""
        acts = self._past if what == "undo" else self._future
        return acts[-1].mark if acts else None

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def _do(self, boxes: Mapping[str, tuple[slice, slice]], pixels: Mapping[str, np.ndarray], mark: Any = None) -> None:
        before = {name: _packed(self._pixels[name][where]) for name, where in boxes.items()}
        self._past.append(_Change(boxes, before, {name: _packed(pixels[name]) for name in boxes}, mark))
        del self._past[:-DEPTH]
        self._future.clear()
        self._set(boxes, self._past[-1].after)

    def _step(self, source: list[_Change], target: list[_Change], what: str) -> tuple[str, ...]:
        if not source:
            raise FacemugError(f"there is nothing to {what}")
        change = source.pop()
        target.append(change)
        self._set(change.boxes, change.before if what == "undo" else change.after)
        return tuple(change.boxes)

    def _set(self, boxes: Mapping[str, tuple[slice, slice]], packed: Mapping[str, bytes]) -> None:
        for name, where in boxes.items():
            self._pixels[name][where] = _unpacked(packed[name], self._pixels[name][where].shape)

    # -- what was painted -------------------------------------------------------------------------------------------------

    def is_painted(self, name: str) -> bool:
        """Whether anything is on the layer."""
        return bool((self._pixels[name] != NOTHING[name]).any())

    def packed(self) -> dict[str, bytes]:
        """All layers as they are now, compressed: some kilobytes, for :meth:`unpack`."""
        return {name: _packed(pixels) for name, pixels in self._pixels.items()}

    def unpack(self, packed: Mapping[str, bytes], mark: Any = None) -> None:
        """Set all layers to what :meth:`packed` gave, as one act that can be undone."""
        self.fill({name: _unpacked(data, self._pixels[name].shape) for name, data in packed.items()}, mark)

    def over(self, pixels: np.ndarray) -> PIL.Image.Image:
        """The layers over a face's pixels [256,256,3], much as the browser shows them."""
        base = pixels.astype(np.float32)
        colour, labels = self._pixels["colour"], self._pixels["semantics"]
        base = np.where(colour[..., 3:] > 0, 0.4 * base + 0.6 * colour[..., :3], base)
        tints = np.array((*PALETTE, (0, 0, 0)), np.float32)[np.minimum(labels, len(PALETTE))]
        base = np.where((labels < len(PALETTE))[..., None], 0.4 * base + 0.6 * tints, base)
        base = np.where(self._pixels["mask"][..., None] > 0, 0.7 * base + 0.3 * MASK_TINT, base)
        base = np.where(self._pixels["sketch"][..., None] > 0, 0, base)
        return PIL.Image.fromarray(base.round().astype(np.uint8))

    def pictures(self, parse: np.ndarray) -> dict[str, PIL.Image.Image]:
        """The painted layers as an edit script's pictures; labels are painted over ``parse`` [256,256], the face's own."""
        found = {}
        if self.is_painted("mask"):
            found["mask"] = PIL.Image.fromarray(self._pixels["mask"])
        if self.is_painted("sketch"):
            strokes = self._pixels["sketch"]
            found["sketch"] = PIL.Image.fromarray(np.dstack([np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8), strokes]))
        if self.is_painted("semantics"):
            labels = self._pixels["semantics"]
            found["semantics"] = PIL.Image.fromarray(np.where(labels == UNLABELLED_IN_FILES, parse, labels).astype(np.uint8))
        if self.is_painted("colour"):
            found["colour"] = PIL.Image.fromarray(self._pixels["colour"])
        return found


def blank() -> dict[str, np.ndarray]:
    """Empty layers."""
    return {name: np.broadcast_to(value, (FACE_SIZE, FACE_SIZE, *value.shape)).copy() for name, value in NOTHING.items()}


def _packed(pixels: np.ndarray) -> bytes:
    return zlib.compress(np.asarray(pixels, np.uint8).tobytes(), 1)  # layers are mostly of one value: a higher level saves little


def _unpacked(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)


def png(picture: PIL.Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def data_url(picture: PIL.Image.Image, kind: str = "PNG") -> str:
    """A picture as a data URL, PNG or JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _checked_box(name: str, box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    if name not in LAYERS:
        raise FacemugError(f"no layer is called {name!r}: choose from {', '.join(LAYERS)}")
    is_box = isinstance(box, list | tuple) and len(box) == 4 and all(type(value) is int for value in box)
    if not is_box or min(box[:2]) < 0 or min(box[2:]) < 1 or max(box[0] + box[2], box[1] + box[3]) > FACE_SIZE:
        raise FacemugError(f"a stroke's box is {box!r}: left, top, width, height within {FACE_SIZE} pixels")
    left, top, width, height = box
    return slice(top, top + height), slice(left, left + width)
