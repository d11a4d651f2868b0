"""What a text says of a face: :func:`facemug_lib.modalities.captions.sentence` read backwards, into the same statements.

Only the words of :data:`facemug_lib.modalities.captions.ASPECTS` are read, with "no" and "not" before them, and comparatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from facemug_lib.modalities.captions import ASPECTS, BOYS, Option

COMPARATIVES = {
    "older": "old", "younger": "young", "longer": "long", "shorter": "short", "darker": "dark", "paler": "pale",
    "fairer": "fair", "lighter": "light", "brighter": "bright", "blonder": "blond", "blacker": "black", "browner": "brown",
    "greyer": "grey", "grayer": "gray", "whiter": "white", "redder": "red", "happier": "happy", "sadder": "sad", "wider": "wide",
    "bigger": "big", "narrower": "narrow", "smaller": "small",
}
"""Words that say how a face shall differ from what it is, each with the word that it comes from."""
MORE = "more"  # makes a comparative of the word after it
NEGATIONS = ("no", "not")
SILENT = frozenset(("a", "an", "the", "of", "and", "with", "to", "photo", "portrait", "picture", "face", "person", "human"))
"""Words that say nothing of a face by themselves."""


class Claim(NamedTuple):
    """``word`` of an aspect is said to be true; with ``is_more``, truer than it is now."""

    word: str
    is_more: bool = False


@dataclass(frozen=True)
class Said:
    """What a text says.

    claims: aspect → what is claimed of it. denied: aspect → the word that is said to be untrue, where the aspect knows several
    others. is_all: whether every word that says something was read.
    """

    claims: Mapping[str, Claim]
    denied: Mapping[str, str]
    is_all: bool


def comparatives(words: Sequence[str]) -> set[str]:
    """The words that a text, in the words that were typed, says as comparatives: "older" gives old, "more smiling" smiling."""
    after_more = {word for before, word in zip(words, words[1:], strict=False) if before == MORE}
    return {COMPARATIVES[word] for word in words if word in COMPARATIVES} | {COMPARATIVES.get(word, word) for word in after_more}


def said(words: Iterable[str], more: Iterable[str] = ()) -> Said:
    """Read a text, given as the words that the text–image model understands, adjectives before their nouns ("long hair black
    hair"). ``more`` are those of its words that were comparatives. Of an aspect that is named twice the later word counts."""
    left = [word for word in words if word not in SILENT]
    claims: dict[str, Claim] = {}
    denied: dict[str, str] = {}
    is_all, place, more = True, 0, set(more)
    while place < len(left):
        is_denied = False
        found = _longest(left, place)
        if found is None and left[place] in NEGATIONS:
            is_denied, found = True, _longest(left, place + 1)
            place += found is not None
        if found is None:
            is_all = False
            place += 1
            continue
        is_more = bool(more & set(left[place:place + found.length]))
        for aspect, word in found.claims:
            other = [one for one in ASPECTS[aspect].options if one != word]
            if is_denied and len(other) > 1:
                denied[aspect] = word
            else:
                claims[aspect] = Claim(other[0] if is_denied else word, is_more and not is_denied)
        place += found.length
    return Said(claims, {aspect: word for aspect, word in denied.items() if aspect not in claims}, is_all)


def option(aspect: str, word: str) -> Option:
    """The range of numbers that a word of an aspect stands for."""
    return ASPECTS[aspect].options[word]


class _Found(NamedTuple):
    length: int
    claims: tuple[tuple[str, str], ...]


def _readings() -> dict[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Every wording, without silent words → what it claims, (aspect, word) each."""
    found = {}
    for name, aspect in ASPECTS.items():
        for word, one in aspect.options.items():
            for wording in one.wordings:
                found[_bare(f"{wording} hair" if aspect.place == "hair" else wording)] = ((name, word),)
    for gender, wordings in BOYS.items():
        for wording in wordings:
            found[_bare(wording)] = (("gender", gender), ("age", "child"))
    return found


def _bare(wording: str) -> tuple[str, ...]:
    return tuple(word for word in wording.split() if word not in SILENT)


_READINGS = _readings()
_LONGEST = max(map(len, _READINGS))


def _longest(words: Sequence[str], place: int) -> _Found | None:
    """The longest wording that starts at ``place``."""
    for length in range(min(_LONGEST, len(words) - place), 0, -1):
        if claims := _READINGS.get(tuple(words[place:place + length])):
            return _Found(length, claims)
    return None
