"""Twenty prompts on unseen faces: one masked edit for each, and what the expert says of every edit.

``facemug prompts`` makes the sheet. Taught in `notebooks/07_text_editing.ipynb`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas
from torch import Tensor

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.text import TEXT_STEPS
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.prompts import PROMPTS, Prompt, PromptEffect, prompt_effect
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import traits
from facemug_lib.figures.plotting import show_rows
from facemug_lib.progress import Tell, untold

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


@dataclass(frozen=True, eq=False)
class PromptSheet:
    """effects: of every prompt, everywhere and under a mask; pictures: name → [n,3,256,256], "unedited" and each masked edit."""

    effects: Sequence[PromptEffect]
    pictures: dict[str, Tensor]


def data(editor: Editor, expert: ExpertStudent, judges: Judges, faces: TestSet, count: int = 2, refine: int = 0,
         steps: int = TEXT_STEPS, model: str = Edit.text_model, prompts: Sequence[Prompt] = PROMPTS, tell: Tell = untold,
         keep: Callable[[str], None] = lambda table: None) -> PromptSheet:
    """Follow every prompt on the first ``count`` faces, everywhere and under a mask; ``keep`` gets the table as it grows."""
    indices = range(count)
    effects: list[PromptEffect] = []
    pictures = {"unedited": faces.images(list(indices))}
    sheet = PromptSheet(effects, pictures)
    for prompt in prompts:
        deviation = editor.directions[prompt.trait].about["deviation"]
        for is_masked in (False, True):
            effect, edited = prompt_effect(editor, faces, prompt, lambda images: traits(expert, images.to(editor.device)),
                                           judges.facenet, deviation, indices, is_masked=is_masked, refine=refine, steps=steps,
                                           model=model)
            effects.append(effect)
            if is_masked:
                pictures[prompt.text] = edited
            tell(f"{prompt.text} ({effect.where}): {prompt.trait} {effect.before:.2f} to {effect.after:.2f}, "
                 f"{effect.change.value:+.2f} standard deviations, agreement {effect.agreement:.2f}")
        keep(table(sheet))
    return sheet


def table(sheet: PromptSheet) -> str:
    """The effects as CSV, a line for each prompt and mask."""
    return rows(sheet).to_csv(index=False)


def rows(sheet: PromptSheet) -> pandas.DataFrame:
    """The effects, a row for each prompt and mask."""
    return pandas.DataFrame([effect.row() for effect in sheet.effects])


def draw(sheet: PromptSheet) -> Figure:
    """A row per prompt, a column per face; the faces as they were on top."""
    count = len(sheet.pictures["unedited"])
    return show_rows(sheet.pictures, [f"face {index}" for index in range(count)], inches=1.1)
