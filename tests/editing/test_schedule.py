from __future__ import annotations

import pytest
import torch

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.schedule import AUTO, checked_refine, described, stages, step_count
from facemug_lib.editing.script.edit_script import Step
from facemug_lib.errors import FacemugError


def test_auto_is_a_schedule() -> None:
    assert checked_refine("auto") == checked_refine(AUTO) == AUTO
    assert step_count(AUTO) == sum(count for _, count in stages(AUTO)) and AUTO in described(AUTO)
    assert stages("64x6+128x3") == [(64, 6), (128, 3)] and step_count("64x6+128x3") == 9


def test_numbers_stay_numbers() -> None:
    assert [checked_refine(value) for value in (0, 8, "8", " 40 ")] == [0, 8, 8, 40]
    assert (step_count(8), described(8)) == (8, "8 refinement steps")


@pytest.mark.parametrize("wrong", [-1, "-3", "fast", "64x0", "65x3", "64x3+", "128x2+64x2", 1.5, True, None, "64x3\n128x2"])
def test_anything_else_is_refused_in_one_line(wrong) -> None:
    with pytest.raises(FacemugError, match="refinement") as refused:
        checked_refine(wrong)
    assert "\n" not in str(refused.value)


def test_a_script_keeps_what_auto_was(face, mask) -> None:
    edit = Edit(face, mask, refine="auto", guidance_frame="aligned")
    step = Step.of_edit(edit, {"mask": "mask.png"})
    assert edit.refine == step.refine == AUTO
    assert Step.of(**step.model_dump()).edit(face, {"mask": mask}, "aligned").refine == AUTO
    assert Step.of(mask="mask.png").refine == 0
    with pytest.raises(FacemugError, match="refine"):
        Step.of(mask="mask.png", refine="auto")  # what it means may change


def test_an_edit_is_refined_by_its_schedule(editor, face, mask) -> None:
    kept = editor.edit(face, mask, refine="64x2+128x1", guidance_frame="aligned", progress=lambda *steps: None)
    again = editor.edit(face, mask, refine="64x2+128x1", guidance_frame="aligned", progress=lambda *steps: None)
    assert kept.known_loss.shape == (4,) and torch.equal(kept.image, again.image)
    assert torch.equal(kept.image[mask.expand_as(face) < 0.5], face[mask.expand_as(face) < 0.5])
