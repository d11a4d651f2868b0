"""Every notebook runs at the smoke profile, in a kernel of its own, and proves there what :data:`PROOFS` says that it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facemug_lib.commands.notebook_parameters import read_parameters
from facemug_lib.commands.runner import RunResult, list_notebooks, run_notebook
from facemug_lib.systems import any_stage
from facemug_lib.training.stages import settings

INFINITE = float("inf")


@dataclass(frozen=True)
class Proof:
    """What the numbers and pictures of one notebook show at `smoke`.

    figures: how many it saves, each with something on it. within: path of a recorded number → (least, most). less: pairs of
    paths, the first number below the second; the second may be a number. A path names what ``record`` was given, and below that
    the keys, joined by " / "; * is every key. stage: the stage that it trains, for as many images as the profile says.
    """

    figures: int
    within: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    less: tuple[tuple[str, str], ...] = ()
    stage: str | None = None


PROOFS = {
    "00_quickstart": Proof(5, {"values_differing_outside_the_mask / *": (0, 0)}),
    "01_data_synthesis": Proof(4, {"stroke_share": (0.02, 0.15), "free_form_mean_share": (0.05, 0.95),
                                   "present_share / *": (0.1, 1), "present_share / sketch": (0.1, 0.99),
                                   "images_per_second / *": (0.01, INFINITE)}),
    "02_face_prior": Proof(4, less=(("before / psnr_256", "shipped / psnr_256"), ("shipped / lpips_vgg", "before / lpips_vgg")),
                           stage="head"),
    "03_style_encoder": Proof(2, less=(("shipped / code_mse_whole", "shipped / code_mse_mean"),
                                       ("shipped / lpips_whole", "before / lpips_whole"),
                                       ("code_error / all together", "code_error / sketch"),
                                       ("code_error / whole face", "code_error / sketch")), stage="encoder"),
    "04_latent_warping": Proof(3, less=(("shipped / lpips_warped", "shipped / lpips_source"),
                                        ("shipped / attribute_warped", "shipped / attribute_source")), stage="warping"),
    "05_multimodal_generator": Proof(2, {"mean_shares / sketch × 0 / sketch": (0, 0), "after / psnr_hole": (10, 40)},
                                     (("mean_shares / sketch × 1 / sketch", "mean_shares / sketch × 8 / sketch"),), "generator"),
    "06_latent_directions": Proof(4, {"smile_accuracy": (0.9, 1), "own / *": (0.4, 2.2), "identity / *": (0.2, 1),
                                      "cosine_with_shipped": (0, 1)}),
    "07_text_editing": Proof(4, {"changed_outside": (0, 0), "direction_accuracy": (0.7, 1), "cosine_with_smile": (0.05, 1)},
                             (("loss_last", "loss_first"), ("chance", "recall_5"))),
    "08_incremental_editing": Proof(2, {"steps": (4, 4), "changed_outside": (0, 0), "touched_share": (0.05, 0.9)}),
    "09_evaluation": Proof(3, {"values_changed_outside": (0, 0)}, (("lpips / * / FACEMUG", "lpips / * / mean colour"),)),
    "10_ablations": Proof(3, {"lpips / *": (0.005, 0.6), "seeds": (1, 1), "share_of_equal_weights / *": (0.5, 1),
                              "share_of_equal_weights / A": (1, 1), "share_of_equal_weights / D": (1, 1)},
                          (("millions_of_weights / E", "millions_of_weights / A"),)),
    "11_figures": Proof(11, {"changed_outside": (0, 0), "series_changed_outside": (0, 0), "series_steps": (10, 10),
                             "subsets": (32, 32), "table_rows": (11, 11)},
                        (("subset_lpips / image + colour + exemplar", "subset_lpips / none"),
                         ("spread_over_seeds / hole", "spread_over_seeds / free"))),
    "12_psam": Proof(3, {"changed_at_strength_0": (0, 0), "mean_gate / *": (0.02, 0.98), "tensors_carried_over": (30, 200)},
                     (("makeup_before", "makeup_after"),), "psam"),
    "13_l2m_gan": Proof(5, {"changed_at_strength_0": (0, 0), "changed_outside_the_mask": (0, 0), "code_apart": (0, 1e-4),
                          "dot_of_shared": (0, 0), "loss_of_parted": (0, 0)},
                      (("dot_of_shared", "loss_of_shared"),), "l2m_gan"),
    "14_relative_au": Proof(4, {"correlation / *": (0.3, 1), "reached / maps, the authors'": (0, 1e-5),
                                "reached / maps and scales, ours": (0.01, 10), "zero_psnr": (20, INFINITE),
                                "changed_at_strength_0": (0, 0)},
                            (("reached / maps, the authors'", "reached / maps and scales, ours"),), "relative_au"),
    "15_diat": Proof(4, {"changed_at_strength_0": (0, 0), "faded_apart": (0, 1e-5), "likeness / *": (0.3, 1.001)},
                     (("parameters_of_nine", "parameters_apart"),), "diat"),
    "16_comparison": Proof(4, {"right / unedited": (0, 0), "kept_l1 / unedited": (0, 0),
                               "region_share / smile": (0.005, 0.5)},
                           (("right / unedited", "right / prior's direction"),
                            ("kept_l1 / FACEMUG, masked", "kept_l1 / prior's direction"))),
    "90_expert_distillation": Proof(1, {"distilled": (0, 0), "mirror_pixel_agreement": (0.8, 1), "mirror_miou": (0.5, 1)}),
}
"""A notebook without a row fails. Training for a few images makes no network better: what is compared there are the shipped
weights with an untrained network, and the run with the start that it must not be far from."""


def found(metrics: Mapping[str, Any], path: str) -> dict[str, float]:
    """The recorded numbers that a path names, each by its full path; none at all is a failure."""
    values: dict[str, Any] = {"": metrics}
    for key in path.split(" / "):
        values = {f"{place} / {name}".removeprefix(" / "): value[name] for place, value in values.items()
                  for name in (value if key == "*" else [key])}
    assert values, f"nothing was recorded at {path}"
    return values


def prove(proof: Proof, metrics: Mapping[str, Any]) -> None:
    for path, (least, most) in proof.within.items():
        for name, value in found(metrics, path).items():
            assert least <= value <= most, f"{name} is {value}: {least} … {most} was to be shown"
    for small, large in proof.less:
        larger = found(metrics, large)
        for name, value in found(metrics, small).items():
            other = larger.get(re.sub(r"[^/]+$", " " + large.rpartition(" / ")[2], name).strip()) if "*" in large else None
            for limit in larger.values() if other is None else [other]:
                assert value < limit, f"{name} is {value}: less than {large}, {limit}, was to be shown"


def also(stem: str, metrics: Mapping[str, Any]) -> None:
    """What a table of bounds cannot say."""
    if stem == "00_quickstart":
        for measure, (before, after) in metrics["obedience"].items():
            assert (after < before) if "off the paint" in measure else (after > before), measure
    elif stem == "04_latent_warping":
        before, after = metrics["before"], metrics["after"]
        assert before["lpips_warped"] == pytest.approx(before["lpips_source"], rel=1e-4)  # a fresh T changes nothing
        moved = abs(after["attribute_warped"] - after["attribute_source"]) / after["attribute_source"]
        assert 1e-6 < moved < 0.2  # a few steps of training change codes, by little
    elif stem == "05_multimodal_generator":
        before, after = metrics["before"], metrics["after"]
        assert before["psnr_hole"] == pytest.approx(before["prior_psnr_hole"], rel=1e-3)  # a fresh generator is the prior
        assert 1e-4 < abs(after["psnr_hole"] - after["prior_psnr_hole"]) < 3  # dB
    elif stem == "09_evaluation":
        assert "+ semantics" in metrics["obeyed"]
        for scores in metrics["lpips"].values():
            assert scores["saved again"] == min(scores.values())


def test_every_notebook_says_what_its_run_proves() -> None:
    assert sorted(PROOFS) == sorted(path.stem for path in list_notebooks())
    assert all(proof.figures and (proof.within or proof.less) for proof in PROOFS.values())


def test_a_proof_fails_on_wrong_and_on_missing_numbers() -> None:
    proof = Proof(1, {"share": (0, 1), "kept / *": (0, 0)}, (("loss / * / after", "loss / * / before"), ("small", "large")))
    good = {"share": 0.5, "kept": {"a": 0, "b": 0}, "small": 1, "large": 2,
            "loss": {"x": {"before": 2, "after": 1}, "y": {"before": 9, "after": 8}}}
    prove(proof, good)
    for wrong in ({"share": 1.5}, {"kept": {"a": 0, "b": 1}}, {"kept": {}}, {"small": 2}, {"share": float("nan")},
                  {"loss": {"x": {"before": 2, "after": 3}, "y": {"before": 9, "after": 8}}}):
        with pytest.raises(AssertionError):
            prove(proof, good | wrong)
    with pytest.raises(KeyError):
        prove(proof, {name: value for name, value in good.items() if name != "large"})


@pytest.mark.notebook
@pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)
def test_notebook_runs_at_smoke(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    monkeypatch.setenv("FACEMUG_FIGURES", str(tmp_path / "figures"))
    parameters = read_parameters(nbformat.read(path, as_version=4), path.name)
    own_folders = {"run_folder": str(tmp_path / "training"), "out": str(tmp_path / "results")}
    overrides = {name: folder for name, folder in own_folders.items() if name in parameters}
    result = run_notebook(path.stem, "smoke", overrides, out=tmp_path / "run")
    assert result.ok, result.error
    proof = PROOFS[path.stem]
    check_pictures(result, proof.figures)
    prove(proof, result.metrics)
    also(path.stem, result.metrics)
    if proof.stage is not None:
        chosen = {} if result.parameters["images"] is None else {"images": result.parameters["images"]}
        assert result.metrics["images_seen"] >= settings(any_stage(proof.stage), "smoke", chosen).images
        assert (tmp_path / "training" / "stats.jsonl").is_file()


def check_pictures(result: RunResult, least: int) -> None:
    assert len(result.figures) >= least, f"{len(result.figures)} figures: {least} were to be shown"
    for figure in result.figures:
        pixels = np.asarray(Image.open(figure).convert("L"), dtype=np.float32)
        assert min(pixels.shape) > 100 and pixels.std() > 5, f"{figure} is blank"
