"""Masks: the row-interval renderer against plain drawing, and the statistics of every family."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from facemug_lib.errors import FacemugError
from facemug_lib.modalities import masks
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_mask(rng: np.random.Generator, size: int, small: int, large: int, strokes: int) -> np.ndarray:
    """The published statistics drawn shape by shape with PIL: the reference for the batched renderer."""
    while True:
        hole = np.zeros((size, size), bool)
        for most, limit in ((small, size // 2), (large, size)):
            for _ in range(rng.integers(most)):
                w, h = int(rng.integers(limit)), int(rng.integers(limit))
                x = int(rng.integers(-(w // 2), size - w + w // 2))
                y = int(rng.integers(-(h // 2), size - h + h // 2))
                hole[max(y, 0) : min(y + h, size), max(x, 0) : min(x + w, size)] = True
        canvas = Image.new("L", (size, size), 0)
        draw = ImageDraw.Draw(canvas)
        mean = math.hypot(size, size) / 8
        for _ in range(rng.integers(strokes)):
            low = 2 * math.pi / 5 - rng.uniform(0, 2 * math.pi / 15)
            high = 2 * math.pi / 5 + rng.uniform(0, 2 * math.pi / 15)
            points = [(int(rng.integers(size)), int(rng.integers(size)))]
            for i in range(rng.integers(4, 18)):
                angle = rng.uniform(low, high)
                angle = 2 * math.pi - angle if i % 2 == 0 else angle
                length = float(np.clip(rng.normal(mean, mean // 2), 0, 2 * mean))
                x = int(np.clip(points[-1][0] + length * math.cos(angle), 0, size))
                y = int(np.clip(points[-1][1] + length * math.sin(angle), 0, size))
                points.append((x, y))
            width = int(rng.uniform(12, 48))
            draw.line(points, fill=1, width=width)
            for x, y in points:
                draw.ellipse((x - width // 2, y - width // 2, x + width // 2, y + width // 2), fill=1)
        brush = np.asarray(canvas).astype(bool)
        brush = brush[::-1] if rng.random() < 0.5 else brush
        brush = brush[:, ::-1] if rng.random() < 0.5 else brush
        hole |= brush
        if 0 < hole.mean() < 1:
            return hole


@pytest.mark.parametrize(("draw", "recipe"), [(masks.free_form, masks.COMODGAN), (masks.mat_masks, masks.MAT)])
def test_random_masks_have_the_published_hole_ratios(draw, recipe) -> None:
    count, size = 300, 128
    ours = draw(count, size, size, generator(1)).mean((1, 2, 3)).numpy()
    rng = np.random.default_rng(2)
    theirs = np.array(
        [slow_mask(rng, size, recipe.small_rectangles, recipe.large_rectangles, recipe.strokes).mean() for _ in range(count)]
    )
    # About four standard errors of a difference of means, and of quantiles, of 300 draws with deviation 0.22.
    assert abs(ours.mean() - theirs.mean()) < 0.07
    assert np.abs(np.quantile(ours, (0.25, 0.5, 0.75)) - np.quantile(theirs, (0.25, 0.5, 0.75))).max() < 0.11
    assert abs(ours.std() - theirs.std()) < 0.05


def test_capsules_are_exactly_the_points_near_their_segment() -> None:
    size, n = 64, 40
    rng = generator(3)
    ends = torch.rand(n, 4, generator=rng) * 80 - 8
    ends[:4, 2:] = ends[:4, :2]  # discs
    ends[4:8, 3] = ends[4:8, 1]  # level
    ends[8:12, 2] = ends[8:12, 0]  # upright
    radius = torch.rand(n, generator=rng) * 12 + 0.3
    fast = masks._render(masks._Capsules(torch.arange(n), ends, radius), None, n, size, size)[:, 0]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    point = torch.stack((x, y), -1).double()[None]
    a, b = ends[:, None, None, :2].double(), ends[:, None, None, 2:].double()
    t = (((point - a) * (b - a)).sum(-1) / (b - a).square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
    distance = (point - a - t[..., None] * (b - a)).norm(dim=-1)
    edge = (distance - radius[:, None, None]).abs() < 1e-3  # rounding may decide these
    assert torch.equal((fast > 0)[~edge], (distance <= radius[:, None, None])[~edge])
    assert edge.float().mean() < 1e-3


def test_rectangles_are_filled_where_numpy_fills_them() -> None:
    rectangles = masks._rectangles(torch.tensor([9, 0, 4]), 10, 40, 60, 1.0, generator(4))
    fast = masks._render(None, rectangles, 3, 40, 60)
    slow = np.zeros((3, 1, 40, 60), np.float32)
    for sample, boxes in enumerate(rectangles.tolist()):
        for x0, y0, x1, y1 in boxes:
            slow[sample, 0, y0:y1, x0:x1] = 1
    assert np.array_equal(fast.numpy(), slow)
    assert fast[1].sum() == 0 and fast[0].sum() > 0


def test_random_masks_are_binary_repeatable_and_never_empty_or_full() -> None:
    a, b, c = (masks.free_form(40, 48, 72, generator(seed), scale_widths=True) for seed in (5, 5, 6))
    assert a.shape == (40, 1, 48, 72) and a.dtype == torch.float32
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert set(a.unique().tolist()) == {0.0, 1.0}
    share = a.mean((1, 2, 3))
    assert (share > 0).all() and (share < 1).all()


def test_no_generator_leaves_the_global_one_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    masks.free_form(1, 32, 32)
    assert torch.equal(torch.get_rng_state(), before)


def test_widths_scale_with_the_size_only_on_request() -> None:
    def share(size: int, scale: bool) -> float:
        return float(masks.mat_masks(100, size, size, generator(8), scale_widths=scale).mean())

    assert abs(share(64, True) - share(256, True)) < 0.06
    assert share(64, False) > share(256, False) + 0.1


def test_hole_range_is_kept() -> None:
    share = masks.free_form(30, 64, 64, generator(9), hole_range=(0.1, 0.5), scale_widths=True).mean((1, 2, 3))
    assert (share > 0.1).all() and (share < 0.5).all()
    with pytest.raises(FacemugError, match="hole range"):
        masks.free_form(1, 32, 32, generator(9), hole_range=(0.5, 0.1))


@pytest.mark.parametrize("bucket", [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)])
def test_irregular_masks_lie_in_their_bucket(bucket: tuple[float, float]) -> None:
    share = masks.irregular(24, 96, 96, bucket, generator(10)).mean((1, 2, 3))
    assert (share > bucket[0]).all() and (share <= bucket[1]).all()
    assert share.max() - share.min() > 0.3 * (bucket[1] - bucket[0])  # spread over the bucket, not in one corner


def test_centre_is_a_quarter() -> None:
    mask = masks.centre(2, 64, 96)
    assert mask.mean() == 0.25
    assert torch.equal(mask, mask.flip(-1)) and torch.equal(mask, mask.flip(-2))


def test_semantic_masks_name_classes_regions_and_grow() -> None:
    hair = SEMANTIC_CLASSES.index("hair")
    labels = torch.full((1, 33, 33), -1)
    labels[:, :20], labels[0, 16, 16], labels[0, 5, 5] = 0, hair, SEMANTIC_CLASSES.index("nose")
    assert masks.semantic(labels, "hair").sum() == 1
    assert masks.semantic(labels, ["hair", "face"]).sum() == 2
    assert masks.foreground(labels).sum() == 2  # neither background nor unlabelled
    grown = masks.semantic(labels, hair, dilate=6)[0, 0]
    y, x = grown.nonzero().T
    distance = torch.hypot((y - 16).float(), (x - 16).float())
    assert distance.max() < 6 * 1.2 and grown[16, 22] == 1 and grown[22, 16] == 1 and grown[22, 22] == 0
    with pytest.raises(FacemugError, match="unknown semantic class 'beard'"):
        masks.semantic(labels, "beard")
