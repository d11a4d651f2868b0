"""The mean of several runs' networks, and batch normalisation with statistics of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import encoder_stage, warping_stage
from runs import QUIET, FourFaces, train
from torch import nn

from facemug_lib.commands.training import average
from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import PriorFaces
from facemug_lib.training import averaging
from facemug_lib.training.averaging import average_runs, checked_shares, fill_with_mean, recalibrate
from facemug_lib.weights import read_weights


def runs_of(folder: Path) -> list[str]:
    """Two runs, the second one begun from nothing else than another seed."""
    for name, seed in (("a", 0), ("b", 1)):
        stage = encoder_stage(latent_weight=0.0)
        train(stage, FourFaces(stage.prior), folder / name, images=8, batch=4, seed=seed, **QUIET)
    return [str(folder / "a"), str(folder / "b")]


def test_the_mean_has_the_shares_asked_for(tmp_path: Path) -> None:
    runs = runs_of(tmp_path)
    network = encoder_stage().modules["style_encoder"]
    fill_with_mean(network, "style_encoder", runs, [0.25, 0.75])
    a, b = (read_weights(Path(run) / "weights" / "style_encoder.safetensors")[0] for run in runs)
    assert any(not torch.equal(a[name], b[name]) for name in a)
    for name, value in network.state_dict().items():
        expected = 0.25 * a[name] + 0.75 * b[name] if value.is_floating_point() else b[name]
        assert torch.allclose(value, expected, atol=1e-6), name


def test_normalisation_is_measured_on_what_it_is_shown() -> None:
    stage = encoder_stage()
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 64 * 64), nn.Dropout(0.5)).eval()
    seen = []

    def observe(net: nn.Module, faces, generator: torch.Generator) -> None:
        seen.append(faces.images)
        assert net[1].training and not net[2].training
        net(faces.images)

    assert recalibrate(network, observe, PriorFaces(stage.prior), images=16, batch=8, seed=2) == 1
    assert [len(images) for images in seen] == [8, 8] and not torch.equal(*seen)
    means = torch.stack([images.flatten(1).mean(0) for images in seen]).mean(0)
    variances = torch.stack([images.flatten(1).var(0) for images in seen]).mean(0)
    assert torch.allclose(network[1].running_mean, means, atol=1e-5)
    assert torch.allclose(network[1].running_var, variances, atol=1e-5)
    assert network[1].momentum == 0.1 and not any(module.training for module in network.modules())
    again = [value.clone() for value in network.state_dict().values()]
    recalibrate(network, observe, PriorFaces(stage.prior), images=16, batch=8, seed=2)
    assert all(torch.equal(one, other) for one, other in zip(again, network.state_dict().values(), strict=True))


def test_networks_without_it_are_left_alone() -> None:
    stage = warping_stage()
    before = {name: value.clone() for name, value in stage.modules["latent_warping"].state_dict().items()}
    assert recalibrate(stage.modules["latent_warping"], None, PriorFaces(stage.prior), images=8) == 0
    assert all(torch.equal(value, before[name]) for name, value in stage.modules["latent_warping"].state_dict().items())
    with pytest.raises(FacemugError, match="cannot be measured"):
        recalibrate(nn.BatchNorm2d(3), None, PriorFaces(stage.prior), images=8)


def test_the_command_writes_and_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    runs = runs_of(tmp_path)
    stage = encoder_stage()
    monkeypatch.setattr(averaging, "build_stage", lambda *_: stage)
    monkeypatch.setattr(averaging, "build_source", lambda *_: PriorFaces(stage.prior))
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path / "shipped"))
    average("encoder", runs, tmp_path / "mean", [1, 3], images=8, install=True)
    told = capsys.readouterr().out
    assert (tmp_path / "mean" / "weights" / "style_encoder.safetensors").is_file()
    assert "lpips_whole" in told and "installed as" in told
    tensors, _, card = read_weights(tmp_path / "shipped" / "style_encoder.safetensors")
    assert card["images_seen"] == 8 and card["mean_of"] == [8, 8] and "--share=0.25 --share=0.75" in card["command"]
    plain = encoder_stage().modules["style_encoder"]
    fill_with_mean(plain, "style_encoder", runs, [0.25, 0.75])
    fresh = {name for name, value in plain.state_dict().items() if not torch.allclose(value, tensors[name], atol=1e-3)}
    assert fresh and all("running_" in name or "num_batches" in name for name in fresh)
    kept = average_runs("encoder", runs, (1, 3), images=0, batch=4, out=tmp_path / "kept").weights["style_encoder"]
    a, b = (read_weights(Path(run) / "weights" / "style_encoder.safetensors")[0] for run in runs)
    for name, value in read_weights(kept)[0].items():
        if "running" in name:  # not measured anew
            assert torch.allclose(value, 0.25 * a[name] + 0.75 * b[name], rtol=1e-2, atol=1e-3), name


@pytest.mark.parametrize(("runs", "shares", "message"), [
    ([], [], "no run to average"), (["a", "b"], [1.0], "1 shares for 2 runs"), (["a", "b"], [1.0, 0.0], "use positive numbers"),
    (["a"], [float("nan")], "use positive numbers"),
])
def test_bad_shares(runs: list[str], shares: list[float], message: str) -> None:
    with pytest.raises(FacemugError, match=message):
        checked_shares(runs, shares)


def test_bad_commands(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="stage 'expert' cannot be averaged"):
        average_runs("expert", ["shipped"], out=tmp_path / "mean")
    with pytest.raises(FacemugError, match="nowhere is not a folder"):
        average_runs("encoder", [str(tmp_path / "nowhere")], out=tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
