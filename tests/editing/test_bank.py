"""A StyleGAN2 of the user's own in place of the default prior: loaded, edited with, refused where the weights do not fit it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from stylegan2_state import rosinality_state

from facemug_lib.commands.faces import synthesize
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent import direction_fit
from facemug_lib.editing.latent.directions import save_directions
from facemug_lib.errors import FacemugError
from facemug_lib.faces.bank import load_bank
from facemug_lib.faces.stylegan2 import StyleGAN2Prior
from facemug_lib.files import file_hash
from facemug_lib.machine.bench import bench_prior
from facemug_lib.models.aggregation import AggregationConfig
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping, LatentWarpingConfig
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig
from facemug_lib.pictures import pixels_of
from facemug_lib.training.stages import settings
from facemug_lib.weights import save_weights

WIDEST = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A narrow random StyleGAN2 of 256 px, as training scripts save one."""
    path = tmp_path_factory.mktemp("bank") / "g_ema.pt"
    torch.save({"g_ema": rosinality_state(256, WIDEST)}, path)
    return path


@pytest.fixture(scope="module")
def bank(checkpoint) -> StyleGAN2Prior:
    return load_bank(checkpoint)


def save_networks(folder: Path, prior: StyleGAN2Prior) -> Path:
    """Untrained networks for a bank, as a training run leaves them."""
    torch.manual_seed(0)
    generator = replace(GeneratorConfig.compact(feature_channels=prior.feature_channels, code_layers=prior.code_layers,
                                                num_codes=prior.num_codes),
                        widths=(8,) * 7, global_dim=16, bottleneck=8, style_rank=8,
                        aggregation=AggregationConfig(width=4, hidden=4, score_hidden=2))
    for name, network in (("style_encoder", StyleEncoder(StyleEncoderConfig.compact(prior.num_codes), mean_w=prior.mean_w)),
                          ("latent_warping", LatentWarping(LatentWarpingConfig.compact(prior.num_codes))),
                          ("generator", RefinementGenerator(generator))):
        save_weights(folder / f"{name}.safetensors", network.state_dict(), config=asdict(network.config), card={})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, bank) -> Path:
    return save_networks(tmp_path_factory.mktemp("run"), bank)


def test_the_widths_are_the_checkpoints(bank) -> None:
    assert bank.num_codes == 14 and bank.feature_channels == dict.fromkeys((4, 8, 16, 32, 64, 128, 256), WIDEST)
    assert [one.shape[0] for one in bank.style_affines()] == [WIDEST] * bank.num_codes


def test_an_edit_goes_through_the_bank(checkpoint, run, bank, face, mask, tmp_path) -> None:
    codes = bank.broadcast(bank.w_of_seeds(range(4)))
    saved = save_directions(tmp_path / "own.safetensors", direction_fit.components(codes[:, 0], 1, bank.num_codes), {})
    editor = Editor.load("cpu", run, saved, bank=checkpoint)
    result = editor.edit(face, mask, sketch=mask, attributes={"component0": 1.0}, seed=2)
    outside = (mask < 0.5).expand_as(face)
    assert torch.equal(result.image[outside], face[outside]) and not torch.equal(result.image, face)
    assert result.codes.shape == (1, 14, 512) and torch.equal(editor.edit(face, mask, seed=2).image, editor.edit(
        face, mask, seed=2).image)
    # An untrained generator shows the bank's own picture of the codes: the edit was painted by this bank.
    with torch.no_grad():
        assert torch.allclose(result.raw, bank.synthesize(result.codes), atol=1e-3 * float(result.raw.abs().max()))
    with pytest.raises(FacemugError, match="no directions are known for this bank's codes"):
        Editor.load("cpu", run, bank=checkpoint).edit(face, mask, attributes={"smile": 1.0})


def test_an_editor_knows_what_it_was_loaded_from(checkpoint, run) -> None:
    assert Editor.load("cpu", run, bank=checkpoint).loaded_from == {"weights": str(run), "bank": str(checkpoint)}


def test_a_set_is_synthesized_from_the_bank(checkpoint, bank, tmp_path) -> None:
    out = tmp_path / "faces"
    synthesize(1, out, seed=5, size=64, bank=checkpoint, device="cpu")
    codes = load_file(out / "img_path" / "codes.safetensors")["codes"]
    assert torch.equal(codes, bank.broadcast(bank.w_of_seeds([5], 0.7)))
    with torch.no_grad():
        painted = bank.synthesize(codes, 64)[0]
    assert np.array_equal(np.asarray(PIL.Image.open(out / "img_path" / "000000.png")), pixels_of(painted.clamp(-1, 1)))
    assert json.loads((out / "dataset.json").read_text())["bank"] == file_hash(checkpoint)
    with pytest.raises(FacemugError, match="holds faces made with"):
        synthesize(1, out, seed=5, size=64, device="cpu")
    (tmp_path / "torn.pt").write_bytes(b"none")
    with pytest.raises(FacemugError):
        synthesize(1, tmp_path / "other", size=64, bank=tmp_path / "torn.pt", device="cpu")
    assert not (tmp_path / "other").exists()


def test_weights_of_another_bank_say_so(checkpoint, run, tmp_path) -> None:
    with pytest.raises(FacemugError, match=r"style_encoder.safetensors was trained with a bank of 17 codes, and this one has 14"):
        Editor.load("cpu", bank=checkpoint)
    with pytest.raises(FacemugError, match=r"was trained with a bank of 14 codes, and this one has 17: give the bank's own"):
        Editor.load("cpu", run)
    torch.save(rosinality_state(256, WIDEST, seed=1), tmp_path / "other.pt")
    with pytest.raises(FacemugError, match="was trained with another bank, whose mean face is another one"):
        Editor.load("cpu", run, bank=tmp_path / "other.pt")
    torch.save(rosinality_state(256, WIDEST + 1), tmp_path / "wider.pt")
    with pytest.raises(FacemugError, match="was trained with a bank of 6 channels at 4 px, and this one has 7"):
        Editor.load("cpu", run, bank=tmp_path / "wider.pt")


def test_what_is_no_bank_says_so_in_one_line(tmp_path) -> None:
    torch.save(rosinality_state(64, WIDEST), tmp_path / "small.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    state = rosinality_state(256, WIDEST)
    state["convs.2.conv.weight"] = state["convs.2.conv.weight"][:, :, :-1]
    torch.save(state, tmp_path / "torn.pt")
    for name, message in (("none.pt", "no StyleGAN2 checkpoint"), ("small.pt", "paints 64 px: a bank of 256 px or more"),
                          ("list.pt", "holds a list: a state dict is needed"), ("torn.pt", "convs.2.conv.weight has shape")):
        with pytest.raises(FacemugError, match=message) as caught:
            load_bank(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_directions_are_fitted_to_the_banks_own_codes(bank) -> None:
    w = bank.w_of_seeds(range(60), 1.0)
    codes = bank.broadcast(w[:4])

    def read(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"light": images.mean((1, 2, 3))}

    with torch.no_grad():
        samples = direction_fit.Samples(w, direction_fit.rendered(bank, bank.broadcast(w), read, 64))
    boundary = direction_fit.boundary("light", samples.w, samples.traits["light"], codes=bank.num_codes)
    found = direction_fit.calibrated(bank, boundary, "light", samples.deviation("light"), codes, read, 64)
    moved = direction_fit.changes(bank, found, codes, read, size=64)["light"].mean() / samples.deviation("light")
    assert found.vector.shape == (14, 512) and float(moved) == pytest.approx(1, abs=0.3)
    assert direction_fit.factors(bank, "middle", 2)[0].vector[3:7].any(dim=1).all()


def test_runs_with_the_default_bank_keep_their_names() -> None:
    usual, other = settings("encoder"), settings("encoder", overrides={"bank": "g_ema.pt"})
    assert "bank" not in usual.deciding() and other.deciding() == usual.deciding() | {"bank": "g_ema.pt"}


def test_its_pictures_are_timed(checkpoint) -> None:
    measured = bench_prior(torch.device("cpu"), True, checkpoint)
    assert {one.name for one in measured} == {"256 px"} and all(one.value > 0 for one in measured)  # it has no 1024 px
