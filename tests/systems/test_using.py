"""A system on photographs: the editor's own result, the mask kept, scripts that replay bit-equal, one line where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import facemug_lib as fm
from facemug_lib import systems
from facemug_lib.commands.program import main
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.result import EditResult
from facemug_lib.editing.script.edit_script import EditScript, Replayer, Step
from facemug_lib.editing.script.session import Session
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face
from facemug_lib.machine.doctor import diagnose
from facemug_lib.weights import save_weights

COLOURS = torch.tensor([[0.4, 0.0, 0.0], [0.0, 0.0, -0.4]])  # of smile and age


@pytest.fixture
def weights(sixth: Path) -> Path:
    """A sixth system that is trained: it tints."""
    config = {"system": "sixth", "attributes": ["smile", "age"]}
    return save_weights(sixth / "installed" / "sixth.safetensors", {"colours": COLOURS}, config=config, card={"images_seen": 7})


@pytest.fixture
def tinting(weights: Path) -> systems.SystemEditor:
    return systems.load("sixth", device="cpu")


def test_a_system_edits_the_whole_face_or_what_is_masked(tinting, face: torch.Tensor, mask: torch.Tensor) -> None:
    whole, part = tinting.edit(face, smile=0.5), tinting.edit(face, mask, smile=0.5)
    assert isinstance(whole, EditResult) and "systems" not in fm.__all__ and fm.systems is systems
    redder = (whole.image - face)[:, 0]
    assert float(redder[face[:, 0] < 0.5].min()) > 0.1 and float((whole.image - face)[:, 1:].abs().mean()) < 0.02
    assert torch.equal(part.image[(mask == 0).expand(-1, 3, -1, -1)], face[(mask == 0).expand(-1, 3, -1, -1)])
    assert not torch.equal(part.image, face) and torch.equal(part.image, tinting.edit(face, mask, smile=0.5).image)
    assert whole.seconds > 0 and whole.conditions.mask.min() == 1 and whole.remarks == []


def test_detail_that_a_system_is_too_small_to_see_stays(tinting, face: torch.Tensor) -> None:
    fine = face + 0.1 * (-1.0) ** torch.arange(256)  # stripes of one pixel, which 64 px do not show
    found = tinting.edit(fine.clamp(-1, 1), age=0.2).image
    stripes = (found[..., 100:156, 1:-1] - (found[..., 100:156, :-2] + found[..., 100:156, 2:]) / 2).abs().mean()
    assert float(stripes) > 0.15  # of 0.2


def test_a_photograph_keeps_its_size_and_every_pixel_outside_the_mask(tinting, astronaut: np.ndarray) -> None:
    drawn = np.zeros(astronaut.shape[:2], np.uint8)
    drawn[90:140, 190:260] = 255
    edited = tinting.edit(astronaut, drawn, smile=1.0).paste_back()
    assert edited.shape == astronaut.shape and np.array_equal(edited[drawn == 0], astronaut[drawn == 0])
    assert (edited != astronaut).any(2).sum() > 1000
    whole = tinting.edit(astronaut, smile=1.0).paste_back()
    assert np.array_equal(whole[400:], astronaut[400:])
    assert (whole[100:200, 180:260] != astronaut[100:200, 180:260]).any(2).mean() > 0.9


def test_an_editor_hands_over_what_a_system_is_to_make(editor: Editor, tinting, face: torch.Tensor, mask: torch.Tensor) -> None:
    editor = Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts, directions={})
    edits = [Edit(face, mask), Edit(face, mask, attributes={"smile": 0.5}, system="sixth"), Edit(face, mask)]
    knowing = editor.with_systems(systems.Systems(device="cpu"))
    first, tinted, last = knowing.edit_many(edits)
    assert torch.equal(tinted.image, tinting.edit(face, mask, smile=0.5).image) and torch.equal(first.image, last.image)
    assert torch.equal(first.image, editor.edit_many([edits[0], edits[2]])[0].image)
    with pytest.raises(FacemugError, match="one of system sixth, and this editor knows no system"):
        editor.edit_many(edits)
    with pytest.raises(FacemugError, match="there is no mask: give one"):
        editor.edit(face)
    with pytest.raises(FacemugError, match="no system is called 'seventh': choose from"):
        knowing.edit(face, system="seventh", attributes={"smile": 1.0})


def test_a_system_says_what_it_cannot_follow(tinting, face: torch.Tensor, mask: torch.Tensor) -> None:
    for more, words in (({"sketch": mask, "text": "old"}, "leave out sketch, text"), ({"refine": 3}, "leave out refine"),
                        ({"attributes": {"beard": 1.0}}, "no attribute 'beard'"), ({"attributes": None}, "nothing to change"),
                        ({"attributes": {"smile": 9.0}}, "takes -2 to 2")):
        edit = Edit(face, mask, **{"attributes": {"smile": 1.0}, "system": "sixth"} | more)
        with pytest.raises(FacemugError, match=words) as caught:
            tinting.edit_many([edit])
        assert "\n" not in str(caught.value)


def test_steps_of_systems_replay_to_the_last_bit(editor: Editor, tinting, weights: Path, astronaut: np.ndarray,
                                                 tmp_path: Path) -> None:
    knowing = editor.with_systems(systems.Systems(device="cpu"))
    face = open_face(astronaut)
    session = Session(knowing, face)
    session.apply(Step(name="whole", system="sixth", attributes={"smile": 0.4}))
    session.apply(Step(system="sixth", attributes={"age": -0.5}))
    assert session.script.script.weights["sixth"] == tinting.hash
    path = session.script.write(tmp_path / "edit.json")
    assert json.loads(path.read_text())["steps"][0] == {"name": "whole", "system": "sixth", "attributes": {"smile": 0.4}}
    again = Replayer.of(editor.with_systems(systems.Systems(device="cpu")), face, tmp_path).replay(EditScript.read(path))
    assert np.array_equal(again.photo, session.photo) and not again.notes
    save_weights(weights, {"colours": 2 * COLOURS}, config={"system": "sixth", "attributes": ["smile", "age"]}, card={})
    other = Replayer.of(editor.with_systems(systems.Systems(device="cpu")), face, tmp_path).replay(EditScript.read(path))
    assert other.notes == ["the weights of sixth are not those that the script was made with"]
    with pytest.raises(FacemugError, match="the edit, system: "):
        Step.of(system="../sixth")


def test_the_command_edits_records_and_lists(editor: Editor, weights: Path, astronaut: np.ndarray, tmp_path: Path, capsys,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Editor, "load", lambda *arguments, **options: editor)
    PIL.Image.fromarray(astronaut).save(tmp_path / "photo.png")
    options = ["edit", str(tmp_path / "photo.png"), "--system", "sixth", "--attribute", "smile=1"]
    assert main([*options, "--out", str(tmp_path / "plain.png"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "edited photo.png with smile +1 by sixth" in said and "all inside the square around the face" in said
    script = ["--script-out", str(tmp_path / "edit.json")]
    assert main([*options, "--out", str(tmp_path / "kept.png"), "--device", "cpu", *script]) == 0
    assert main(["replay", str(tmp_path / "edit.json"), "--photo", str(tmp_path / "photo.png"), "--device", "cpu",
                 "--out", str(tmp_path / "again.png")]) == 0
    plain, kept, again = (np.asarray(PIL.Image.open(tmp_path / f"{name}.png")) for name in ("plain", "kept", "again"))
    assert np.array_equal(plain, kept) and np.array_equal(kept, again) and not np.array_equal(plain, astronaut)
    capsys.readouterr()
    assert main(["edit", str(tmp_path / "photo.png"), "--seed", "1", "--out", str(tmp_path / "no.png")]) == 2
    assert "there is no mask: give one (--mask) in which what is to be edited is white" in capsys.readouterr().err
    assert main([*options[:-1], "beard=1", "--out", str(tmp_path / "no.png")]) == 2
    assert "no attribute 'beard': sixth has no attribute of that name, choose from smile, age" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()
    (line,) = [check.text for check in diagnose() if check.name == "systems"]
    assert "sixth (7 images)" in line and "l2m_gan (no weights yet: facemug train l2m_gan)" in line
