"""Adding a system takes one file: a toy sixth is found, trained by the command, named, loaded and asked like the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from facemug_lib import systems
from facemug_lib.commands.program import app
from facemug_lib.errors import FacemugError
from facemug_lib.systems.common.faces import SystemFaces
from facemug_lib.training.profiles import PROFILES, STAGES
from facemug_lib.training.stages import numbers_table, settings
from facemug_lib.weights import save_weights

BASES = {"paper", "authors' code", "public code", "e4e", "EXE-GAN", "StyleGAN2", "DiffAugment", "ours"}


def train(*more: str) -> str:
    done = CliRunner().invoke(app, ["train", "sixth", "--device", "cpu", *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.mark.parametrize("name", systems.names())
def test_every_system_keeps_the_contract(name: str) -> None:
    one = systems.system_class(name)
    assert one.name == one.stage.name == name and one.title
    assert set(one.stage.presets) == set(PROFILES) and name not in STAGES
    assert one.all_attributes and all(attribute.meaning for attribute in one.all_attributes.values())
    rows = numbers_table(one.stage)
    assert all(row["meaning"] and row["basis"] in BASES for row in rows)
    made = [settings(one.stage, profile) for profile in PROFILES]
    assert made[0].images < made[1].images < made[2].images


def test_a_sixth_file_is_trained_resumed_and_used(sixth: Path) -> None:
    assert "sixth" in systems.names()
    said = train("--images", "32")
    assert "smile_right" in said and (sixth / "runs").is_dir()
    (folder,) = (sixth / "runs").iterdir()
    assert "resuming at 32 images" in train("--images", "640", "--install")
    assert [path.name for path in (sixth / "runs").iterdir()] == [folder.name]
    assert systems.plan_run("sixth").folder.name == folder.name != systems.plan_run("sixth", overrides={"weight": 2}).folder.name
    assert systems.images_seen()["sixth"] == 640

    scores = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()][-1]["scores"]
    assert scores["smile_right"] == 1 and scores["smile_pair"] < 0.5 * scores["smile_pair_unedited"]
    trained = systems.load_system("sixth", device="cpu")
    stage = systems.any_stage("sixth")
    source = stage.build(settings(stage, "smoke"), torch.device("cpu")).source("prior", torch.device("cpu"))
    faces = source.unseen("smile", 3).images
    redder = systems.edited(trained, faces, {"smile": 1.0}) - faces
    assert bool((redder[:, 0].mean((1, 2)) > 0.1).all()) and float(redder[:, 1:].abs().mean()) < 0.1
    assert torch.equal(systems.edited(trained, faces, {"smile": 0.0}), faces)


def test_its_run_is_the_commands(sixth: Path) -> None:
    started = systems.start_run("sixth", "smoke", {"images": 16}, device="cpu")
    started.train(report=lambda line: None)
    assert isinstance(started.source, SystemFaces)
    dry = CliRunner().invoke(app, ["train", "sixth", "--device", "cpu", "--dry-run"])
    assert json.loads(dry.output)["hash"] == started.plan.config["hash"]
    assert "resuming at 16 images" in train("--images", "24")


def test_what_is_wrong_is_said_in_one_line(sixth: Path) -> None:
    def refused(words: str, *arguments: object, **named: object) -> None:
        with pytest.raises(FacemugError, match=words) as caught:
            call(*arguments, **named)
        assert "\n" not in str(caught.value)

    call = systems.load_system
    refused(r"no system is called 'seventh': choose from .*sixth", "seventh")
    refused("no weights of sixth at .*train them with `facemug train sixth --install`", "sixth")
    other = save_weights(sixth / "other.safetensors", {"a": torch.zeros(1)}, config={"system": "fifth"}, card={})
    refused("holds weights of fifth, not of sixth", "sixth", other)
    config = {"system": "sixth", "attributes": ["smile"]}
    wide = save_weights(sixth / "wide.safetensors", {"colours": torch.zeros(1, 4)}, config=config, card={})
    refused("does not fit the network", "sixth", wide)
    mine = save_weights(sixth / "sixth.safetensors", {"colours": torch.zeros(1, 3)}, config=config, card={})
    trained, call = systems.load_system("sixth", mine, "cpu"), systems.edited
    face = torch.zeros(1, 3, 64, 64)
    refused("no attribute 'beard': sixth has no attribute of that name, choose from smile", trained, face, {"beard": 1.0})
    refused("no attribute 'age': these weights were not trained for it, choose from smile", trained, face, {"age": 1.0})
    for strength in (2.5, float("nan"), "1", True):
        refused("strength of smile is .*: sixth takes -2 to 2", trained, face, {"smile": strength})
    refused("nothing to change", trained, face, {})
    refused(r"takes \[b, 3, 64, 64\]", trained, torch.zeros(1, 3, 128, 128), {"smile": 1.0})
    call = systems.any_stage
    refused("unknown stage 'sixt': did you mean sixth", "sixt")
    call = systems.plan_run
    refused("stage sixth has no setting 'wieght': did you mean weight", "sixth", "smoke", {"wieght": 1})
    refused("unknown profile", "sixth", "huge")


def test_a_file_that_is_not_there_adds_nothing() -> None:
    assert "sixth" not in systems.names() and "common" not in systems.names()
