"""Damaged files: a picture or one line, never somebody else's exception."""

from __future__ import annotations

import struct
import zlib

import image_kinds as kinds
import numpy as np
import PIL.Image
import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.image_files import reading
from facemug_lib.image_files.reading import decode, from_pillow, read_image_file

DAMAGES = 24


def test_damaged_files_give_a_picture_or_one_line(capfd) -> None:
    """One picture of each format, damaged at seeded places."""
    numbers = np.random.default_rng(20)
    refused = read = 0
    for name, whole in kinds.one_of_each().items():
        assert decode(whole, name).pixels.shape[:2] in ((kinds.HEIGHT, kinds.WIDTH), (kinds.WIDTH, kinds.HEIGHT)), name
        for content in kinds.damages(whole, DAMAGES, numbers):
            try:
                pixels = decode(content, name, places=True).pixels
            except FacemugError as error:
                assert str(error).startswith(name) and "\n" not in str(error) and len(str(error)) < 250, error
                refused += 1
            else:
                assert pixels.dtype in (np.uint8, np.uint16) and pixels.ndim in (2, 3)
                read += 1
    assert capfd.readouterr() == ("", "")  # nor do the decoders print anything by themselves
    assert refused > DAMAGES and read > DAMAGES  # of either kind enough to mean something


@pytest.mark.parametrize("error", [
    RuntimeError("Failed to decode image: \n0"), SyntaxError("not an AVIF"), TypeError("Missing dimensions"), KeyError(273),
    MemoryError(), IndexError(), AssertionError(), OverflowError("too\nlarge"),
])
def test_whatever_a_decoder_raises_is_one_line(monkeypatch, error) -> None:
    whole = kinds.one_of_each()["photo.bmp"]

    def broken(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(reading, "_decoded", broken)
    for read in (lambda: decode(whole, "a.bmp"), lambda: from_pillow(PIL.Image.new("L", (40, 40)), "a.bmp")):
        with pytest.raises(FacemugError, match=r"^a\.bmp is damaged or cut short \(.+\): get a whole copy$"):
            read()


def test_too_many_pixels_are_refused_whatever_is_read(tmp_path) -> None:
    from facemug_lib.faces.dataset import read_square
    from facemug_lib.faces.photos import read_photo
    from facemug_lib.modalities.semantics import label_map_from_image

    path = tmp_path / "bomb.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    whole = kinds.one_of_each()["eight.png"]
    path.write_bytes(whole[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + whole[33:])
    for read in (read_photo, label_map_from_image, lambda file: read_square(file, 64)):
        with pytest.raises(FacemugError, match=r"bomb\.png has more than 178 megapixels"):
            read(path)


def test_a_deep_tiff_has_the_same_limit(monkeypatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(FacemugError, match="deep has more than 0 megapixels"):
        decode(kinds.tiff(kinds.deep(3), photometric="rgb"), "deep")


def test_damaged_metadata_costs_no_picture() -> None:
    whole = kinds.one_of_each()["photo.jpg"]
    place = whole.index(b"Exif\0\0") + 6
    found = decode(whole[:place] + b"XX" + whole[place + 2:], "a.jpg")
    assert found.pixels.shape == (kinds.HEIGHT, kinds.WIDTH, 3) and not found.metadata.tags and found.metadata.format == "JPEG"


def test_files_that_are_none(tmp_path) -> None:
    (tmp_path / "empty.png").touch()
    # Pillow would hand such a text to Ghostscript, which runs it.
    (tmp_path / "text.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, says in (("", "is a folder"), ("none.png", "no file"), ("empty.png", "is empty"), ("text.png", "is not an image")):
        with pytest.raises(FacemugError, match=says):
            read_image_file(tmp_path / name)
