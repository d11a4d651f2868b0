"""One declaration of an edit: the editor's arguments, a script's step and the command's options follow it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from facemug_lib.commands.edit import edit as edit_command
from facemug_lib.editing.edit import PICTURES, PLAIN, Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import Step
from facemug_lib.editing.settings import TABLE, numbers_table
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import SmallTextImage

NAMES = [one.name for one in fields(Edit)]
MORE = {"face": "face.png", "mask": "mask.png", "sketch": "s.png", "semantics": "l.png", "colour": "c.png", "exemplar": "e.png",
        "attributes": {"smile": 1.0}, "influence": {"sketch": 0.5}, "refine": 3, "seed": 4, "guidance_frame": "aligned",
        "text": "blond hair", "text_source": "black hair", "text_steps": 5, "text_model": "ViT-B-32:openai", "exemplar_face": 1,
        "system": "l2m_gan", "variety": 0.5, "size": 512, "grain": False}


def test_the_editors_arguments_are_the_declaration() -> None:
    shown = inspect.signature(Editor.edit).parameters
    assert list(shown) == ["self", *NAMES, "progress", "check"]
    assert all(shown[one.name].default == inspect.signature(Edit).parameters[one.name].default for one in fields(Edit))


def test_the_arguments_arrive_where_they_belong(editor, face, mask, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(Editor, "edit_many", lambda self, edits, progress, check: seen.append((edits, progress)) or ["made"])
    assert editor.edit("f", "m", "s", seed=3, progress=print) == "made"
    (only,), progress = seen[0]
    assert progress is print and (only.face, only.mask, only.sketch, only.seed, only.colour) == ("f", "m", "s", 3, None)


def test_a_step_holds_an_edit_and_gives_it_back() -> None:
    assert set(MORE) == set(NAMES)  # a new field is tried here, too
    edit = Edit(**MORE)
    step = Step.of_edit(edit, {name: MORE[name] for name in PICTURES})
    again = step.edit(edit.face, step.pictures(), step.guidance_frame)
    assert {name: getattr(again, name) for name in NAMES} == MORE
    least = Step.of_edit(Edit("face.png", "mask.png"), {"mask": "mask.png"})
    # Scripts without a size are older than sizes are, and stay at 256 px.
    assert least.model_dump(exclude_defaults=True) == {"mask": "mask.png", "size": "auto"}
    assert all(getattr(least, name) == (getattr(Edit, name) or getattr(least, name)) for name in PLAIN)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan"), "much"])
def test_a_variety_is_a_share(wrong: object) -> None:
    with pytest.raises(FacemugError, match="variety .*: use a number from 0"):
        Edit("face.png", "mask.png", variety=wrong)


@pytest.mark.parametrize("empty", ["", "  \n", 7])
def test_a_text_without_a_letter_is_refused(empty: object, editor) -> None:
    """A shell makes one of a variable that is not set. Edits without a text have None."""
    for wrong, words in (({"text": empty}, "how the face shall look"), ({"text_source": empty}, "what the face is now")):
        with pytest.raises(FacemugError, match=f"an empty text for {words}: say it in words, or leave"):
            editor.edit("face.png", "mask.png", **wrong)
    with pytest.raises(FacemugError, match="the edit, text: "):
        Step.of(mask="mask.png", text="" if isinstance(empty, str) else empty)
    assert Step(mask="mask.png").edit("face.png", {"mask": "mask.png"}, "photo").text is None


def test_the_commands_defaults_are_the_declarations() -> None:
    called = {"photo": "face", "attribute": "attributes"}
    options = {called.get(name, name): one for name, one in inspect.signature(edit_command).parameters.items()}
    options.pop("face")
    options["face"] = inspect.signature(edit_command).parameters["photo"]
    assert set(NAMES) <= set(options)
    for name in PLAIN:
        declared = getattr(Edit, name)
        assert options[name].default == (str(declared) if name == "refine" else declared), name  # a number or a word


def test_the_declaration_is_cheap_to_import() -> None:
    code = "import sys, facemug_lib.editing.edit; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_editor_imports_nothing_that_only_training_needs() -> None:
    heavy = ["torchvision", "accelerate", "pydantic", "onnxruntime", "matplotlib"]
    code = ("import sys, facemug_lib.editing.editor, facemug_lib.systems, facemug_lib.commands.program\n"
            f"print([name for name in {heavy} if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_default_text_model_is_the_shipped_one() -> None:
    assert Edit.text_model == SmallTextImage.name


def test_every_number_of_the_editor_has_a_meaning_and_a_basis() -> None:
    rows = numbers_table()
    assert len(rows) == sum(len(fields(kind)) for kind in TABLE)
    assert all(row["meaning"] and row["basis"] for row in rows)


def test_edits_of_different_influence_and_refinement_go_together(editor, face, mask) -> None:
    edits = [Edit(face, mask, seed=1), Edit(face, mask, refine=1), Edit(face, mask, sketch=mask, influence={"sketch": 0.0}),
             Edit(face, mask, seed=1)]
    together = editor.edit_many(edits, progress=lambda done, steps: None)
    assert [one.known_loss is None for one in together] == [True, False, True, True]
    for one, edit in zip(together, edits, strict=True):
        alone = editor.edit_many([edit], progress=lambda done, steps: None)[0]
        assert torch.allclose(one.image, alone.image, atol=2e-4)
    assert torch.equal(together[0].image, together[3].image)
