"""What a file says beside its pixels goes on; what would be wrong or tell too much does not."""

from __future__ import annotations

import io

import image_kinds as kinds
import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo

from facemug_lib.image_files.metadata import read_metadata
from facemug_lib.image_files.reading import decode
from facemug_lib.image_files.writing import encode

EXIF, PLACE, THUMBNAIL = IFD.Exif, IFD.GPSInfo, IFD.IFD1
TAKEN = "2024:05:06 07:08:09"
AUTHOR, RIGHTS = "José Müller".encode(), "© 2024 José Müller".encode()
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def phone_exif() -> bytes:
    """As a phone writes it: turned by a quarter, with a place, maker's notes, an area, and a thumbnail behind it."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132], exif[0x013B], exif[0x8298] = 6, "Phone", TAKEN, AUTHOR, RIGHTS
    exif[EXIF] = {0x9003: TAKEN, 0xA002: 40, 0xA003: 60, 0x829A: 0.01, 0x927C: b"maker's notes", 0x9214: (1, 2, 3, 4)}
    exif[PLACE] = {1: "N", 2: (47.0, 22.0, 11.5), 3: "E", 4: (8.0, 33.0, 0.0)}
    data = exif.tobytes()
    base = data.index(b"MM") if b"MM\0*" in data else data.index(b"II")
    order = "big" if data[base:base + 2] == b"MM" else "little"
    end = base + 8 + 2 + 12 * int.from_bytes(data[base + 8:base + 10], order)  # the link to the thumbnail's directory
    thumbnail = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    place = len(data) - base
    entries = [(0x0103, 3, 6), (0x0201, 4, place + 2 + 3 * 12 + 4), (0x0202, 4, len(thumbnail))]
    directory = len(entries).to_bytes(2, order)
    for tag, kind, value in entries:
        stored = value.to_bytes(2, order) + b"\0\0" if kind == 3 else value.to_bytes(4, order)
        directory += tag.to_bytes(2, order) + kind.to_bytes(2, order) + (1).to_bytes(4, order) + stored
    return data[:end] + place.to_bytes(4, order) + data[end + 4:] + directory + bytes(4) + thumbnail


def saved(pixels: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def phone_jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    return saved(pixels, "JPEG", exif=phone_exif(), dpi=(300, 150), icc_profile=PROFILE)


@pytest.mark.parametrize(("kind", "deep"), [("JPEG", False), ("PNG", False), ("TIFF", False), ("PNG", True), ("TIFF", True)])
def test_a_phones_jpeg_goes_on(kind, deep) -> None:
    source = decode(phone_jpeg(), "phone.jpg")
    with PIL.Image.open(io.BytesIO(phone_jpeg())) as given:
        assert given.getexif().get_ifd(THUMBNAIL) and given.getexif().get_ifd(EXIF)[0x927C]  # as promised
    pixels = source.pixels if not deep else source.pixels.astype(np.uint16) * 257
    with PIL.Image.open(io.BytesIO(encode(pixels, kind, source.metadata))) as image:
        assert image.size == (60, 40)
        assert image.info["icc_profile"] == PROFILE and np.allclose(image.info["dpi"], (150, 300), atol=0.1)
        exif = image.getexif()
        inner = exif.get_ifd(EXIF)
        assert exif[0x010F] == "Phone" and exif[0x0132] == TAKEN == inner[0x9003] and inner[0x829A] == 0.01
        assert exif[0x013B].encode("latin-1") == AUTHOR and exif[0x8298].encode("latin-1") == RIGHTS
        assert exif.get(0x0112, 1) == 1 and (inner[0xA002], inner[0xA003]) == (60, 40)
        assert 0x927C not in inner and 0x9214 not in inner
        assert not exif.get_ifd(THUMBNAIL)
        assert bool(exif.get_ifd(PLACE)) == (kind == "JPEG")  # the same format as the input's


def test_the_place_stays_out_of_a_file_that_had_none() -> None:
    exif = PIL.Image.Exif()
    exif[0x0132] = TAKEN
    source = decode(saved(np.zeros((40, 40, 3), np.uint8), "JPEG", exif=exif.tobytes()), "a.jpg")
    with PIL.Image.open(io.BytesIO(encode(source.pixels, "JPEG", source.metadata))) as image:
        assert image.getexif()[0x0132] == TAKEN and not image.getexif().get_ifd(PLACE)


def test_a_deep_tiff_keeps_its_profile_and_resolution() -> None:
    """In centimetres, with an author, from the independent writer, to all formats of 16 bits."""
    content = kinds.tiff(kinds.deep(3), photometric="rgb", iccprofile=PROFILE, resolution=(100, 50),
                         resolutionunit="CENTIMETER", extratags=[(315, "s", 0, "somebody", True)])
    source = decode(content, "a.tif")
    assert source.metadata.icc_profile == PROFILE and source.metadata.dpi == (254, 127)
    for kind in ("TIFF", "PNG"):
        found = decode(encode(source.pixels, kind, source.metadata), kind)
        assert np.array_equal(found.pixels, source.pixels)
        assert found.metadata.icc_profile == PROFILE and found.metadata.tags[315] == "somebody"
        assert np.allclose(found.metadata.dpi, (254, 127), atol=0.1)


def test_texts_of_a_png_go_on() -> None:
    given, texts = {"Author": "José", "Copyright": "all mine", "Creation Time": "2024"}, PngInfo()
    for keyword, text in (given | {"XML:com.adobe.xmp": "<GPS/>"}).items():
        texts.add_itxt(keyword, text)
    source = decode(saved(np.zeros((40, 40, 3), np.uint8), "PNG", pnginfo=texts), "a.png")
    again = decode(encode(source.pixels, "PNG", source.metadata), "b.png").metadata
    assert again.texts == given
    as_jpeg = decode(encode(source.pixels, "JPEG", source.metadata), "b.jpg").metadata
    assert as_jpeg.tags[0x8298] == "all mine" and as_jpeg.tags[0x013B].encode("latin-1").decode("latin-1") == "José"


def test_a_profile_of_another_colour_space_is_left_out() -> None:
    grey = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    source = decode(saved(np.zeros((40, 40), np.uint8), "PNG", icc_profile=grey), "a.png")
    assert decode(encode(source.pixels, "PNG", source.metadata), "b.png").metadata.icc_profile == grey
    coloured = np.zeros((40, 40, 3), np.uint16)
    assert decode(encode(coloured, "PNG", source.metadata), "c.png").metadata.icc_profile is None


def test_more_than_a_jpeg_can_hold_is_left_out() -> None:
    exif = PIL.Image.Exif()
    exif[0x013B] = "x" * 70_000
    found = decode(saved(np.zeros((40, 40, 3), np.uint8), "TIFF", tiffinfo={315: "x" * 70_000}), "a.tif")
    assert not found.metadata.tags and encode(found.pixels, "JPEG", found.metadata)


def test_what_pillow_has_opened_keeps_it_too() -> None:
    with PIL.Image.open(io.BytesIO(phone_jpeg())) as image:
        assert read_metadata(image, image.getexif()).dpi == (150, 300)


def test_damaged_exif_data_harms_neither_reading_nor_writing() -> None:
    """Single bytes of it changed at seeded places, also to numbers of types and to places that are none."""
    whole, numbers = phone_jpeg(), np.random.default_rng(5)
    start = whole.index(b"Exif\0\0") + 6
    end = start + int.from_bytes(whole[start - 8:start - 6], "big") - 8
    expected = np.sort(decode(whole, "a.jpg").pixels, axis=None)
    for _ in range(60):
        data = bytearray(whole)
        for place in numbers.integers(start, end, int(numbers.integers(1, 5))):
            data[place] = int(numbers.choice([0, 1, 2, 3, 4, 5, 7, 10, 12, 255]))
        found = decode(bytes(data), "a.jpg")
        assert np.array_equal(np.sort(found.pixels, axis=None), expected)  # whichever way up
        for kind in ("PNG", "TIFF"):
            assert np.array_equal(decode(encode(found.pixels, kind, found.metadata), kind).pixels, found.pixels)
