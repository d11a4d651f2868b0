"""One small picture in every kind of file, written by libraries that have no part in reading it here where there is one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from PIL import features

from facemug_lib.image_files.metadata import Metadata
from facemug_lib.image_files.writing import encode

WIDTH, HEIGHT = 50, 40


def deep(channels: int = 4, seed: int = 0) -> np.ndarray:
    """uint16 [40, 50, channels] without any symmetry, and smooth enough for alpha and compression to matter."""
    coarse = np.random.default_rng(seed).integers(2000, 63000, (5, 6, channels))
    blocks = np.repeat(np.repeat(coarse, 8, axis=0), 9, axis=1)[:HEIGHT, :WIDTH]
    return (blocks + np.arange(WIDTH)[None, :, None]).astype(np.uint16)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def one_of_each() -> dict[str, bytes]:
    """Name → bytes of a whole file."""
    rgba = deep()
    small = (rgba >> 8).astype(np.uint8)
    rgb = np.ascontiguousarray(small[..., :3])
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "somebody"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09"}
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 11.5)}
    zipped = dict(compression="adobe_deflate", predictor=True, rowsperstrip=7)
    files = {
        "photo.jpg": saved(rgb, "JPEG", exif=exif.tobytes(), dpi=(300, 300)),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "eight.png": saved(small, "PNG", exif=exif.tobytes(), dpi=(300, 300)),
        "palette.png": saved(np.asarray(PIL.Image.fromarray(rgb).quantize(8)), "PNG"),
        "deep.png": encode(rgba, "PNG", Metadata()),
        "eight.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "grey_lzw.tif": saved(rgba[..., 0], "TIFF", compression="tiff_lzw"),
        "planar.tif": tiff(planes(rgba[..., :3]), photometric="rgb", planarconfig="separate"),
        "planar_zip.tif": tiff(planes(rgba[..., :3]), photometric="rgb", planarconfig="separate", **zipped),
        "tiled.tif": tiff(rgba[..., :3], photometric="rgb", tile=(16, 32)),
        "white_is_zero.tif": tiff(rgba[..., 0], photometric="miniswhite"),
        "inks.tif": tiff(rgba, photometric="separated", **zipped),
        "big.tif": tiff(rgba[..., :3], photometric="rgb", bigtiff=True),
        "photo.webp": saved(rgb, "WEBP", exif=exif.tobytes()),
        "lossless.webp": saved(small, "WEBP", lossless=True),
        "photo.bmp": saved(rgb, "BMP"),
        "still.gif": saved(np.asarray(PIL.Image.fromarray(rgb).quantize(8)), "GIF"),
        "photo.jp2": saved(rgb, "JPEG2000"),
    }
    if features.check("avif"):
        files["photo.avif"] = saved(rgb, "AVIF", exif=exif.tobytes())
    return files


def damages(whole: bytes, count: int, numbers: np.random.Generator) -> list[bytes]:
    """A file damaged in ``count`` ways: cut short, single bytes changed, a stretch lost, and the same in its first bytes."""
    found = []
    for turn in range(count):
        data = bytearray(whole)
        reach = len(data) if turn % 2 else min(len(data), 200)  # directories and headers stand in front
        place = int(numbers.integers(0, reach))
        match turn // 2 % 4:
            case 0:
                del data[max(1, place):]
            case 1:
                for where in numbers.integers(0, reach, int(numbers.integers(1, 9))):
                    data[where] = int(numbers.integers(0, 256))
            case 2:
                stretch = data[place:place + int(numbers.integers(1, 40))]
                data[place:place + len(stretch)] = bytes(len(stretch))
            case _:
                del data[place:place + int(numbers.integers(1, 40))]
        found.append(bytes(data) or b"\0")
    return found


def saved_cmyk(inks: np.ndarray) -> bytes:
    """A TIFF of 8-bit inks [h, w, 4]."""
    buffer = io.BytesIO()
    PIL.Image.frombytes("CMYK", inks.shape[1::-1], np.ascontiguousarray(inks).tobytes()).save(buffer, "TIFF")
    return buffer.getvalue()
