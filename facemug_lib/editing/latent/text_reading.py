"""A text's difference from another one, read as changes of the traits that have calibrated directions.

Followed by :mod:`facemug_lib.editing.latent.text_traits`. Taught in `notebooks/07_text_editing.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing.latent.directions import Direction
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import SAME, SmallTextImage, TextImage, text_direction
from facemug_lib.modalities.captions import ASPECTS, INF, NUMBERS, sentence
from facemug_lib.modalities.claims import Claim, Said

Numbers = Mapping[str, float]
"""What the expert reads off a face: name → value in its own unit, NaN where nothing is seen."""
Difference = tuple[Tensor, Tensor]
"""(E_T(target) [d], ΔT [d]) as :func:`facemug_lib.experts.text_image.text_direction` gives them."""


class Change(NamedTuple):
    """A number shall come into the range (low, high); ``sign``: where that lies from what the source text says, 0 where it says
    nothing of it. With ``is_more`` it shall go there by one part, whatever it is now."""

    low: float
    high: float
    sign: int = 0
    is_more: bool = False

    def goal(self, now: float, deviation: float, s: TextEditSettings) -> float:
        """The value that is aimed at for a face that reads ``now``."""
        wanted = now + self.sign * s.least_change * deviation
        if self.is_more:
            return wanted
        if self.sign == 0 and self.low < now < self.high:
            return now
        inside, most = min(s.margin * deviation, (self.high - self.low) / 2), s.most_change * deviation
        wanted = min(max(wanted, self.low + inside), self.high - inside)
        return min(max(wanted, now - most), now + most)


@dataclass(frozen=True, eq=False)
class Reading:
    """What of a text's difference can be measured, number → how it shall change, and ``rest``: what is left to the similarity
    then, from what is read of the changed face and from which changes it missed; None for nothing."""

    changes: Mapping[str, Change]
    rest: Callable[[Numbers, Collection[str]], Difference | None]


def deviation_of(direction: Direction) -> float:
    """By how much one unit of a calibrated direction moves its trait; 0 where that was not measured."""
    return float(direction.about.get("deviation") or 0.0)


def trait_names(directions: Mapping[str, Direction]) -> set[str]:
    """The calibrated directions that are called as a number of captions is, and move it."""
    return {name for name, one in directions.items() if name in NUMBERS and deviation_of(one) > 0}


def read_difference(model: TextImage, target: str, source: str, directions: Mapping[str, Direction]) -> Reading:
    """Read ``target`` instead of ``source`` as changes of the traits that have calibrated directions.

    The small model's texts are read word by word. Of any other model's the difference of the embeddings is taken apart into those
    of texts about traits. Raises :class:`FacemugError` for texts that the model does not understand.
    """
    known = trait_names(directions)
    if not known:
        return Reading({}, lambda numbers, missed: text_direction(model, target, source))
    return by_words(model, target, source, known) if isinstance(model, SmallTextImage) else by_fit(model, target, source, known)


# -- the small model's words ----------------------------------------------------------------------------------------------


def by_words(model: SmallTextImage, target: str, source: str, known: set[str]) -> Reading:
    """What the words say. Claims of the source that the target leaves out are taken back; claims of both change nothing."""
    new, old = model.said(target), model.said(source)
    claims = {name: claim for name, claim in new.claims.items()
              if claim.is_more or name not in old.claims or old.claims[name].word != claim.word}
    denied = {**{name: claim.word for name, claim in old.claims.items() if name not in new.claims}, **new.denied}
    measured = {name: _claimed(name, claim, old) for name, claim in claims.items() if ASPECTS[name].number in known}
    for name, word in denied.items():
        if ASPECTS[name].number in known and (change := _denied(name, word)) is not None:
            measured[name] = change

    def rest(numbers: Numbers, missed: Collection[str]) -> Difference | None:
        if not (new.is_all and old.is_all):
            return text_direction(model, target, source)
        missing = {name: claim.word for name, claim in claims.items()
                   if name not in measured or ASPECTS[name].number in missed or not _has_its_colour(name, claim, numbers)}
        against = {name: old.claims[name].word for name in missing if name in old.claims}
        against |= {name: word for name, word in denied.items() if name not in measured}
        return text_direction(model, sentence(missing), sentence(against)) if missing or against else None

    return Reading({ASPECTS[name].number: change for name, change in measured.items()}, rest)


def _claimed(aspect: str, claim: Claim, old: Said) -> Change:
    options = ASPECTS[aspect].options
    here, before = options[claim.word], old.claims.get(aspect)
    if before is None or before.word == claim.word:
        ordered = _sorted(aspect)
        sign = (1 if 2 * ordered.index(claim.word) >= len(ordered) else -1) if claim.is_more else 0
    else:
        there = options[before.word]
        sign = int(np.sign(_middle(here.low, here.high) - _middle(there.low, there.high)))
    return Change(here.low, here.high, sign, claim.is_more)


def _denied(aspect: str, word: str) -> Change | None:
    """Out of a word's range, where that is open to one side only."""
    option = ASPECTS[aspect].options[word]
    if option.low == -INF and option.high < INF:
        return Change(option.high, INF, 1)
    return Change(-INF, option.low, -1) if option.low > -INF and option.high == INF else None


def _has_its_colour(aspect: str, claim: Claim, numbers: Numbers) -> bool:
    """Whether a face has what a word asks for beside the aspect's own number: blond hair is not only light. Who may have a beard
    is not asked, nor what a comparative wants."""
    parts = {} if claim.is_more else ASPECTS[aspect].options[claim.word].parts or {}
    colours = {name: limits for name, limits in parts.items() if name not in ("age", "gender")}
    return all(low < numbers.get(name, math.nan) < high for name, (low, high) in colours.items())


def _middle(low: float, high: float) -> float:
    """Where a range lies, for comparing two of one number: an open range by its end."""
    return high if low == -INF else low if high == INF else (low + high) / 2


def _sorted(aspect: str) -> list[str]:
    """The words of an aspect by where their ranges lie."""
    options = ASPECTS[aspect].options
    return sorted(options, key=lambda word: _middle(options[word].low, options[word].high))


# -- any other model's embeddings -----------------------------------------------------------------------------------------

CLEAR = 0.35  # cosine from which what is left of a difference counts as one of a trait
ENOUGH = 0.3  # share of the way between a trait's two texts from which it counts as said
LEFT = 0.75  # share of a difference's length from which what no trait explains is followed


def by_fit(model: TextImage, target: str, source: str, known: set[str]) -> Reading:
    """The traits whose texts differ as the two texts do: one after the other the most similar one, and a least-squares fit of all
    that were found (orthogonal matching pursuit, Mallat and Zhang, IEEE Trans. Signal Process. 41, 1993). What no direction
    names takes part, so that red clothes are not taken for the next best trait."""
    there, wanted = text_direction(model, target, source)
    words = [(name, word) for name, aspect in ASPECTS.items() for word in _sorted(name)]
    try:
        texts = [sentence({}), *(sentence({name: word}) for name, word in words)]
        embedded = dict(zip([("", ""), *words], model.embed_texts(texts), strict=True))
    except FacemugError:  # a model that does not speak of faces
        return Reading({}, lambda numbers, missed: (there, wanted))
    ways: dict[tuple[str, str], Tensor] = {}
    for name, aspect in ASPECTS.items():
        ordered = _sorted(name)
        if aspect.number in known:
            ways[name, ""] = embedded[name, ordered[-1]] - embedded[name, ordered[0]]
        else:
            ways |= {(name, word): embedded[name, word] - embedded["", ""] for word in ordered}
    shares, left = _pursued({key: way for key, way in ways.items() if float(way.norm()) >= SAME}, wanted)
    changes = {}
    for (name, word), share in shares.items():
        if not word and abs(share) >= ENOUGH:
            side = _sorted(name)[-1 if share > 0 else 0]  # of two young ages, that which the target is more like
            near = max(_one_side(name, side), key=lambda one, of=name: float(embedded[of, one] @ there))
            option = ASPECTS[name].options[near]
            changes[ASPECTS[name].number] = Change(option.low, option.high, 1 if share > 0 else -1)
    is_explained = float(left.norm()) < LEFT * float(wanted.norm()) and not any(word for _, word in shares)

    def rest(numbers: Numbers, missed: Collection[str]) -> Difference | None:
        return None if changes and is_explained and not missed else (there, wanted)

    return Reading(changes, rest)


def _pursued(ways: Mapping[tuple[str, str], Tensor], wanted: Tensor) -> tuple[dict[tuple[str, str], float], Tensor]:
    """(which of ``ways`` [d] make up ``wanted`` [d], and how much of each, what is left of it [d])."""
    shares: dict[tuple[str, str], float] = {}
    left = wanted
    while len(shares) < len(ways):
        alike = {key: abs(float(torch.cosine_similarity(way, left, dim=0))) for key, way in ways.items() if key not in shares}
        nearest = max(alike, key=alike.__getitem__)
        if alike[nearest] < CLEAR:
            break
        chosen = [*shares, nearest]
        basis = torch.stack([ways[key] for key in chosen], dim=1).double().cpu()
        solved = torch.linalg.lstsq(basis, wanted.double().cpu()[:, None]).solution[:, 0]
        shares, left = dict(zip(chosen, solved.tolist(), strict=True)), wanted - (basis @ solved).to(wanted)
    return shares, left


def _one_side(aspect: str, end: str) -> list[str]:
    """The words of an aspect that lie on the same side of its middle as the word ``end``."""
    ordered = _sorted(aspect)
    half = len(ordered) // 2
    return ordered[:half] if end == ordered[0] else ordered[-half:]
