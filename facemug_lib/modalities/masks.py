"""Edit masks ``[b, 1, h, w]`` float32 in {0, 1}, 1 = edit: random ones for training and the families of the tests.

Strokes and rectangles are convex, so a pixel row meets each of them in one interval. All intervals of a whole batch are
computed at once, entered as +1 / -1 into a table of differences, and summed along the rows: the cost is one number per shape
and row instead of one per shape and pixel, with no loop over samples, strokes or pixels.

Taught in `notebooks/01_data_synthesis.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.draws import as_generator, chance, integers, normal, uniform
from facemug_lib.modalities.semantics import class_indices

VERTICES = (4, 17)  # vertices drawn after the first one of a stroke, both ends included
TURN_MEAN, TURN_RANGE = 2 * math.pi / 5, 2 * math.pi / 15
STROKE_WIDTH = (12.0, 48.0)  # pixels, whatever the size, as in CoModGAN; scale_widths makes it relative to 256
REFERENCE_SIZE = 256
MAX_ROUNDS = 200  # rejection sampling stops here; reached only for a hole range that (nearly) no drawing meets
INTERVALS, INTERVALS_CPU = 1 << 22, 1 << 15  # computed at once: about 0.4 GB on a GPU; on a CPU, what its cache holds


@dataclass(frozen=True)
class FreeFormRecipe:
    """How many shapes a random mask gets; every count n stands for a draw from {0, ..., n - 1}."""

    small_rectangles: int  # sides below half the size
    large_rectangles: int  # sides below the size
    strokes: int


COMODGAN = FreeFormRecipe(10, 5, 20)
MAT = FreeFormRecipe(4, 2, 8)


def free_form(
    b: int,
    h: int,
    w: int,
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str = "cpu",
    hole_range: tuple[float, float] = (0.0, 1.0),
    scale_widths: bool = False,
) -> Tensor:
    """CoModGAN's training masks ``[b, 1, h, w]``, 1 = edit, the share of edited pixels strictly inside ``hole_range``.

    Rectangles that may leave the frame by half and poly-lines with round joints, in the published numbers. The widths,
    12 to 48 px, are absolute there; ``scale_widths`` makes them relative to a size of 256. As in the original, an upper end
    of the range below 1 also lowers the numbers of shapes.
    """
    return _random_masks(COMODGAN, b, h, w, as_generator(generator), torch.device(device), hole_range, scale_widths)


def mat_masks(
    b: int,
    h: int,
    w: int,
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str = "cpu",
    hole_range: tuple[float, float] = (0.0, 1.0),
    scale_widths: bool = False,
) -> Tensor:
    """The sparser variant of :func:`free_form` (MAT at 256 px), used for what stays visible of a guiding modality."""
    return _random_masks(MAT, b, h, w, as_generator(generator), torch.device(device), hole_range, scale_widths)


def irregular(
    b: int,
    h: int,
    w: int,
    bucket: tuple[float, float] = (0.2, 0.4),
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Irregular stroke masks whose share of edited pixels lies inside ``bucket`` = (low, high), low < share <= high.

    Each sample draws its share from the middle 90 % of the bucket and strokes in a number that fits it; the width of its
    strokes is then found by bisection, so no sample is ever far from natural and none is thrown away but for freak draws.
    """
    low, high = bucket
    if not 0 <= low < high <= 1:
        raise FacemugError(f"bucket {bucket} is not a range of areas: use 0 <= low < high <= 1, such as (0.2, 0.4)")
    rng, device = as_generator(generator), torch.device(device)

    def draw(count: int) -> Tensor:
        share = uniform((count,), low + 0.05 * (high - low), high - 0.05 * (high - low), rng)
        expected = 1 + 14 * share  # strokes of the usual width that cover about this share
        strokes = (expected * uniform((count,), 0.7, 1.3, rng)).round().clamp_min(1).long()
        capsules = _strokes(strokes, h, w, rng, min(h, w) / REFERENCE_SIZE).to(device)
        share = share.to(device)
        lower, upper = torch.full_like(share, 0.02), torch.full_like(share, 8.0)
        for _ in range(12):
            factor = (lower * upper).sqrt()
            covered = _render(capsules.widened(factor), None, count, h, w).mean((1, 2, 3))
            lower, upper = torch.where(covered < share, factor, lower), torch.where(covered < share, upper, factor)
        masks = _render(capsules.widened((lower * upper).sqrt()), None, count, h, w)
        return _random_flips(masks, rng)

    return _until_accepted(draw, b, lambda share: (share > low) & (share <= high), f"area inside {bucket} at {h}x{w}")


def centre(b: int, h: int, w: int, *, device: torch.device | str = "cpu") -> Tensor:
    """The central rectangle of half the height and half the width: 25 % of the area (for even sizes)."""
    mask = torch.zeros(b, 1, h, w, device=device)
    mask[..., h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2] = 1
    return mask


def semantic(labels: Tensor, classes: str | int | Iterable[str | int], dilate: int = 0) -> Tensor:
    """Everything of the named classes or regions ("hair", "face", ...) in ``labels`` [b, h, w], grown by ``dilate`` px."""
    wanted = torch.tensor(class_indices(classes), device=labels.device)
    return _grow(torch.isin(labels, wanted)[:, None].to(torch.float32), dilate)


def foreground(labels: Tensor, dilate: int = 0) -> Tensor:
    """Everything that is labelled and not background in ``labels`` [b, h, w], grown by ``dilate`` px."""
    return _grow((labels > 0)[:, None].to(torch.float32), dilate)


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Capsules:
    """Segments with round ends, of all samples in one list."""

    sample: Tensor  # [n] long
    ends: Tensor  # [n, 4]: x0, y0, x1, y1 in pixels
    radius: Tensor  # [n]

    def to(self, device: torch.device) -> _Capsules:
        return _Capsules(self.sample.to(device), self.ends.to(device), self.radius.to(device))

    def widened(self, factor: Tensor) -> _Capsules:
        return _Capsules(self.sample, self.ends, self.radius * factor[self.sample])


def _random_masks(
    recipe: FreeFormRecipe, b: int, h: int, w: int, rng: torch.Generator, device: torch.device, hole_range: tuple[float, float],
    scale_widths: bool,
) -> Tensor:  # fmt: skip
    low, high = hole_range
    if not 0 <= low < high <= 1:
        raise FacemugError(f"hole range {hole_range} is not a range of areas: use 0 <= low < high <= 1")
    coefficient = min(low + high, 1.0)
    width_scale = min(h, w) / REFERENCE_SIZE if scale_widths else 1.0

    def number(limit: int, count: int) -> Tensor:
        return integers((count,), 0, max(1, int(limit * coefficient)), rng)

    def draw(count: int) -> Tensor:
        rectangles = torch.cat(
            (
                _rectangles(number(recipe.small_rectangles, count), recipe.small_rectangles, h, w, 0.5, rng),
                _rectangles(number(recipe.large_rectangles, count), recipe.large_rectangles, h, w, 1.0, rng),
            ),
            dim=1,
        )
        capsules = _strokes(number(recipe.strokes, count), h, w, rng, width_scale)
        strokes = _random_flips(_render(capsules.to(device), None, count, h, w), rng)
        return torch.maximum(strokes, _render(None, rectangles.to(device), count, h, w))

    accept = lambda share: (share > low) & (share < high)  # noqa: E731
    return _until_accepted(draw, b, accept, f"share of edited pixels inside {hole_range} at {h}x{w}")


def _until_accepted(draw, b: int, accept, what: str) -> Tensor:
    """``draw(count)`` until every sample's share of ones is accepted; only refused samples are drawn again."""
    masks = draw(b)
    for _ in range(MAX_ROUNDS):
        share = masks.sum((1, 2, 3)).double() / masks[0].numel()  # a sum of ones is exact, a float32 mean is not
        refused = (~accept(share)).nonzero().flatten()
        if refused.numel() == 0:
            return masks
        masks[refused] = draw(refused.numel())
    raise FacemugError(f"no random mask met the wish for {what}: widen the range")


def _rectangles(number: Tensor, most: int, h: int, w: int, largest: float, rng: torch.Generator) -> Tensor:
    """``[b, most - 1, 4]`` rectangles x0, y0, x1, y1 (upper ends excluded) inside the frame; unused ones are empty."""
    shape = (len(number), max(most - 1, 0))
    limit = torch.tensor((max(1, int(w * largest)), max(1, int(h * largest))), device=rng.device)
    frame = torch.tensor((w, h), device=rng.device)
    side = (uniform((*shape, 2), 0, 1, rng) * limit).long()
    half = side // 2
    # corner uniform over {-half, ..., frame - side + half - 1}: the shape may leave the frame by half
    corner = (uniform((*shape, 2), 0, 1, rng) * (frame - side + 2 * half).clamp_min(1)).long() - half
    used = (torch.arange(shape[1], device=rng.device) < number[:, None])[..., None]
    start = corner.clamp_min(0) * used
    end = torch.minimum(corner + side, frame).clamp_min(0) * used
    return torch.cat((start, torch.maximum(start, end)), dim=-1)


def _strokes(number: Tensor, h: int, w: int, rng: torch.Generator, width_scale: float) -> _Capsules:
    """Poly-lines, ``number`` [b] of them per sample, as one list of capsules on the generator's device."""
    b, most, longest = len(number), max(int(number.max()), 1), VERTICES[1]
    shape = (b, most)
    steps = integers(shape, VERTICES[0], VERTICES[1] + 1, rng)
    spread = uniform((*shape, 2), 0, TURN_RANGE, rng)
    turn_low, turn_high = TURN_MEAN - spread[..., :1], TURN_MEAN + spread[..., 1:]
    angle = turn_low + (turn_high - turn_low) * uniform((*shape, longest), 0, 1, rng)
    reflected = torch.arange(longest, device=rng.device) % 2 == 0
    angle = torch.where(reflected, 2 * math.pi - angle, angle)
    mean = math.hypot(h, w) / 8
    length = (mean + (mean // 2) * normal((*shape, longest), rng)).clamp(0, 2 * mean)
    step = torch.stack((length * angle.cos(), length * angle.sin()), dim=-1)

    frame = torch.tensor((w, h), device=rng.device, dtype=torch.float32)
    point = (uniform((*shape, 2), 0, 1, rng) * frame).floor()
    points = [point]
    for i in range(longest):  # a walk: each vertex is clipped to the frame before the next step is taken
        point = torch.minimum((point + step[:, :, i]).clamp_min(0), frame).floor()
        points.append(point)
    path = torch.stack(points, dim=2)
    width = uniform(shape, *STROKE_WIDTH, rng).floor() * width_scale

    used = (torch.arange(most, device=rng.device) < number[:, None])[..., None]
    used = used & (torch.arange(longest, device=rng.device) < steps[..., None])
    ends = torch.cat((path[:, :, :-1], path[:, :, 1:]), dim=-1)[used]
    radius = (width / 2)[..., None].expand(used.shape)[used]
    sample = torch.arange(b, device=rng.device)[:, None, None].expand(used.shape)[used]
    return _Capsules(sample, ends, radius)


def _random_flips(masks: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each sample up-down and left-right, each with probability one half."""
    for dim in (-2, -1):
        flipped = chance((len(masks), 1, 1, 1), 0.5, rng).to(masks.device)
        masks = torch.where(flipped, masks.flip(dim), masks)
    return masks


def _render(capsules: _Capsules | None, rectangles: Tensor | None, b: int, h: int, w: int) -> Tensor:
    """Fill shapes: ``[b, 1, h, w]`` float32, 1 where any capsule or rectangle covers the pixel's centre.

    Integers throughout, so that the result does not depend on the order in which a GPU adds.
    """
    if capsules is not None:
        table = torch.zeros(b * h * (w + 1), dtype=torch.int32, device=capsules.ends.device)
        rows = max(1, (INTERVALS_CPU if table.device.type == "cpu" else INTERVALS) // h)
        for start in range(0, len(capsules.radius), rows):
            part = slice(start, start + rows)
            left, right = _capsule_intervals(capsules.ends[part], capsules.radius[part], h, w)
            row = (capsules.sample[part, None] * h + torch.arange(h, device=left.device)) * (w + 1)
            hit = (right >= left).to(torch.int32)
            table.index_add_(0, (row + left.clamp(0, w)).flatten(), hit.flatten())
            table.index_add_(0, (row + (right + 1).clamp(0, w)).flatten(), -hit.flatten())
        counts = table.view(b, h, w + 1).cumsum(2, dtype=torch.int32)[:, None, :, :w]
        return (counts > 0).to(torch.float32)
    assert rectangles is not None
    table = torch.zeros(b * (h + 1) * (w + 1), dtype=torch.int32, device=rectangles.device)
    sample = torch.arange(b, device=rectangles.device)[:, None] * (h + 1)
    x0, y0, x1, y1 = rectangles.unbind(-1)
    one = torch.ones_like(x0, dtype=torch.int32).flatten()
    for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        table.index_add_(0, ((sample + y) * (w + 1) + x).flatten(), sign * one)
    counts = table.view(b, h + 1, w + 1).cumsum(2, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    return (counts[:, None, :h, :w] > 0).to(torch.float32)


def _capsule_intervals(ends: Tensor, radius: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """First and last covered column of every row, both ``[n, h]`` long (first > last where a row is not met).

    A capsule is the hull of two discs and a rectangle; because it is convex, its part of a row runs from the least to the
    greatest abscissa at which the row meets any of the three.
    """
    y = torch.arange(h, device=ends.device, dtype=torch.float32)
    x0, y0, x1, y1 = (c[:, None] for c in ends.unbind(1))
    radius = radius[:, None]
    far = torch.tensor(float(4 * w + 4 * h), device=ends.device)
    left, right = far.expand(len(ends), h), (-far).expand(len(ends), h)
    for cx, cy in ((x0, y0), (x1, y1)):
        square = radius**2 - (y - cy) ** 2
        half = square.clamp_min(0).sqrt()
        left = torch.where(square >= 0, torch.minimum(left, cx - half), left)
        right = torch.where(square >= 0, torch.maximum(right, cx + half), right)
    # The two long sides are offset from the axis by the normal; the short ones lie inside the discs.
    dx, dy = x1 - x0, y1 - y0
    length = torch.hypot(dx, dy).clamp_min(1e-6)
    nx, ny = -dy / length * radius, dx / length * radius
    slope = torch.where(dy.abs() > 1e-6, dx / torch.where(dy.abs() > 1e-6, dy, 1.0), 0.0)
    for sign in (1, -1):
        t = y - (y0 + sign * ny)
        inside = (t * (t - dy) <= 0) & (dy.abs() > 1e-6)  # y lies between the side's two ends
        x = x0 + sign * nx + t * slope
        left = torch.where(inside, torch.minimum(left, x), left)
        right = torch.where(inside, torch.maximum(right, x), right)
    return left.ceil().long(), right.floor().long()


def _grow(mask: Tensor, pixels: int) -> Tensor:
    """Dilate by a disc-like octagon of the given radius: squares and crosses in turn approximate a circle."""
    if pixels < 0:
        raise FacemugError(f"dilation of {pixels} px: use 0 or more")
    for i in range(pixels):
        across = F.max_pool2d(mask, (1, 3), 1, (0, 1))
        down = F.max_pool2d(mask, (3, 1), 1, (1, 0))
        mask = torch.maximum(across, down) if i % 2 else F.max_pool2d(across, (3, 1), 1, (1, 0))
    return mask
