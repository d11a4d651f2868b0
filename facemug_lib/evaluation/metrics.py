"""What pictures score, as pure mathematics on tensors and features; the networks are in :mod:`facemug_lib.evaluation.judges`.

Measures of one picture return a value each, NaN where there was nothing to measure; :func:`mean_score` leaves those out. Measures
of whole sets take features [n,d] (arrays or CPU tensors) and return a number; :func:`jackknife` gives its standard error.

**N matters.** FID falls as N grows, so that only values of equal N compare; KID does not depend on N. U-IDS and P-IDS need far
more pictures than features have dimensions: see :func:`u_ids`.

Taught in `notebooks/09_evaluation.ipynb`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.experts.fidelity import psnr, ssim
from facemug_lib.modalities.semantics import NUM_CLASSES, class_indices
from facemug_lib.modalities.sketch import pencil_sketch
from facemug_lib.training.distillation.agreement import FREQUENT_CLASSES

__all__ = ["Discriminability", "Score", "angle_error", "colour_error", "cosine", "discriminability", "fid",
           "jackknife", "kid", "mean_iou", "p_ids", "pencil_sketch", "psnr", "semantic_counts", "sketch_agreement", "ssim",
           "u_ids"]

Features = Tensor | np.ndarray

NEWTON_STEPS = 100  # of the SVM; it needs five to ten
KERNEL_ROWS = 1024  # of KID's kernel matrix at a time: 8 MB per thousand pictures


@dataclass(frozen=True)
class Score:
    """A number, its standard error (None where unknown), and how many pictures it is from."""

    value: float
    error: float | None
    n: int


# -- of one picture -------------------------------------------------------------------------------------------------------


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity [n] of vectors [n,d], row by row."""
    return F.cosine_similarity(a, b, dim=1)


def angle_error(pose: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference [n] in degrees of poses [n,3] (yaw, pitch, roll), the short way round; NaN stays NaN."""
    return ((pose - target + 180) % 360 - 180).abs().mean(1)


def colour_error(image: Tensor, target: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """How far the colours of semantic regions are off, in CIEDE2000 units (1 is just noticeable): [b].

    Pictures [b,3,h,w] in [-1,1], labels [b,h,w] (-1 = unknown, left out), mask [b,1,h,w]. A region is the part of one class
    inside the hole; the mean sRGB colours of image and target over it are compared, and regions count by area. NaN for an
    empty hole.
    """
    b = len(image)
    inside = (mask[:, 0] > 0.5) & (labels >= 0)
    region = (torch.arange(b, device=labels.device)[:, None, None] * NUM_CLASSES + labels)[inside]
    area = torch.bincount(region, minlength=b * NUM_CLASSES).double()
    means = [torch.bincount(region, channel[inside].double(), minlength=b * NUM_CLASSES) / area
             for picture in (image, target) for channel in (picture.clamp(-1, 1) + 1).div(2).unbind(1)]
    seen = area > 0
    lab = rgb2lab(torch.stack(means, 1)[seen].view(-1, 2, 3).cpu().numpy())
    total = torch.zeros_like(area)
    total[seen] = torch.from_numpy(deltaE_ciede2000(lab[:, 0], lab[:, 1])).to(area) * area[seen]
    return (total.view(b, -1).sum(1) / area.view(b, -1).sum(1)).to(image.dtype)


def semantic_counts(parsed: Tensor, requested: Tensor, mask: Tensor) -> Tensor:
    """Intersection and union, in pixels, of two label maps [b,h,w] inside the hole for every class: long [b,2,19].

    Pixels that either map does not know (-1) are left out. Sum over pictures, then :func:`mean_iou`.
    """
    b = len(parsed)
    known = (mask[:, 0] > 0.5) & (parsed >= 0) & (requested >= 0)
    place = (torch.arange(b, device=parsed.device)[:, None, None] * NUM_CLASSES + requested) * NUM_CLASSES + parsed
    confusion = torch.bincount(place[known], minlength=b * NUM_CLASSES**2).view(b, NUM_CLASSES, NUM_CLASSES)
    intersection = confusion.diagonal(dim1=1, dim2=2)
    return torch.stack((intersection, confusion.sum(1) + confusion.sum(2) - intersection), dim=1)


def mean_iou(counts: Features, classes: Iterable[str | int] = FREQUENT_CLASSES) -> float:
    """Mean over ``classes`` of intersection over union, from counts [2,19] of a whole set (:func:`semantic_counts`, summed).

    Classes that neither map holds have no say; NaN if none is there.
    """
    intersection, union = np.asarray(counts, np.float64)[:, list(class_indices(classes))]
    return float((intersection[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")


def sketch_agreement(image: Tensor, sketch: Tensor, mask: Tensor, tolerance: int = 2) -> Tensor:
    """F1 [b] in 0 … 1 between pencil lines of ``image`` [b,3,h,w] and the strokes of ``sketch`` [b,1,h,w] inside the hole.

    A stroke pixel of one is met if the other has one at most ``tolerance`` pixels away in x and in y, be it just outside the
    hole. Precision is the share of drawn pixels met, recall that of requested ones. NaN where neither has a stroke in the hole.
    """
    hole, asked, drawn = mask > 0.5, sketch > 0.5, pencil_sketch(image) > 0.5

    def share_met(strokes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        near = F.max_pool2d(others.float(), 2 * tolerance + 1, 1, tolerance) > 0
        strokes = strokes & hole
        count = strokes.sum((1, 2, 3))
        return (strokes & near).sum((1, 2, 3)) / count.clamp_min(1), count

    (precision, made), (recall, wanted) = share_met(drawn, asked), share_met(asked, drawn)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-9)
    return torch.where(made + wanted > 0, f1, torch.nan)


# -- of a set of pictures -------------------------------------------------------------------------------------------------


def mean_score(values: Features | Sequence[float], groups: Features | Sequence[int]) -> Score:
    """Mean of values [n] without the NaNs among them, with its jackknife error over groups [n]; n counts what was averaged."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Score(float("nan"), None, 0)
    kept = values[known]
    return Score(*jackknife(lambda keep: kept[keep].mean(), np.asarray(groups)[known]), int(known.sum()))


def jackknife(statistic: Callable[[np.ndarray], Any], groups: Features | Sequence[int]) -> tuple[float, float | None]:
    """(value, standard error) of a statistic of n pictures, by leaving out one group at a time.

    ``statistic`` takes the indices of the pictures to use; groups [n] are integers, such as the edit seeds. With θ_i the value
    without group i of g, the error is √((g−1)/g · Σ(θ_i − θ̄)²) (Tukey 1958): None for fewer than two groups, or where some θ_i
    does not exist.
    """
    groups = np.asarray(groups)
    everything = np.arange(len(groups))
    without = [everything[groups != group] for group in np.unique(groups)]
    value = float(statistic(everything))
    return value, _jackknife_error([float(statistic(keep)) for keep in without]) if len(without) > 1 else None


def _jackknife_error(parts: Sequence[float]) -> float | None:
    error = float(np.std(parts) * np.sqrt(len(parts) - 1))  # np.std divides by g
    return error if np.isfinite(error) else None


def fid(real: Features, fake: Features) -> float:
    """Fréchet distance between Gaussians fitted to features [n,d] and [m,d] (Heusel et al. 2017).

    ‖μ_r − μ_f‖² + tr Σ_r + tr Σ_f − 2 tr (Σ_r Σ_f)^½. With A and B the centred features over √(n−1) and √(m−1), Σ_r = AᵀA and
    Σ_f = BᵀB, the last trace is the sum of the singular values of ABᵀ. That is exact, needs no root of a rank-deficient
    product, and costs n·m·d operations for small sets. NaN for fewer than two pictures on a side.
    """
    real, fake = _matrix(real), _matrix(fake)
    if min(len(real), len(fake)) < 2:
        return float("nan")
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (real, fake))
    traces = np.square(a).sum() + np.square(b).sum()
    # Of many pictures the triangular factor holds all: AᵀA = RᵀR, and R is only d × d.
    a, b = (np.linalg.qr(x, mode="r") if len(x) > x.shape[1] else x for x in (a, b))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(np.square(real.mean(0) - fake.mean(0)).sum() + traces - 2 * root)


def kid(real: Features, fake: Features) -> float:
    """Unbiased squared maximum mean discrepancy of features [n,d] and [m,d] under (x·y/d + 1)³ (Bińkowski et al. 2018).

    Over all pairs at once, which is what random subsets estimate. Tables multiply by 1000. May be slightly below 0; NaN for
    fewer than two pictures on a side.
    """
    real, fake = _matrix(real), _matrix(fake)
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        return float("nan")

    def kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
        return sum(float(((x[start:start + KERNEL_ROWS] @ y.T / x.shape[1] + 1) ** 3).sum())
                   for start in range(0, len(x), KERNEL_ROWS))

    def among(x: np.ndarray) -> float:
        itself = ((np.square(x).sum(1) / x.shape[1] + 1) ** 3).sum()
        return (kernel_sum(x, x) - itself) / (len(x) * (len(x) - 1))

    return float(among(real) + among(fake) - 2 * kernel_sum(real, fake) / (n * m))


def _matrix(features: Features) -> np.ndarray:
    return np.asarray(features, np.float64)


# -- can a linear classifier tell edited from real? ---------------------------------------------------------------------------


class Discriminability(NamedTuple):
    """U-IDS and P-IDS as published and on faces that the classifier was not fitted on; ``folds`` [k,2]: the latter by fold."""

    u_ids: Score
    p_ids: Score
    u_ids_heldout: Score
    p_ids_heldout: Score
    folds: np.ndarray


def u_ids(real: Features, fake: Features) -> float:
    """Unpaired inception discriminative score, 0 … 0.5, higher is better (Zhao et al. 2021, CoModGAN).

    A linear SVM f is fitted to tell features [n,d] of real (f > 0) from those of fake pictures [m,d]; the score is its error on
    *those same* features, ½P(f(real) < 0) + ½P(f(fake) > 0).

    **The sample-size trap.** Any n + m ≤ d + 1 points in general position can be separated by a plane however they are coloured,
    and up to about 2(d+1) usually can (Cover 1965). With d = 2048, fewer than some 4,100 pictures score about 0 whatever their
    quality: the published values are from 10,000 + 10,000, and no smaller run can be compared with them. The held-out form
    (:func:`discriminability`) means something at every N.
    """
    rows = _in_their_span(real, fake)
    return _ids(*rows, _svm(*rows))[0]


def p_ids(real: Features, fake: Features) -> float:
    """Paired inception discriminative score: the share of pairs (real i, fake i) with f(fake) > f(real), f as in :func:`u_ids`.

    Features [n,d] both; higher is better, 0.5 where nothing tells them apart. The same trap as for :func:`u_ids`.
    """
    _check_pairs(real, fake)
    rows = _in_their_span(real, fake)
    return _ids(*rows, _svm(*rows))[1]


def discriminability(real: Features, fake: Features, groups: Features | Sequence[int]) -> Discriminability:
    """:func:`u_ids` and :func:`p_ids` of pairs [n,d], and both again on faces held out of the fit.

    groups [n], two or more different integers: pair i, the real and the edited picture, belongs to fold ``groups[i]`` as a whole,
    because the two share all unedited pixels; a face that occurs twice must be in one fold only. Each fold is judged by an
    SVM fitted on all others. The held-out value is the mean over all pairs, about 0.5 where nothing tells edited from real
    (chance may exceed that); its error is the standard error over folds. The error of the published form is the jackknife's
    over the same folds.
    """
    _check_pairs(real, fake)
    groups = np.asarray(groups)
    if len(groups) != len(real) or len(np.unique(groups)) < 2:
        raise FacemugError(f"{len(groups)} fold numbers, {len(np.unique(groups))} of them different, for {len(real)} pairs: "
                           "give each pair one of two or more")
    real, fake = _in_their_span(real, fake)  # one basis for all folds
    n = len(real)
    published = _ids(real, fake, _svm(real, fake))
    fitted, heldout, sizes = [], [], []
    for fold in np.unique(groups):
        out = groups == fold
        weights = _svm(real[~out], fake[~out])
        fitted.append(_ids(real[~out], fake[~out], weights))
        heldout.append(_ids(real[out], fake[out], weights))
        sizes.append(out.sum())
    folds = np.array(heldout)
    unseen, errors = np.average(folds, axis=0, weights=sizes), folds.std(axis=0, ddof=1) / np.sqrt(len(folds))
    return Discriminability(
        *(Score(value, _jackknife_error(parts), n) for value, parts in zip(published, np.transpose(fitted), strict=True)),
        *(Score(float(value), float(error), n) for value, error in zip(unseen, errors, strict=True)), folds)


def _ids(real: np.ndarray, fake: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """(U-IDS, P-IDS) of a given SVM; P-IDS is NaN where the two are no pairs."""
    f_real, f_fake = (x @ weights[:-1] + weights[-1] for x in (real, fake))
    paired = float((f_fake > f_real).mean()) if len(f_real) == len(f_fake) else float("nan")
    return float(((f_real < 0).mean() + (f_fake > 0).mean()) / 2), paired


def _svm(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Weights [d+1], the last one the bias, of the linear SVM that tells real (+1) from fake (−1).

    The exact minimum of ½‖w‖² + Σ max(0, 1 − y·w·x)², x with a 1 appended, which scikit-learn's ``LinearSVC(dual=False)`` (the
    published scores' classifier) approaches iteratively: hundreds of times slower on features as alike as those of a picture
    and its edit. Newton's method on the quadratic pieces ends in a few steps (Keerthi and DeCoste 2005).
    """
    x = np.concatenate((real, fake))
    x = np.concatenate((x, np.ones((len(x), 1))), axis=1)
    y = np.repeat((1.0, -1.0), (len(real), len(fake)))

    def objective(w: np.ndarray) -> float:
        return 0.5 * w @ w + np.square(np.maximum(0, 1 - y * (x @ w))).sum()

    weights, active = np.zeros(x.shape[1]), np.ones(len(x), dtype=bool)
    for _ in range(NEWTON_STEPS):
        part = x[active]
        target = scipy.linalg.solve(part.T @ part + 0.5 * np.eye(x.shape[1]), part.T @ y[active], assume_a="pos")
        now = y * (x @ target) < 1
        if (now == active).all():
            return target  # the minimum of the piece lies in the piece
        step = 1.0
        while step > 1e-3 and objective(weights + step * (target - weights)) > objective(weights):
            step /= 2
        weights = weights + step * (target - weights)
        active = y * (x @ weights) < 1
    return weights


def _in_their_span(real: Features, fake: Features) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in an orthonormal basis of all their rows' span: at most n + m coordinates in place of d.

    The weights of an SVM with an L2 penalty are a sum of the rows it was fitted on, and it sees only inner products, which this
    keeps: decisions stay what they were, also of rows left out of a fit.
    """
    rows = np.concatenate((_matrix(real), _matrix(fake)))
    if len(rows) < rows.shape[1]:
        rows = np.linalg.qr(rows.T, mode="r").T
    return rows[:len(real)], rows[len(real):]


def _check_pairs(real: Features, fake: Features) -> None:
    if len(real) != len(fake):
        raise FacemugError(f"{len(real)} real and {len(fake)} edited faces are no pairs: give as many of both, in the same order")
