"""The sketch modality ``[b, 1, h, w]`` float32 in {0, 1}, 1 = stroke: pencil lines taken from an image.

The paper sends a pencil-sketch filter's output through the Simo-Serra sketch-simplification network. That network is not to
be had from a package registry, so only the filter is reproduced (:func:`pencil_filter`); what the network was for, few
and clean lines, is done by classical means in :func:`pencil_sketch`: ridge thinning, a threshold that adapts to each image
and to each neighbourhood, hysteresis, and the removal of specks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.draws import as_generator, chance, integers
from facemug_lib.modalities.masks import mat_masks
from facemug_lib.pictures import luma

MIX = 0.75  # both weights of both weighted sums


def pencil_filter(image: Tensor) -> Tensor:
    """Grey pencil drawing ``[b, 1, h, w]`` in [0, 255], white paper, of an image ``[b, 3, h, w]`` in [-1, 1].

    Grey, Gaussian 3x3, then for the picture and its negative the horizontal and vertical Sobel responses, cut to 0..255 and
    added with weights 0.75; the two results are added with weights 0.75 and taken from 255 (the filter of pSp's sketch data).
    Not rounded, and differentiable almost everywhere.
    """
    grey = _grey(image)
    blurred = _filter(_filter(grey, (0.25, 0.5, 0.25), 3), (0.25, 0.5, 0.25), 2)
    return 255 - _darkness(*_sobel(blurred))


def pencil_sketch(image: Tensor, detail: float = 1.0, width: int = 2) -> Tensor:
    """Clean binary pencil lines ``[b, 1, h, w]``, 1 = stroke, of an image ``[b, 3, h, w]`` in [-1, 1].

    ``detail`` scales the share of the image that lines may start from (1 gives about 4 to 10 % stroke pixels on portraits at
    256 px); ``width`` is the line width in pixels, 1 to 3. Scales follow the shorter side, so that a sketch of a larger copy
    shows the same lines.
    """
    if image.ndim != 4 or image.shape[1] != 3:
        raise FacemugError(f"an image of shape {tuple(image.shape)} cannot be sketched: give [b, 3, h, w] in [-1, 1]")
    if width not in (1, 2, 3):
        raise FacemugError(f"line width {width}: use 1, 2 or 3")
    scale = min(image.shape[2:]) / 256
    sigma = max(0.6, 1.3 * scale)
    radius = math.ceil(2.5 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = tuple((taps / taps.sum()).tolist())
    gx, gy = _sobel(_filter(_filter(_grey(image), taps, 3), taps, 2))
    # The filter's |x| + |y| cut at 255 has flat tops on strong edges, which have no ridge: take the length instead.
    edge = torch.hypot(gx, gy)

    # A faint edge in a calm neighbourhood (a cheek) should count like a strong one in a busy one (hair).
    around = _surroundings(edge, side=round(41 * scale))
    contrast = edge / (around + 0.5 * edge.mean((2, 3), keepdim=True) + 4) ** 0.8
    candidates = contrast * _ridge(edge, gx, gy)
    strong_level = _upper_value(candidates, 0.02 * detail / scale).clamp_min(1e-3)
    lines = _long_and_strong(
        candidates >= strong_level, candidates >= 0.4 * strong_level, least=round(14 * scale), least_strong=round(3 * scale)
    )
    lines = _grow(lines, width // 2, (width - 1) // 2)
    return lines.to(image.dtype)


def jitter_sketch(sketch: Tensor, generator: torch.Generator | None = None, dropout: float = 0.25) -> Tensor:
    """Vary a sketch ``[b, 1, h, w]`` as hand-drawn ones vary; every choice is made per sample.

    With probability one half the strokes grow by a square kernel of side 3 to 7 (what an erosion does to dark lines on
    white paper); with probability ``dropout`` everything under a random mask is rubbed out.
    """
    rng = as_generator(generator)
    b, _, h, w = sketch.shape
    side = integers((b, 1, 1, 1), 3, 8, rng).to(sketch.device)
    grown = chance((b, 1, 1, 1), 0.5, rng).to(sketch.device)
    strokes = sketch > 0.5
    result = strokes
    for size in range(3, 8):
        result = torch.where(grown & (side == size), _grow(strokes, size // 2, (size - 1) // 2), result)
    result = result.to(sketch.dtype)
    rubbed = chance((b, 1, 1, 1), dropout, rng).to(sketch.device)
    holes = mat_masks(b, h, w, rng, device=sketch.device, scale_widths=True).to(sketch.dtype)
    return torch.where(rubbed, result * (1 - holes), result)


def _grey(image: Tensor) -> Tensor:
    return luma((image + 1) * 127.5)


def _filter(x: Tensor, taps: tuple[float, ...], dim: int) -> Tensor:
    """One-dimensional correlation along ``dim`` (2 = down, 3 = across), borders mirrored without the edge pixel."""
    kernel = torch.tensor(taps, device=x.device, dtype=x.dtype)
    half = len(taps) // 2
    if dim == 2:
        return F.conv2d(F.pad(x, (0, 0, half, half), mode="reflect"), kernel.view(1, 1, -1, 1))
    return F.conv2d(F.pad(x, (half, half, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))


def _sobel(grey: Tensor) -> tuple[Tensor, Tensor]:
    smooth, slope = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    return _filter(_filter(grey, slope, 3), smooth, 2), _filter(_filter(grey, slope, 2), smooth, 3)


def _darkness(gx: Tensor, gy: Tensor) -> Tensor:
    """255 minus the pencil drawing. The negative picture's Sobel responses are the picture's with the sign changed."""
    picture = (MIX * gx.clamp(0, 255) + MIX * gy.clamp(0, 255)).clamp_max(255)
    negative = (MIX * (-gx).clamp(0, 255) + MIX * (-gy).clamp(0, 255)).clamp_max(255)
    return (MIX * picture + MIX * negative).clamp_max(255)


def _surroundings(x: Tensor, side: int) -> Tensor:
    """Mean over squares of about ``side`` pixels, taken on a quarter of the size: it varies slowly, and costs little so."""
    half = side // 8
    small = F.avg_pool2d(x, 4, ceil_mode=True)
    small = F.avg_pool2d(small, (1, 2 * half + 1), 1, (0, half), count_include_pad=False)
    small = F.avg_pool2d(small, (2 * half + 1, 1), 1, (half, 0), count_include_pad=False)
    return F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)


def _ridge(edge: Tensor, gx: Tensor, gy: Tensor) -> Tensor:
    """Where ``edge`` is greatest across the line, that is along the gradient: lines become one pixel wide."""
    padded = F.pad(edge, (1, 1, 1, 1))
    h, w = edge.shape[2:]

    def peak(dy: int, dx: int) -> Tensor:
        before = padded[:, :, 1 - dy : 1 - dy + h, 1 - dx : 1 - dx + w]
        after = padded[:, :, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
        return (edge > before) & (edge >= after)

    ax, ay = gx.abs(), gy.abs()
    across, down = ax > 2.4142 * ay, ay > 2.4142 * ax  # within 22.5 degrees of an axis
    diagonal = torch.where(gx * gy > 0, peak(1, 1), peak(1, -1))
    return torch.where(across, peak(0, 1), torch.where(down, peak(1, 0), diagonal))


def _upper_value(x: Tensor, share: float) -> Tensor:
    """The value ``[b, 1, 1, 1]`` that a ``share`` of each sample's pixels reach (torch.quantile refuses large inputs)."""
    flat = x.flatten(1)
    rank = min(max(round(share * flat.shape[1]), 1), flat.shape[1])
    return flat.topk(rank, dim=1).values[:, -1].view(-1, 1, 1, 1)


def _grow(x: Tensor, before: int, after: int) -> Tensor:
    """Maximum of bool ``x`` over a square from ``before`` pixels up-left to ``after`` pixels down-right, by shifts."""
    for dim in (2, 3):
        size = x.shape[dim]
        padded = F.pad(x, (0, 0, before, after) if dim == 2 else (before, after))
        x = padded.narrow(dim, 0, size)
        for shift in range(1, before + after + 1):
            x = x | padded.narrow(dim, shift, size)
    return x


def _long_and_strong(strong: Tensor, weak: Tensor, least: int, least_strong: int, rounds: int = 14) -> Tensor:
    """Hysteresis by pieces: keep the connected pieces of ``weak`` with ``least`` pixels, ``least_strong`` of them ``strong``.

    All bool [b, 1, h, w]. Works on the list of weak pixels, some 5 % of all. Each points to the last place in the list that it
    knows of; a round asks the eight neighbours, then jumps to where the pointer points, so reach doubles with every round.
    (A very winding piece may keep two pointers; it then counts as two.)
    """
    b, _, h, w = weak.shape
    padded = F.pad(weak[:, 0], (1, 1, 1, 1))  # a frame of false, so that no neighbour lies in another row or sample
    pixels = padded.flatten().nonzero()[:, 0]
    n = len(pixels)
    place = torch.zeros(padded.numel(), dtype=torch.long, device=weak.device)
    place[pixels] = torch.arange(1, n + 1, device=weak.device)  # 0 stands for "no pixel"
    steps = torch.tensor([dy * (w + 2) + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)], device=weak.device)
    neighbours = F.pad(place[pixels[:, None] + steps], (0, 0, 1, 0))  # [n + 1, 9], itself among them
    pointer = torch.arange(n + 1, device=weak.device)
    for _ in range(rounds):
        pointer = pointer[neighbours].amax(1)
        pointer = pointer[pointer]
    size = torch.zeros(n + 1, dtype=torch.long, device=weak.device).index_add_(0, pointer, torch.ones_like(pointer))
    is_strong = F.pad(F.pad(strong[:, 0], (1, 1, 1, 1)).flatten()[pixels], (1, 0)).long()
    strength = torch.zeros_like(size).index_add_(0, pointer, is_strong)
    kept = ((size >= least) & (strength >= least_strong))[pointer]
    result = torch.zeros_like(padded).flatten()
    result[pixels] = kept[1:]
    return result.view(b, 1, h + 2, w + 2)[:, :, 1:-1, 1:-1].contiguous()
