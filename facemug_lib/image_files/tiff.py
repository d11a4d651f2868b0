"""TIFF files with 16 bits a channel, of which Pillow reads only grey, and OpenCV only what is stored in the plainest way.

TIFF leaves much open: the channels of a pixel side by side or in planes of their own, white as the largest value or as 0, inks
instead of light, alpha multiplied into the colours or not. OpenCV's libtiff unpacks the samples of all of these if the file says
that they are a grey picture's. So the directory of the file, which says what its bytes are, is written anew with that claim, and
what the samples mean is worked out here.

TIFF Revision 6.0 (Adobe, 1992), sections 5 to 8, 14 and 18.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import PIL.Image
from PIL import TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from facemug_lib.errors import FacemugError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INKS = 0, 1, 2, 5
CHANNELS_OF_MEANING = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INKS: 4}
OTHER_COLOURS = {3: "a palette", 4: "a mask", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*",
                 32803: "a raw sensor's", 34892: "a raw sensor's"}
TOO_LARGE = "has more than {} megapixels: scale it down or cut the face out first"
COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, ZIP, PackBits, ZIP's older number
MULTIPLIED, SEPARATE = 1, 2  # what an extra sample is, if it is alpha: the colours are multiplied by it, or not
READ_BY_PILLOW = {1, 2, 4, 8, 12}  # bits a channel


def is_tiff(content: bytes) -> bool:
    return content[:4] in SIGNATURES


def directory(content: bytes) -> Directory:
    """The first directory of a file: tag number → value."""
    file = io.BytesIO(content)
    tags = Directory(_head(content))
    file.seek(tags.next)
    tags.load(file)
    return tags


def is_deep(content: bytes) -> bool:
    """Whether a file has 16 bits a channel. Raises :class:`FacemugError` for numbers of bits that nobody here reads."""
    bits = set(_numbers(directory(content), BITS, 1))
    if bits == {16}:
        return True
    if len(bits) > 1:
        raise FacemugError("stores channels of different depths: save it with 8 or 16 bits in each")
    if not bits <= READ_BY_PILLOW:
        raise FacemugError(f"stores {bits.pop()} bits a channel: save it with 8 or 16")
    return False


def read_deep(content: bytes, most_pixels: int) -> tuple[np.ndarray, bool]:
    """(the pixels uint16 [h, w, c], whether they are inks).

    c is 1 (grey), 3 (RGB) or 4 (inks: cyan, magenta, yellow, black, 65535 = full), and one more for alpha, by which colours are
    not multiplied. Raises :class:`FacemugError`, without the file's name, for layouts that are not read and for more than
    ``most_pixels``.
    """
    tags = directory(content)
    _check(tags, most_pixels)
    count = int(tags.get(SAMPLES_PER_PIXEL, 1))
    if count > 1 and tags.get(PLANAR, 1) == 2:
        samples = np.dstack([_samples(content, _plane(tags, number, count)) for number in range(count)])
    else:
        samples = _interleaved(content, tags, count)
    meaning = int(tags[PHOTOMETRIC])
    colours, rest = samples[..., :CHANNELS_OF_MEANING[meaning]], samples[..., CHANNELS_OF_MEANING[meaning]:]
    if meaning == WHITE_IS_ZERO:
        colours = 65535 - colours
    extra = _numbers(tags, EXTRA_SAMPLES, 0)
    if rest.shape[2] and extra[0] in (MULTIPLIED, SEPARATE):
        alpha = rest[..., :1]
        if extra[0] == MULTIPLIED:
            divided = colours.astype(np.float64) * 65535 / np.maximum(alpha, 1)
            colours = np.minimum(np.rint(divided), 65535).astype(np.uint16)
        colours = np.dstack([colours, alpha])
    return np.ascontiguousarray(colours), meaning == INKS


def exif_of(content: bytes) -> PIL.Image.Exif:
    """The tags of a file as EXIF data: a TIFF's own directory is where they stand."""
    exif = PIL.Image.Exif()
    exif.bigtiff, exif.endian = b"+" in content[2:4], "<" if content[:2] == b"II" else ">"
    exif.load_from_fp(io.BytesIO(content), Directory(_head(content)).next)
    return exif


def with_tags(content: bytes, changes: dict[int, Any]) -> bytes:
    """The same TIFF with these tags besides its own; a dictionary is a directory of its own (EXIF, GPS)."""
    tags = directory(content)
    dict(tags)  # Pillow writes only what has been looked at
    for tag, value in changes.items():
        tags[tag] = value
    return _rewritten(content, tags)


def _check(tags: Directory, most_pixels: int) -> None:
    meaning, compression = tags.get(PHOTOMETRIC), tags.get(COMPRESSION, 1)
    if set(_numbers(tags, SAMPLE_FORMAT, 1)) != {1}:
        raise FacemugError("stores signed or floating-point numbers, which have no fixed brightness: save it with 8 or 16 bits a "
                           "channel, whole numbers")
    if meaning is None:
        raise ValueError("it does not say what its channels are")
    if meaning not in CHANNELS_OF_MEANING:
        raise FacemugError(f"stores its colours as {OTHER_COLOURS.get(meaning, f'kind {meaning}')} with 16 bits: save it as RGB")
    if compression not in COMPRESSIONS:
        raise FacemugError(f"is compressed in a way that is not read with 16 bits (TIFF's number {compression}): save it with "
                           "LZW, ZIP or no compression")
    if tags[WIDTH] * tags[HEIGHT] > most_pixels:
        raise FacemugError(TOO_LARGE.format(most_pixels // 10**6))
    if tags.get(SAMPLES_PER_PIXEL, 1) < CHANNELS_OF_MEANING[meaning]:
        raise ValueError(f"{tags.get(SAMPLES_PER_PIXEL, 1)} channels of {CHANNELS_OF_MEANING[meaning]}")
    if tags.next:
        raise FacemugError("holds several pages: save the one to edit as a still image")


def _plane(tags: Directory, number: int, count: int) -> Directory:
    """The directory of one plane's samples."""
    offsets, sizes = (TILE_OFFSETS, TILE_BYTES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_BYTES)
    each = len(_numbers(tags, offsets)) // count
    plane = _as_grey(tags)
    for tag in (offsets, sizes):
        plane[tag] = _numbers(tags, tag)[number * each:(number + 1) * each]
    return plane


def _interleaved(content: bytes, tags: Directory, count: int) -> np.ndarray:
    """[h, w, count]: read as a grey picture ``count`` times as wide."""
    wide = _as_grey(tags)
    if count > 1:
        wide[WIDTH] = tags[WIDTH] * count
        wide[PREDICTOR] = 1
        if TILE_WIDTH in tags:
            wide[TILE_WIDTH] = tags[TILE_WIDTH] * count
    samples = _samples(content, wide).reshape(tags[HEIGHT], tags[WIDTH], count)
    if count > 1 and tags.get(PREDICTOR, 1) == 2:  # each row of a strip or tile holds differences to the pixel on the left
        step = tags.get(TILE_WIDTH, tags[WIDTH])
        for left in range(0, tags[WIDTH], step):
            part = samples[:, left:left + step]
            part[...] = np.cumsum(part, axis=1, dtype=np.uint16)
    return samples


def _as_grey(tags: Directory) -> Directory:
    grey = Directory(prefix=tags.prefix)
    for tag in (WIDTH, HEIGHT, COMPRESSION, FILL_ORDER, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, PREDICTOR, TILE_WIDTH,
                TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES):
        if tag in tags:
            grey[tag] = tags[tag]
    grey[BITS], grey[SAMPLES_PER_PIXEL], grey[PHOTOMETRIC], grey[PLANAR] = 16, 1, BLACK_IS_ZERO, 1
    return grey


def _samples(content: bytes, tags: Directory) -> np.ndarray:
    """The samples [h, w] of a grey picture in ``content`` that ``tags`` describe."""
    decoded = unpacked(_rewritten(content, tags), tags[WIDTH], tags[HEIGHT])
    if decoded.ndim != 2:
        raise ValueError("its samples cannot be unpacked")
    return decoded


def unpacked(content: bytes, width: int, height: int) -> np.ndarray:
    """The 16-bit samples of a file as OpenCV gives them, [h, w] or [h, w, c]; ValueError if it cannot."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong with a file is said once, by an exception
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(before)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (height, width):
        raise ValueError("its samples cannot be unpacked")
    return decoded


def _rewritten(content: bytes, tags: Directory) -> bytes:
    """A TIFF of ``tags`` with ``content``, the old file as it is, behind them as its data."""
    offsets = TILE_OFFSETS if TILE_OFFSETS in tags else STRIP_OFFSETS
    original = _numbers(tags, offsets)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        if tag in tags:
            tags.tagtype[tag] = TiffTags.LONG
    file = io.BytesIO()
    end = tags.save(file)
    if offsets == TILE_OFFSETS:  # Pillow has moved those of strips itself
        tags[offsets] = tuple(place + end for place in original)
        file = io.BytesIO()
        tags.save(file)
    return file.getvalue() + content


def _head(content: bytes) -> bytes:
    """BigTIFF's is longer."""
    return content[:16 if b"+" in content[2:4] else 8]


def _numbers(tags: Directory, tag: int, default: int | None = None) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)
