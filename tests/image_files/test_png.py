"""16-bit PNG files, of which Pillow reads colours with 8."""

from __future__ import annotations

import struct
import zlib

import image_kinds as kinds
import numpy as np
import pytest

from facemug_lib.image_files.reading import decode

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6


def png(pixels: np.ndarray, colours: int, nothing: np.ndarray | None = None) -> bytes:
    """A 16-bit PNG of pixels [h, w, c]; ``nothing`` is the value that stands for transparency."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colours, 0, 0, 0)
    key = b"" if nothing is None else chunk(b"tRNS", nothing.astype(">u2").tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colours", "channels", "as_read"), [
    (GREY, slice(0, 1), 0), (RGB, slice(0, 3), slice(0, 3)), (GREY_ALPHA, slice(0, 2), [0, 0, 0, 1]),
    (RGBA, slice(0, 4), slice(0, 4)),
])
def test_every_layout(colours, channels, as_read) -> None:
    rgba = kinds.deep()
    found = decode(png(rgba[..., channels], colours), "a.png").pixels
    assert found.dtype == np.uint16 and np.array_equal(found, rgba[..., as_read])


@pytest.mark.parametrize("colours", [GREY, RGB])
def test_a_value_that_stands_for_nothing_is_transparent(colours) -> None:
    pixels = kinds.deep(1 if colours == GREY else 3)
    nothing = pixels[3, 3]
    found = decode(png(pixels, colours, nothing), "a.png").pixels
    clear = (pixels == nothing).all(axis=2)
    assert clear.any() and np.array_equal(found[..., 3], np.where(clear, 0, 65535))
    assert np.array_equal(found[..., :3][~clear], np.broadcast_to(pixels, (*pixels.shape[:2], 3))[~clear])
