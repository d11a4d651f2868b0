"""Every notebook runs at the smoke profile, in a kernel of its own, and its numbers make sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facemug_lib.commands.notebook_parameters import read_parameters
from facemug_lib.commands.runner import RunResult, list_notebooks, run_notebook
from facemug_lib.training.stages import settings

pytestmark = pytest.mark.notebook


def quickstart(metrics: dict[str, Any]) -> None:
    assert set(metrics["values_differing_outside_the_mask"].values()) == {0}
    for measure, (before, after) in metrics["obedience"].items():
        assert (after < before) if "off the paint" in measure else (after > before), measure


def data_synthesis(metrics: dict[str, Any]) -> None:
    assert 0.02 < metrics["stroke_share"] < 0.15
    assert min(metrics["images_per_second"].values()) > 0
    assert metrics["present_share"]["sketch"] < 1


def face_prior(metrics: dict[str, Any]) -> None:
    assert metrics["shipped"]["psnr_256"] > metrics["before"]["psnr_256"]
    assert metrics["shipped"]["lpips_vgg"] < metrics["before"]["lpips_vgg"]


def style_encoder(metrics: dict[str, Any]) -> None:
    shipped = metrics["shipped"]
    assert shipped["code_mse_whole"] < shipped["code_mse_mean"]
    assert shipped["lpips_whole"] < metrics["before"]["lpips_whole"]
    assert metrics["code_error"]["all together"] < metrics["code_error"]["sketch"]


def latent_warping(metrics: dict[str, Any]) -> None:
    before, after = metrics["before"], metrics["after"]
    assert before["lpips_warped"] == pytest.approx(before["lpips_source"], rel=1e-4)  # a fresh T changes nothing
    assert after["attribute_warped"] != after["attribute_source"]  # a trained one does


def multimodal_generator(metrics: dict[str, Any]) -> None:
    before, after = metrics["before"], metrics["after"]
    assert before["psnr_hole"] == pytest.approx(before["prior_psnr_hole"], rel=1e-3)  # a fresh generator is the prior
    assert after["psnr_hole"] != after["prior_psnr_hole"]
    assert metrics["mean_shares"]["sketch × 0"]["sketch"] == 0


def latent_directions(metrics: dict[str, Any]) -> None:
    assert metrics["smile_accuracy"] > 0.9
    for name, moved in metrics["own"].items():
        assert 0.4 < moved < 1.8, f"{name} moves by {moved} standard deviations a unit"
    assert min(metrics["identity"].values()) > 0.2
    assert metrics["cosine_with_shipped"] > 0


def text_editing(metrics: dict[str, Any]) -> None:
    assert metrics["recall_5"] > 2 * 5 * metrics["chance"] or metrics["recall_5"] > 0.7
    assert metrics["loss_last"] < metrics["loss_first"] and metrics["changed_outside"] == 0
    assert metrics["direction_accuracy"] > 0.7 and metrics["cosine_with_smile"] > 0.05


def incremental_editing(metrics: dict[str, Any]) -> None:
    assert metrics["steps"] == 4 and metrics["changed_outside"] == 0
    assert 0.05 < metrics["touched_share"] < 0.9


def evaluation(metrics: dict[str, Any]) -> None:
    for scores in metrics["lpips"].values():
        assert scores["saved again"] < min(value for name, value in scores.items() if name != "saved again")
        assert scores["FACEMUG"] < scores["mean colour"]
    assert metrics["values_changed_outside"] == 0
    assert "+ semantics" in metrics["obeyed"]


def expert_distillation(metrics: dict[str, Any]) -> None:
    assert metrics["distilled"] is False
    assert metrics["mirror_pixel_agreement"] > 0.8


CHECKS: dict[str, tuple[Callable[[dict[str, Any]], None], str | None]] = {
    "00_quickstart": (quickstart, None),
    "01_data_synthesis": (data_synthesis, None),
    "02_face_prior": (face_prior, "head"),
    "03_style_encoder": (style_encoder, "encoder"),
    "04_latent_warping": (latent_warping, "warping"),
    "05_multimodal_generator": (multimodal_generator, "generator"),
    "06_latent_directions": (latent_directions, None),
    "07_text_editing": (text_editing, None),
    "08_incremental_editing": (incremental_editing, None),
    "09_evaluation": (evaluation, None),
    "90_expert_distillation": (expert_distillation, None),
}


@pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)
def test_notebook_runs_at_smoke(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    monkeypatch.setenv("FACEMUG_FIGURES", str(tmp_path / "figures"))
    parameters = read_parameters(nbformat.read(path, as_version=4), path.name)
    own_folders = {"run_folder": str(tmp_path / "training"), "out": str(tmp_path / "results")}
    overrides = {name: folder for name, folder in own_folders.items() if name in parameters}
    result = run_notebook(path.stem, "smoke", overrides, out=tmp_path / "run")
    assert result.ok, result.error
    check_pictures(result)
    check, stage = CHECKS.get(path.stem, (None, None))
    if check is not None:
        check(result.metrics)
    if stage is not None:
        planned = settings(stage, "smoke", {k: v for k, v in {"images": result.parameters["images"]}.items() if v is not None})
        assert result.metrics["images_seen"] >= planned.images
        assert (tmp_path / "training" / "stats.jsonl").is_file()


def check_pictures(result: RunResult) -> None:
    assert result.figures
    for figure in result.figures:
        pixels = np.asarray(Image.open(figure).convert("L"), dtype=np.float32)
        assert min(pixels.shape) > 100 and pixels.std() > 5, f"{figure} is blank"
