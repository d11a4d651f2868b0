"""Captions say what the attributes say, and the same for the same generator."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.captions import caption

ATTRIBUTES = {
    "age": 25.0, "gender": -3.0, "smile": 2.0, "glasses": 1.5, "mouth_open": 0.1, "yaw": -20.0, "pitch": 0.0,
    "hair_lightness": 0.5, "hair_length": 8.0,
}  # fmt: skip


def test_the_plain_wording() -> None:
    assert caption(ATTRIBUTES) == "A young woman with long blond hair and glasses, smiling, looking to the left."
    assert caption({"age": 70, "gender": True, "hair_colour": "grey"}) == "An old man with grey hair."
    assert caption({"yaw": 25.0, "mouth_open": 0.4}) == "A person, with an open mouth, looking to the right."
    assert caption({}) == "A person."


def test_uncertain_attributes_are_not_mentioned() -> None:
    assert caption({"gender": 0.1, "smile": 0.2, "glasses": -0.1, "yaw": 3.0}) == "A person."


def test_the_generator_varies_the_wording_only() -> None:
    def some(seed: int) -> list[str]:
        rng = torch.Generator().manual_seed(seed)
        return [caption(ATTRIBUTES, rng) for _ in range(20)]

    assert some(0) == some(0) and len(set(some(0))) > 5
    for sentence in some(0):
        assert "woman" in sentence and "glasses" in sentence and "left" in sentence and "smil" in sentence
        assert sentence[0].isupper() and sentence.endswith(".")


@pytest.mark.parametrize("wrong", [{"beard": 1.0}, {"age": "old"}, {"age": float("nan")}])
def test_bad_attributes_get_one_clear_line(wrong: dict) -> None:
    with pytest.raises(FacemugError, match="attribute"):
        caption(wrong)
