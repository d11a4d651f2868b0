from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.latent.text import TextEditSettings, follow, views
from facemug_lib.errors import FacemugError


class Colours:
    """A text–image model that understands colours: a picture is its mean colour, "red" is red."""

    name, code_group = "colours", "all"
    words = {"a person": (0.1, 0.1, 0.1), "red": (1.0, -1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            if text not in self.words:
                raise FacemugError(f"{text} is no colour")
        return F.normalize(torch.tensor([self.words[text] for text in texts]), dim=1)

    def embed_images(self, images: Tensor) -> Tensor:
        return F.normalize(images.mean((2, 3)) + 0.1, dim=1)


def paint(codes: Tensor) -> Tensor:
    return codes[:, 0, :3].tanh()[..., None, None].expand(-1, -1, 16, 16)


QUICK = TextEditSettings(latent=0.0, identity=0.0, target=0.0, lr=0.1)


def test_codes_follow_the_text() -> None:
    codes = torch.zeros(1, 17, 512)
    followed = follow(paint, codes, Colours(), "red", steps=30, settings=QUICK)
    red, green, blue = paint(followed.codes)[0, :, 0, 0].tolist()
    assert red > 0.1 > -0.05 > max(green, blue)
    assert followed.agreement > 0.95 and followed.losses[-1] < 0.1 < followed.losses[0]
    assert not followed.codes[:, 1:].any(), "nothing else had a reason to move"
    again = follow(paint, codes, Colours(), "red", steps=30, settings=QUICK)
    assert torch.equal(again.codes, followed.codes)


def test_the_pull_and_the_source_matter() -> None:
    codes = torch.zeros(1, 17, 512)
    free, held = (follow(paint, codes, Colours(), "red", steps=20, settings=TextEditSettings(
        latent=weight, identity=0.0, target=0.0, lr=0.1)) for weight in (0.0, 50.0))
    assert held.codes.norm() < 0.5 * free.codes.norm()
    other = follow(paint, codes, Colours(), "red", "blue", steps=20, settings=QUICK)
    green = [float(paint(one.codes)[0, 1, 0, 0]) for one in (other, free)]
    assert green[0] > green[1] + 0.05, "from blue to red green has no part"


def test_only_the_named_codes_move() -> None:
    def all_codes(codes: Tensor) -> Tensor:
        return codes[:, :, :3].mean(1).tanh()[..., None, None].expand(-1, -1, 16, 16)

    settings = TextEditSettings(latent=0.0, identity=0.0, target=0.0, lr=0.5, code_group="coarse")
    followed = follow(all_codes, torch.zeros(1, 17, 512), Colours(), "red", steps=5, settings=settings)
    assert followed.codes[0].any(dim=1).tolist() == [True] * 4 + [False] * 13
    followed = follow(all_codes, torch.zeros(1, 17, 512), Colours(), "red", steps=5, settings=QUICK)
    assert followed.codes[0].any(dim=1).all()


def test_the_target_wants_more_than_the_direction() -> None:
    codes = torch.zeros(1, 17, 512)
    short, far = (follow(paint, codes, Colours(), "red", steps=20, settings=TextEditSettings(
        latent=0.05, identity=0.0, target=weight, lr=0.1)).codes.norm() for weight in (0.0, 4.0))
    assert far > 1.2 * short


def test_it_stops_early_and_can_be_stopped() -> None:
    done: list[int] = []
    settings = TextEditSettings(latent=0.0, identity=0.0, target=0.0, lr=0.1, patience=5, least=0.01)
    followed = follow(paint, torch.zeros(1, 17, 512), Colours(), "red", steps=500, settings=settings,
                      progress=lambda step, steps: done.append(step))
    assert len(followed.losses) < 200 and done == list(range(1, len(followed.losses)))

    def stop(step: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(paint, torch.zeros(1, 17, 512), Colours(), "red", settings=settings, progress=stop)


def test_identity_holds_back() -> None:
    def identity(image: Tensor) -> Tensor:
        return F.normalize(image.mean((2, 3)) + 0.3, dim=1)

    codes = torch.zeros(1, 17, 512)
    moved = [follow(paint, codes, Colours(), "red", steps=25, identity=identity,
                    settings=TextEditSettings(latent=0.0, identity=weight, target=0.0, lr=0.1)).codes for weight in (0.0, 5.0)]
    like = [float(F.cosine_similarity(identity(paint(one)), identity(paint(codes)))) for one in moved]
    assert like[1] > like[0] + 0.05


@pytest.mark.parametrize(("arguments", "message"), [
    ({"target": "red", "source": "red"}, "mean the same"), ({"target": "green"}, "green is no colour"),
    ({"target": "red", "steps": 0}, "0 text steps"),
])
def test_bad_requests(arguments: dict, message: str) -> None:
    with pytest.raises(FacemugError, match=message):
        follow(paint, torch.zeros(1, 17, 512), Colours(), **arguments)


def test_views_are_the_same_for_both_pictures() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = views(torch.cat((image, image)), 3, 0.1, torch.Generator().manual_seed(1))
    assert torch.equal(first, second) and torch.allclose(first[0], image[0], atol=1e-5)
    assert not torch.allclose(first[1], first[2], atol=1e-2)


@pytest.fixture(scope="module")
def speaking(editor: Editor) -> Editor:
    return Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts,
                  text_models={"colours": Colours()})


@pytest.mark.parametrize("refine", [0, 2])
def test_a_text_edit_stays_under_the_mask(speaking: Editor, face: Tensor, mask: Tensor, refine: int) -> None:
    plain = speaking.edit(face, mask, attributes={"age": 0.0}, refine=refine)
    result = speaking.edit(face, mask, text="red", text_model="colours", text_steps=6, refine=refine)
    inside = mask.expand_as(face) > 0.5
    assert torch.equal(result.image[~inside], face[~inside])
    redness = [float((one.image[:, 0] - one.image[:, 1:].mean(1))[inside[:, 0]].mean()) for one in (plain, result)]
    assert redness[1] > redness[0] + 1e-3
    assert result.followed is not None and plain.followed is None
    assert result.followed.losses[-1] < result.followed.losses[0] and "text" in result.timings
    again = speaking.edit(face, mask, text="red", text_model="colours", text_steps=6, refine=refine)
    assert torch.equal(again.image, result.image)


def test_texts_in_a_batch_are_each_their_own(speaking: Editor, face: Tensor, mask: Tensor) -> None:
    edits = [Edit(face, mask, text="red"), Edit(face, mask), Edit(face, mask, text="blue")]
    red, plain, blue = speaking.edit_many(edits, text_model="colours", text_steps=4)
    assert plain.followed is None and torch.allclose(plain.image, speaking.edit(face, mask).image, atol=2e-3)
    assert (red.image - blue.image)[:, 0].sum() > 0 > (red.image - blue.image)[:, 2].sum()


def test_texts_are_checked_before_the_work(speaking: Editor, face: Tensor, mask: Tensor) -> None:
    with pytest.raises(FacemugError, match="green is no colour"):
        speaking.edit(face, mask, text="green", text_model="colours")
    with pytest.raises(FacemugError, match="no model 'ViT-Z'"):
        speaking.edit(face, mask, text="red", text_model="ViT-Z:openai")
