"""What a text says of traits becomes strengths of their directions, and the search for them ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.latent.directions import Direction
from facemug_lib.editing.latent.search import sought
from facemug_lib.editing.latent.text_reading import Change, by_fit, by_words, read_difference, trait_names
from facemug_lib.editing.latent.text_traits import held, lead
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.experts.text_image import SmallTextImage
from facemug_lib.modalities.captions import ASPECTS, INF, sentence

KNOWN = {"smile", "age", "gender", "glasses", "hair_lightness", "hair_length", "beard", "yaw"}
S = TextEditSettings()


@pytest.fixture(scope="module")
def model() -> SmallTextImage:
    torch.manual_seed(0)
    return SmallTextImage().eval().requires_grad_(False)


def signs(changes: Mapping[str, Change], now: Mapping[str, float]) -> dict[str, int]:
    return {name: int(np.sign(change.goal(now.get(name, 0.0), 1.0, S) - now.get(name, 0.0))) for name, change in changes.items()}


# -- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "source", "expected"), [
    ("a smiling person", "a serious person", {"smile": 1}), ("a serious person", "a smiling person", {"smile": -1}),
    ("an old man with glasses", "a young man", {"age": 1, "glasses": 1}), ("glasses", "no glasses", {"glasses": 1}),
    ("a man without glasses", "a man with glasses", {"glasses": -1}), ("a woman", "a person", {"gender": -1}),
    ("long blond hair", "a person", {"hair_length": 1, "hair_lightness": 1}), ("older", "a person", {"age": 1}),
    ("not smiling", "a person", {"smile": -1}), ("a person", "a smiling person", {"smile": -1}),
    ("younger, with darker hair", "a person", {"age": -1, "hair_lightness": -1}), ("red clothes", "a person", {}),
    ("a green background", "a blue background", {}), ("looking to the right", "looking to the left", {"yaw": 1}),
])
def test_signs_of_what_words_say(model: SmallTextImage, target: str, source: str, expected: dict[str, int]) -> None:
    now = {"age": 35.0, "gender": 0.0, "hair_lightness": 0.3, "hair_length": 3.0, "smile": 0.0, "glasses": -3.0}
    now |= {"glasses": 1.0} if expected.get("glasses") == -1 else {}
    assert signs(by_words(model, target, source, KNOWN).changes, now) == expected


def test_what_no_direction_names_is_left(model: SmallTextImage) -> None:
    def rest(target: str, source: str, numbers: Mapping[str, float] | None = None, missed: Sequence[str] = ()) -> Tensor | None:
        found = by_words(model, target, source, KNOWN).rest(numbers or {}, missed)
        return None if found is None else found[1]

    def way(target: str, source: str) -> Tensor:
        there, here = model.embed_texts([target, source])
        return there - here

    assert rest("a smiling person", "a serious person") is None
    assert torch.allclose(rest("smiling, red clothes", "serious, dark clothes"), way(
        sentence({"clothes": "red"}), sentence({"clothes": "dark"})), atol=1e-6)
    assert torch.allclose(rest("a smiling person", "a serious person", missed=["smile"]), way(
        sentence({"smile": "smiling"}), sentence({"smile": "serious"})), atol=1e-6), "the direction did not bring it"
    blond = "blond hair", "black hair"
    assert rest(*blond, {"hair_chroma": 0.2}) is None and rest(*blond, {"hair_chroma": 0.0}) is not None  # light is not blond
    assert torch.allclose(rest("a man, left", "a woman"), way("a man, left", "a woman"), atol=1e-6), "not all of it was read"


def test_how_far(model: SmallTextImage) -> None:
    old, child = (by_words(model, *texts, KNOWN).changes["age"] for texts in (("old", "young"), ("a child", "a person")))
    assert old.goal(50.0, 10.0, S) == pytest.approx(54 + 10 * S.margin)
    assert old.goal(70.0, 10.0, S) == pytest.approx(70 + 10 * S.least_change)  # the source says that this is young
    assert old.goal(20.0, 10.0, S) == pytest.approx(20 + 10 * S.most_change)
    assert child.goal(8.0, 10.0, S) == 8.0  # nothing is said against what it is
    young = by_words(model, "young", "old", KNOWN).changes["age"]
    assert 15 < young.goal(31.0, 10.0, S) < 29 and 15 < young.goal(18.0, 10.0, S) < 29
    assert by_words(model, "older", "a person", KNOWN).changes["age"].goal(70.0, 10.0, S) == 70 + 10 * S.least_change


# -- another model's embeddings -------------------------------------------------------------------------------------------


class Spoken:
    """Texts are sums of random vectors of what they claim, as far as the small model's words go, and of a common one."""

    name, code_group = "spoken", "all"

    def __init__(self, model: SmallTextImage) -> None:
        self.model = model
        draw = torch.Generator().manual_seed(1)
        self.of = {(name, word): torch.randn(256, generator=draw) for name, aspect in ASPECTS.items() for word in aspect.options}
        self.common = 4 * torch.randn(256, generator=draw)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        claims = [self.model.said(text).claims.items() if text != "a person" else () for text in texts]
        return F.normalize(torch.stack([sum((self.of[name, claim.word] for name, claim in said), self.common)
                                        for said in claims]), dim=1)


def test_a_fit_finds_what_words_say(model: SmallTextImage) -> None:
    spoken = Spoken(model)
    for target, source, expected in (("a smiling person", "a serious person", {"smile": 1}), ("young", "old", {"age": -1}),
                                     ("an old man", "a young woman", {"age": 1, "gender": 1}), ("red lips", "pale lips", {}),
                                     ("no glasses", "glasses", {"glasses": -1})):
        reading = by_fit(spoken, target, source, KNOWN)
        assert {name: change.sign for name, change in reading.changes.items()} == expected, target
        assert reading.rest({}, ["age"]) is not None
    assert by_fit(spoken, "a smiling person", "a serious person", KNOWN).rest({}, ()) is None
    assert by_fit(spoken, "young", "old", KNOWN).changes["age"].low == 15  # and not a child


# -- the search -----------------------------------------------------------------------------------------------------------


def axis(name: str, place: int, deviation: float = 1.0) -> Direction:
    vector = torch.zeros(17, 512)
    vector[:, place] = 1.0
    return Direction(name, vector, "boundary", about={"trait": name, "deviation": deviation})


DIRECTIONS = {"smile": axis("smile", 0), "age": axis("age", 1, 10.0)}


def linear(codes: Tensor, gain: float = 0.6) -> dict[str, float]:
    smile, age = codes[0, 0, 0], codes[0, 0, 1]
    return {"smile": float(gain * smile + 0.2 * age), "age": float(30 + 10 * (gain * age - 0.2 * smile))}


def test_the_strengths_are_found_together() -> None:
    changes = {"smile": Change(1.0, INF, 1), "age": Change(40.0, INF, 1)}
    read: list[Tensor] = []

    def look(codes: Tensor) -> dict[str, float]:
        read.append(codes)
        return linear(codes)

    led = lead(look, torch.zeros(1, 17, 512), changes, DIRECTIONS, S)
    assert led.after["smile"] == pytest.approx(1.75, abs=0.3) and led.after["age"] == pytest.approx(45, abs=3)
    assert len(read) == led.pictures + 1 <= S.tries + 1 and not led.missed
    assert linear(led.codes) == led.after and linear(torch.zeros(1, 17, 512)) == led.before
    again = lead(linear, torch.zeros(1, 17, 512), changes, DIRECTIONS, S)
    assert torch.equal(again.codes, led.codes) and again.strengths == led.strengths


def test_a_direction_that_brings_nothing_is_not_followed() -> None:
    led = lead(lambda codes: {"smile": 0.0, "age": 30.0}, torch.zeros(1, 17, 512), {"smile": Change(1.0, INF, 1)}, DIRECTIONS, S)
    assert led.missed == {"smile"} and led.strengths == {"smile": 0.0} and not led.codes.any() and led.pictures <= S.tries
    unseen = lead(lambda codes: {"smile": float("nan")}, torch.zeros(1, 17, 512), {"smile": Change(1.0, INF)}, DIRECTIONS, S)
    assert unseen.missed == {"smile"} and not unseen.codes.any() and unseen.pictures == 0


def test_no_strength_is_beyond_what_faces_bear() -> None:
    changes = {"smile": Change(9.0, INF, 1)}
    weak = lead(lambda codes: linear(codes, 0.2), torch.zeros(1, 17, 512), changes, DIRECTIONS, replace(S, most_change=99.0))
    assert weak.strengths["smile"] == pytest.approx(S.longest) and weak.missed == {"smile"}
    steep = DIRECTIONS | {"smile": Direction("smile", 5 * DIRECTIONS["smile"].vector, "boundary", about={"deviation": 1.0})}
    far = lead(lambda codes: linear(codes, 0.02), torch.zeros(1, 17, 512), changes, steep, replace(S, least_gain=0.01))
    assert float(far.codes.norm()) == pytest.approx(S.furthest)


def test_a_search_gets_over_what_cannot_be_read() -> None:
    def read(at: np.ndarray) -> np.ndarray | None:
        return None if at[0] > 1.5 else 2 * at

    found = sought(read, np.array([2.0]), np.eye(1), np.zeros(1), size=lambda error: float(np.abs(error).max()), tolerance=0.1,
                   tries=4, longest=3.0)
    assert found.readings[0] == pytest.approx(2.0, abs=0.1) and found.pictures <= 4


def test_only_a_loss_is_held_and_what_the_text_does_not_name() -> None:
    led = lead(linear, torch.zeros(1, 17, 512), {"smile": Change(1.0, INF, 1)}, DIRECTIONS, S)

    def loss(smile: float, age: float) -> float:
        now = {"smile": torch.full((1,), smile), "age": torch.full((1,), age)}
        return float(held(lambda image: now, led, DIRECTIONS, S)(torch.zeros(1, 3, 8, 8)))

    reached = led.after["smile"]
    assert loss(reached + 1, 30.0) == 0 and loss(reached - 1, 30.0) == pytest.approx(S.hold, rel=1e-4)
    assert loss(reached, 20.0) == loss(reached, 40.0) == pytest.approx(S.others, rel=1e-4)
    assert loss(reached, float("nan")) == 0


# -- through the editor ---------------------------------------------------------------------------------------------------


class Brightness(torch.nn.Module):
    """Reads how bright a picture is as a smile, behind the expert's interface."""

    def forward(self, images: Tensor) -> object:
        class Output:
            semantics = torch.zeros(len(images), 19, *images.shape[2:])
            attributes = {"smile": 20 * images.mean((1, 2, 3))}
        return Output


@pytest.fixture(scope="module")
def speaking(editor: Editor, model: SmallTextImage) -> Editor:
    judges = editor.experts(True, True)
    light = editor.prior.paint.mean(1).view(17, 512)
    direction = Direction("smile", light * (0.3 / float(light.norm(dim=1).max())), "boundary", about={"deviation": 1.0})
    experts = replace(judges, parser=Brightness())
    return Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=lambda *which: experts,
                  directions={"smile": direction}, text_models={"small": model})


def test_an_edit_follows_the_trait_under_its_mask(speaking: Editor, face: Tensor, mask: Tensor) -> None:
    edit = Edit(face, mask, text="a smiling person", text_source="a serious person", text_steps=2)
    made, again = (speaking.edit_many([edit])[0] for _ in range(2))
    assert torch.equal(made.image, again.image) and torch.equal(made.codes, again.codes)
    assert torch.equal(made.image[:, :, mask[0, 0] < 0.5], face[:, :, mask[0, 0] < 0.5])
    assert set(made.followed.strengths) == {"smile"} and np.isfinite(made.followed.agreement)
    other = speaking.edit_many([replace(edit, text="red clothes", text_source="dark clothes")])[0]
    assert other.followed.strengths == {} and other.followed.steps == 2


def test_switched_off_it_is_the_descent(speaking: Editor, face: Tensor, mask: Tensor) -> None:
    edit = Edit(face, mask, text="a smiling person", text_source="a serious person", text_steps=2)
    off, on = (speaking.edit_many([edit], text_settings=TextEditSettings(traits=is_on))[0] for is_on in (False, True))
    silent = Editor(speaking.prior, speaking.encoder, speaking.warping, speaking.generator, experts=speaking.experts,
                    directions={}, text_models={"small": speaking._text_models["small"]})
    plain = silent.edit_many([edit])[0]  # knows no direction: nothing but Eq. 4 and 5
    assert torch.equal(off.codes, plain.codes) and torch.equal(off.image, plain.image) and off.followed.strengths == {}
    assert not torch.equal(on.codes, off.codes)


def test_directions_without_a_trait_say_nothing(model: SmallTextImage) -> None:
    named = {"old": Direction("old", torch.ones(17, 512), "text", about={"deviation": 1.0}),
             "smile": Direction("smile", torch.ones(17, 512), "boundary")}
    assert trait_names(named) == set()
    assert read_difference(model, "smiling", "serious", named).changes == {}
