"""Equal budgets, an equal start, runs that are known when they have finished, and what their scores say together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import ablations
from facemug_lib.evaluation.ablations import VARIANTS, Budget, finish, order, over_seeds, paired, papers_order, plan_runs
from facemug_lib.figures import ablations as figure
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator

SMALL = Budget(images=8, test=4, profile="smoke")


def outcome(variant: str, seed: int, lpips: float, **more: float) -> dict:
    scores = {"lpips_alex": lpips, **more}
    return {"variant": variant, "seed": seed, "test": 12, "budget": {"images": 8, "size": 64},
            "scores": {"hole": scores, "guided": scores}, "curve": [{"images": 8, "lpips_hole": lpips, "lpips_guided": lpips}]}


OUTCOMES = [outcome("A", 0, 0.20, fid=10.0), outcome("B", 0, 0.23, fid=12.0), outcome("A", 1, 0.30, fid=14.0),
            outcome("B", 1, 0.32, fid=13.0)]


def test_runs_differ_by_variant_and_seed_alone(tmp_path: Path):
    runs = plan_runs(SMALL, seeds=(0, 1), device="cpu", folder=tmp_path)
    assert [(run.variant, run.seed) for run in runs] == [(name, seed) for seed in (0, 1) for name in "ABCDE"]
    assert len({run.hash for run in runs}) == len({run.plan.folder for run in runs}) == 10
    first = runs[0].plan.settings.model_dump()
    for run in runs:
        own = run.plan.settings.model_dump()
        assert {name for name in own if own[name] != first[name]} == set(VARIANTS[run.variant].settings)


def test_a_run_is_known_by_its_settings_and_not_by_where_its_faces_lie(tmp_path: Path):
    def names(**changes: object) -> str:
        return plan_runs(Budget(**{"profile": "smoke", **changes}), ["A"], [0], "cpu", tmp_path)[0].name

    assert names(data="/one/faces") == names(data="/another/faces") != names(data="/one/others")
    assert names() != names(size=128) and names() != names(settings={"lr": 1e-3})
    assert names(images=8).replace("-8-", "-9-") == names(images=9)


@pytest.mark.parametrize(("variants", "settings", "message"), [
    (["F"], {}, "no ablation 'F'"), (["A"], {"lrr": 1}, "did you mean lr")])
def test_unknown_variants_and_settings_are_refused(variants: list[str], settings: dict, message: str):
    with pytest.raises(FacemugError, match=message):
        plan_runs(Budget(settings=settings), variants, device="cpu")


def test_what_two_networks_share_starts_alike():
    whole, plain = (RefinementGenerator(GeneratorConfig((8, 8), (8, 8), ((0, 0, 0), (1, 1, 1)), num_codes=2, code_dim=8,
                                                        global_dim=8, bottleneck=8, use_bank=bank)) for bank in (True, False))
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    count, target = ablations.start_alike(plain, whole), whole.state_dict()
    shared = {name for name, tensor in plain.state_dict().items() if name in target and target[name].shape == tensor.shape}
    assert count == len(shared) > 0 and set(target) - shared  # the bank's own layers have no counterpart
    assert all(torch.equal(plain.state_dict()[name], target[name]) for name in shared)
    assert any(not torch.equal(before[name], target[name]) for name in shared)


def test_a_finished_run_costs_nothing_and_fewer_test_faces_are_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(ablations, "train_run", refuse)
    (run,) = plan_runs(SMALL, ["A"], [0], "cpu", tmp_path)
    (tmp_path / f"{run.name}.json").write_text(json.dumps(outcome("A", 0, 0.2) | {"test": 4}))
    assert finish(run, None, None, None)["scores"]["hole"]["lpips_alex"] == 0.2
    (more,) = plan_runs(Budget(images=8, test=5, profile="smoke"), ["A"], [0], "cpu", tmp_path)
    assert more.outcome() is None
    (tmp_path / f"{run.name}.json").write_text("{")
    with pytest.raises(FacemugError, match="not readable"):
        run.outcome()


def test_errors_are_those_of_the_mean_over_seeds():
    scores = over_seeds(OUTCOMES, "hole")
    assert scores["A"]["lpips_alex"].value == pytest.approx(0.25) and scores["A"]["lpips_alex"].error == pytest.approx(0.05)
    above = paired(OUTCOMES, "hole", "lpips_alex")
    assert set(above) == {"B"} and above["B"].value == pytest.approx(0.025) and above["B"].error == pytest.approx(0.005)
    assert over_seeds(OUTCOMES[:2], "hole")["A"]["lpips_alex"].error is None


def test_orders():
    assert papers_order() == "ACEDB" and papers_order("fid") == papers_order("u_ids_heldout") == "ACDEB"
    scores = over_seeds(OUTCOMES, "hole")
    assert order(scores) == "AB" and order(scores, "fid") == "AB" and order(scores, "u_ids_heldout") == ""


def test_the_table_stands_beside_the_papers(tmp_path: Path):
    rows = figure.rows(OUTCOMES)
    assert [row[""] for row in rows] == ["A", "B"] and rows[1]["paper LPIPS"] == "0.2010"
    assert rows[0]["LPIPS-Alex"] == "0.2500 ± 0.0500"
    assert (rows[0]["LPIPS above A"], rows[1]["LPIPS above A"]) == ("", "0.0250 ± 0.0050")
    drawn = figure.draw(OUTCOMES)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert "full" in texts and any("8 images at 64 px" in text for text in texts)
    assert len(figure.draw_curves(OUTCOMES).axes) == 2
    with pytest.raises(FacemugError, match="no ablation has finished"):
        figure.draw([])
