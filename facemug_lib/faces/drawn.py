"""What a person meant by a drawing: which pixels of a mask are to be edited, which of a sketch are strokes, which are painted.

Paint programs save drawings in many ways: on black or white paper, on a transparent layer, as JPEG, with a spot rubbed out. The
functions take 8-bit pixels [h, w] (grey), [h, w, 3] or [h, w, 4] and give bool [h, w].
"""

from __future__ import annotations

import cv2
import numpy as np

from facemug_lib.errors import FacemugError
from facemug_lib.pictures import LUMA

HALF = 127.5

OFF_LINE = 10  # levels; of 200 photographs the least had 13.6, masks saved as poor JPEGs have up to 3
BETWEEN = 0.35  # share of the pixels; masks that are blurred over a quarter of the picture have 0.25
SAMPLE = 20_000  # pixels are enough to see this by

NEAR = 16  # levels from the paper: where JPEG's noise lies
NOISY = 0.1  # more such pixels than this for each of the others are noise, not the edges of strokes
STROKE = 0.4  # of the strongest paint within STROKE_SIDE pixels: more is paint in a noisy picture, less its halo
FAINTEST = 12  # levels
STROKE_SIDE = 9  # side of the square: JPEG's blocks have 8


def edited_pixels(pixels: np.ndarray) -> np.ndarray:
    """The white of a mask, or the transparent hole of a photo in which it was erased.

    White is what is at least half bright in some channel, and opaque. A mask has two tones and what lies between them. A picture
    of more is a photo: with a transparent part, that is meant. Raises :class:`FacemugError` for a photo without one.
    """
    colours, opaque = _split(pixels)
    is_shown = np.ones(colours.shape[:2], bool) if opaque is None else opaque
    is_white = is_shown & ((colours if colours.ndim == 2 else colours.max(axis=2)) > HALF)
    if not _has_two_tones(colours[is_shown]):
        if not is_shown.all():
            return ~is_shown
        raise FacemugError("the mask is a picture of many tones, not of two: paint white what is to be edited and black the "
                           "rest, or erase it from the photo to transparent")
    if is_white.all() and (255 - colours).max() > 96:
        raise FacemugError("both tones of the mask are bright: paint white what is to be edited and black the rest")
    return is_white


def luma_of(colours: np.ndarray) -> np.ndarray:
    """How bright colours [..., 3] look: [...], in their own range."""
    return colours @ np.array(LUMA, np.float32)


def stroke_pixels(pixels: np.ndarray) -> np.ndarray:
    """The strokes of a sketch: what is opaque on a transparent layer; on paper, bright or dark, what differs from it by half."""
    colours, opaque = _split(pixels)
    if opaque is not None and _is_layer(opaque):
        return opaque
    is_shown = np.ones(colours.shape[:2], bool) if opaque is None else opaque
    is_dark = (colours if colours.ndim == 2 else luma_of(colours)) < HALF
    is_stroke = is_dark if is_dark[is_shown].mean() <= 0.5 else ~is_dark
    # Yellow and blue are strokes too, though they are as bright as white paper and as dark as black.
    paper = np.median(colours[is_shown & ~is_stroke], axis=0).astype(np.int16)
    distance = np.abs(colours.astype(np.int16) - paper)
    return is_shown & (is_stroke | ((distance if colours.ndim == 2 else distance.max(axis=2)) > HALF))


def painted_pixels(pixels: np.ndarray) -> np.ndarray:
    """The paint of a colour picture.

    On a transparent layer that is what is opaque. Else the paper is black or white, whichever the picture's border shows more,
    black if it shows neither; paint is all that differs from it, and clearly so in a picture with the noise of JPEG.
    """
    colours, opaque = _split(pixels)
    if colours.ndim == 2:
        colours = np.repeat(colours[..., None], 3, axis=2)
    is_shown = np.ones(colours.shape[:2], bool) if opaque is None else opaque
    if not is_shown.all():
        paper = None if _is_layer(is_shown) else _paper(colours, is_shown)
        if paper is None:
            return is_shown
    else:
        paper = _paper(colours, is_shown) or 0
    distance = np.abs(colours.astype(np.int16) - paper).max(axis=2).astype(np.float32)
    is_paint = distance > 0
    if _is_noisy(colours, distance * is_shown):
        strongest = cv2.dilate(cv2.blur(distance * is_shown, (3, 3)), np.ones((STROKE_SIDE, STROKE_SIDE), np.uint8))
        is_paint = distance >= np.maximum(FAINTEST, STROKE * strongest)
    return is_shown & is_paint


def _split(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(grey or RGB pixels, which are opaque, or None without transparency)."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return pixels[..., :3], pixels[..., 3] > HALF
    return pixels, None


def _has_two_tones(colours: np.ndarray) -> bool:
    """Whether colours [n] or [n, 3] lie on a line in colour space and mostly at its ends, as black and white do."""
    some = colours[::max(1, len(colours) // SAMPLE)].astype(np.float64).reshape(-1, 1 if colours.ndim == 1 else 3)
    if not len(some):
        return True
    centred = some - some.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    along = centred @ axis
    if np.percentile(np.linalg.norm(centred - along[:, None] * axis, axis=1), 95) >= OFF_LINE:
        return False
    low, high = np.percentile(along, [0.5, 99.5])
    if high - low < 2 * NEAR:
        return True  # one tone
    place = (along - low) / (high - low)
    return bool(np.mean((place > 0.15) & (place < 0.85)) < BETWEEN)


def _is_layer(is_opaque: np.ndarray) -> bool:
    """Whether a picture is a transparent layer, and not paper with some spots rubbed out."""
    return bool(is_opaque.mean() <= 0.5 or _border(is_opaque).mean() <= 0.5)


def _paper(colours: np.ndarray, is_shown: np.ndarray) -> int | None:
    """0 or 255 if a third of the border or more is that."""
    border, shown = _border(colours), _border(is_shown)
    share = {0: (shown & (border.max(axis=1) < NEAR)).mean(), 255: (shown & (border.min(axis=1) > 255 - NEAR)).mean()}
    best = max(share, key=lambda tone: share[tone])
    return best if share[best] >= 1 / 3 else None


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels [n, …]."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def _is_noisy(colours: np.ndarray, distance: np.ndarray) -> bool:
    """Whether many pixels differ a little from the paper and from their neighbours: flat dark paint does not."""
    is_near = (distance > 0) & (distance < NEAR)
    is_flat = np.zeros_like(is_near)
    is_flat[:-1, :-1] = (colours[:-1, :-1] == colours[1:, :-1]).all(axis=2) & (colours[:-1, :-1] == colours[:-1, 1:]).all(axis=2)
    is_noise = is_near & ~is_flat
    return bool(is_noise.sum() > NOISY * ((distance > 0) & ~is_noise).sum())
