"""Settings: typed, complete, each with its basis."""

from __future__ import annotations

import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.training.profiles import PROFILES, STAGES, config_hash
from facemug_lib.training.stages import numbers_table, settings


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
    made = settings("encoder", "smoke", {"lr": "1e-4", "batch": "4", "clip_norm": "none", "scheme": "dominant"})
    assert (made.lr, made.batch, made.clip_norm, made.scheme) == (1e-4, 4, None, "dominant")
    for overrides, words in (
        ({"lrr": 1}, "did you mean lr?"), ({"batch": "four"}, "valid integer"), ({"batch": 0}, "greater than or equal to 1"),
        ({"psi_low": 1.0, "psi_high": 0.5}, "swap"), ({"drop": 1.5}, "less than or equal to 1"), ({"lr": "nan"}, "lr"),
    ):
        with pytest.raises(FacemugError, match=words.replace("?", r"\?")):
            settings("encoder", "smoke", overrides)
    with pytest.raises(FacemugError, match="unknown stage"):
        settings("decoder")
    with pytest.raises(FacemugError, match="unknown profile"):
        settings("encoder", "huge")


def test_hash_ignores_length_and_reporting_only() -> None:
    config = settings("generator", "smoke").model_dump()
    assert config_hash(config) == config_hash(config | {"images": 7, "grid_every": 9})
    assert config_hash(config) != config_hash(config | {"lr": 0.5})
    assert config_hash(config) != config_hash(config | {"seed": 1})


# Runs that exist are found by these names: a setting that comes later must not change them.
NAMES = {("head", "laptop"): "d15b6086", ("expert", "laptop"): "bfea2165", ("encoder", "laptop"): "15f9b543",
         ("warping", "laptop"): "13cdd5ea", ("generator", "laptop"): "16dde354", ("text", "laptop"): "c5e8724f"}


@pytest.mark.parametrize(("stage", "profile"), NAMES)
def test_runs_that_exist_keep_their_name(stage: str, profile: str) -> None:
    identity = {"stage": stage, "data": "prior", "seed": 0, "init": "scratch"}
    assert config_hash(identity | settings(stage, profile).deciding()) == NAMES[stage, profile]


def test_a_later_setting_names_a_run_only_where_it_changes_something() -> None:
    usual, changed = settings("expert"), settings("expert", overrides={"turn": 5})
    assert "turn" not in usual.deciding() and changed.deciding()["turn"] == 5
    assert set(usual.deciding()) < set(usual.model_dump())
