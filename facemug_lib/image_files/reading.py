"""Any image file as upright pixels: one reader for photos, drawings, label maps and training sets."""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from PIL import ImageCms

from facemug_lib.errors import FacemugError
from facemug_lib.image_files import tiff
from facemug_lib.image_files.metadata import ORIENTATION, Metadata, read_metadata

# Formats of still pictures. Pillow knows more, and would start other programs for some of them.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
DEEP_PNG = 16  # bits
_ONE_AT_A_TIME = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs, it raises too; nobody's own handlers miss it


@dataclass(frozen=True, eq=False)
class ImageFile:
    """pixels: upright, [h, w] (grey), [h, w, 3] or [h, w, 4], uint8 or uint16; palette: [n, 3] uint8, where the pixels were asked
    for as places in it."""

    pixels: np.ndarray
    metadata: Metadata
    palette: np.ndarray | None = None


def read_image_file(path: Path, places: bool = False) -> ImageFile:
    """Read a file. ``places`` leaves the pixels of a palette picture as places in its palette.

    Raises :class:`FacemugError` with one line that names the file for whatever is no still picture, is damaged, or has more than
    about 178 megapixels (Pillow's guard against decompression bombs).
    """
    if path.is_dir():
        raise FacemugError(f"{path} is a folder: name one image file in it")
    if not path.is_file():
        raise FacemugError(f"no file {path}: check the path of the picture")
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise FacemugError(f"{path} may not be read: check its permissions") from error
    except OSError as error:
        raise FacemugError(f"{path} cannot be read ({error.strerror or error}): check the disk") from error
    return decode(content, str(path), places)


def decode(content: bytes, name: str, places: bool = False) -> ImageFile:
    """The same for the bytes of a file; ``name`` is used in messages."""
    if not content:
        raise FacemugError(f"{name} is empty: the copy or download did not finish")
    with _one_line(name, content):
        if tiff.is_tiff(content) and tiff.is_deep(content):
            return _deep_tiff(content)
        with PIL.Image.open(io.BytesIO(content), formats=FORMATS) as image:
            frames = getattr(image, "n_frames", 1)
            # Phones store a still as MPO with a preview or depth map behind it.
            if frames > 1 and image.format != "MPO":
                raise FacemugError(f"holds {frames} frames: save the one to edit as a still image")
            with _silence() if image.format == "TIFF" else nullcontext():
                image.load()
            if image.format == "PNG" and content[24] == DEEP_PNG:  # the bit depth in the header chunk
                return _finished(_deep_png(content, image), image)
            if image.format == "TIFF" and 12 in image.tag_v2.get(tiff.BITS, ()):
                return _finished(np.rint(np.asarray(image) * (65535 / 4095)).astype(np.uint16), image)
            return _decoded(image, places)


def from_pillow(image: PIL.Image.Image, name: str, places: bool = False) -> ImageFile:
    """The same for a picture that Pillow has opened, of any mode."""
    with _one_line(name):
        image.load()
        return _decoded(image, places)


@contextmanager
def _one_line(name: str, content: bytes = b"") -> Iterator[None]:
    """Whatever goes wrong with a picture is said in one line that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large photos and odd metadata are no concern of the user's
            yield
    except FacemugError as error:
        raise FacemugError(f"{name} {error}") from error
    except PIL.Image.DecompressionBombError as error:
        raise FacemugError(f"{name} {tiff.TOO_LARGE.format(_most_pixels() // 10**6)}") from error
    except PIL.UnidentifiedImageError as error:
        if _looks_known(content):
            raise FacemugError(f"{name} is damaged, or of a rare kind: get a whole copy, or convert it to PNG") from error
        raise FacemugError(f"{name} is not an image this program reads: convert it to PNG or JPEG") from error
    except Exception as error:  # decoders of damaged files raise whatever comes
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise FacemugError(f"{name} is damaged or cut short ({reason}): get a whole copy") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps from the terminal what Pillow's libtiff prints of a damaged file by itself: it is said once, by an exception."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _looks_known(content: bytes) -> bool:
    """Whether a file begins as one of a known format does."""
    accepts = [PIL.Image.OPEN[name][1] for name in FORMATS if name in PIL.Image.OPEN]
    return any(accept is not None and accept(content[:16]) for accept in accepts)


def _most_pixels() -> int:
    return 2 * (PIL.Image.MAX_IMAGE_PIXELS or 2**40)


def _deep_tiff(content: bytes) -> ImageFile:
    pixels, are_inks = tiff.read_deep(content, _most_pixels())
    exif = tiff.exif_of(content)
    tags = tiff.directory(content)
    stand_in = PIL.Image.new("L", (1, 1))  # Pillow itself does not open all of these
    stand_in.format = "TIFF"
    stand_in.info = {"icc_profile": tags.get(34675), "dpi": _tiff_dpi(tags)}
    metadata = read_metadata(stand_in, exif)
    if are_inks:
        pixels, metadata = _light_of_inks(pixels, metadata)
    return ImageFile(_upright(_usual_layout(pixels), exif), metadata)


def _tiff_dpi(tags: tiff.Directory) -> tuple[float, float] | None:
    unit = {2: 1.0, 3: 2.54}.get(tags.get(296, 2))  # inches, centimetres
    across, down = tags.get(282), tags.get(283)
    return None if unit is None or not across or not down else (float(across) * unit, float(down) * unit)


def _deep_png(content: bytes, image: PIL.Image.Image) -> np.ndarray:
    """The 16 bits of a PNG, of which Pillow keeps 8 where there are colours."""
    with PIL.Image.open(io.BytesIO(content), formats=["PNG"]) as again:
        again.verify()  # the checksums; OpenCV's library would print what is wrong, and go on
    decoded = tiff.unpacked(content, *image.size)
    if decoded.ndim == 2:
        if "transparency" not in image.info:
            return decoded
        alpha = np.where(decoded == image.info["transparency"], 0, 65535).astype(np.uint16)  # one grey stands for nothing
        return np.dstack([decoded] * 3 + [alpha])
    return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _decoded(image: PIL.Image.Image, places: bool) -> ImageFile:
    mode = image.mode
    if mode.startswith("I;16"):
        return _finished(np.asarray(image).astype(np.uint16), image)
    if mode in ("I", "F"):
        raise FacemugError(f"has 32 bits a channel (mode {mode}), which have no fixed brightness: save it with 8 or 16 bits")
    if mode == "P" and places:
        colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return _finished(np.asarray(image), image, colours)
    transparent = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if mode in ("1", "L") and not transparent:
        return _finished(np.asarray(image.convert("L")), image)
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return _as_srgb(image)
    return _finished(np.asarray(image.convert("RGBA" if transparent else "RGB")), image)


def _finished(pixels: np.ndarray, image: PIL.Image.Image, palette: np.ndarray | None = None) -> ImageFile:
    exif = _exif(image)
    return ImageFile(_upright(pixels, exif), read_metadata(image, exif), palette)


def _exif(image: PIL.Image.Image) -> PIL.Image.Exif:
    try:
        return image.getexif()
    except Exception:  # damaged beside a whole picture: as if there were none
        return PIL.Image.Exif()


# EXIF orientation -> (quarter turns counter-clockwise, then mirrored left to right)
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


def _upright(pixels: np.ndarray, exif: PIL.Image.Exif) -> np.ndarray:
    try:
        turns, mirrored = _ORIENTATIONS.get(exif.get(ORIENTATION, 1), (0, False))
    except Exception:  # a damaged entry
        turns, mirrored = 0, False
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def _usual_layout(pixels: np.ndarray) -> np.ndarray:
    """[h, w, c] as [h, w], [h, w, 3] or [h, w, 4]."""
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    return np.repeat(pixels, [3, 1], axis=2) if pixels.shape[2] == 2 else pixels


# -- other colours than light's -------------------------------------------------------------------------------------------


def _as_srgb(image: PIL.Image.Image) -> ImageFile:
    """Inks, L*a*b* and the like as 8-bit sRGB; the profile says which inks, and is used up."""
    done = _finished(np.asarray(_converted(image, image.info.get("icc_profile"))), image)
    return ImageFile(done.pixels, replace(done.metadata, icc_profile=None))


def _converted(image: PIL.Image.Image, profile: bytes | None) -> PIL.Image.Image:
    if image.mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return ImageCms.applyTransform(image, transform)
    if image.mode == "CMYK" and profile:
        try:
            return ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # no profile of inks: as without one
    return image.convert("RGB")


def _light_of_inks(pixels: np.ndarray, metadata: Metadata) -> tuple[np.ndarray, Metadata]:
    """uint16 [h, w, 4 or 5], inks and perhaps alpha, as RGB: R = (1 − C)(1 − K) …, or what the profile says, in 8 bits."""
    inks, alpha = pixels[..., :4], pixels[..., 4:]
    if metadata.icc_profile and metadata.icc_profile[16:20] == b"CMYK":
        inks, alpha = (np.rint(part / 257).astype(np.uint8) for part in (inks, alpha))
        coarse = PIL.Image.frombytes("CMYK", inks.shape[1::-1], np.ascontiguousarray(inks).tobytes())
        light = np.asarray(_converted(coarse, metadata.icc_profile))
    else:
        missing = 1 - inks / 65535
        light = np.rint(missing[..., :3] * missing[..., 3:] * 65535).astype(np.uint16)
    return np.dstack([light, alpha]), replace(metadata, icc_profile=None)
