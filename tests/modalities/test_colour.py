"""Colour maps against plain loops."""

from __future__ import annotations

import pytest
import torch
from skimage.data import astronaut

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.colour import region_mean, superpixels


def test_regions_get_their_mean_and_unlabelled_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(3, 3, 20, 24, generator=rng) * 2 - 1
    labels = torch.randint(-1, 19, (3, 20, 24), generator=rng)
    painted = region_mean(image, labels)
    for sample in range(3):
        for label in labels[sample].unique().tolist():
            where = labels[sample] == label
            expected = image[sample][:, where].mean(1) if label >= 0 else torch.zeros(3)
            torch.testing.assert_close(painted[sample][:, where], expected[:, None].expand(3, where.sum()), atol=1e-5, rtol=0)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(FacemugError, match="do not fit the image"):
        region_mean(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 9, dtype=torch.long))


def test_superpixels_find_the_blocks_of_a_block_picture() -> None:
    colours = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    image = torch.nn.functional.interpolate(colours, (64, 64))
    assert torch.allclose(superpixels(image, 16), image, atol=1e-5)
    shifted = image.roll((5, -4), (2, 3))  # borders now lie inside the starting cells: only colour can find them
    plain = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(shifted, 16), (64, 64))
    assert (superpixels(shifted, 64, compactness=0.2) - shifted).abs().mean() < 0.5 * (plain - shifted).abs().mean()


def test_superpixels_of_a_photo_are_few_and_close() -> None:
    photo = torch.from_numpy(astronaut()[:256:2, 100:356:2].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    painted = superpixels(photo, 100)
    assert 50 <= len(painted[0].flatten(1).unique(dim=1).T) <= 100
    blocks = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(photo, 12, 12, ceil_mode=True), (128, 128))
    assert (painted - photo).square().mean() < (blocks - photo).square().mean()
    with pytest.raises(FacemugError, match="superpixels"):
        superpixels(photo, 0)
