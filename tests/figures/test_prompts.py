"""The sheet of prompts: every prompt is tried everywhere and under its mask, and what is drawn is what was measured."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from stubs import Light, StubJudges

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.directions import constant
from facemug_lib.evaluation.prompts import Prompt
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.figures import prompts
from facemug_lib.figures.prompts import PromptSheet
from facemug_lib.pictures import pixels_of

TRIED = (Prompt("bright", "dark", "smile", 1, "centre"), Prompt("dark", "bright", "smile", -1, "hair"))
DEVIATION = 0.1


def expert(images: torch.Tensor) -> SimpleNamespace:
    """Smiles by brightness, on faces that are skin all over."""
    return SimpleNamespace(attributes={"smile": images.mean((1, 2, 3))},
                           semantics=torch.eye(19)[1].expand(len(images), 256, 256, 19).movedim(-1, 1))


@pytest.fixture(scope="module")
def measured(editor: Editor, faces: TestSet) -> tuple[PromptSheet, list[str], list[str]]:
    """The sheet of two prompts on two faces, what was told, and the table as it grew."""
    smile = constant("smile", torch.ones(512), "factor", about={"deviation": DEVIATION})
    speaking = Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts,
                      directions={"smile": smile}, text_models={"light": Light()})
    told, kept = [], []
    sheet = prompts.data(speaking, expert, StubJudges(), faces, count=2, steps=3, model="light", prompts=TRIED,
                         tell=told.append, keep=kept.append)
    return sheet, told, kept


def test_every_prompt_is_tried_everywhere_and_under_its_mask(measured, faces: TestSet) -> None:
    sheet, told, kept = measured
    assert [(one.prompt, one.where) for one in sheet.effects] == [
        (TRIED[0], "none"), (TRIED[0], "centre"), (TRIED[1], "none"), (TRIED[1], "hair")]
    assert len(told) == 4 and told[1].startswith("bright (centre): smile ") and "standard deviations" in told[1]
    assert list(sheet.pictures) == ["unedited", "bright", "dark"]
    assert torch.equal(sheet.pictures["unedited"], faces.images([0, 1]))
    for prompt in TRIED:  # the picture is the masked edit's
        masks = faces.cases(prompt.family, [0, 1]).masks
        same = (sheet.pictures[prompt.text] == sheet.pictures["unedited"]).all(dim=1, keepdim=True)
        assert same[masks < 0.5].all() and not same[masks > 0.5].all()


def test_effects_are_read_from_those_pictures_in_the_directions_deviations(measured) -> None:
    sheet, _, _ = measured
    for effect in sheet.effects[1::2]:  # the masked ones
        before, after = (float(sheet.pictures[name].mean()) for name in ("unedited", effect.prompt.text))
        assert effect.before == pytest.approx(before, abs=1e-6) and effect.after == pytest.approx(after, abs=1e-6)
        assert effect.change.value == pytest.approx(effect.prompt.sign * (after - before) / DEVIATION, abs=1e-4)


def test_the_table_is_kept_after_every_prompt(measured) -> None:
    sheet, _, kept = measured
    assert len(kept) == 2 and kept[1].startswith(kept[0]) and kept[1] == prompts.table(sheet)
    lines = list(csv.DictReader(io.StringIO(kept[1])))
    assert [(line["text"], line["instead of"], line["mask"]) for line in lines] == [
        ("bright", "dark", "none"), ("bright", "dark", "centre"), ("dark", "bright", "none"), ("dark", "bright", "hair")]
    assert [float(line["change"]) for line in lines] == pytest.approx([effect.change.value for effect in sheet.effects])


def test_a_row_per_prompt_and_a_column_per_face(measured) -> None:
    sheet, _, _ = measured
    figure = prompts.draw(sheet)
    axes = np.array(figure.axes).reshape(3, 2)
    assert [row[0].get_ylabel() for row in axes] == ["unedited", "bright", "dark"]
    assert [axis.get_title() for axis in axes[0]] == ["face 0", "face 1"]
    for row, pictures in zip(axes, sheet.pictures.values(), strict=True):
        for axis, picture in zip(row, pictures, strict=True):
            assert np.array_equal(axis.images[0].get_array(), pixels_of(picture))
    pyplot.close(figure)
