"""Runs: one run, whoever starts it; its folder keeps one configuration; the train command."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from runs import equal
from toy import ToyFaces, ToyStage
from typer.testing import CliRunner

from facemug_lib import systems
from facemug_lib.commands.program import app
from facemug_lib.commands.training import train
from facemug_lib.errors import FacemugError
from facemug_lib.files import CLONE
from facemug_lib.training import run as runs
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.profiles import STAGES

NOTEBOOKS = {"02_face_prior": "head", "03_style_encoder": "encoder", "04_latent_warping": "warping",
             "05_multimodal_generator": "generator", "90_expert_distillation": "expert"}
LENGTH, HALF = 96, 48  # images


@pytest.fixture
def toy_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every stage is the toy; runs and weights go under ``tmp_path``. Returns the folder of runs."""
    monkeypatch.setattr(runs, "build_stage", lambda *args, **kwargs: ToyStage())
    monkeypatch.setattr(runs, "build_source", lambda *args: ToyFaces())
    monkeypatch.setattr(runs, "runs_dir", lambda: tmp_path / "runs")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "installed"))
    return tmp_path / "runs"


def in_notebook(name: str, **parameters: Any) -> runs.Run:
    """What the notebook's own cells start, with these values in its parameters cell: its cell that calls ``start_run``."""
    cells = [cell for cell in nbformat.read(CLONE / "notebooks" / f"{name}.ipynb", as_version=4).cells
             if cell.cell_type == "code"]
    (chosen,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    (starting,) = (cell.source for cell in cells if "start_run(" in cell.source)
    space: dict[str, Any] = {}
    exec(chosen, space)
    space |= parameters
    # Notebook 90 starts its run under `if distil:`. The run alone is wanted, not what the cell draws afterwards.
    calls = [node for node in ast.walk(ast.parse(starting)) if isinstance(node, ast.Call)]
    (call,) = (call for call in calls if ast.unparse(call.func) == "start_run")
    return eval(ast.unparse(call), space | {"start_run": runs.start_run})


def from_shell(stage: str, images: int, *more: str) -> str:
    done = CliRunner().invoke(app, ["train", stage, "--images", str(images), "--device", "cpu", *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def state(folder: Path) -> dict:
    images_seen, found = newest_checkpoint(folder)
    assert images_seen == LENGTH
    return {name: value for name, value in found.items() if name != "seconds"}


def the_run(folder: Path) -> Path:
    (only,) = folder.iterdir()
    return only


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("order", ["notebook first", "shell first"])
def test_a_run_goes_on_from_notebook_to_shell_and_back(name: str, order: str, toy_runs: Path, monkeypatch: pytest.MonkeyPatch,
                                                       tmp_path: Path) -> None:
    stage = NOTEBOOKS[name]
    length = "images_seen" if stage == "expert" else "images"  # the parameter's name

    def notebook(images: int) -> None:
        run = in_notebook(name, device=torch.device("cpu"), seed=0, **{length: images})
        result = run.train(report=lambda line: None)
        assert result.images_seen == images

    def shell(images: int) -> None:
        assert ("resuming at 48 images" in from_shell(stage, images)) == (images == LENGTH)

    first, second = (notebook, shell) if order == "notebook first" else (shell, notebook)
    first(HALF)
    second(LENGTH)
    interrupted = the_run(toy_runs)
    monkeypatch.setattr(runs, "runs_dir", lambda: tmp_path / "whole")
    from_shell(stage, LENGTH)
    whole = the_run(tmp_path / "whole")
    assert interrupted.name == whole.name
    assert equal(state(interrupted), state(whole))
    configs = [json.loads((folder / "config.json").read_text()) for folder in (interrupted, whole)]
    assert configs[0]["hash"] == configs[1]["hash"] and configs[0]["settings"] | {"evaluate_count": 0} == (
        configs[1]["settings"] | {"evaluate_count": 0})


def test_changed_settings_name_another_run(toy_runs: Path) -> None:
    def name(**more: Any) -> str:
        return runs.plan_run("encoder", **{"overrides": {"images": 5}} | more).folder.name

    assert name() == name(overrides={"images": 7, "evaluate_count": 3}) == name(overrides={"lr": None})
    others = [name(overrides={"lr": 0.5}), name(seed=1), name(init="shipped"), name(data="faces"), name(profile="laptop")]
    assert len({name(), *others}) == 6
    assert name(overrides={"clip_norm": "none"}) != name()


def test_the_run_says_its_command(toy_runs: Path) -> None:
    plan = runs.plan_run("encoder", "laptop", {"lr": 1e-4, "batch": None}, seed=3, init="shipped")
    command = plan.command.split()
    assert command[:3] == ["facemug", "train", "encoder"]
    done = CliRunner().invoke(app, [*command[1:], "--dry-run"])
    assert json.loads(done.output)["hash"] == plan.config["hash"]


def test_dry_run_prints_the_configuration_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = dict(stage="encoder", images=5, settings=["lr=1e-4"], device="cpu", dry_run=True)
    train(**arguments, out=tmp_path / "run")
    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["images"] == 5 and printed["settings"]["lr"] == 1e-4 and printed["device"] == "cpu"
    assert not (tmp_path / "run").exists()
    train(**arguments)
    assert Path(json.loads(capsys.readouterr().out)["out"]).name == f"encoder-{printed['hash']}"


@pytest.mark.parametrize("stage", [*STAGES, *systems.names()])
@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_faces_is_refused_before_a_network_is_built(stage: str, folder: str, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "build_stage", lambda *args, **kwargs: pytest.fail("a network was built"))
    (tmp_path / "empty").mkdir()
    reason = {"empty": "no image in .*empty", "missing": "missing is not a folder"}[folder]
    chosen = systems.any_stage(stage)
    given = [dict(data=str(tmp_path / folder))]
    if "real" in runs.settings(chosen).model_dump():
        given.append(dict(overrides={"real": str(tmp_path / folder)}))
    for options in given:
        with pytest.raises(FacemugError, match=reason):
            runs.start_run(chosen, **options, device="cpu", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_command_trains_resumes_and_installs(toy_runs: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "run"))
    from_shell("head", 16, *out)
    assert not (tmp_path / "installed").exists()
    assert "resuming at 16 images" in from_shell("head", 16, *out, "--install")
    installed, shipped = tmp_path / "installed" / "toy.safetensors", tmp_path / "run" / "weights" / "toy.safetensors"
    assert installed.read_bytes() == shipped.read_bytes()


def test_a_run_folder_keeps_its_configuration(toy_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def again(**more: Any) -> None:
        train(stage="head", images=16, device="cpu", out=tmp_path / "run", **more)

    again()
    with pytest.raises(FacemugError, match="other settings .*lr"):
        again(settings=["lr=0.5"])
    with pytest.raises(FacemugError, match="other settings .*seed"):
        again(seed=3)
    capsys.readouterr()
    again(settings=["stats_every=8"])  # reporting may change
    assert "resuming at 16 images" in capsys.readouterr().out


def test_a_generator_goes_on_with_what_it_has_learned_to_correct(tmp_path: Path) -> None:
    """The networks have the same shapes: nothing else would notice that one learned to correct another picture."""
    from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
    from facemug_lib.training.stage_generator import GeneratorStage
    from facemug_lib.training.stages import settings
    from facemug_lib.weights import save_weights

    network = RefinementGenerator(replace(GeneratorConfig.compact(size=64), base="settled"))
    save_weights(tmp_path / "generator.safetensors", network.state_dict(), config=network.config_dict(), card={})
    chosen = settings("generator", "smoke", {"size": 64})
    with pytest.raises(FacemugError, match="use --set base=settled, or --init scratch"):
        GeneratorStage.build(chosen, torch.device("cpu"), str(tmp_path))
