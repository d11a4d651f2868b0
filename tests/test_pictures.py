"""Tensors and pixels."""

from __future__ import annotations

import pytest
import torch

from facemug_lib import pictures
from facemug_lib.errors import FacemugError


def test_pixels_of_colour_and_grey_pictures_span_black_to_white():
    colour = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 4).expand(3, 1, 4)
    assert pictures.pixels_of(colour)[0].tolist() == [[0] * 3, [128] * 3, [255] * 3, [255] * 3]
    grey = torch.tensor([0.0, 1.0]).view(1, 1, 2)
    assert pictures.pixels_of(grey)[0].tolist() == [[0] * 3, [255] * 3]


def test_pixels_refuse_what_is_no_picture():
    with pytest.raises(FacemugError, match=r"\(19, 4, 4\)"):
        pictures.pixels_of(torch.zeros(19, 4, 4))


def test_overlay_touches_the_masked_pixels_alone():
    images, mask = torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)
    mask[..., 0, 1] = 1
    tinted = pictures.overlay(images, mask, colour=(1, 0, 0), strength=0.5)
    assert tinted[0, :, 0, 1].tolist() == [0.5, -0.5, -0.5]
    assert torch.equal(tinted * (1 - mask), images)


def test_all_ways_to_8_bits_agree():
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    pixels = pictures.to_pixels(images)
    assert pixels.dtype == torch.uint8 and int(pixels.min()) == 0 and int(pixels.max()) == 255
    assert torch.equal(pictures.as_8_bit(images), pictures.to_floats(pixels))
    assert torch.equal(torch.from_numpy(pictures.pixels_of(images[1])), pixels[1].permute(1, 2, 0))
    assert torch.equal(pictures.to_pixels(pictures.to_floats(pixels)), pixels)


def test_grids_keep_order_and_leave_white_between():
    dark, grey = torch.full((2, 3, 4, 4), -1.0), torch.zeros(2, 1, 4, 4)
    grid = pictures.picture_grid([dark, grey], gap=2)
    assert grid.shape == (10, 10, 3)
    assert grid[0, 0].tolist() == [0] * 3 and grid[6, 6].tolist() == [128] * 3 and grid[4, 0].tolist() == [255] * 3
    square = pictures.square_grid(torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 0.5)]))
    assert square.shape == (1, 3, 4, 4)
    assert square[0, 0].diagonal().tolist() == [-1, -1, 1, 1] and square[0, 0, 2, 0] == 0.5
