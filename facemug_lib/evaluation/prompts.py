"""Do text edits do what they say? Twenty prompts, judged by the expert, which has never seen a word.

Taught in `notebooks/07_text_editing.ipynb`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.latent.text import TEXT_STEPS, TextEditSettings
from facemug_lib.evaluation.attributes import Read
from facemug_lib.evaluation.metrics import Score, cosine, mean_score
from facemug_lib.evaluation.protocols import EDIT_SEEDS, TestSet
from facemug_lib.pictures import as_8_bit
from facemug_lib.progress import silent


class Prompt(NamedTuple):
    """A text, what the face is called before it, the trait that should move, where to (±1), and the masks to edit under."""

    text: str
    source: str
    trait: str
    sign: int
    family: str = "face"


PROMPTS = (
    Prompt("a smiling person", "a serious person", "smile", 1), Prompt("a serious person", "a smiling person", "smile", -1),
    Prompt("an open mouth", "a closed mouth", "mouth_open", 1), Prompt("a closed mouth", "an open mouth", "mouth_open", -1),
    Prompt("an old person", "a young person", "age", 1), Prompt("a young person", "an old person", "age", -1),
    Prompt("a child", "a middle-aged person", "age", -1), Prompt("a man", "a woman", "gender", 1),
    Prompt("a woman", "a man", "gender", -1), Prompt("a man with a beard", "a man with no beard", "beard", 1),
    Prompt("wide open eyes", "narrow eyes", "eyes_open", 1), Prompt("narrow eyes", "wide open eyes", "eyes_open", -1),
    Prompt("glasses", "no glasses", "glasses", 1), Prompt("dark skin", "pale skin", "skin_lightness", -1),
    Prompt("pale skin", "dark skin", "skin_lightness", 1), Prompt("blond hair", "black hair", "hair_lightness", 1, "hair"),
    Prompt("black hair", "blond hair", "hair_lightness", -1, "hair"),
    Prompt("long hair", "short hair", "hair_length", 1, "hair"),
    Prompt("looking to the right", "looking to the left", "yaw", 1),
    Prompt("lit from the right", "lit from the left", "light", 1),
)


@dataclass(frozen=True, eq=False)
class PromptEffect:
    """What one prompt did to ``n`` faces, everywhere or under the masks of a family.

    before, after: mean of the trait in its own unit; change: its move where the text points to, in standard deviations;
    agreement: cos(ΔI, ΔT) as the text–image model itself sees it; identity: cosine with the face before, by a judge that no
    training has seen.
    """

    prompt: Prompt
    where: str
    n: int
    before: float
    after: float
    change: Score
    agreement: float
    identity: Score
    changed_outside: int
    steps: float

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"text": self.prompt.text, "instead of": self.prompt.source, "mask": self.where, "n": self.n, "trait":
                self.prompt.trait, "before": self.before, "after": self.after, "change": self.change.value,
                "agreement": self.agreement, "identity": self.identity.value, "steps": self.steps,
                "changed outside": self.changed_outside}


def prompt_effect(editor: Editor, test_set: TestSet, prompt: Prompt, read: Read, identity: Callable[[Tensor], Tensor],
                  deviation: float, indices: Sequence[int], *, is_masked: bool = True, refine: int = 0, steps: int = TEXT_STEPS,
                  model: str = Edit.text_model, settings: TextEditSettings | None = None) -> tuple[PromptEffect, Tensor]:
    """Edit those faces by a prompt and read its trait before and after: (the effect, pictures [n,3,256,256])."""
    cases = test_set.cases(prompt.family, list(indices))
    masks = cases.masks if is_masked else torch.ones_like(cases.masks)
    plan = [Edit(image[None], mask[None], seed=seed, text=prompt.text, text_source=prompt.source)
            for image, mask, seed in zip(cases.images, masks, cases.seeds, strict=True)]
    results = editor.edit_many(plan, refine=refine, text_steps=steps, text_model=model, text_settings=settings,
                               progress=silent)
    pictures = as_8_bit(torch.cat([one.image for one in results]).cpu())
    before, after = (read(images)[prompt.trait].float().cpu() for images in (cases.images, pictures))
    groups = np.arange(len(before)) % EDIT_SEEDS
    alike = cosine(identity(pictures), identity(cases.images)).float().cpu().numpy()
    effect = PromptEffect(
        prompt, prompt.family if is_masked else "none", len(before), float(before.nanmean()), float(after.nanmean()),
        mean_score(((after - before) * prompt.sign / deviation).numpy(), groups),
        float(np.mean([one.followed.agreement for one in results])), mean_score(alike, groups),
        int(((torch.cat([one.image for one in results]).cpu() != cases.images) & (masks < 0.5)).sum()),
        float(np.mean([one.followed.steps for one in results])))
    return effect, pictures
