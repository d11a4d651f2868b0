"""Image files as they are: pixels in their own depth and layout, and what is needed to write them back."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.files import replacing, require_folder
from facemug_lib.pictures import pixels_of

MIN_SIDE = 32
READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
WRITABLE = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
JPEG_QUALITY = 95


@dataclass(frozen=True, eq=False)
class Photo:
    """A still photograph, upright.

    ``pixels``: [h, w] (grey), [h, w, 3] (RGB) or [h, w, 4] (RGB and alpha); uint8, uint16, or float32 in 0…1.
    ``name`` is used in messages. ``icc_profile`` travels to the written file, so that colours keep their meaning.
    """

    pixels: np.ndarray
    name: str = "the image"
    icc_profile: bytes | None = None

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def is_grey(self) -> bool:
        return self.pixels.ndim == 2

    @property
    def white(self) -> float:
        """The value of full brightness in ``pixels``: 255, 65535 or 1."""
        return float(np.iinfo(self.pixels.dtype).max) if self.pixels.dtype.kind == "u" else 1.0

    def colours(self) -> np.ndarray:
        """The photo without alpha, [h, w] or [h, w, 3]: a view in the original dtype."""
        return self.pixels if self.is_grey else self.pixels[..., :3]

    def rgb8(self) -> np.ndarray:
        """The photo as 8-bit RGB [h, w, 3], alpha dropped: what detectors look at."""
        colours = self.colours()
        if colours.dtype != np.uint8:
            colours = cv2.convertScaleAbs(np.ascontiguousarray(colours), alpha=255 / self.white)
        return np.repeat(colours[..., None], 3, axis=2) if colours.ndim == 2 else np.ascontiguousarray(colours)


PhotoLike = Photo | str | os.PathLike[str] | np.ndarray | PIL.Image.Image | torch.Tensor


def read_photo(source: PhotoLike) -> Photo:
    """Open a photo from a file, a numpy array, a PIL image or a tensor.

    * Files are turned upright by their EXIF tag. 16-bit PNG and TIFF keep their 16 bits; palette, CMYK and the like become
      8-bit RGB; grey stays grey; transparency is kept.
    * Arrays are [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], of uint8, uint16, bool or floats in 0…1.
    * Tensors are [3, h, w] or [1, 3, h, w] in [-1, 1], and are rounded to 8 bits as saving them would.

    Raises :class:`FacemugError` with one line for whatever is no still photo of at least 32 pixels a side and at most
    about 178 megapixels (Pillow's own guard against decompression bombs).
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, torch.Tensor):
        photo = Photo(_tensor_pixels(source), "the tensor")
    elif isinstance(source, np.ndarray):
        photo = Photo(_array_pixels(source), "the array")
    elif isinstance(source, PIL.Image.Image):
        photo = Photo(_pil_pixels(source), getattr(source, "filename", "") or "the image", source.info.get("icc_profile"))
    else:
        photo = _read_file(Path(source).expanduser())
    if min(photo.width, photo.height) < MIN_SIDE:
        raise FacemugError(f"{photo.name} is {photo.width}x{photo.height} pixels: both sides must have at least {MIN_SIDE}")
    return photo


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE)
    if not found:
        raise FacemugError(f"no picture in {folder}: it should hold {', '.join(READABLE)} files")
    return found


def _read_file(path: Path) -> Photo:
    if path.is_dir():
        raise FacemugError(f"{path} is a folder: name one image file in it")
    if not path.is_file():
        raise FacemugError(f"no file {path}: check the path of the photo")
    if path.stat().st_size == 0:
        raise FacemugError(f"{path} is empty: the copy or download did not finish")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large photos and odd metadata are no concern of the user's
            with PIL.Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                # Phones store a still as MPO with a preview or depth map behind it.
                if frames > 1 and image.format != "MPO":
                    raise FacemugError(f"{path} holds {frames} frames: save the one to edit as a still image")
                image.load()
                deep = _deep_pixels(path) if _is_deep(path, image) else None
                pixels = _pil_pixels(image) if deep is None else _upright(deep, image)
                converted = deep is None and image.mode not in ("L", "LA", "RGB", "RGBA", "P", "PA")
                return Photo(pixels, str(path), None if converted else image.info.get("icc_profile"))
    except PIL.UnidentifiedImageError as error:
        raise FacemugError(f"{path} is not an image this program reads: convert it to PNG or JPEG") from error
    except PIL.Image.DecompressionBombError as error:
        raise FacemugError(f"{path} has more than 178 megapixels: scale it down or cut the face out first") from error
    except PermissionError as error:
        raise FacemugError(f"{path} may not be read: check its permissions") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, cv2.error) as error:
        raise FacemugError(f"{path} is damaged or cut short ({str(error) or type(error).__name__}): get a whole copy") from error


def _is_deep(path: Path, image: PIL.Image.Image) -> bool:
    """Whether the file stores 16 bits per channel: Pillow reads such RGB files with 8."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] == 16  # bit depth in the IHDR chunk
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # BitsPerSample
        return max(bits if isinstance(bits, tuple) else (bits,)) == 16
    return False


def _deep_pixels(path: Path) -> np.ndarray:
    decoded = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("16-bit layout not understood")
    if decoded.ndim == 2:
        return decoded
    return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)


# EXIF orientation -> (quarter turns counter-clockwise, then mirrored left to right)
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


def _upright(pixels: np.ndarray, image: PIL.Image.Image) -> np.ndarray:
    """Apply the EXIF orientation of ``image`` to ``pixels``."""
    turns, mirrored = _ORIENTATIONS.get(image.getexif().get(0x0112, 1), (0, False))
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def _pil_pixels(image: PIL.Image.Image) -> np.ndarray:
    """8- or 16-bit pixels of a PIL image of any mode, upright."""
    mode = image.mode
    if mode.startswith("I;16"):
        return _upright(np.asarray(image).astype(np.uint16), image)
    if mode in ("I", "F"):
        raise FacemugError(f"images of 32 bits a channel (PIL mode {mode}) have no fixed brightness: save as 8 or 16 bits")
    transparent = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if mode in ("1", "L") and not transparent:
        return _upright(np.asarray(image.convert("L")), image)
    return _upright(np.asarray(image.convert("RGBA" if transparent else "RGB")), image)


def _array_pixels(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise FacemugError(f"an array of shape {list(array.shape)} is no image: give [h, w], [h, w, 3] or [h, w, 4]")
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f":
        # `not all(...)` also catches NaN.
        if not (array.size and np.min(array) >= 0 and np.max(array) <= 1):
            raise FacemugError("a float image array must lie within 0…1: divide 8-bit values by 255, or pass uint8")
        return np.ascontiguousarray(array, dtype=np.float32)
    raise FacemugError(f"an image array of {array.dtype} is not understood: give uint8, uint16 or floats in 0…1")


def _tensor_pixels(tensor: torch.Tensor) -> np.ndarray:
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise FacemugError(f"a tensor of shape {list(tensor.shape)} is no single image: give [1, 3, h, w] in [-1, 1]")
    values = tensor.detach().to("cpu", torch.float32)
    if not torch.isfinite(values).all() or values.abs().max() > 1.5:
        raise FacemugError("an image tensor must lie within [-1, 1]: divide 8-bit values by 127.5 and subtract 1")
    return pixels_of(values)


def write_image(path: str | os.PathLike[str], image: PhotoLike, *, icc_profile: bytes | None = None) -> Path:
    """Write ``image`` (anything :func:`read_photo` takes) to ``path``, whole or not at all; returns the path.

    The suffix decides the format. PNG and TIFF keep every pixel and 16 bits; floats are rounded to 8 bits. JPEG changes
    all pixels a little and has 8 bits: it is written at quality 95 with a ``UserWarning`` that says so. Raises
    :class:`FacemugError` for other suffixes, for a missing folder, and for transparency in a JPEG.
    """
    path = Path(path).expanduser()
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise FacemugError(f"cannot write {path.name}: the name must end in .png, .tif or .jpg")
    require_folder(path)
    pixels, profile = _plain_pixels(image)
    data = _encode(pixels, kind, icc_profile or profile, path.name)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise FacemugError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _plain_pixels(image: PhotoLike) -> tuple[np.ndarray, bytes | None]:
    """Pixels of any image-like object, of any size, floats as 8 bits, and the colour profile."""
    if isinstance(image, Photo):
        pixels, profile = image.pixels, image.icc_profile
    elif isinstance(image, torch.Tensor):
        pixels, profile = _tensor_pixels(image), None
    elif isinstance(image, np.ndarray):
        pixels, profile = _array_pixels(image), None
    else:
        photo = read_photo(image)
        pixels, profile = photo.pixels, photo.icc_profile
    if pixels.dtype.kind == "f":
        pixels = np.rint(pixels * 255).astype(np.uint8)
    return pixels, profile


def _encode(pixels: np.ndarray, kind: str, profile: bytes | None, name: str) -> bytes:
    """The bytes of an image file of ``kind``."""
    if kind == "JPEG":
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            raise FacemugError(f"{name} would lose the transparency, JPEG has none: write .png")
        lost = " and reduces 16 bits to 8" if pixels.dtype == np.uint16 else ""
        warnings.warn(f"{name}: JPEG changes every pixel a little{lost}; write .png to keep unedited pixels exact", stacklevel=3)
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257) if lost else pixels
    if pixels.dtype == np.uint8:
        buffer = io.BytesIO()
        options = {"PNG": {"compress_level": 3}, "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0}, "TIFF": {}}[kind]
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, icc_profile=profile, **options)
        return buffer.getvalue()
    # Pillow has no 16-bit RGB.
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    raw = cv2.imencode(".png" if kind == "PNG" else ".tif", np.ascontiguousarray(pixels))[1].tobytes()
    return _png_with_profile(raw, profile) if kind == "PNG" and profile else raw


def _png_with_profile(png: bytes, profile: bytes) -> bytes:
    """``png`` with an iCCP chunk behind its header chunk, which OpenCV does not write."""
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end_of_header = 8 + 25  # signature, IHDR
    return png[:end_of_header] + chunk + png[end_of_header:]
