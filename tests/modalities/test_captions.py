"""Statements follow from numbers, sentences say them, and their truth about another face is known."""

from __future__ import annotations

import itertools

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.captions import ASPECTS, NUMBERS, caption, holds, mirrored, phrases, sentence, statements, words

NUMBERS_OF_ONE = {
    "age": 25.0, "gender": -3.0, "smile": 2.0, "glasses": 1.5, "mouth_open": 0.1, "yaw": -20.0, "pitch": 0.0,
    "hair_lightness": 0.5, "hair_chroma": 0.2, "hair_length": 8.0,
}  # fmt: skip
SAID = {"gender": "woman", "age": "young", "hair length": "long", "hair": "blond", "glasses": "glasses", "smile": "smiling",
        "turn": "left"}


def test_the_plain_wording() -> None:
    assert statements(NUMBERS_OF_ONE) == SAID
    assert caption(NUMBERS_OF_ONE) == "A young woman with long blond hair and glasses, smiling, looking to the left."
    assert caption({"age": 70, "gender": True, "hair_lightness": 0.6, "hair_chroma": 0.0}) == "An old man with grey hair."
    assert caption({"yaw": 25.0, "mouth_open": 0.4}) == "A person with an open mouth, looking to the right."
    assert caption({"age": 6.0, "gender": -2.0}) == "A girl."
    assert caption({}) == "A person."


def test_what_is_doubtful_is_not_said() -> None:
    assert statements({"gender": 0.1, "smile": 0.2, "glasses": -0.1, "yaw": 8.0, "age": float("nan")}) == {}
    assert statements({"beard": 20.0, "gender": -2.0, "age": 30.0}).get("beard") is None  # a shadow, not a beard
    assert statements({"beard": 20.0, "gender": 2.0, "age": 30.0})["beard"] == "beard"


def test_ranges_of_one_aspect_do_not_meet() -> None:
    for name, aspect in ASPECTS.items():
        plain = [option for option in aspect.options.values() if not option.parts]
        for a, b in itertools.combinations(plain, 2):
            assert a.high < b.low or b.high < a.low, name


def test_the_generator_varies_the_wording_only() -> None:
    def some(seed: int) -> list[str]:
        rng = torch.Generator().manual_seed(seed)
        return [sentence(SAID, rng) for _ in range(20)]

    known = {word for phrase in (*words(), *phrases()) for word in phrase.split()}
    assert some(0) == some(0) and len(set(some(0))) > 5
    for text in some(0):
        assert {"left"} <= set(text.replace(",", "").split()) and ("hair" in text)
        assert set(text.replace(",", "").split()) <= known, text


def test_truth_of_claims() -> None:
    assert holds({"gender": "woman"}, SAID) is True
    assert holds({"gender": "woman", "hair": "black"}, SAID) is False
    assert holds({"gender": "woman", "mouth": "open"}, SAID) is None  # nothing is known of the mouth
    assert holds({"gender": "man", "mouth": "open"}, SAID) is False
    assert mirrored(SAID) == SAID | {"turn": "right"} and mirrored(mirrored(SAID)) == SAID


def test_every_number_and_word_is_named() -> None:
    assert {"age", "yaw", "hair_chroma", "background_lightness"} <= set(NUMBERS)
    assert len(words()) == len(set(words())) and all(word == word.lower() for word in words())


@pytest.mark.parametrize("wrong", [{"moustache": 1.0}, {"age": "old"}])
def test_bad_attributes_get_one_clear_line(wrong: dict) -> None:
    with pytest.raises(FacemugError, match="attribute"):
        caption(wrong)


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(FacemugError, match="nothing can be said of hair = purple"):
        sentence({"hair": "purple"})


def test_adjectives_that_many_things_share_belong_to_phrases() -> None:
    assert {"black hair", "black skin", "dark clothes", "open mouth", "open eyes"} <= set(phrases())
    assert not {"black", "open", "hair", "skin"} & set(words()) and {"light", "no", "a", "smiling"} <= set(words())
