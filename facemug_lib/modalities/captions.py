"""The text modality of a face: one English sentence composed from its attributes.

Attributes carry the names, units and signs of the expert's (``facemug_lib.experts``): ``age`` in years; ``gender`` (above 0:
male), ``smile`` and ``glasses`` as logits, or bools; ``mouth_open`` as a share of the mouth's width; ``yaw`` (above 0: to the
image's right) and ``pitch`` (above 0: up) in degrees; ``hair_lightness`` in 0..1; ``hair_length`` as the percentage of the image
that is hair below the mouth. ``hair_colour`` may be given as a word instead of a lightness. Whatever is missing is not mentioned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.draws import integers

NAMES = (
    "age", "gender", "smile", "glasses", "mouth_open", "eyes_open", "yaw", "pitch", "hair_lightness", "hair_length",
    "hair_colour",
)  # fmt: skip
SURE = 0.5  # a logit nearer to zero than this is not spoken of
HAIR_SHADES = ((0.16, "black"), (0.3, "dark brown"), (0.45, "brown"), (0.65, "blond"), (float("inf"), "very light"))
YOUNG, OLD = 30, 60

Pick = Callable[[Sequence[str]], str]


def caption(attributes: Mapping[str, float | bool | str], generator: torch.Generator | None = None) -> str:
    """A sentence such as "A young woman with long blond hair, smiling, looking to the left."

    The generator chooses between equal wordings; without one the first wording is always taken, so the sentence depends on the
    attributes alone. Left and right are the viewer's. Raises :class:`FacemugError` for an unknown name or a value that is not
    a finite number.
    """
    numbers: dict[str, float] = {}
    for name, value in attributes.items():
        if name not in NAMES:
            raise FacemugError(f"unknown attribute {name!r}: use {', '.join(NAMES)}")
        if name == "hair_colour":
            continue
        try:
            numbers[name] = (1.0 if value else -1.0) if isinstance(value, bool) else float(value)
        except (TypeError, ValueError) as error:
            raise FacemugError(f"attribute {name} is {value!r}: use a number") from error
        if not abs(numbers[name]) < float("inf"):
            raise FacemugError(f"attribute {name} is {value!r}: use a finite number")

    def pick(wordings: Sequence[str]) -> str:
        return wordings[0 if generator is None else int(integers((), 0, len(wordings), generator))]

    subject = _subject(numbers, pick)
    having = [part for part in (_hair(attributes, numbers), _glasses(numbers, pick)) if part]
    doing = [part for part in (_mouth(numbers, pick), _gaze(numbers, pick)) if part]
    sentence = subject + (f" with {' and '.join(having)}" if having else "")
    if doing:
        sentence += ", " + ", ".join(doing)
    sentence = pick(("{}.", "a photo of {}.", "a portrait of {}.")).format(sentence)
    return sentence[0].upper() + sentence[1:]


def _subject(numbers: Mapping[str, float], pick: Pick) -> str:
    gender, age = numbers.get("gender", 0.0), numbers.get("age")
    noun = "man" if gender > SURE else "woman" if gender < -SURE else "person"
    if age is None:
        return f"a {noun}"
    if age < 13:
        return "a " + ("boy" if gender > SURE else "girl" if gender < -SURE else "child")
    decade = f"a {noun} in {'his' if noun == 'man' else 'her' if noun == 'woman' else 'their'} {int(age // 10) * 10}s"
    if age < 20:
        return pick((f"a teenage {noun}" if noun != "person" else "a teenager", f"a young {noun}"))
    if age < YOUNG:
        return pick((f"a young {noun}", decade))
    if age >= OLD:
        return pick((f"an old {noun}", f"an elderly {noun}", decade))
    return pick((f"a middle-aged {noun}" if age >= 40 else f"a {noun}", decade))


def _hair(attributes: Mapping[str, float | bool | str], numbers: Mapping[str, float]) -> str:
    words = []
    length = numbers.get("hair_length")
    if length is not None:
        words += ["long"] if length > 6 else ["short"] if length < 2 else []
    if "hair_colour" in attributes:
        words.append(str(attributes["hair_colour"]))
    elif "hair_lightness" in numbers:
        words.append(next(word for limit, word in HAIR_SHADES if numbers["hair_lightness"] < limit))
    return " ".join((*words, "hair")) if words else ""


def _glasses(numbers: Mapping[str, float], pick: Pick) -> str:
    return pick(("glasses", "eyeglasses")) if numbers.get("glasses", 0.0) > SURE else ""


def _mouth(numbers: Mapping[str, float], pick: Pick) -> str:
    smiling, gap = numbers.get("smile", 0.0) > SURE, numbers.get("mouth_open", 0.0)
    if smiling:
        return pick(("smiling with an open mouth", "laughing")) if gap > 0.25 else pick(("smiling", "with a smile"))
    return pick(("with an open mouth", "mouth open")) if gap > 0.25 else ""


def _gaze(numbers: Mapping[str, float], pick: Pick) -> str:
    yaw, pitch = numbers.get("yaw", 0.0), numbers.get("pitch", 0.0)
    where = [word for word, true in (("up", pitch > 12), ("down", pitch < -12)) if true]
    where += [f"to the {side}" for side, true in (("right", yaw > 12), ("left", yaw < -12)) if true]
    return f"{pick(('looking', 'facing'))} {' and '.join(where)}" if where else ""
