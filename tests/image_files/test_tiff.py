"""16-bit TIFF files: every layout gives the picture that the plainest one holds."""

from __future__ import annotations

import io

import image_kinds as kinds
import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from facemug_lib.errors import FacemugError
from facemug_lib.image_files.reading import decode

STORED = {
    "plain": {}, "zip": dict(compression="adobe_deflate", predictor=True, rowsperstrip=7), "big-endian": dict(byteorder=">"),
    "BigTIFF": dict(bigtiff=True), "tiles": dict(tile=(16, 16)),
    "zipped tiles": dict(tile=(16, 32), compression="adobe_deflate", predictor=True, byteorder=">"),
}


@pytest.mark.parametrize("stored", STORED)
def test_every_layout_gives_the_same_picture(stored) -> None:
    options, rgba = STORED[stored], kinds.deep()
    apart = dict(planarconfig="separate")
    layouts = {
        "RGB": (kinds.tiff(rgba[..., :3], photometric="rgb", **options), rgba[..., :3]),
        "RGB in planes": (kinds.tiff(kinds.planes(rgba[..., :3]), photometric="rgb", **apart, **options), rgba[..., :3]),
        "RGBA": (kinds.tiff(rgba, photometric="rgb", extrasamples=["unassalpha"], **options), rgba),
        "RGBA in planes": (kinds.tiff(kinds.planes(rgba), photometric="rgb", extrasamples=["unassalpha"], **apart, **options),
                           rgba),
        "RGB and something": (kinds.tiff(rgba, photometric="rgb", extrasamples=["unspecified"], **options), rgba[..., :3]),
        "grey": (kinds.tiff(rgba[..., 0], photometric="minisblack", **options), rgba[..., 0]),
        "white is zero": (kinds.tiff(65535 - rgba[..., 0], photometric="miniswhite", **options), rgba[..., 0]),
        "grey and alpha": (kinds.tiff(rgba[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"],
                                      **options), rgba[..., [0, 0, 0, 1]]),
    }
    for name, (content, expected) in layouts.items():
        found = decode(content, name).pixels
        assert found.dtype == np.uint16 and np.array_equal(found, expected), name


def test_inks_give_light() -> None:
    inks = kinds.deep()
    light = np.rint((1 - inks[..., :3] / 65535) * (1 - inks[..., 3:] / 65535) * 65535)
    apart = kinds.tiff(kinds.planes(inks), photometric="separated", planarconfig="separate")
    for content in (kinds.tiff(inks, photometric="separated"), apart):
        assert np.array_equal(decode(content, "inks").pixels, light)
    eight = kinds.saved_cmyk((inks >> 8).astype(np.uint8))
    assert np.abs(decode(eight, "8 bits").pixels - light / 257).max() < 2


def test_colours_multiplied_by_alpha_are_divided() -> None:
    rgba = kinds.deep()
    alpha = rgba[..., 3:] / 65535
    multiplied = np.dstack([np.rint(rgba[..., :3] * alpha).astype(np.uint16), rgba[..., 3]])
    found = decode(kinds.tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"]), "a").pixels
    assert (np.abs(found.astype(float) - rgba) * np.dstack([alpha] * 3 + [alpha]) <= 1).all()


def test_twelve_bits_are_not_dark() -> None:
    """As cameras of microscopes store: two values in three bytes, 4095 = white."""
    values = np.random.default_rng(0).integers(0, 4096, (40, 50), dtype=np.uint16)
    first, second = values.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    tags = ImageFileDirectory_v2()
    for tag, value in {256: 50, 257: 40, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: 40, 279: len(packed)}.items():
        tags[tag] = value
    file = io.BytesIO()
    tags.save(file)
    found = decode(file.getvalue() + packed, "a").pixels
    assert found.dtype == np.uint16 and np.array_equal(found, np.rint(values / 4095 * 65535))


def test_lab_of_8_bits_is_read() -> None:
    buffer = io.BytesIO()
    red = ImageCms.applyTransform(PIL.Image.new("RGB", (40, 40), (200, 30, 40)), ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"))
    red.save(buffer, "TIFF")
    assert np.abs(decode(buffer.getvalue(), "a").pixels.astype(int) - (200, 30, 40)).max() <= 3


@pytest.mark.parametrize(("pixels", "options", "says"), [
    (np.zeros((40, 50, 3), np.uint16), dict(photometric="cielab"),
     r"a\.tif stores its colours as CIE L\*a\*b\* with 16 bits: save it as RGB"),
    (np.zeros((40, 50, 3), np.float32), dict(photometric="rgb"), "a.tif stores 32 bits a channel: save it with 8 or 16"),
    (np.zeros((40, 50), np.int16), {}, "a.tif stores signed or floating-point numbers"),
    (np.zeros((40, 50), np.float16), {}, "a.tif stores signed or floating-point numbers"),
    (np.zeros((2, 40, 50), np.uint16), dict(photometric="minisblack"), "a.tif holds several pages"),
])
def test_what_is_not_read_is_refused_by_name(pixels, options, says) -> None:
    with pytest.raises(FacemugError, match=says):
        decode(kinds.tiff(pixels, **options), "a.tif")
