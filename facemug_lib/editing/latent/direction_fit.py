"""Four ways to find latent directions, and one way to calibrate them all.

Supervised boundaries (Shen et al., "InterFaceGAN"): a linear SVM between codes whose faces score high and low. Principal
components of the codes (Härkönen et al., "GANSpace"). Closed-form factors of the style affines (Shen and Zhou, "SeFa").
Boundaries again, for text-derived directions, but between faces that a text–image model scores high and low (after the global
directions of Patashnik et al., "StyleCLIP"). Whatever its origin, a direction is calibrated by what is read from faces that are
moved along it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from facemug_lib.devices import BATCH
from facemug_lib.editing.latent.directions import Direction, constant
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import TextImage, text_direction
from facemug_lib.experts.traits import TRAITS
from facemug_lib.faces.code_space import DEFAULT_CODES, CodeSpace, code_groups
from facemug_lib.progress import Tell, untold
from facemug_lib.seeds import check_seed

Read = Callable[[Tensor], Mapping[str, Tensor]]
"""Faces [b,3,h,w] → trait → [b]; NaN where it cannot be read."""

SIDE_SHARE = 0.2  # of the faces on each side that a boundary is fitted between
HELD_OUT_SHARE = 0.3  # of those faces
LEAST_PHOTOS = 5  # of each kind, for a direction from photographs
STRENGTHS_OF_SVM = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C; the best on held-out faces is taken
PROBE = 0.15  # norm of the step, in units of the norm of std(w), by which slopes are measured first


@dataclass(frozen=True, eq=False)
class Samples:
    """Faces known by their code w [n,512] and their traits, trait → [n]."""

    w: Tensor
    traits: Mapping[str, Tensor]

    def deviation(self, trait: str) -> float:
        """Standard deviation of a trait over the faces it could be read from."""
        values = self.traits[trait]
        return float(values[values.isfinite()].std())


@torch.no_grad()
def rendered(prior: CodeSpace, codes: Tensor, read: Read, size: int = 256) -> dict[str, Tensor]:
    """Traits of the faces of codes [n,t,512], made and read in batches."""
    found = [read(prior.synthesize(piece, size).float().clamp(-1, 1)) for piece in codes.split(BATCH)]
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


# -- supervised boundaries ------------------------------------------------------------------------------------------------


def boundary(name: str, w: Tensor, scores: Tensor, share: float = SIDE_SHARE, seed: int = 0,
             codes: int = DEFAULT_CODES) -> Direction:
    """The unit normal of a linear SVM between the ``share`` of w [n,512] with the highest and the lowest scores [n], for a bank
    of so many ``codes``.

    Codes are standardised for the fit and the normal is mapped back. ``about["accuracy"]`` is that on held-out faces.
    """
    known = scores.isfinite()
    w, scores = w[known].double(), scores[known]
    side = int(len(scores) * share)
    if side < 10 or float(scores.std()) == 0:
        raise FacemugError(f"direction {name!r}: {len(scores)} faces leave {side} of different scores on each side of a "
                           "boundary: at least 10 are needed")
    order = scores.argsort()
    normal, about = _separated(w[order[:side]], w[order[-side:]], seed)
    return constant(name, normal, "boundary", codes, about=about)


def from_codes(name: str, codes: Tensor, scores: Tensor, seed: int = 0) -> Direction:
    """A direction of photographs: from their codes [n,t,512], as the style encoder reads them, and a score [n] for each.

    Two different scores are two classes; of more, the highest and the lowest third are compared. The boundary is found between
    the codes' means over t, and one unit is one standard deviation of the photographs along it.
    """
    w = codes.double().mean(dim=1)
    low, high = (w[scores <= scores.quantile(1 / 3)], w[scores >= scores.quantile(2 / 3)])
    if len(scores.unique()) == 2:
        low, high = w[scores == scores.min()], w[scores == scores.max()]
    if min(len(low), len(high)) < LEAST_PHOTOS or len(scores.unique()) < 2:
        raise FacemugError(f"direction {name!r}: {len(low)} and {len(high)} photographs to compare: {LEAST_PHOTOS} of each kind "
                           "are needed, hundreds are better")
    normal, about = _separated(low, high, seed)
    deviation = float((w @ normal.double()).std())
    return constant(name, normal * deviation, "photos", codes.shape[1], unit="one standard deviation of the photographs along it",
                    about=about)


def _separated(low: Tensor, high: Tensor, seed: int) -> tuple[Tensor, dict[str, float | int]]:
    """(unit normal [512] of a linear SVM that points from ``low`` [n,512] to ``high`` [m,512], what is to be known of it)."""
    from sklearn.svm import LinearSVC

    x, y = torch.cat((low, high)).numpy(), np.repeat([0, 1], [len(low), len(high)])
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    x = (x - mean) / deviation
    is_test = np.zeros(len(y), bool)
    for label in (0, 1):
        members = np.random.default_rng(check_seed(seed)).permutation(np.flatnonzero(y == label))
        is_test[members[: max(1, int(len(members) * HELD_OUT_SHARE))]] = True

    def fitted(strength: float, where: np.ndarray) -> LinearSVC:
        machine = LinearSVC(C=strength, dual=len(y) < x.shape[1], max_iter=20_000, class_weight="balanced",
                            random_state=seed % 2**32)  # scikit-learn takes no larger ones
        return machine.fit(x[where], y[where])

    accuracies = {strength: fitted(strength, ~is_test).score(x[is_test], y[is_test]) for strength in STRENGTHS_OF_SVM}
    best = max(accuracies, key=accuracies.get)
    normal = fitted(best, np.ones_like(is_test)).coef_[0] / deviation
    about = {"accuracy": round(float(accuracies[best]), 4), "faces": len(y), "C": best}
    return torch.from_numpy(normal / np.linalg.norm(normal)).float(), about


class Recipe(NamedTuple):
    """Which codes a boundary is applied to, and which other traits' boundaries it is made orthogonal to."""

    code_group: str = "all"
    leave: tuple[str, ...] = ()


def _all_but(*names: str) -> tuple[str, ...]:
    return tuple(name for name in TRAITS if name not in names)


RECIPES: dict[str, Recipe] = {
    "age": Recipe("all", _all_but("age")),
    "gender": Recipe("all", ("smile", "mouth_open", "pitch")),
    "smile": Recipe("upper", _all_but("smile", "mouth_open")),
    "mouth_open": Recipe("upper", _all_but("mouth_open")),
    "eyes_open": Recipe("upper", _all_but("eyes_open")),
    "yaw": Recipe("upper", _all_but("yaw")),
    "pitch": Recipe("upper", _all_but("pitch")),
    "glasses": Recipe("upper", _all_but("glasses")),
    "hair_lightness": Recipe("all", _all_but("hair_lightness")),
    # Hair as long as that belongs to women in the prior's photographs: without gender hardly anything is left of it.
    "hair_length": Recipe("coarse", ("smile", "mouth_open", "pitch")),
    "beard": Recipe("all", _all_but("beard")),
    "skin_lightness": Recipe("fine", _all_but("skin_lightness")),
    "light": Recipe("all", _all_but("light")),
}
"""Chosen by what one step does to eight faces: the codes that move a trait most for the least change of all others."""


def supervised(prior: CodeSpace, samples: Samples, codes: Tensor, read: Read, tell: Tell = untold,
               recipes: Mapping[str, Recipe] = RECIPES) -> list[Direction]:
    """A calibrated direction for every trait that has a recipe; slopes are measured from codes [n,t,512]."""
    needed = dict.fromkeys([*recipes, *(other for recipe in recipes.values() for other in recipe.leave)])
    normals = {name: boundary(name, samples.w, samples.traits[name], codes=prior.num_codes) for name in needed}
    found = []
    for name, recipe in recipes.items():
        conditional = normals[name].without([normals[other] for other in recipe.leave]).restricted(recipe.code_group)
        one = calibrated(prior, conditional, name, samples.deviation(name), codes, read)
        found.append(replace(one, about=dict(one.about) | {"layers": recipe.code_group, "leaves": list(recipe.leave)}))
        tell(f"{name}: {one.about['accuracy']:.1%} of held-out faces on the right side; 1 unit is {one.unit}")
    return found


# -- without supervision --------------------------------------------------------------------------------------------------


def components(w: Tensor, count: int = 10, codes: int = DEFAULT_CODES) -> list[Direction]:
    """The first principal components of w [n,512], each as long as one standard deviation along it (GANSpace), for a bank of so
    many ``codes``."""
    if not 1 <= count <= min(w.shape):
        raise FacemugError(f"{count} components of {len(w)} codes: choose 1 … {min(w.shape)}")
    centred = (w - w.mean(0)).double()
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    deviations = values / (len(w) - 1) ** 0.5
    shares = deviations.square() / centred.square().sum(1).sum() * (len(w) - 1)
    return [constant(f"component{number}", (_signed(vectors[number]) * deviations[number]).float(), "component", codes,
                     unit="one standard deviation along it", about={"share_of_variance": round(float(shares[number]), 4)})
            for number in range(count)]


def factors(prior: CodeSpace, code_group: str | tuple[int, int] = "all", count: int = 10) -> list[Direction]:
    """The unit directions of W that change the styles of some codes most: eigenvectors of AᵀA (SeFa).

    A stacks the weights of the prior's style affines, each divided by its Frobenius norm: wide layers must not decide alone.
    """
    first, end = code_groups(prior.num_codes)[code_group] if isinstance(code_group, str) else code_group
    affines = prior.style_affines()[first:end]
    stacked = torch.cat([weight / weight.norm() for weight in affines]).double()
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    found = []
    for number in range(count):
        whole = constant(f"factor{number}", _signed(vectors[:, -1 - number]).float(), "factor", prior.num_codes,
                         about={"eigenvalue": float(values[-1 - number])})
        found.append(whole.restricted((first, end)))
    return found


def _signed(vector: Tensor) -> Tensor:
    """Eigenvectors come with either sign: the largest entry is made positive, so that a fit can be repeated."""
    return vector * vector[vector.abs().argmax()].sign()


# -- from words -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def from_text(prior: CodeSpace, model: TextImage, target: str, source: str, w: Tensor, codes: Tensor, name: str | None = None,
              leave: Sequence[Direction] = (), size: int = 128) -> Direction:
    """The direction in which faces come to look like ``target`` instead of ``source``, as a text–image model sees them.

    StyleCLIP's global directions, found in W: ``w`` [n,512] are faces made at ``size`` px, each scored by E_I(face)·ΔT; a
    boundary is fitted to the scores, made orthogonal to the directions ``leave``, and calibrated from codes [m,t,512] to one
    standard deviation of the score.
    """
    _, wanted = text_direction(model, target, source)

    def read(images: Tensor) -> dict[str, Tensor]:
        return {"text": model.embed_images(images) @ wanted / wanted.norm()}

    samples = Samples(w.cpu(), {"text": rendered(prior, prior.broadcast(w), read, size)["text"].cpu()})
    found = boundary(name or target, samples.w, samples.traits["text"], codes=prior.num_codes).without(leave)
    found = calibrated(prior, found, "text", samples.deviation("text"), codes, read, size)
    about = {key: value for key, value in found.about.items() if key not in ("trait", "deviation")}
    return replace(found, family="text", unit="one standard deviation of how much faces look like it",
                   about=about | {"text": target, "source": source, "leaves": [one.name for one in leave]})


# -- calibration ----------------------------------------------------------------------------------------------------------


def changes(prior: CodeSpace, direction: Direction, codes: Tensor, read: Read, strength: float = 1.0,
            size: int = 256) -> dict[str, Tensor]:
    """By how much each trait changes per unit: trait → [n], the central difference at ± ``strength`` from codes [n,t,512]."""
    step = strength * direction.vector.to(codes)
    above, below = (rendered(prior, codes + sign * step, read, size) for sign in (1, -1))
    return {name: (above[name] - below[name]) / (2 * strength) for name in above}


def calibrated(prior: CodeSpace, direction: Direction, trait: str, deviation: float, codes: Tensor, read: Read,
               size: int = 256) -> Direction:
    """The direction in units of one standard deviation of its trait, pointing to where the trait grows.

    The slope is measured over faces twice: by a small step, and by the step of one unit that the first one predicts.
    """
    length = PROBE * float(prior.std_w.norm()) * direction.vector.any(dim=1).sum() ** 0.5
    probe = direction.scaled(float(length / direction.vector.norm()), "probe")
    for _ in range(2):
        slope = float(changes(prior, probe, codes, read, size=size)[trait].nanmean()) / deviation
        if abs(slope) < 1e-3:
            raise FacemugError(f"direction {direction.name!r} does not move {trait} ({slope:.4f} standard deviations by a step "
                               f"of {PROBE:g} of the codes' own): fit it on more faces, or on other codes")
        probe = probe.scaled(1 / slope if abs(slope) > 0.05 else 0.05 / slope, "probe")
    return replace(probe, unit=f"one standard deviation of {trait}, {deviation:.3g}",
                   about=dict(direction.about) | {"trait": trait, "deviation": deviation})
