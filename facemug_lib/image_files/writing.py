"""Pixels as the bytes of a PNG, TIFF or JPEG, with what the file they came from said beside them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image

from facemug_lib.image_files import tiff
from facemug_lib.image_files.metadata import Metadata, chunks_of_png

WRITABLE = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
JPEG_QUALITY = 95
ALPHA_IS_SEPARATE = 2
ICC_PROFILE = 34675
END_OF_PNG_HEADER = 8 + 25  # signature, header chunk


def encode(pixels: np.ndarray, kind: str, metadata: Metadata) -> bytes:
    """The bytes of an image file of ``kind`` ("PNG", "TIFF", "JPEG").

    ``pixels``: [h, w], [h, w, 3] or [h, w, 4], uint8 or (PNG and TIFF) uint16. ``metadata`` is that of the picture they were made
    from, and fitted to the new one here.
    """
    pixels = np.ascontiguousarray(pixels)
    metadata = metadata.for_file(kind, pixels.shape[1], pixels.shape[0], pixels.ndim == 2)
    if pixels.dtype == np.uint8:
        buffer = io.BytesIO()
        options = {"PNG": {"compress_level": 3}, "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0}, "TIFF": {}}[kind]
        beside = {} if kind == "TIFF" else metadata.save_options()
        PIL.Image.fromarray(pixels).save(buffer, kind, **options, **beside)
        raw = buffer.getvalue()
        return _with_metadata(raw, metadata) if kind == "TIFF" else raw
    # Pillow has no 16-bit RGB.
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    raw = cv2.imencode(".png" if kind == "PNG" else ".tif", pixels)[1].tobytes()
    if kind == "TIFF":
        return _with_metadata(raw, metadata, has_alpha=pixels.ndim == 3 and pixels.shape[2] == 4)
    return raw[:END_OF_PNG_HEADER] + chunks_of_png(metadata) + raw[END_OF_PNG_HEADER:]


def _with_metadata(raw: bytes, metadata: Metadata, has_alpha: bool = False) -> bytes:
    changes = metadata.directories() | metadata.resolution()
    if metadata.icc_profile:
        changes[ICC_PROFILE] = metadata.icc_profile
    if has_alpha:  # OpenCV does not say what its fourth channel is
        changes[tiff.EXTRA_SAMPLES] = (ALPHA_IS_SEPARATE,)
    return tiff.with_tags(raw, changes) if changes else raw
