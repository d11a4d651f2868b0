"""Texts are read back into the statements that sentences are made of."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.experts.text_image import SmallTextImage
from facemug_lib.modalities.captions import ASPECTS, sentence
from facemug_lib.modalities.claims import Claim, Said


@pytest.fixture(scope="module")
def model() -> SmallTextImage:
    return SmallTextImage()  # reading needs its words, not its weights


def claims(said: Said) -> dict[str, str]:
    return {aspect: claim.word for aspect, claim in said.claims.items()}


def test_every_sentence_is_read_back(model: SmallTextImage) -> None:
    draw = torch.Generator().manual_seed(0)
    for name, aspect in ASPECTS.items():
        for word in aspect.options:
            for _ in range(4):
                said = model.said(sentence({name: word}, draw))
                assert claims(said) == {name: word} and said.is_all, (name, word)
    whole = {"gender": "woman", "age": "old", "hair length": "long", "hair": "grey", "glasses": "no glasses", "mouth": "open",
             "smile": "serious", "turn": "left", "background": "green"}
    for _ in range(20):
        said = model.said(sentence(whole, draw))
        assert claims(said) == whole and said.is_all


@pytest.mark.parametrize(("text", "expected"), [
    ("a boy", {"gender": "man", "age": "child"}), ("her hair is black", {"hair": "black"}),
    ("a man without a beard", {"gender": "man", "beard": "no beard"}), ("no smile", {"smile": "serious"}),
    ("not smiling, with no long hair", {"smile": "serious", "hair length": "short"}), ("not a man", {"gender": "woman"}),
    ("no open mouth", {"mouth": "closed"}), ("a smiling person, serious", {"smile": "serious"}),
])
def test_nouns_negations_and_the_last_word(model: SmallTextImage, text: str, expected: dict[str, str]) -> None:
    assert claims(model.said(text)) == expected and model.said(text).is_all


def test_what_is_denied_of_several(model: SmallTextImage) -> None:
    said = model.said("a woman who is not old")
    assert claims(said) == {"gender": "woman"} and said.denied == {"age": "old"}


def test_comparatives(model: SmallTextImage) -> None:
    assert model.said("make her look older").claims == {"age": Claim("old", True)}
    assert model.said("darker skin and blond hair").claims == {"skin": Claim("dark", True), "hair": Claim("blond")}
    assert model.said("more smiling, with a beard and long hair").claims["smile"] == Claim("smiling", True)
    assert model.said("a more youthful man").claims == {"age": Claim("young", True), "gender": Claim("man")}


def test_words_that_are_no_statement_are_reported(model: SmallTextImage) -> None:
    said = model.said("left, a man")
    assert claims(said) == {"gender": "man"} and not said.is_all
