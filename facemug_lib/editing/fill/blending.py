"""From a raw picture to a seamless edit: colours that meet the photo at the mask's edge, and the photo's own grain.

Both leave every known pixel alone; they only change what is painted into the hole.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

TRUST = 0.5  # up to about this size (of a range of 2) a difference of colours is taken for light, above it for other content
REACH = 14.0  # pixels over which other content at the edge fades out inside the hole
RING = 24  # width in pixels of the known band in which sharpness is compared
MAX_GAIN = 1.2  # the fill's fine detail is never amplified more than this: beyond, it looks sharp and wrong
CHANGE = 0.25  # change of a picture (of a range of 2) above which it no longer shows the same thing …
CHANGE_SIGMA = 4.0  # … on average over about so many pixels
DETAIL_SIGMA = 1.2  # pixels; detail is what a Gaussian of this width removes


def blend(raw: Tensor, known: Tensor, mask: Tensor, *, reach: float = REACH, match_detail: bool = True) -> Tensor:
    """Paint ``raw`` into the hole of ``known`` without a seam; all [b,3,h,w], ``mask`` [b,1,h,w] with 1 = hole.

    Gradient-domain blending (Pérez et al., "Poisson Image Editing", 2003) keeps the gradients of ``raw`` and takes the values at
    the boundary from ``known``. What is added to ``raw`` is a correction h. At the boundary h is the difference d = known − raw;
    inside, it solves Δh = 0.

    This plain equation carries a difference at one piece of the boundary across the whole hole. Where the hole's edge runs
    through the background and ``raw`` has another background, it would tint the face. So each d is split in two by its size,
    that of its largest channel:

    * the share exp(−d²/:data:`TRUST`²) can be a matter of light, and goes through the plain equation;
    * the rest is other content, and goes through the screened one, Δh = h·s²/reach⁴, with s the distance to the edge in pixels.
      Its answer fades like exp(−s²/(2·reach²)): hardly in a narrow hole, almost wholly in the middle of a wide one.

    ``reach=inf`` takes the plain equation for all.

    ``match_detail`` first scales the raw picture's fine detail to the photo's, where both are known (see :func:`detail_gain`).
    Pixels outside the hole are copied bit for bit. A mask without any known pixel leaves ``raw`` as it is.
    """
    if bool((mask > 0.5).all()):
        return raw.clamp(-1, 1).to(known.dtype)
    if match_detail:
        low = _low_pass(raw)
        raw = sharpen(raw, detail_gain(raw, known, mask, low), low)
    blended = [_blend_one(*sample, reach) for sample in zip(raw, known, mask, strict=True)]
    return torch.where(mask > 0.5, torch.stack(blended).clamp(-1, 1).to(known.dtype), known)


def altered(photo: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The photo as it looks after a change of codes that turned the picture ``before`` into ``after``; all [b,3,h,w].

    ``before`` is the prior's likeness of the photo. What it misses, photo − before, is put back wherever the change left the
    likeness about as it was, and fades out where the change is larger than :data:`CHANGE` (the mouth of a new smile must not
    carry the shadows of the old one).
    """
    return after + (photo - before) * sameness(before, after)


def sameness(before: Tensor, after: Tensor, sigma: float = CHANGE_SIGMA) -> Tensor:
    """How far ``after`` shows the same as ``before`` [b,3,h,w]: [b,1,h,w] in 0 … 1, seen over about ``sigma`` pixels."""
    change = _low_pass((after - before).abs().amax(dim=1, keepdim=True), sigma)
    return torch.exp(-(change / CHANGE).square())


def _blend_one(raw: Tensor, known: Tensor, mask: Tensor, reach: float) -> Tensor:
    hole = mask[0].cpu().numpy() > 0.5
    edge = scipy.ndimage.binary_dilation(hole) & ~hole
    if not hole.any() or not edge.any():
        return raw
    difference = (known - raw)[:, torch.from_numpy(edge)].double().cpu().numpy()  # [3,n]
    light = difference * np.exp(-np.square(np.abs(difference).max(axis=0) / TRUST))
    correction = np.zeros((3, *hole.shape))
    correction[:, hole] = _solver(os.getpid()).submit(_corrected, hole, edge, light, difference - light, reach).result()
    return raw + torch.from_numpy(correction).to(raw)


# Whoever drags a slider asks for the same hole again and again. Solving its equation takes 0.50 s the first time and 0.13 s with
# the factors of the last hole at hand (a hole of 128², one slow core), so these are kept. SciPy's factors must be freed by the
# thread that made them: a program that ends while another thread's are alive complains. So one thread makes, uses and frees all.
_kept = threading.local()  # the last hole's factors


@functools.lru_cache(maxsize=1)
def _solver(process: int) -> ThreadPoolExecutor:
    """That one thread. A forked process inherits this object without its thread and would wait for it for ever: the number of
    the ``process`` gives each its own."""
    return ThreadPoolExecutor(1, f"facemug blending {process}")


def _corrected(hole: np.ndarray, edge: np.ndarray, light: np.ndarray, other: np.ndarray, reach: float) -> np.ndarray:
    """The plain equation's answer to ``light`` and the screened one's to ``other``, both [c,n] on the pixels of ``edge``: their
    sum [c,m] on those of ``hole``."""
    if reach == math.inf:
        return _screened(hole, edge, light + other, math.inf)
    return _screened(hole, edge, light, math.inf) + _screened(hole, edge, other, reach)


def _screened(hole: np.ndarray, edge: np.ndarray, values: np.ndarray, reach: float) -> np.ndarray:
    """Solve Δh = h·s²/reach⁴ on the pixels of ``hole`` with ``values`` [c,n] on those of ``edge`` (5-point stencil): [c,m].

    The picture's own border carries no condition: there the normal derivative is zero. The factors of the last hole are kept.
    """
    key = (hole.shape, np.packbits(hole).tobytes())
    if getattr(_kept, "key", None) != key:
        _kept.systems = {}  # frees the old ones first
        _kept.key = key
    if reach not in _kept.systems:
        _kept.systems[reach] = _system(hole, edge, reach)
    factors, to_edge = _kept.systems[reach]
    return factors.solve(to_edge @ values.T).reshape(to_edge.shape[0], -1).T


def _system(hole: np.ndarray, edge: np.ndarray, reach: float) -> tuple[scipy.sparse.linalg.SuperLU, scipy.sparse.csr_matrix]:
    """(factors of the equation's matrix on the hole's m pixels, links [m,n] of these to the n of the edge)."""
    inside, outside = int(hole.sum()), int(edge.sum())
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(inside)
    number[edge] = inside + np.arange(outside)
    rows, columns = [], []
    for a, b in ((number[:-1], number[1:]), (number[:, :-1], number[:, 1:])):
        for here, there in ((a, b), (b, a)):
            used = (here >= 0) & (here < inside) & (there >= 0)
            rows.append(here[used])
            columns.append(there[used])
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = scipy.sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(inside, inside + outside))
    degree = np.asarray(links.sum(axis=1)).ravel()
    distance = scipy.ndimage.distance_transform_edt(hole)[hole]
    matrix = scipy.sparse.diags(degree + np.square(distance / reach**2)) - links[:, :inside]
    # Symmetric and diagonally dominant: no pivoting is needed, and an ordering for that case fills in less than the default one.
    factors = scipy.sparse.linalg.splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, relax=1, panel_size=4,
                                       options={"SymmetricMode": True})
    return factors, links[:, inside:]


def detail_gain(raw: Tensor, known: Tensor, mask: Tensor, low_raw: Tensor | None = None) -> Tensor:
    """How much more fine detail the photo has than the raw picture of the same content: gains [b,1,1,1] in 1 … :data:`MAX_GAIN`.

    Compared where the two agree best: the third of the known pixels within 24 px of the hole whose low frequencies differ least.
    ``low_raw``: the low frequencies of ``raw``, if they are known already.
    """
    # Where the low-pass would reach into the hole nothing is compared: what lies there is to be replaced, not to be looked at.
    near = grown(mask, RING) & ~grown(mask, _radius(DETAIL_SIGMA))
    low_raw, low_known = _low_pass(raw) if low_raw is None else low_raw, _low_pass(known)
    error = (low_raw - low_known).abs().mean(1, keepdim=True)
    gains = []
    for sample in range(len(raw)):
        where = near[sample]
        if int(where.sum()) < 64:
            gains.append(raw.new_ones(()))
            continue
        agreeing = where & (error[sample] <= error[sample][where].quantile(1 / 3))
        fine = [(x - low)[sample].abs().mean(0, keepdim=True)[agreeing].mean() for x, low in ((raw, low_raw), (known, low_known))]
        gains.append((fine[1] / fine[0].clamp_min(1e-4)).clamp(1, MAX_GAIN))
    return torch.stack(gains).view(-1, 1, 1, 1)


def grown(mask: Tensor, pixels: int) -> Tensor:
    """Where ``mask`` [b,1,h,w] is, and ``pixels`` around it: bool."""
    found = mask > 0.5
    for _ in range(2):  # along the rows, then along the columns; pooling would look at each pixel as often as the window is long
        size = found.shape[-1]
        place, before = torch.arange(size, device=mask.device), F.pad(found.cumsum(-1), (1, 0))
        found = (before[..., (place + pixels + 1).clamp_max(size)] > before[..., (place - pixels).clamp_min(0)]).transpose(-1, -2)
    return found


def sharpen(image: Tensor, gain: Tensor | float, low: Tensor | None = None) -> Tensor:
    """Multiply the fine detail of ``image`` [b,c,h,w] by ``gain``; ``low``: its low frequencies, if they are known already."""
    return image + (gain - 1) * (image - (_low_pass(image) if low is None else low))


def _low_pass(image: Tensor, sigma: float = DETAIL_SIGMA) -> Tensor:
    radius = _radius(sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype) / sigma) ** 2)
    taps = taps / taps.sum()
    channels = image.shape[1]
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def _radius(sigma: float) -> int:
    return int(3 * sigma + 0.5)
