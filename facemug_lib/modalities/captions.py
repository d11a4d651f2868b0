"""The text modality of a face: what can be said of it, and sentences that say it.

A face is described by *statements*, aspect → word, such as ``{"gender": "woman", "smile": "smiling"}``. Each follows from
numbers that are read off the picture (the expert's attributes in their own units, and colours of regions); where the numbers
are doubtful nothing is stated. :func:`sentence` puts statements into words, :func:`holds` says whether they are true of another
face. So the truth of any caption about any face is known, which is what a text–image model learns from.

Left and right are the viewer's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.draws import integers

INF = float("inf")
Pick = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Option:
    """One word of an aspect: it is true where every number lies in its range (low, high), open ends as ±inf.

    ``wordings`` say it, the plain one first; ``parts`` adds numbers beside the aspect's own.
    """

    low: float
    high: float
    wordings: tuple[str, ...]
    parts: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Aspect:
    """What one number says in words, and where in a sentence: ``place`` is adjective, noun, hair, with, doing or where."""

    number: str
    place: str
    options: Mapping[str, Option]


ADULT, MALE = {"age": (15.0, INF)}, {"gender": (0.5, INF)}
ASPECTS: Mapping[str, Aspect] = {
    "gender": Aspect("gender", "noun", {
        "man": Option(0.5, INF, ("man", "guy", "gentleman", "male person")),
        "woman": Option(-INF, -0.5, ("woman", "lady", "female person"))}),
    "age": Aspect("age", "adjective", {
        "child": Option(-INF, 13, ("child", "kid", "little child")),
        "young": Option(15, 29, ("young", "youthful")),
        "middle-aged": Option(37, 52, ("middle-aged",)),
        "old": Option(54, INF, ("old", "elderly", "aged"))}),
    "skin": Aspect("skin_lightness", "with", {
        "dark": Option(-INF, 0.45, ("dark skin", "brown skin", "black skin")),
        "pale": Option(0.64, INF, ("pale skin", "fair skin", "light skin"))}),
    "hair length": Aspect("hair_length", "hair", {
        "long": Option(6, INF, ("long",)), "short": Option(-INF, 1, ("short",))}),
    "hair": Aspect("hair_lightness", "hair", {
        "black": Option(-INF, 0.175, ("black", "dark")),
        "brown": Option(0.21, 0.34, ("brown", "brunette"), {"hair_chroma": (0.06, INF)}),
        "blond": Option(0.4, INF, ("blond", "blonde", "golden"), {"hair_chroma": (0.13, INF)}),
        "grey": Option(0.34, INF, ("grey", "gray", "silver", "white"), {"hair_chroma": (-INF, 0.1)})}),
    "glasses": Aspect("glasses", "with", {
        "glasses": Option(0.5, INF, ("glasses", "eyeglasses", "spectacles")),
        "no glasses": Option(-INF, -2, ("no glasses", "no eyeglasses"))}),
    "beard": Aspect("beard", "with", {
        "beard": Option(11, INF, ("a beard", "facial hair", "stubble"), ADULT | MALE),
        "no beard": Option(-INF, 3, ("no beard", "no facial hair", "a shaven chin"), ADULT | MALE)}),
    "lips": Aspect("lip_redness", "with", {
        "red": Option(0.5, INF, ("red lips", "lipstick")), "pale": Option(-INF, 0.4, ("pale lips", "no lipstick"))}),
    "mouth": Aspect("mouth_open", "with", {
        "open": Option(0.15, INF, ("an open mouth", "open lips", "visible teeth")),
        "closed": Option(-INF, 0.03, ("a closed mouth", "closed lips"))}),
    "eyes": Aspect("eyes_open", "with", {
        "wide": Option(0.285, INF, ("wide eyes", "wide open eyes", "big eyes", "open eyes")),
        "narrow": Option(-INF, 0.215, ("narrow eyes", "squinting eyes", "small eyes", "closed eyes"))}),
    "clothes": Aspect("clothes_lightness", "with", {
        "dark": Option(-INF, 0.2, ("dark clothes", "black clothes")),
        "bright": Option(0.6, INF, ("bright clothes", "white clothes")),
        "red": Option(-INF, INF, ("red clothes",), {"clothes_redness": (0.22, INF)})}),
    "smile": Aspect("smile", "doing", {
        "smiling": Option(1, INF, ("smiling", "laughing", "happy", "with a smile", "grinning", "joyful")),
        "serious": Option(-INF, -0.7, ("serious", "not smiling", "sad", "unhappy", "with no smile", "unsmiling"))}),
    "turn": Aspect("yaw", "doing", {
        "right": Option(12, INF, ("looking to the right", "facing right", "turned to the right")),
        "left": Option(-INF, -12, ("looking to the left", "facing left", "turned to the left")),
        "front": Option(-5, 5, ("facing the camera", "looking straight ahead", "seen from the front"))}),
    "tilt": Aspect("pitch", "doing", {
        "up": Option(9, INF, ("looking up", "facing up")), "down": Option(-INF, -7.5, ("looking down", "facing down"))}),
    "light": Aspect("light", "where", {
        "right": Option(0.12, INF, ("lit from the right", "light from the right")),
        "left": Option(-INF, -0.12, ("lit from the left", "light from the left"))}),
    "background": Aspect("background_lightness", "where", {
        "dark": Option(-INF, 0.24, ("dark background", "black background")),
        "bright": Option(0.72, INF, ("bright background", "white background", "light background")),
        "green": Option(-INF, INF, ("green background",), {"background_green": (0.04, INF)}),
        "blue": Option(-INF, INF, ("blue background",), {"background_warmth": (-INF, -0.08)}),
        "brown": Option(0.15, 0.6, ("brown background", "warm background"), {"background_warmth": (0.2, INF)})}),
}
"""Everything that can be said. Ranges leave room between two words: a face in between is neither, so no pair is a coin's toss."""

MIRRORED = {("turn", "left"): "right", ("turn", "right"): "left", ("light", "left"): "right", ("light", "right"): "left"}
BOYS = {"man": ("boy", "little boy"), "woman": ("girl", "little girl")}
NOUNS = ("skin", "hair", "lips", "clothes", "background", "mouth", "eyes")
"""What a word such as "black" or "open" can be said of: alone it does not say which."""
HAIR_COLOURS = tuple(chain.from_iterable(option.wordings for option in ASPECTS["hair"].options.values()))
OPENINGS = ("{}", "a photo of {}", "a portrait of {}", "a picture of {}", "the face of {}")


def statements(numbers: Mapping[str, float]) -> dict[str, str]:
    """Aspect → word, as far as ``numbers`` (name → value; nan or absent: unknown) say it clearly.

    Raises :class:`FacemugError` for a number that no aspect reads or a value that is none.
    """
    known: dict[str, float] = {}
    for name, value in numbers.items():
        if name not in NUMBERS:
            raise FacemugError(f"unknown attribute {name!r}: use {', '.join(NUMBERS)}")
        try:
            known[name] = (1.0 if value else -3.0) if isinstance(value, bool) else float(value)
        except (TypeError, ValueError) as error:
            raise FacemugError(f"attribute {name} is {value!r}: use a number") from error
    found = {}
    for name, aspect in ASPECTS.items():
        for word, option in aspect.options.items():
            ranges = {aspect.number: (option.low, option.high)} | dict(option.parts or {})
            if all(low < known.get(number, torch.nan) < high for number, (low, high) in ranges.items()):
                found[name] = word  # a later word is the more special one
    return found


def mirrored(said: Mapping[str, str]) -> dict[str, str]:
    """The statements of the mirror image."""
    return {aspect: MIRRORED.get((aspect, word), word) for aspect, word in said.items()}


def holds(claims: Mapping[str, str], said: Mapping[str, str]) -> bool | None:
    """Whether ``claims`` are true of a face of which ``said`` is known; None where it is not known."""
    if any(aspect in said and said[aspect] != word for aspect, word in claims.items()):
        return False
    return True if all(aspect in said for aspect in claims) else None


def sentence(claims: Mapping[str, str], generator: torch.Generator | None = None) -> str:
    """The claims in words: "a young woman with long blond hair and glasses, smiling, looking to the left".

    The generator chooses between equal wordings and orders; without one the plain wording is taken. Raises
    :class:`FacemugError` for an aspect or a word that is not in :data:`ASPECTS`.
    """
    for aspect, word in claims.items():
        if aspect not in ASPECTS or word not in ASPECTS[aspect].options:
            raise FacemugError(f"nothing can be said of {aspect} = {word}: see facemug_lib.modalities.captions.ASPECTS")

    def pick(wordings: Sequence[str]) -> str:
        return wordings[0 if generator is None else int(integers((), 0, len(wordings), generator))]

    def said(place: str) -> list[str]:
        there = [name for name, aspect in ASPECTS.items() if aspect.place == place and name in claims]
        if generator is not None:
            there = [there[index] for index in torch.randperm(len(there), generator=generator)]
        return [pick(ASPECTS[name].options[claims[name]].wordings) for name in there]

    hair = [pick(ASPECTS[name].options[claims[name]].wordings) for name in ("hair length", "hair") if name in claims]
    where = [f"a {words}" if words.endswith("background") else words for words in said("where")]
    having = ([" ".join((*hair, "hair"))] if hair else []) + said("with") + where
    subject, doing = _subject(claims, pick), said("doing")
    if generator is not None and not {"gender", "age"} & set(claims) and int(integers((), 0, 2, generator)):
        words = [*having, *doing]  # as people type: "blond hair, smiling"
        return ", ".join(words[index] for index in torch.randperm(len(words), generator=generator)) or subject
    text = subject + (f" with {', '.join(having[:-1])}{' and ' if having[1:] else ''}{having[-1]}" if having else "")
    text = ", ".join((text, *doing))
    return pick(OPENINGS).format(text)


def caption(numbers: Mapping[str, float], generator: torch.Generator | None = None) -> str:
    """All that is clear of a face as one sentence: "A young woman with long blond hair, smiling." """
    text = sentence(statements(numbers), generator)
    return f"{text[0].upper()}{text[1:]}."


def _subject(claims: Mapping[str, str], pick: Pick) -> str:
    gender, age = claims.get("gender"), claims.get("age")
    if age == "child":
        noun = pick(BOYS[gender]) if gender else pick(ASPECTS["age"].options["child"].wordings)
        return f"a {noun}"
    noun = pick(ASPECTS["gender"].options[gender].wordings) if gender else pick(("person", "human"))
    words = f"{pick(ASPECTS['age'].options[age].wordings)} {noun}" if age else noun
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


NUMBERS = tuple(dict.fromkeys(chain.from_iterable(
    (aspect.number, *chain.from_iterable(option.parts or () for option in aspect.options.values()))
    for aspect in ASPECTS.values())))
"""Names of the numbers that statements follow from."""


def phrases() -> list[str]:
    """Every adjective with its noun of :data:`NOUNS` that a sentence can contain, such as "black hair", sorted."""
    return sorted({phrase for text in _texts() for phrase in _phrases(text)})


def words() -> list[str]:
    """Every word that a sentence can contain outside of :func:`phrases`, sorted."""
    texts = [text for text in _texts() if not _phrases(text)] + [["a", "an", "person", "human", "with", "and", "no"]]
    return sorted({word for text in texts for word in text})


def _texts() -> list[list[str]]:
    wordings = [f"{wording} hair" if aspect.place == "hair" else wording
                for aspect in ASPECTS.values() for option in aspect.options.values() for wording in option.wordings]
    return [text.replace("{}", " ").split() for text in (*wordings, *OPENINGS[1:], *chain.from_iterable(BOYS.values()))]


def _phrases(text: Sequence[str]) -> list[str]:
    return [f"{word} {text[-1]}" for word in text[:-1] if word not in ("a", "an", "no")] if text[-1] in NOUNS else []
