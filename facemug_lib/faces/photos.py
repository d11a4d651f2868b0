"""Photos as they are: pixels in their own depth and layout, and what is needed to write them back."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.files import files_in, replacing, require_writable_file
from facemug_lib.image_files.metadata import Metadata
from facemug_lib.image_files.reading import decode, from_pillow, read_image_file
from facemug_lib.image_files.writing import WRITABLE, encode
from facemug_lib.pictures import pixels_of

MIN_SIDE = 32
READABLE = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, eq=False)
class Photo:
    """A still photograph, upright.

    ``pixels``: [h, w] (grey), [h, w, 3] (RGB) or [h, w, 4] (RGB and alpha); uint8, uint16, or float32 in 0…1.
    ``name`` is used in messages. ``metadata`` (colour profile, date, author …) travels to the written file.
    """

    pixels: np.ndarray
    name: str = "the image"
    metadata: Metadata = field(default_factory=Metadata)

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

    def pixels8(self) -> np.ndarray:
        """``pixels`` as uint8, of the same layout."""
        if self.pixels.dtype == np.uint8:
            return self.pixels
        return np.rint(self.pixels / self.white * 255).astype(np.uint8)

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
      RGB; grey stays grey; transparency is kept.
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
    elif isinstance(source, str | os.PathLike | PIL.Image.Image):
        photo = _opened(source)
    else:
        raise FacemugError(f"a photo cannot be read from {type(source).__name__}: give a file's path, a PIL image, an array or a "
                           "tensor")
    return _large_enough(photo)


def photo_from_bytes(content: bytes, name: str) -> Photo:
    """The photo in the bytes of a file; ``name`` is used in messages. Raises as :func:`read_photo` does."""
    found = decode(content, name)
    return _large_enough(Photo(found.pixels, name, found.metadata))


def _opened(source: str | os.PathLike[str] | PIL.Image.Image) -> Photo:
    if isinstance(source, PIL.Image.Image):
        name = str(getattr(source, "filename", "")) or "the image"
        found = from_pillow(source, name)
    else:
        path = Path(source).expanduser()
        name, found = str(path), read_image_file(path)
    return Photo(found.pixels, name, found.metadata)


def _large_enough(photo: Photo) -> Photo:
    if min(photo.width, photo.height) < MIN_SIDE:
        raise FacemugError(f"{photo.name} is {photo.width}x{photo.height} pixels: both sides must have at least {MIN_SIDE}")
    return photo


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, by name; hidden files are none."""
    found = files_in(folder, READABLE, deep=False)
    if not found:
        raise FacemugError(f"no picture in {folder}: it should hold {', '.join(READABLE)} files")
    return found


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


def write_image(path: str | os.PathLike[str], image: PhotoLike, *, like: Photo | None = None) -> Path:
    """Write ``image`` (anything :func:`read_photo` takes) to ``path``, whole or not at all; returns the path.

    The suffix decides the format. PNG and TIFF keep every pixel and 16 bits; floats are rounded to 8 bits. JPEG changes
    all pixels a little and has 8 bits: it is written at quality 95 with a ``UserWarning`` that says so. ``like`` is the photo
    that the image was made from, unless it is one itself: colour profile, resolution, date and author go on from it
    (:mod:`facemug_lib.image_files.metadata` says what does and what does not). Raises :class:`FacemugError` for other suffixes,
    for a missing folder, and for transparency in a JPEG.
    """
    path = Path(path).expanduser()
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise FacemugError(f"cannot write {path.name}: the name must end in .png, .tif or .jpg")
    require_writable_file(path)
    pixels, metadata = _plain_pixels(image)
    if kind == "JPEG":
        pixels = _for_jpeg(pixels, path.name)
    data = encode(pixels, kind, metadata if like is None else like.metadata)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise FacemugError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _plain_pixels(image: PhotoLike) -> tuple[np.ndarray, Metadata]:
    """Pixels of any image-like object, of any size, floats as 8 bits, and its metadata."""
    if isinstance(image, torch.Tensor):
        return _tensor_pixels(image), Metadata()
    photo = Photo(_array_pixels(image)) if isinstance(image, np.ndarray) else read_photo(image)
    return photo.pixels if photo.pixels.dtype.kind == "u" else photo.pixels8(), photo.metadata


def _for_jpeg(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise FacemugError(f"{name} would lose the transparency, JPEG has none: write .png")
    lost = " and reduces 16 bits to 8" if pixels.dtype == np.uint16 else ""
    warnings.warn(f"{name}: JPEG changes every pixel a little{lost}; write .png to keep unedited pixels exact", stacklevel=3)
    return cv2.convertScaleAbs(pixels, alpha=1 / 257) if lost else pixels
