"""Affine resampling of images without aliasing, in either direction.

Coordinates are pixel indices: the centre of the first pixel is (0, 0) and x comes first, as in OpenCV.
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np

Interpolation = Literal["area", "max", "nearest"]

# Beyond this many samples per output pixel and axis, the source is first shrunk by averaging.
_MAX_SUPERSAMPLING = 8


def similarity_scale(matrix: np.ndarray) -> float:
    """Output pixels per input pixel of a 2×3 similarity."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def invert(matrix: np.ndarray) -> np.ndarray:
    """The 2×3 affine map that undoes ``matrix``."""
    return cv2.invertAffineTransform(np.asarray(matrix, dtype=np.float64))


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a 2×3 affine map to points [n, 2]."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def resize_matrix(scale: float) -> np.ndarray:
    """The index-coordinate map of a resize by ``scale``: pixel *edges*, not centres, are kept in place."""
    shift = (scale - 1) / 2
    return np.array([[scale, 0, shift], [0, scale, shift]], dtype=np.float64)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The 2×3 map that applies ``inner`` first, then ``outer``."""
    full = np.vstack([outer, [0, 0, 1]]) @ np.vstack([inner, [0, 0, 1]])
    return full[:2]


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], interpolation: Interpolation = "area",
         *, reflect: bool = True) -> np.ndarray:
    """Resample ``image`` [h, w] or [h, w, c] to ``size`` = (width, height) under ``matrix`` (image → output).

    ``"area"`` samples as densely as the source has pixels and averages (bicubic where the source is the coarser
    one); ``"max"`` keeps the largest sample instead, so that thin strokes survive; ``"nearest"`` copies values and
    suits labels. Outside the image the content is mirrored when ``reflect`` is set, otherwise 0. Returns float32 for
    ``"area"``, the input's dtype for the others.
    """
    border = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT
    image, matrix = _region(image, matrix, size)
    if interpolation == "nearest":
        return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border)
    if interpolation == "area":
        image = image.astype(np.float32)
    shrink = 1 / similarity_scale(matrix)
    if shrink > _MAX_SUPERSAMPLING and interpolation == "area":
        factor = _MAX_SUPERSAMPLING / shrink
        target = tuple(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
        exact = np.array([target[0] / image.shape[1], target[1] / image.shape[0]])
        small = np.array([[exact[0], 0, (exact[0] - 1) / 2], [0, exact[1], (exact[1] - 1) / 2]])
        image = cv2.resize(image, target, interpolation=cv2.INTER_AREA)
        matrix = compose(matrix, invert(small))
        shrink = 1 / similarity_scale(matrix)
    if interpolation == "max":
        # A turned grid of unit pitch can step over pixels; one of pitch 1/√2 cannot.
        shrink *= math.sqrt(2)
    samples = max(1, math.ceil(shrink - 1e-6))
    dense = (size[0] * samples, size[1] * samples)
    # Bicubic would ring around strokes and masks, so their maxima are taken of nearest samples.
    kernel = cv2.INTER_CUBIC if interpolation == "area" else cv2.INTER_NEAREST
    fine = cv2.warpAffine(image, compose(resize_matrix(samples), matrix), dense, flags=kernel, borderMode=border)
    if samples == 1:
        return fine
    blocks = fine.reshape(size[1], samples, size[0], samples, *fine.shape[2:])
    return blocks.mean(axis=(1, 3), dtype=np.float32) if interpolation == "area" else blocks.max(axis=(1, 3))


def _region(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cut the part of ``image`` that the output can see: huge photos are then neither copied nor too wide for OpenCV."""
    matrix = np.asarray(matrix, dtype=np.float64)
    corners = np.array([[-1, -1], [size[0], -1], [size[0], size[1]], [-1, size[1]]], dtype=np.float64)
    seen = transform_points(invert(matrix), corners)
    margin = 4.0
    low = np.floor(seen.min(axis=0) - margin).astype(int)
    high = np.ceil(seen.max(axis=0) + margin).astype(int) + 1
    # Mirrored content beyond one edge is drawn from as far inside that edge.
    limit = np.array([image.shape[1], image.shape[0]])
    over_low, over_high = np.maximum(0, -low), np.maximum(0, high - limit)
    low = np.clip(np.minimum(low, limit - over_high - 1), 0, limit - 1)
    high = np.clip(np.maximum(high, over_low + 1), low + 1, limit)
    cut = np.ascontiguousarray(image[low[1]:high[1], low[0]:high[0]])
    shifted = matrix.copy()
    shifted[:, 2] = transform_points(matrix, low[None].astype(np.float64))[0]
    return cut, shifted
