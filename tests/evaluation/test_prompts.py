"""The prompts are understood by the shipped words, and their effect is read where they point to."""

from __future__ import annotations

import pytest
from stubs import Light, StubJudges
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.text import TextEditSettings
from facemug_lib.evaluation.prompts import PROMPTS, Prompt, prompt_effect
from facemug_lib.evaluation.protocols import prior_set
from facemug_lib.experts.text_image import SmallTextImage
from facemug_lib.experts.traits import TRAITS


def test_twenty_prompts_that_the_small_model_can_read() -> None:
    model = SmallTextImage()
    assert len(PROMPTS) == 20 and len({prompt.text + prompt.trait for prompt in PROMPTS}) == 20
    for prompt in PROMPTS:
        assert prompt.trait in TRAITS and prompt.sign in (-1, 1)
        assert model.understood(prompt.text) != model.understood(prompt.source)


@pytest.mark.parametrize("is_masked", [True, False])
def test_an_effect_is_read_before_and_after(editor: Editor, is_masked: bool) -> None:
    speaking = Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts,
                      text_models={"light": Light()})

    def read(images: Tensor) -> dict[str, Tensor]:
        return {"skin_lightness": images.mean((1, 2, 3))}

    effect, pictures = prompt_effect(
        speaking, prior_set(editor.prior, StubJudges(), 2), Prompt("bright", "dark", "skin_lightness", 1, "centre"), read,
        lambda images: F.normalize(images.mean((2, 3)) + 2, dim=1), 0.1, range(2), is_masked=is_masked, steps=8, model="light",
        settings=TextEditSettings(latent=0.0, identity=0.0, lr=0.2))
    assert pictures.shape == (2, 3, 256, 256) and effect.n == 2 and effect.steps <= 8
    assert effect.after > effect.before and effect.change.value == pytest.approx((effect.after - effect.before) / 0.1, rel=1e-4)
    assert effect.agreement > 0 and effect.changed_outside == 0 and 0 < effect.identity.value <= 1
    assert effect.row()["mask"] == ("centre" if is_masked else "none")
