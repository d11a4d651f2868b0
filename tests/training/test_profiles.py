"""Settings: typed, complete, each with its basis; the train command's checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import ToyFaces, ToyStage

from facemug_lib.errors import FacemugError
from facemug_lib.training import run as command
from facemug_lib.training.profiles import PROFILES, STAGES, config_hash, numbers_table, parse_assignments, settings


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_has_a_meaning_and_a_basis(stage: str) -> None:
    rows = numbers_table(stage)
    assert {row["name"] for row in rows} >= {"images", "batch", "lr"}
    for row in rows:
        assert row["meaning"] and row["basis"] in ("paper", "e4e", "EXE-GAN", "StyleGAN2", "DiffAugment", "ours"), row
        assert all(profile in row for profile in PROFILES)
    made = [settings(stage, profile) for profile in PROFILES]
    assert made[0].images < made[1].images < made[2].images


def test_numbers_the_paper_and_its_relatives_state() -> None:
    warping, generator, encoder = (settings(stage, "paper") for stage in ("warping", "generator", "encoder"))
    assert warping.attribute_weight == 0.1
    assert (generator.identity_weight, generator.lpips_weight, generator.attribute_weight) == (0.1, 0.5, 0.1)
    assert (generator.r1_gamma, generator.r1_every, generator.foreign_share, generator.lr) == (10, 16, 0.8, 0.002)
    assert (encoder.lpips_weight, encoder.identity_weight, encoder.latent_weight, encoder.delta_weight) == (0.8, 0.5, 0.1, 2e-4)


def test_overrides_are_typed_and_checked() -> None:
    made = settings("encoder", "smoke", parse_assignments(["lr=1e-4", "batch=4", "clip_norm=none", "scheme=dominant"]))
    assert (made.lr, made.batch, made.clip_norm, made.scheme) == (1e-4, 4, None, "dominant")
    for overrides, words in (
        ({"lrr": 1}, "did you mean lr?"), ({"batch": "four"}, "valid integer"), ({"batch": 0}, "greater than or equal to 1"),
        ({"psi_low": 1.0, "psi_high": 0.5}, "swap"), ({"drop": 1.5}, "less than or equal to 1"), ({"lr": "nan"}, "lr"),
    ):
        with pytest.raises(FacemugError, match=words.replace("?", r"\?")):
            settings("encoder", "smoke", overrides)
    with pytest.raises(FacemugError, match="name=value"):
        parse_assignments(["lr"])
    with pytest.raises(FacemugError, match="unknown stage"):
        settings("decoder")
    with pytest.raises(FacemugError, match="unknown profile"):
        settings("encoder", "huge")


def test_hash_ignores_length_and_reporting_only() -> None:
    config = settings("generator", "smoke").model_dump()
    assert config_hash(config) == config_hash(config | {"images": 7, "grid_every": 9})
    assert config_hash(config) != config_hash(config | {"lr": 0.5})
    assert config_hash(config) != config_hash(config | {"seed": 1})


def test_dry_run_prints_the_configuration_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = dict(stage="encoder", images=5, set_overrides={"lr": "1e-4"}, device="cpu", dry_run=True)
    assert command.train_command(**arguments, out=tmp_path / "run") is None
    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["images"] == 5 and printed["settings"]["lr"] == 1e-4 and printed["device"] == "cpu"
    assert not (tmp_path / "run").exists()
    command.train_command(**arguments)
    assert Path(json.loads(capsys.readouterr().out)["out"]).name == f"encoder-{printed['hash']}"


@pytest.fixture
def toy_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """``train_command`` on the toy stage, with weights installed under ``tmp_path``."""
    monkeypatch.setattr(command, "build_stage", lambda *args, **kwargs: ToyStage())
    monkeypatch.setattr(command, "build_source", lambda *args: ToyFaces())
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "installed"))
    return lambda **more: command.train_command(stage="head", images=16, device="cpu", out=tmp_path / "run", **more)


def test_command_trains_resumes_and_installs(toy_command, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = toy_command()
    assert first.is_finished and not (tmp_path / "installed").exists()
    second = toy_command(install=True)
    assert "resuming at 16 images" in capsys.readouterr().out
    assert (tmp_path / "installed" / "toy.safetensors").read_bytes() == second.weights["toy"].read_bytes()


def test_a_run_folder_keeps_its_configuration(toy_command) -> None:
    toy_command()
    with pytest.raises(FacemugError, match="other settings .*lr"):
        toy_command(set_overrides={"lr": "0.5"})
    with pytest.raises(FacemugError, match="other settings .*seed"):
        toy_command(seed=3)
    assert toy_command(set_overrides={"stats_every": 8}).is_finished  # reporting may change
