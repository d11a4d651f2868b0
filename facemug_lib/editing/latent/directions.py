"""Latent directions: how codes must move for one attribute to change (FACEMUG §II-C, Eq. 3: ŵ = w_warp + α·n).

A direction is what one unit of strength adds to each of the codes. Those that are shipped are calibrated: strength 1 moves the
attribute by one standard deviation over sampled faces, as the expert reads it. How they are found is in
:mod:`facemug_lib.editing.latent.direction_fit`.

Taught in `notebooks/06_latent_directions.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import CODE_DIM, DEFAULT_CODES, SG2_CODES, code_groups, sg2_codes_of
from facemug_lib.weights import read_weights, save_weights, weights_path

Family = Literal["boundary", "component", "factor", "published", "text", "photos"]
READ_KEY = "read traits"  # in the file: what the directions were fitted to
STRONGEST = 10.0  # units; nothing looks like a face long before


@dataclass(frozen=True, eq=False)
class Direction:
    """``vector`` [t,512]: what one unit of strength adds to the codes.

    ``unit`` says what one unit is; ``about`` holds what was measured of the direction (plain data, kept in its file).
    """

    name: str
    vector: Tensor
    family: Family
    unit: str = "uncalibrated"
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vector.ndim != 2 or self.vector.shape[1] != CODE_DIM or not bool(self.vector.isfinite().all()):
            raise FacemugError(f"direction {self.name!r} has shape {tuple(self.vector.shape)} or numbers that are not finite: "
                               f"[t, {CODE_DIM}] is needed")
        if self.family not in get_args(Family):
            raise FacemugError(f"direction {self.name!r} is of family {self.family!r}: choose from {', '.join(get_args(Family))}")

    def restricted(self, code_group: str | tuple[int, int]) -> Direction:
        """The direction on some codes alone: a group of :func:`facemug_lib.faces.code_space.code_groups`, or (first, one past the
        last)."""
        if isinstance(code_group, str):
            groups = code_groups(len(self.vector))
            if code_group not in groups:
                raise FacemugError(f"no group of codes is called {code_group!r}: choose from {', '.join(groups)}")
            code_group = groups[code_group]
        first, end = code_group
        if not 0 <= first < end <= len(self.vector):
            raise FacemugError(f"codes {first} … {end - 1} are asked for: there are codes 0 … {len(self.vector) - 1}")
        kept = torch.zeros_like(self.vector)
        kept[first:end] = self.vector[first:end]
        return replace(self, vector=kept, unit="uncalibrated")

    def without(self, others: Sequence[Direction]) -> Direction:
        """The part orthogonal to ``others``, code by code: InterFaceGAN's conditional manipulation, n − Σ(n·c)c for an
        orthonormal basis c of what is to be left alone."""
        if not others:
            return self
        if other := next((one for one in others if one.vector.shape != self.vector.shape), None):
            raise FacemugError(f"direction {self.name!r} moves {len(self.vector)} codes and {other.name!r} {len(other.vector)}: "
                               "they were fitted for two banks, fit them for one")
        span = torch.stack([other.vector for other in others], dim=-1).double()  # [t,512,k]
        own = self.vector.double()[..., None]
        return replace(self, vector=(own - span @ (torch.linalg.pinv(span) @ own))[..., 0].to(self.vector), unit="uncalibrated")

    def scaled(self, factor: float, unit: str) -> Direction:
        """The same direction in other units: one new unit is ``factor`` old ones."""
        return replace(self, vector=self.vector * factor, unit=unit)


def constant(name: str, w: Tensor, family: Family, codes: int = DEFAULT_CODES, **rest: Any) -> Direction:
    """A direction of W [512], the same for each of ``codes`` codes."""
    return Direction(name, w[None].expand(codes, -1).contiguous(), family, **rest)


def moved(codes: Tensor, strengths: Mapping[str, float], directions: Mapping[str, Direction]) -> Tensor:
    """Eq. 3: ŵ = w_warp + Σ α·n for codes [b,t,512]; ``strengths`` are the α by attribute, ``directions`` the n."""
    for name, strength in checked_strengths(strengths, directions, codes.shape[1]).items():
        codes = codes + strength * directions[name].vector.to(codes)
    return codes


def checked_strengths(strengths: Mapping[str, float], directions: Mapping[str, Direction],
                      num_codes: int | None = None) -> dict[str, float]:
    """The strengths as floats; unknown names, numbers that make no sense and, where ``num_codes`` is given, directions of another
    bank's codes are refused."""
    checked = {}
    for name, strength in strengths.items():
        if not directions:
            raise FacemugError(f"no attribute {name!r}: no directions are known for this bank's codes, fit some with `facemug "
                               "directions fit --bank` and give them as --directions")
        if name not in directions:
            raise FacemugError(f"no attribute is called {name!r}: choose from {', '.join(directions)}")
        is_number = isinstance(strength, int | float) and not isinstance(strength, bool) and math.isfinite(strength)
        if not is_number or abs(strength) > STRONGEST:
            raise FacemugError(f"strength of {name} is {strength!r}: use a number from -{STRONGEST:g} to {STRONGEST:g}, 0 "
                               "changes nothing")
        if num_codes is not None and len(directions[name].vector) != num_codes:
            raise FacemugError(f"attribute {name} was fitted for a bank of {len(directions[name].vector)} codes, and this one "
                               f"has {num_codes}: fit it with `facemug directions fit --bank`")
        checked[name] = float(strength)
    return checked


def cosines(first: Sequence[Direction], second: Sequence[Direction]) -> Tensor:
    """Cosine of every direction of ``first`` with every one of ``second``, over the codes that both move: [n,m]."""
    rows = []
    for one in first:
        row = []
        for other in second:
            shared = (one.vector.any(dim=1) & other.vector.any(dim=1))[:, None]
            row.append(torch.nn.functional.cosine_similarity((one.vector * shared).flatten(), (other.vector * shared).flatten(),
                                                             dim=0))
        rows.append(torch.stack(row))
    return torch.stack(rows)


# -- files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ReadTraits:
    """What was read from the faces of seeds ``seed``, ``seed`` + 1, … at truncation ``psi``: trait → [n], NaN where unseen.

    Their codes follow from the seeds, so that a boundary can be fitted again in a second.
    """

    seed: int
    psi: float
    traits: Mapping[str, Tensor]

    def codes(self, prior: Any) -> Tensor:
        """w [n,512] of those faces."""
        n = len(next(iter(self.traits.values())))
        return prior.w_of_seeds(range(self.seed, self.seed + n), self.psi).cpu()


def save_directions(path: Path | str, directions: Sequence[Direction], card: Mapping[str, Any],
                    read: ReadTraits | None = None) -> Path:
    """Write directions to one safetensors file (fp16), and what they were fitted to. Names must differ."""
    names = [one.name for one in directions]
    if len(set(names)) < len(names):
        raise FacemugError(f"two directions share a name among {', '.join(names)}: rename one")
    about = {one.name: {"family": one.family, "unit": one.unit, "about": dict(one.about)} for one in directions}
    tensors = {one.name: one.vector for one in directions}
    config: dict[str, Any] = {"directions": about, "order": names}
    if read is not None:
        tensors[READ_KEY] = torch.stack(list(read.traits.values()), dim=1)
        config[READ_KEY] = {"seed": read.seed, "psi": read.psi, "traits": list(read.traits)}
    return save_weights(path, tensors, config=config, card=card)


def load_directions(path: Path | str | None = None) -> dict[str, Direction]:
    """Name → direction, in the order of the file: the shipped ones, or those of a file that :func:`save_directions` wrote."""
    path = weights_path("directions") if path is None else Path(path)
    tensors, config, _ = read_weights(path)
    if "directions" not in config:
        raise FacemugError(f"{path} holds no directions: name a file that `facemug directions` wrote")
    return {name: Direction(name, tensors[name], **config["directions"][name]) for name in config["order"]}


def load_read_traits(path: Path | str | None = None) -> ReadTraits:
    """What the directions of a file, or the shipped ones, were fitted to."""
    path = weights_path("directions") if path is None else Path(path)
    tensors, config, _ = read_weights(path)
    if READ_KEY not in config:
        raise FacemugError(f"{path} does not say what its directions were fitted to: use a file of `facemug directions fit`")
    about = config[READ_KEY]
    return ReadTraits(about["seed"], about["psi"], dict(zip(about["traits"], tensors[READ_KEY].unbind(1), strict=True)))


PUBLISHED_UNIT = "as published"


def load_published(path: Path | str, name: str | None = None) -> Direction:
    """A direction published for StyleGAN2-FFHQ at 1024 px (``.pt`` or ``.npy``, [512], [1,512], [18,512] or [1,18,512]).

    The prior's W is that network's own. Its 18 codes act on other operations than the prior's 17, so they are matched by
    resolution: each code of ours takes the one that modulates the same octave's same convolution there.
    """
    path = Path(path)
    if not path.is_file():
        raise FacemugError(f"no file {path}: name a .pt or .npy file of a published direction")
    try:
        if path.suffix == ".npy":
            value = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
        else:
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickles fail in many ways, and none of them matters here
        raise FacemugError(f"{path} is not a readable .pt or .npy array ({type(error).__name__}): name another file") from error
    value = value.float().squeeze() if isinstance(value, Tensor) else None
    if value is None or tuple(value.shape) not in {(CODE_DIM,), (SG2_CODES, CODE_DIM)}:
        raise FacemugError(f"{path} holds no direction of StyleGAN2-FFHQ: an array of 512 or 18 × 512 numbers is needed")
    name = name or path.stem
    if value.ndim == 1:
        return constant(name, value, "published", unit=PUBLISHED_UNIT)
    return Direction(name, value[list(sg2_codes_of(DEFAULT_CODES))], "published", PUBLISHED_UNIT)
