"""The part of a text that can be measured: what it says of traits is followed along their directions (FACEMUG Eq. 3) until the
expert reads it.

The descent of :mod:`facemug_lib.editing.latent.text` (Eq. 4 and 5) knows nothing but a similarity, which a pattern can satisfy as
well as a face. Where there is a calibrated direction, the way is known beforehand, and one number says how far to go.

Taught in `notebooks/07_text_editing.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.latent.directions import Direction, moved
from facemug_lib.editing.latent.search import sought
from facemug_lib.editing.latent.text import Followed, agreement, descend, follow
from facemug_lib.editing.latent.text_reading import Change, Numbers, deviation_of, read_difference, trait_names
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.text_image import TextImage
from facemug_lib.experts.traits import all_traits, differentiable_traits
from facemug_lib.progress import Progress

SHAPED, SHAPES = ("age",), "upper"  # directions that are followed on this group of codes alone


def follow_text(paint: Callable[[Tensor], Tensor], codes: Tensor, model: TextImage, edit: Edit, *,
                expert: ExpertStudent | None, directions: Mapping[str, Direction],
                identity: Callable[[Tensor], Tensor] | None, settings: TextEditSettings, progress: Progress | None) -> Followed:
    """Move ``codes`` [1,t,512] as the text of ``edit`` says: along the directions of the traits that it names, and by the
    similarity where that leaves something.

    ``paint``, ``identity`` and ``progress`` as for :func:`facemug_lib.editing.latent.text.follow`, which does it all where
    nothing can be read, or the settings want it so.
    """
    common = dict(seed=edit.seed, identity=identity, progress=progress)
    known = followable(directions) if settings.traits and expert is not None else {}
    reading = read_difference(model, edit.text, edit.text_source, known)
    if not reading.changes:
        return follow(paint, codes, model, edit.text, edit.text_source, steps=edit.text_steps, settings=settings, **common)

    def read(codes: Tensor) -> Numbers:
        return {name: float(value) for name, value in all_traits(expert, paint(codes)).items()}

    led = lead(read, codes, reading.changes, known, settings)
    difference = reading.rest(led.after, led.missed)
    hold = held(lambda image: differentiable_traits(expert, image), led, known, settings)
    own = replace(settings, latent=settings.keep_latent, lr=settings.keep_lr if difference is None else settings.lr)
    steps = min(settings.keep_steps, edit.text_steps) if difference is None else edit.text_steps
    followed = descend(paint, codes, led.codes, model, difference, hold=hold, settings=own, steps=steps, **common)
    agrees = agreement(model, paint(codes), paint(followed.codes), edit.text, edit.text_source)
    return replace(followed, agreement=agrees, strengths=led.strengths)


@dataclass(frozen=True, eq=False)
class Led:
    """codes [1,t,512] after the directions; strengths: direction → how far it was followed; before, after: what the expert read;
    missed: the traits that did not come near what was wanted; pictures: how many the search painted beyond the first."""

    codes: Tensor
    strengths: Mapping[str, float]
    before: Numbers
    after: Numbers
    missed: frozenset[str]
    pictures: int


def lead(read: Callable[[Tensor], Numbers], codes: Tensor, changes: Mapping[str, Change], directions: Mapping[str, Direction],
         settings: TextEditSettings) -> Led:
    """Move ``codes`` [1,t,512] along the directions of ``changes`` until ``read`` (codes → what the expert reads of the picture)
    gives what they want, or comes nearest to it."""
    s, start = settings, read(codes)
    goals = {name: change.goal(start[name], deviation_of(directions[name]), s) for name, change in changes.items()
             if math.isfinite(start[name])}
    names = [name for name, goal in goals.items() if goal != start[name]]
    units = np.array([deviation_of(directions[name]) for name in names])
    seen: dict[tuple[float, ...], Numbers] = {}

    def at(strengths: np.ndarray) -> Tensor:
        return moved(codes, dict(zip(names, strengths.tolist(), strict=True)), directions)

    def look(strengths: np.ndarray) -> np.ndarray | None:
        seen[tuple(strengths.tolist())] = numbers = read(at(strengths))
        found = np.array([numbers[name] for name in names]) / units
        return found if np.isfinite(found).all() else None

    unseen = frozenset(changes) - set(goals)
    if not names:
        return Led(codes, {}, start, start, unseen, 0)
    goal, now = (np.array([values[name] for name in names]) / units for values in (goals, start))
    longest = np.array([min(s.longest, s.furthest / float(directions[name].vector.norm())) for name in names])
    found = sought(look, goal, np.eye(len(names)), now, size=_mean_size, tolerance=s.tolerance, tries=s.tries, longest=longest)
    strengths, after, end = found.strengths.tolist(), seen.get(tuple(found.strengths.tolist()), start), found.readings
    if _mean_size(goal - now) - _mean_size(goal - end) < s.least_gain:
        strengths, after, end = [0.0] * len(names), start, now
    lacking = np.abs(goal - end) > s.missed * np.abs(goal - now)
    missed = {name for name, is_lacking in zip(names, lacking.tolist(), strict=True) if is_lacking}
    return Led(at(np.array(strengths)), dict(zip(names, strengths, strict=True)), start, after, unseen | missed, found.pictures)


def _mean_size(error: np.ndarray) -> float:
    return float(np.sqrt(np.square(error).mean()))


def held(read: Callable[[Tensor], Mapping[str, Tensor]], led: Led, directions: Mapping[str, Direction],
         settings: TextEditSettings) -> Callable[[Tensor], Tensor]:
    """A loss of a picture [1,3,h,w]: how much it has lost again of what the directions brought, and how far every other trait is
    from what it was before them. ``read`` gives its traits [1], differentiable. Nothing goes further than the directions did, so
    that nothing is found that only the expert sees."""
    brought = {name: 1.0 if led.after[name] > led.before[name] else -1.0 for name, strength in led.strengths.items() if strength}
    others = [name for name in sorted(trait_names(directions) - set(led.strengths)) if math.isfinite(led.before[name])]

    def loss(image: Tensor) -> Tensor:
        now = read(image)
        lost = [(sign * (led.after[name] - now[name]) / deviation_of(directions[name])).clamp(min=0)
                for name, sign in brought.items()]
        astray = [(now[name] - led.before[name]) / deviation_of(directions[name]) for name in others]
        return settings.hold * _squares(lost) + settings.others * _squares(astray)

    return loss


def _squares(errors: Sequence[Tensor]) -> Tensor:
    """Sum of their squares; what cannot be read any more counts nothing."""
    return torch.stack([one.square().nan_to_num().sum() for one in errors]).sum() if errors else torch.zeros(())


def followable(directions: Mapping[str, Direction]) -> dict[str, Direction]:
    """The directions of :func:`trait_names` as texts follow them: age without the codes of colours, which turned faces red."""
    known = trait_names(directions)
    return {name: one.restricted(SHAPES) if name in SHAPED else one for name, one in directions.items() if name in known}
