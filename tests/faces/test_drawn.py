"""Drawings as people save them mean what they meant."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.faces.drawn import edited_pixels, painted_pixels, stroke_pixels

FEW_PER_CENT = 0.05


def jpeg(pixels: np.ndarray, quality: int = 75) -> np.ndarray:
    """What is left after saving with the usual coarse colours."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(PIL.Image.open(buffer))


def layer(pixels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.where(shown, 255, 0).astype(np.uint8)])


def with_spots(pixels: np.ndarray) -> list[np.ndarray]:
    """The same sheet with one transparent pixel, and with a spot rubbed out where nothing is drawn."""
    sheet = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    single, spot = sheet.copy(), sheet.copy()
    single[3, 3, 3] = 0
    spot[200:240, 30:80, 3] = 0
    return [single, spot]


def colours(paper: int) -> tuple[np.ndarray, np.ndarray]:
    """(a drawing: dark hair, skin, lips and thin yellow lines; what is painted)."""
    picture, shown = np.full((256, 256, 3), paper, np.uint8), np.zeros((256, 256), np.uint8)
    hair, skin, lips = ((80, 60, 30, 18), (40, 26, 13)), ((128, 128, 30, 40), (240, 205, 170)), ((200, 128, 16, 8), (200, 20, 60))
    for where, colour in (hair, skin, lips):
        for canvas, value in ((picture, colour), (shown, 1)):
            cv2.ellipse(canvas, where[:2], where[2:], 0, 0, 360, value, -1)
    for canvas, value in ((picture, (255, 255, 90)), (shown, 1)):
        cv2.line(canvas, (30, 190), (220, 180), value, 3)
    return picture, shown > 0


# -- colours --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", [0, 255])
def test_colours_on_paper(paper) -> None:
    picture, shown = colours(paper)
    for exact in (picture, layer(picture, np.ones_like(shown)), layer(picture, shown)):
        assert np.array_equal(painted_pixels(exact), shown)
    for sheet in with_spots(picture):
        assert np.array_equal(painted_pixels(sheet), shown)
    for quality in (95, 75, 60):
        wrong = painted_pixels(jpeg(picture, quality)) ^ shown
        assert wrong.sum() <= FEW_PER_CENT * shown.sum(), quality


def test_black_and_white_are_colours_on_a_transparent_layer() -> None:
    shown = np.zeros((256, 256), bool)
    shown[60:200, 50:90] = shown[100:150, 150:200] = True
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, 120:] = 255
    assert np.array_equal(painted_pixels(layer(picture, shown)), shown)


def test_flat_paint_that_is_nearly_black_is_paint() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[50:120, 60:180] = (10, 8, 6)
    assert painted_pixels(picture).sum() == 70 * 120


def test_a_picture_painted_all_over_is_all_paint() -> None:
    picture = np.full((256, 256, 3), (90, 120, 60), np.uint8)
    picture[60:200, 60:200] = 255
    assert painted_pixels(picture).all()


# -- sketches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [(0, 0, 0), (220, 20, 20), (255, 220, 0)])
def test_sketches_on_paper_with_spots(line) -> None:
    picture = np.full((256, 256, 3), 255, np.uint8)
    cv2.line(picture, (30, 100), (150, 120), line, 3)
    drawn = (picture != 255).any(axis=2)
    for sheet in (picture, layer(picture, drawn), *with_spots(picture), *with_spots(255 - picture)):
        assert np.array_equal(stroke_pixels(sheet), drawn)
    assert (stroke_pixels(jpeg(picture, 90)) ^ drawn).sum() <= FEW_PER_CENT * drawn.sum()


# -- masks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="module")
def hole() -> np.ndarray:
    drawn = np.zeros((512, 512), np.uint8)
    cv2.ellipse(drawn, (220, 140), (60, 40), 0, 0, 360, 255, -1)
    return drawn > 0


def test_masks_of_two_tones(hole) -> None:
    white = np.where(hole, 255, 0).astype(np.uint8)
    rgb = np.dstack([white] * 3)
    red = rgb * np.array([1, 0, 0], np.uint8)
    soft = cv2.GaussianBlur(white, (0, 0), 6)
    for mask in (white, rgb, red, jpeg(rgb, 30), np.dstack([rgb, white]), layer(np.full_like(rgb, 255), hole)):
        assert np.array_equal(edited_pixels(mask), hole)
    assert (edited_pixels(jpeg(red, 50)) ^ hole).sum() < 0.01 * hole.sum()
    assert np.array_equal(edited_pixels(soft), soft > 127)
    assert edited_pixels(np.full((64, 64), 255, np.uint8)).all() and not edited_pixels(np.zeros((64, 64), np.uint8)).any()


@pytest.mark.parametrize("grey", [False, True])
def test_a_photo_with_the_hole_erased(photo, hole, grey) -> None:
    base = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8) if grey else photo
    for rest in (base, np.where(hole[..., None], 0, base).astype(np.uint8)):  # whatever lies under what is transparent
        assert np.array_equal(edited_pixels(layer(rest, ~hole)), hole)


def test_pictures_that_are_no_masks_are_refused(photo, hole) -> None:
    painted_white = np.where(hole[..., None], 255, photo).astype(np.uint8)
    for picture in (photo, painted_white, jpeg(painted_white), painted_white.mean(axis=2).astype(np.uint8)):
        with pytest.raises(FacemugError, match="the mask is a picture of many tones, not of two: paint white .* or erase it"):
            edited_pixels(picture)
    red_on_white = np.where(hole[..., None], (255, 0, 0), 255).astype(np.uint8)
    with pytest.raises(FacemugError, match="both tones of the mask are bright"):
        edited_pixels(red_on_white)
