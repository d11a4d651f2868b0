"""What latent directions do: to their own attribute, to every other one, and to who the person is.

Taught in `notebooks/06_latent_directions.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import batches
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.latent.direction_fit import Read
from facemug_lib.editing.latent.directions import Direction, load_read_traits, moved
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.evaluation.metrics import Score, cosine, mean_score
from facemug_lib.evaluation.protocols import EDIT_SEEDS, PSI, TestSet
from facemug_lib.pictures import as_8_bit
from facemug_lib.progress import Tell, silent, untold
from facemug_lib.store import Arrays, Keep, digest, keep_nothing
from facemug_lib.weights import weights_hash

SEED = 12_000_000  # of the faces that directions are measured on; no training and no other test draws them
MASKED = {"smile": (4.0, "face"), "age": (2.5, "face"), "gender": (3.0, "foreground")}
"""Attributes, strengths and mask families of the masked edits. Hair says more of gender than the face alone does."""


@dataclass(frozen=True, eq=False)
class Effect:
    """What one unit of a direction does to ``n`` faces.

    change: trait → mean change in standard deviations of that trait; identity: cosine of the face before and after, by a judge
    that no training has seen; moved: share of the faces whose own trait grew by at least half a standard deviation.
    """

    direction: Direction
    n: int
    change: dict[str, Score]
    identity: Score
    moved: float

    @property
    def own(self) -> Score:
        return self.change[self.direction.about["trait"]]

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"direction": self.direction.name, "family": self.direction.family, "n": self.n, "identity": self.identity.value,
                "moved": self.moved, **{name: score.value for name, score in self.change.items()}}


def effects(prior: nn.Module, directions: Sequence[Direction], read: Read, identity: Callable[[Tensor], Tensor], count: int = 500,
            strength: float = 1.0, deviations: Mapping[str, float] | None = None, keep: Keep = keep_nothing,
            version: Mapping[str, Any] | None = None, tell: Tell = untold) -> list[Effect]:
    """Move ``count`` unseen faces by ``strength`` along each direction and read everything before and after; rows per unit.

    ``deviations``: trait → one standard deviation; those that the directions were calibrated with by default, and those of the
    faces themselves for traits that no direction is about. ``keep`` is a cache; ``version`` says what else it depends on.
    """
    made_by = {"protocol": "directions", "code": code_of(__name__, type(prior).__module__), "prior": weights_hash(prior),
               "psi": PSI, **(version or {})}
    before: list[Arrays] = []
    after: dict[str, list[Arrays]] = {one.name: [] for one in directions}
    for places in batches(count):
        seeds = [SEED + place for place in places]
        codes = prior.broadcast(prior.w_of_seeds(seeds, PSI))
        before.append(keep(made_by | {"seeds": seeds}, lambda codes=codes: _measured(prior, codes, read, identity)))
        for one in directions:
            there = moved(codes, {one.name: strength}, {one.name: one})
            asked = {"seeds": seeds, "direction": digest(one.vector.cpu()), "strength": strength}
            after[one.name].append(keep(made_by | asked, lambda there=there: _measured(prior, there, read, identity)))
        tell(f"directions: {places.stop} of {count} faces")
    faces = _together(before)
    known = {name: float(np.nanstd(values)) for name, values in faces.items() if name != "identity"}
    known |= {one.about["trait"]: one.about["deviation"] for one in directions if "deviation" in one.about}
    known |= dict(deviations or {})
    return [_effect(one, faces, _together(after[one.name]), known, strength) for one in directions]


@torch.no_grad()
def _measured(prior: nn.Module, codes: Tensor, read: Read, identity: Callable[[Tensor], Tensor]) -> Arrays:
    pictures = as_8_bit(prior.synthesize(codes, 256))
    return ({name: values.float().cpu().numpy() for name, values in read(pictures).items()}
            | {"identity": identity(pictures).float().cpu().numpy()})


def _together(pieces: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}


def _effect(direction: Direction, before: Arrays, after: Arrays, deviations: Mapping[str, float], strength: float) -> Effect:
    groups = np.arange(len(before["identity"])) % EDIT_SEEDS
    change = {name: (after[name] - before[name]) / (deviation * strength) for name, deviation in deviations.items()}
    alike = cosine(torch.from_numpy(after["identity"]), torch.from_numpy(before["identity"])).numpy()
    own = change.get(direction.about.get("trait", ""), np.full(len(groups), np.nan))
    known = own[np.isfinite(own)]
    return Effect(direction, len(groups), {name: mean_score(values, groups) for name, values in change.items()},
                  mean_score(alike, groups), float((known >= 0.5).mean()) if len(known) else math.nan)


# -- under a mask ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MaskedEffect:
    """One attribute edit of ``n`` faces under a mask.

    change: in standard deviations of the trait, to where the edit wanted it; reached: share of the faces on which it is at
    least ``wanted``; changed_outside: values outside the masks that differ from the photo's; identity: cosine with the face
    before.
    """

    name: str
    strength: float
    n: int
    change: Score
    reached: float
    wanted: float
    changed_outside: int
    identity: Score
    values: np.ndarray = field(repr=False)

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"attribute": self.name, "strength": self.strength, "n": self.n, "change": self.change.value,
                f"reached {self.wanted:g}": self.reached, "identity": self.identity.value,
                "changed outside": self.changed_outside}


def masked_effect(editor: Editor, test_set: TestSet, name: str, strength: float, read: Read, identity: Callable[[Tensor], Tensor],
                  count: int = 100, family: str = "face", wanted: float = 1.0, refine: int = 0, middle: float | None = None,
                  tell: Tell = untold) -> MaskedEffect:
    """Edit the first ``count`` faces of a set by one attribute inside the masks of ``family`` and read it before and after.

    With ``middle``, faces whose trait lies above it are edited by −``strength``: who smiles already cannot smile much more.
    """
    trait, deviation = (editor.directions[name].about[key] for key in ("trait", "deviation"))
    changes, alike, outside = [], [], 0
    for places in batches(min(count, len(test_set))):
        cases = test_set.cases(family, places)
        before = read(cases.images)[trait].cpu()
        signs = torch.ones_like(before) if middle is None else torch.where(before > middle, -1.0, 1.0)
        plan = [Edit(image[None], mask[None], attributes={name: strength * sign}, seed=seed) for image, mask, seed, sign
                in zip(cases.images, cases.masks, cases.seeds, signs.tolist(), strict=True)]
        made = torch.cat([one.image for one in editor.edit_many(plan, refine=refine, progress=silent)]).cpu()
        outside += int(((made != cases.images) & (cases.masks < 0.5)).sum())
        pictures = as_8_bit(made)
        changes.append((read(pictures)[trait].cpu() - before) / deviation * signs * math.copysign(1, strength))
        alike.append(cosine(identity(pictures), identity(cases.images)).cpu())
        tell(f"{name} {strength:+g} under the {family} mask: {places.stop} of {count} faces")
    values = torch.cat(changes).float().numpy()
    groups = np.arange(len(values)) % EDIT_SEEDS
    return MaskedEffect(name, strength, len(values), mean_score(values, groups), float((values >= wanted).mean()), wanted,
                        outside, mean_score(torch.cat(alike).float().numpy(), groups), values)


def masked_effects(editor: Editor, test_set: TestSet, read: Read, identity: Callable[[Tensor], Tensor], count: int = 100,
                   tell: Tell = untold) -> list[MaskedEffect]:
    """Every edit of :data:`MASKED` on the first ``count`` faces of a set, away from what most of the prior's faces look like."""
    usual = load_read_traits().traits
    return [masked_effect(editor, test_set, name, strength, read, identity, count, family, tell=tell,
                          middle=float(usual[editor.directions[name].about["trait"]].nanmedian()))
            for name, (strength, family) in MASKED.items()]
