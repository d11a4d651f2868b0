"""Reading and writing image files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import read_photo, write_image


@pytest.fixture
def pixels() -> np.ndarray:
    """40 × 60 pixels without any symmetry."""
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_round_trip(tmp_path, suffix, channels, dtype):
    top = np.iinfo(dtype).max
    image = np.random.default_rng(1).integers(0, top, (40, 50, channels), dtype=dtype)
    image = image[..., 0] if channels == 1 else image
    back = read_photo(write_image(tmp_path / f"a{suffix}", image))
    assert back.pixels.dtype == dtype and np.array_equal(back.pixels, image)
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, pixels, orientation):
    # What a viewer shows is `pixels`; the file stores what the inverse of the tag's transform makes of it.
    undo = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.transpose(1, 0, 2),
            6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p.transpose(1, 0, 2), 2), 8: lambda p: np.rot90(p, 3)}
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    PIL.Image.fromarray(np.ascontiguousarray(undo[orientation](pixels))).save(path, exif=exif)
    assert np.array_equal(read_photo(path).pixels, pixels)


def test_deep_photos_are_turned_too(tmp_path):
    deep = np.random.default_rng(2).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    path = write_image(tmp_path / "deep.png", np.rot90(deep, 1))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    raw = path.read_bytes()
    path.write_bytes(raw[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + raw[33:])
    assert np.array_equal(read_photo(path).pixels, deep)


def test_modes(tmp_path, pixels):
    rgb = PIL.Image.fromarray(pixels)
    expected = {"L": (40, 60), "1": (40, 60), "LA": (40, 60, 4), "P": (40, 60, 3), "CMYK": (40, 60, 3), "RGBA": (40, 60, 4)}
    for mode, shape in expected.items():
        photo = read_photo(rgb.convert(mode))
        assert photo.pixels.shape == shape and photo.pixels.dtype == np.uint8, mode
    rgb.quantize(8).save(tmp_path / "p.png", transparency=0)
    assert read_photo(tmp_path / "p.png").pixels.shape == (40, 60, 4)


def test_colour_profile_survives(tmp_path, pixels):
    profile = b"any bytes stand for a profile" * 10
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    photo = read_photo(tmp_path / "a.png")
    write_image(tmp_path / "b.png", photo)
    assert read_photo(tmp_path / "b.png").metadata.icc_profile == profile
    write_image(tmp_path / "c.png", photo.pixels.astype(np.uint16) * 257, like=photo)
    assert read_photo(tmp_path / "c.png").metadata.icc_profile == profile


def test_rgb8(pixels):
    assert np.array_equal(read_photo(pixels.astype(np.uint16) * 257).rgb8(), pixels)
    assert np.array_equal(read_photo(pixels.astype(np.float32) / 255).rgb8(), pixels)
    assert np.array_equal(read_photo(pixels[..., 0]).rgb8(), np.repeat(pixels[..., :1], 3, axis=2))


def test_tensor_round_trip(tmp_path, pixels):
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    assert np.array_equal(read_photo(write_image(tmp_path / "t.png", tensor)).pixels, pixels)


def test_jpeg_says_what_it_costs(tmp_path, pixels):
    with pytest.warns(UserWarning, match="changes every pixel"):
        write_image(tmp_path / "a.jpg", pixels)
    assert read_photo(tmp_path / "a.jpg").pixels.shape == pixels.shape


def test_multi_picture_jpeg_is_a_still(tmp_path, pixels):
    image = PIL.Image.fromarray(pixels)
    image.save(tmp_path / "a.mpo", save_all=True, append_images=[image])
    assert read_photo(tmp_path / "a.mpo").pixels.shape == pixels.shape


def _bad_files(folder, pixels):
    image = PIL.Image.fromarray(pixels)
    image.save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    (folder / "short.png").write_bytes(whole[: len(whole) // 2])
    image.save(folder / "whole.jpg")
    (folder / "short.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    write_image(folder / "deep.png", pixels.astype(np.uint16) * 257)
    (folder / "short16.png").write_bytes((folder / "deep.png").read_bytes()[:3000])
    (folder / "text.png").write_text("no image at all")
    (folder / "empty.png").touch()
    image.save(folder / "moving.gif", save_all=True, append_images=[PIL.Image.fromarray(255 - pixels)])
    image.resize((31, 200)).save(folder / "tiny.png")
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    bomb = whole[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    (folder / "bomb.png").write_bytes(bomb)


@pytest.mark.parametrize(("name", "says"), [
    ("short.png", "damaged or cut short"), ("short.jpg", "damaged or cut short"), ("short16.png", "damaged or cut short"),
    ("text.png", "not an image"), ("empty.png", "is empty"), ("moving.gif", "2 frames"), ("tiny.png", "at least 32"),
    ("bomb.png", "178 megapixels"), ("absent.png", "no file"), ("", "is a folder"),
])
def test_bad_files_give_one_line(tmp_path, pixels, name, says):
    _bad_files(tmp_path, pixels)
    with pytest.raises(FacemugError, match=says) as caught:
        read_photo(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [
    np.zeros((40, 40, 2), np.uint8), np.zeros(40, np.uint8), np.full((40, 40, 3), 2.0), np.full((40, 40), np.nan),
    np.zeros((40, 40), np.int64), torch.zeros(2, 3, 40, 40), torch.full((3, 40, 40), 255.0), PIL.Image.new("F", (40, 40)),
])
def test_bad_arrays_give_one_line(value):
    with pytest.raises(FacemugError):
        read_photo(value)


def test_refused_writes_leave_nothing(tmp_path, pixels):
    with pytest.raises(FacemugError, match="must end in"):
        write_image(tmp_path / "a.gif", pixels)
    with pytest.raises(FacemugError, match="no folder"):
        write_image(tmp_path / "absent" / "a.png", pixels)
    with pytest.raises(FacemugError, match="transparency"):
        write_image(tmp_path / "a.jpg", np.zeros((40, 40, 4), np.uint8))
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(FacemugError, match="cannot write"):
        write_image(tmp_path / "taken.png", pixels)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]


@pytest.mark.parametrize("source", [None, 3, b"abc", [1, 2]])
def test_what_is_no_photo_is_refused_in_one_line(source: object) -> None:
    with pytest.raises(FacemugError, match="a photo cannot be read from .*: give a file's path") as refused:
        read_photo(source)
    assert "\n" not in str(refused.value)
