"""Turning a face: where it ends up, what stays, and what is refused. The pose judge is a stub that reads light, not landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.commands import edit as commands
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent import pose
from facemug_lib.editing.latent.directions import Direction
from facemug_lib.editing.latent.pose import Aim, turn
from facemug_lib.editing.settings import POSE
from facemug_lib.errors import FacemugError
from facemug_lib.faces.landmarks import HeadPose
from facemug_lib.modalities.conditions import exemplar_input


def read(picture: torch.Tensor) -> HeadPose:
    """Yaw: how much lighter the right half is; pitch: the upper one."""
    light = picture.mean((0, 1))
    return HeadPose(float(40 * (light[:, 128:].mean() - light[:, :128].mean())),
                    float(40 * (light[:128].mean() - light[128:].mean())), 0.0)


@pytest.fixture(scope="module")
def steered(editor) -> Editor:
    """The tiny editor with directions that turn 8 degrees a unit, and say that it were 12."""
    shapes = {"yaw": torch.ones(3, 8, 8), "pitch": torch.ones(3, 8, 8)}
    shapes["yaw"][..., :4] = -1
    shapes["pitch"][:, 4:] = -1
    directions = {}
    for name, shape in shapes.items():
        vector = torch.linalg.pinv(editor.prior.paint).T @ shape.flatten() * 0.1
        directions[name] = Direction(name, vector.view(17, 512), "boundary", about={"deviation": 12.0})
    return Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts, directions=directions)


def test_directions_meet_the_wanted_angles_though_their_calibration_is_off(steered, face, monkeypatch) -> None:
    wanted = {"yaw": 6.0, "pitch": -4.0}
    result = turn(steered, face, Aim(**wanted), judge=read)
    assert (result.wanted.yaw, result.wanted.pitch) == (6, -4)
    assert result.after == read(result.raw)
    for name in wanted:
        assert abs(getattr(result.after, name) - wanted[name]) <= POSE.tolerance
    monkeypatch.setattr(pose, "POSE", replace(POSE, tries=1))
    once = turn(steered, face, Aim(**wanted), judge=read).after
    assert max(abs(once.yaw - 6), abs(once.pitch + 4)) > POSE.tolerance  # a step by the calibration alone falls short


@pytest.mark.parametrize(("aim", "wanted"), [
    ({"frontal": True}, lambda yaw, pitch: (0, pitch)), ({"mirror": True}, lambda yaw, pitch: (-yaw, pitch)),
    ({"pitch": 3.0}, lambda yaw, pitch: (yaw, 3)),
])
def test_what_is_not_asked_for_stays(steered, face, aim, wanted) -> None:
    result = turn(steered, face, Aim(**aim), judge=read)
    assert result.before == read(face)
    goal = wanted(result.before.yaw, result.before.pitch)
    assert (result.wanted.yaw, result.wanted.pitch) == pytest.approx(goal)
    assert (result.after.yaw, result.after.pitch) == pytest.approx(goal, abs=POSE.tolerance)


def test_the_pose_of_another_face(steered, face) -> None:
    other = (face.flip(-1) * 0.5 + torch.linspace(-0.2, 0.2, 256)).clamp(-1, 1)
    result = turn(steered, face, Aim(like=other), judge=read)
    assert result.wanted == read(other)
    assert result.after.yaw == pytest.approx(read(other).yaw, abs=POSE.tolerance)
    assert result.strengths["yaw"] != 0


class Reaching(torch.nn.Module):
    """A warping network that goes half of the way, and remembers from where to where."""

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.source, self.target = source, target
        return (target - source) / 2


def test_warping_goes_to_the_codes_of_the_wanted_pose(steered, face) -> None:
    warping = Reaching()
    warped = Editor(steered.prior, lambda shown: shown[:, :3].mean((2, 3)).repeat(1, 171)[:, None, :512].expand(-1, 17, -1),
                    warping, steered.generator, experts=steered.experts, directions=steered.directions)
    light = face + torch.linspace(0, 0.1, 256)

    def codes(picture: torch.Tensor) -> torch.Tensor:
        return warped.encoder(exemplar_input(picture.clamp(-1, 1)))

    for aim, target in ((Aim(like=light.clamp(-1, 1)), codes(light)), (Aim(mirror=True), codes(face.flip(-1))),
                        (Aim(frontal=True), (codes(face) + codes(face.flip(-1))) / 2)):
        result = turn(warped, face, aim, method="warping", judge=read)
        assert torch.allclose(warping.source, codes(face)) and torch.allclose(warping.target, target)
        assert torch.allclose(result.codes, (codes(face) + target) / 2) and result.strengths == {}
    both = turn(warped, face, Aim(like=light.clamp(-1, 1)), method="both", judge=read)
    assert not torch.allclose(both.codes, (codes(face) + codes(light)) / 2)
    assert both.after.yaw == pytest.approx(both.wanted.yaw, abs=POSE.tolerance)


def test_refining_brings_the_likeness_and_the_person_back(steered, face, monkeypatch) -> None:
    seen = []
    loose = turn(steered, face, Aim(yaw=5.0), judge=read)
    close = turn(steered, face, Aim(yaw=5.0), refine=8, judge=read, progress=lambda done, steps: seen.append((done, steps)))
    assert (close.likeness - face).square().mean() < (loose.likeness - face).square().mean()
    assert close.after.yaw == pytest.approx(5, abs=POSE.tolerance)
    assert seen[-1] == (10, 10) and len(seen) == 10
    monkeypatch.setattr(pose, "POSE", replace(POSE, keep_share=0.0))
    assert close.identity > turn(steered, face, Aim(yaw=5.0), refine=8, judge=read, progress=lambda *_: None).identity


def test_a_turn_out_of_sight_is_taken_back(steered, face) -> None:
    limit = read(face).yaw + 6

    def short_sighted(picture: torch.Tensor) -> HeadPose | None:
        seen = read(picture)
        return seen if seen.yaw < limit else None

    result = turn(steered, face, Aim(yaw=limit + 8), judge=short_sighted)
    assert result.after is not None and result.after.yaw < limit


def test_nothing_outside_of_a_mask_changes(steered, face, mask, astronaut) -> None:
    result = turn(steered, face, Aim(yaw=8.0), mask=mask, judge=read)
    assert torch.equal(torch.where(mask > 0, face, result.image), face)
    assert not torch.equal(result.image, face)
    drawn = np.zeros(astronaut.shape[:2], np.uint8)
    drawn[60:180, 170:280] = 255
    whole = turn(steered, astronaut, Aim(frontal=True), mask=drawn, judge=read).paste_back()
    assert np.array_equal(whole[drawn == 0], astronaut[drawn == 0]) and not np.array_equal(whole, astronaut)
    with pytest.raises(FacemugError, match="turned without a mask"):
        turn(steered, face, Aim(yaw=8.0), judge=read).paste_back()


def test_what_makes_no_sense_is_refused(steered, editor, face) -> None:
    for given, message in (({}, "no pose is asked for"), ({"frontal": True, "mirror": True}, "2 poses are asked for at once"),
                           ({"like": face, "yaw": 3.0}, "2 poses"), ({"yaw": 61.0}, "yaw 61: use -60 to 60 degrees"),
                           ({"pitch": float("nan")}, "pitch nan: use -40 to 40")):
        with pytest.raises(FacemugError, match=message):
            Aim(**given)
    for options, message in (({"method": "magic"}, "no method is called 'magic': choose from warping, direction, both"),
                             ({"method": "warping"}, "takes the pose from a picture"), ({"refine": -1}, "use 0 or more"),
                             ({"judge": lambda picture: None}, "no pose can be read from the photo"),
                             ({"mask": torch.zeros(1, 1, 256, 256)}, "the mask is empty")):
        with pytest.raises(FacemugError, match=message):
            turn(steered, face, Aim(yaw=5.0), **{"judge": read} | options)
    with pytest.raises(FacemugError, match="the face to be like: a face tensor of shape"):
        turn(steered, face, Aim(like=face[..., :100]), judge=read)
    bare = Editor(editor.prior, editor.encoder, editor.warping, editor.generator, experts=editor.experts, directions={})
    with pytest.raises(FacemugError, match="no calibrated yaw"):
        turn(bare, face, Aim(frontal=True), judge=read)
    assert turn(bare, face, Aim(frontal=True), method="warping", judge=read).strengths == {}


def test_landmarks_tell_a_mirror_image(astronaut) -> None:
    picture = torch.from_numpy(astronaut[:256, 96:352].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    seen, mirrored = pose.measured_pose(picture), pose.measured_pose(picture.flip(-1))
    assert seen.roll == pytest.approx(-mirrored.roll, abs=1) and seen.roll > 2
    assert seen.yaw == pytest.approx(-mirrored.yaw, abs=4) and seen.pitch == pytest.approx(mirrored.pitch, abs=2)
    assert pose.measured_pose(torch.zeros(1, 3, 256, 256)) is None


# -- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path, astronaut, monkeypatch, steered):
    monkeypatch.setattr(Editor, "load", lambda *arguments, **options: steered)
    monkeypatch.setattr(pose, "measured_pose", read)
    PIL.Image.fromarray(astronaut).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_command_writes_the_aligned_face_and_says_how_it_turned(photo, tmp_path, capsys) -> None:
    commands.pose(photo, tmp_path / "out.png", yaw=4.0, device="cpu")
    assert PIL.Image.open(tmp_path / "out.png").size == (256, 256)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("turned photo.png to yaw 4 by direction (yaw ") and len(said) == 7
    assert said[3].split()[:3] == ["asked", "for", "+4.0"] and abs(float(said[4].split()[1]) - 4) <= POSE.tolerance
    assert "identity " in said[5] and "256 px" in said[6]


def test_the_command_pastes_into_a_mask(photo, tmp_path, astronaut) -> None:
    drawn = np.zeros(astronaut.shape[:2], np.uint8)
    drawn[60:180, 170:280] = 255
    PIL.Image.fromarray(drawn).save(tmp_path / "mask.png")
    commands.pose(photo, tmp_path / "out.png", mirror=True, mask=tmp_path / "mask.png", device="cpu")
    written = np.asarray(PIL.Image.open(tmp_path / "out.png"))
    assert np.array_equal(written[drawn == 0], astronaut[drawn == 0]) and not np.array_equal(written, astronaut)


def test_the_command_refuses_before_the_work_and_leaves_nothing(photo, tmp_path) -> None:
    before = sorted(tmp_path.iterdir())
    blank = tmp_path.parent / "blank.png"
    PIL.Image.new("RGB", (64, 64)).save(blank)
    for out, options, message in ((photo, {"frontal": True}, "would overwrite an input"),
                                  (tmp_path / "o.gif", {"frontal": True}, "must end in .png"),
                                  (tmp_path / "none" / "o.png", {"frontal": True}, "no folder"),
                                  (tmp_path / "o.png", {}, "no pose is asked for"),
                                  (tmp_path / "o.png", {"like": blank}, "the face to be like: no face found"),
                                  (tmp_path / "o.png", {"yaw": 3.0, "method": "both"}, "use method direction")):
        with pytest.raises(FacemugError, match=message):
            commands.pose(photo, out, **options, device="cpu")
    assert sorted(tmp_path.iterdir()) == before
