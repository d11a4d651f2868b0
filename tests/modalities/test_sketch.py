"""Sketches: the filter against OpenCV, and what the lines look like on a photograph."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.data import astronaut

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.sketch import _long_and_strong, jitter_sketch, pencil_filter, pencil_sketch


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    crop = cv2.resize(astronaut()[:230, 110:340], (256, 256), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1


def test_the_filter_is_opencvs(face: torch.Tensor) -> None:
    rgb = ((face[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (3, 3), 0)
    sums = []
    for picture in (grey, 255 - grey):
        x, y = cv2.Sobel(picture, cv2.CV_8U, 1, 0, ksize=3), cv2.Sobel(picture, cv2.CV_8U, 0, 1, ksize=3)
        sums.append(cv2.addWeighted(x, 0.75, y, 0.75, 0))
    expected = 255 - cv2.addWeighted(sums[0], 0.75, sums[1], 0.75, 0).astype(np.float32)
    ours = pencil_filter(face)[0, 0].numpy()
    # OpenCV rounds to 8 bits after every step, and Sobel multiplies the first rounding by up to 8.
    assert np.abs(ours - expected).mean() < 1.0
    assert np.abs(ours - expected).max() < 8


def test_the_filter_passes_gradients(face: torch.Tensor) -> None:
    image = face.clone().requires_grad_()
    pencil_filter(image).mean().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_sketch_is_thin_clean_lines(face: torch.Tensor) -> None:
    sketch = pencil_sketch(face)
    assert sketch.shape == (1, 1, 256, 256) and set(sketch.unique().tolist()) == {0.0, 1.0}
    assert 0.04 < sketch.mean() < 0.10
    pieces, number = ndimage.label(sketch[0, 0].numpy(), structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    assert number < 60 and sizes.min() > 14  # lines, no specks
    assert ndimage.distance_transform_cdt(sketch[0, 0].numpy()).max() <= 3  # two pixels wide, more at crossings only


def test_sketch_ignores_brightness_and_follows_mirror_and_batch(face: torch.Tensor) -> None:
    sketch = pencil_sketch(face)
    dim = pencil_sketch(face * 0.5)
    assert (sketch != dim).float().mean() < 0.02
    both = pencil_sketch(torch.cat((face.flip(2), face)))
    assert torch.equal(both[1:], sketch)
    assert (pencil_sketch(face * 0 + 0.3) == 0).all()  # nothing to draw


def test_detail_and_width(face: torch.Tensor) -> None:
    few, many = pencil_sketch(face, detail=0.5).mean(), pencil_sketch(face, detail=1.5).mean()
    assert few < 0.9 * many
    thin, thick = pencil_sketch(face, width=1), pencil_sketch(face, width=3)
    assert 3 <= thick.mean() / thin.mean() < 5  # three pixels a row for a level line, five for a diagonal one
    assert (thick >= thin).all()
    with pytest.raises(FacemugError, match="line width"):
        pencil_sketch(face, width=9)


def test_pieces_are_scipys() -> None:
    rng = np.random.default_rng(0)
    weak = rng.random((3, 1, 40, 50)) < 0.3
    strong = weak & (rng.random(weak.shape) < 0.2)
    ours = _long_and_strong(torch.from_numpy(strong), torch.from_numpy(weak), least=5, least_strong=2)
    for sample in range(3):
        pieces, number = ndimage.label(weak[sample, 0], structure=np.ones((3, 3)))
        index = range(number + 1)
        size, strength = ndimage.sum_labels(weak[sample, 0], pieces, index), ndimage.sum_labels(strong[sample, 0], pieces, index)
        assert np.array_equal(ours[sample, 0].numpy(), ((size >= 5) & (strength >= 2))[pieces])


def test_jitter_thickens_or_rubs_out_but_invents_nothing(face: torch.Tensor) -> None:
    sketch = pencil_sketch(face).expand(64, -1, -1, -1)
    jittered = jitter_sketch(sketch, torch.Generator().manual_seed(0), dropout=0.5)
    again = jitter_sketch(sketch, torch.Generator().manual_seed(0), dropout=0.5)
    assert torch.equal(jittered, again) and set(jittered.unique().tolist()) == {0.0, 1.0}
    grown = torch.nn.functional.max_pool2d(sketch, 7, 1, 3)
    assert (jittered <= grown).all()
    thicker = (jittered.sum((1, 2, 3)) > sketch.sum((1, 2, 3)) * 1.2).sum()
    fewer = ((jittered < sketch).sum((1, 2, 3)) > 0).sum()
    assert 12 <= thicker <= 48 and 16 <= fewer <= 48
    plain = jitter_sketch(sketch, torch.Generator().manual_seed(0), dropout=0.0)
    assert (plain >= sketch).all()
