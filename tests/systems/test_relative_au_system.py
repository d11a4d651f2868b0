"""The trained relative-AU system: units as strengths, another face's expression, the command and its scripts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from side_fakes import GAP, SIZE, read_sides, tiny_generator
from torch import Tensor

from facemug_lib.commands.program import main
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES
from facemug_lib.systems import SystemEditor, load
from facemug_lib.systems.common.contract import edited
from facemug_lib.systems.relative_au.networks import RelativeAuConfig, RelativeAuGenerator
from facemug_lib.systems.relative_au.system import EXPRESSIONS, RelativeAu, condition
from facemug_lib.weights import save_weights


def test_strengths_become_a_condition() -> None:
    v = dict(zip(AXIS_NAMES, condition({"au12": 0.5, "au15": 0.2, "au45": 1.0}).tolist(), strict=True))
    assert v["lip_corners"] == pytest.approx(0.3) and v["lid_opening"] == -1 and v["lip_gap"] == 0
    smile = dict(zip(AXIS_NAMES, condition({"smile": -0.5, "au25": 0.4}).tolist(), strict=True))
    assert smile["lip_corners"] == pytest.approx(-0.5 * EXPRESSIONS["smile"]["au12"])
    assert smile["lip_gap"] == pytest.approx(0.4 - 0.5 * EXPRESSIONS["smile"]["au25"])
    assert condition({"smile": 1.0, "au25": 1.0, "mouth_open": 1.0})[GAP] == 1.5
    assert all(set(units) < set(ACTION_UNITS) for units in EXPRESSIONS.values())


def test_an_expression_is_taken_from_another_face() -> None:
    system = RelativeAu(tiny_generator().eval(), read_sides)
    face, other = torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 3, 32, 32)
    other[:, 0, :, 16:], other[:, 1, :, 16:] = -0.8, 0.60008
    strengths = system.strengths_like(face, other)
    assert strengths == {"au15": 0.4, "au25": 0.3}
    assert condition(strengths).tolist() == pytest.approx((read_sides(other) - read_sides(face))[0].tolist(), abs=1e-3)
    assert system.strengths_like(face, face) == {}
    other[:, 1, :, 16:] = -0.4  # no unit closes a gap: less of the one that opens it
    assert system.strengths_like(face, other) == {"au15": 0.4, "au25": -0.2}


def test_what_it_cannot_do_is_one_line() -> None:
    system = RelativeAu(tiny_generator().eval(), read_sides)
    face = torch.zeros(1, 3, SIZE, SIZE)
    with pytest.raises(FacemugError, match="no attribute 'au06': relative_au has no attribute of that name, choose from au01"):
        edited(system, face, {"au06": 1.0})
    with pytest.raises(FacemugError, match="strength of au12 is 3.0: relative_au takes -1 to 1"):
        edited(system, face, {"au12": 3.0})
    narrow = RelativeAu(RelativeAuGenerator(RelativeAuConfig(("lip_corners",), SIZE, (4, 6, 8, 8, 8))).eval(), read_sides)
    assert set(narrow.attributes) == {"au12", "au15"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SystemEditor:
    """Weights lie where shipped ones do; faces are read by their sides."""
    network = tiny_generator()
    torch.nn.init.normal_(network.exit.weight, 0, 0.05)
    config = {"system": "relative_au", "attributes": list(ACTION_UNITS), "network": network.config_dict()}
    save_weights(tmp_path / "installed" / "relative_au.safetensors", network.state_dict(), config=config, card={"images_seen": 1})
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "installed"))
    monkeypatch.setattr("facemug_lib.systems.relative_au.system.UnitReader", lambda: read_sides)
    return load("relative_au", device="cpu")


def redder_on_the_right(photo: np.ndarray) -> np.ndarray:
    changed = photo.copy()
    changed[:, 224:, 0] = np.minimum(changed[:, 224:, 0].astype(int) + 60, 255)
    return changed


def test_an_expression_is_transferred_and_replayed(installed: SystemEditor, editor: Editor, astronaut: np.ndarray, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(Editor, "load", lambda *arguments, **options: editor)
    for name, pixels in (("photo", astronaut), ("other", redder_on_the_right(astronaut))):
        PIL.Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    photo, other, out = (str(tmp_path / f"{name}.png") for name in ("photo", "other", "out"))
    options = ["edit", photo, "--system", "relative_au", "--like", other, "--attribute", "au25=0.5", "--device", "cpu"]
    assert main([*options, "--out", out, "--script-out", str(tmp_path / "edit.json")]) == 0
    (step,) = json.loads((tmp_path / "edit.json").read_text())["steps"]
    wanted = installed.strengths_like(astronaut, redder_on_the_right(astronaut)) | {"au25": 0.5}
    assert step["attributes"] == wanted and wanted["au12"] > 0.05 and set(wanted) == {"au12", "au25"}
    made = np.asarray(PIL.Image.open(out))
    assert np.array_equal(made, installed.edit(astronaut, like=redder_on_the_right(astronaut), au25=0.5).paste_back())
    again = str(tmp_path / "again.png")
    assert main(["replay", str(tmp_path / "edit.json"), "--photo", photo, "--out", again, "--device", "cpu"]) == 0
    assert np.array_equal(np.asarray(PIL.Image.open(again)), made) and not np.array_equal(made, astronaut)
    capsys.readouterr()
    for wrong, words in ((["--like-face", "1"], "picks a face of no photograph: give one"),
                         (["--like", other, "--mask", photo], "add --system relative_au"),
                         (["--like", photo, "--system", "relative_au"], "the two faces show the same already")):
        assert main(["edit", photo, *wrong, "--out", str(tmp_path / "no.png"), "--device", "cpu"]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


def test_a_system_that_reads_no_faces_says_so(sixth: Path, face: Tensor) -> None:
    config = {"system": "sixth", "attributes": ["smile"]}
    save_weights(sixth / "installed" / "sixth.safetensors", {"colours": torch.ones(1, 3)}, config=config, card={})
    with pytest.raises(FacemugError, match="sixth cannot take an expression from another face: .*use relative_au"):
        load("sixth", device="cpu").edit(face, like=face)
    with pytest.raises(FacemugError, match="like_face 2 picks a face of no photo"):
        load("sixth", device="cpu").edit(face, like_face=2, smile=1.0)
