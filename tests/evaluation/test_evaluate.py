"""The whole evaluation on small networks: resumable, paired, and honest about its N."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stubs import COUNT, StubJudges

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import completion, evaluate
from facemug_lib.evaluation.completion import Depth, Runner, regrouped, scores
from facemug_lib.evaluation.evaluate import Plan, write
from facemug_lib.evaluation.export import export_cases
from facemug_lib.evaluation.methods.facemug import Facemug
from facemug_lib.evaluation.methods.folder import Folder
from facemug_lib.evaluation.methods.simple import ExemplarPaste, MeanColour, SavedAgain
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.store import Store


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(StubJudges(), Store(tmp_path / "cache"), Depth(vgg=6, facenet=6))


def test_a_killed_run_goes_on_where_it_was(faces: TestSet, tmp_path: Path) -> None:
    class Dies(MeanColour):
        calls = 0

        def __call__(self, cases):
            Dies.calls += 1
            if Dies.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(cases)

    first = Runner(StubJudges(), Store(tmp_path), Depth())
    with pytest.raises(KeyboardInterrupt):
        first.run(faces, ["centre"], [Dies()])
    second = Runner(StubJudges(), Store(tmp_path), Depth())
    (resumed,) = second.run(faces, ["centre"], [Dies()])
    assert second.store.found == 1 and second.store.made == 1 and Dies.calls == 3
    (whole,) = Runner(StubJudges(), Store(tmp_path / "other"), Depth()).run(faces, ["centre"], [Dies()])
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(values, resumed.arrays[name])
    third = Runner(StubJudges(), Store(tmp_path), Depth())
    third.run(faces, ["centre"], [Dies()])
    assert third.store.made == 0 and third.judges.asked == 0  # nothing is measured twice


def test_other_weights_measure_only_what_depends_on_them(faces: TestSet, runner: Runner, tiny) -> None:
    editor = tiny.tiny_editor()
    runner.run(faces, ["centre"], [Facemug(editor), MeanColour()], 4)
    with torch.no_grad():
        next(editor.encoder.parameters()).add_(0.01)
    before = runner.store.made
    runner.run(faces, ["centre"], [Facemug(editor), MeanColour()], 4)
    assert runner.store.made == before + 1


def test_slow_judges_look_at_fewer_faces_and_the_table_says_so(faces: TestSet, runner: Runner) -> None:
    (found,) = runner.run(faces, ["centre"], [MeanColour()])
    assert np.isfinite(found.arrays["lpips_vgg"]).sum() == 6
    row = scores(found, runner.reals(faces, faces.pixels, "true"))
    assert row["lpips_vgg"].n == 6 and row["lpips_alex"].n == row["kid"].n == COUNT
    assert row["lpips_alex"].value == pytest.approx(found.arrays["lpips_alex"].mean())


def test_irregular_faces_count_in_their_bucket_and_one_mask_per_face_in_mixed(faces: TestSet, runner: Runner) -> None:
    measured = runner.run(faces, ["irregular", "centre"], [MeanColour()])
    rows = {one.family: one for one in regrouped(measured)}
    buckets = [one for name, one in rows.items() if "%" in name]
    assert sorted(face for one in buckets for face in one.faces) == list(range(COUNT))
    assert sorted(rows["mixed"].faces) == list(range(10))  # the families of the first ten faces are the two measured
    np.testing.assert_array_equal(rows["mixed"].arrays["psnr"][:5], measured[0].arrays["psnr"][:5])


def test_the_true_face_saved_again_is_better_than_another_face(faces: TestSet, runner: Runner) -> None:
    again, paste = runner.run(faces, ["face"], [SavedAgain(), ExemplarPaste()])
    assert (again.arrays["psnr"] > 30).all() and (again.arrays["psnr"] > paste.arrays["psnr"]).all()
    assert "inception" not in again.arrays


def test_peers_are_scored_by_the_pictures_they_made(faces: TestSet, runner: Runner, tmp_path: Path) -> None:
    few = TestSet("toys", faces.pixels[:4], faces.faces[:4], faces.labels[:4], faces.spare, "few")
    export_cases([few], ["centre"], 4, tmp_path / "cases")
    folder = tmp_path / "cases" / "toys" / "centre"
    assert len(list(folder.iterdir())) == 12
    for index in range(4):  # a peer that paints every hole grey
        truth, mask = (np.array(Image.open(folder / f"{index:06d}_{kind}.png")) for kind in ("gt", "mask"))
        assert set(np.unique(mask)) == {0, 255}
        Image.fromarray(np.where(mask[..., None] > 0, 128, truth).astype(np.uint8)).save(folder / f"{index:06d}_inpaint.png")
    (peer,) = runner.run(few, ["centre"], [Folder(tmp_path / "cases", "grey")])
    cases = few.cases("centre", range(4))
    grey = torch.where(cases.masks > 0.5, torch.tensor(128 / 127.5 - 1), cases.images)
    np.testing.assert_allclose(peer.arrays["psnr"], completion.metrics.psnr(grey, cases.images, cases.masks), rtol=1e-4)


def test_everything_ends_in_tables_and_plain_data(faces: TestSet, tiny, tmp_path: Path) -> None:
    editor = tiny.tiny_editor()
    few = TestSet("toys", faces.pixels[:6], faces.faces[:6], faces.labels[:6], faces.spare[:6], "few blots")
    plan = Plan(count=6, vgg=2, facenet=2, optimisation=1, simple=4, paper=2, guidance=1, subsets=1, warping=1, incremental=1)
    found = evaluate.evaluate(editor, [few], [Facemug(editor), MeanColour(), ExemplarPaste()],
                              Store(tmp_path / "cache"), plan, ["centre", "hair"], judges=StubJudges())
    for path in write(found, tmp_path / "out"):
        assert path.stat().st_size > 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(evaluate.PARTS) <= set(results) and results["timing"]["completion"]["batches_measured"] > 0
    for method, count in (("FACEMUG", 6), ("mean colour", 4)):
        assert {row["n"] for row in results["completion"] if row["method"] == method and row["masks"] == "hair"} == {count}
    text = (tmp_path / "out" / "tables.md").read_text()
    for expected in ("FACEMUG", "floor: 6 real faces against 6 others", "saved again", "(N 2)", "Table VII", "+ semantics", "1:"):
        assert expected in text, expected
    assert "nan" not in text and "Score(" not in text
    assert (tmp_path / "out" / "scores.csv").read_text().startswith("set,masks,method,metric,value,error,n")


@pytest.mark.parametrize("call", [
    lambda editor, faces, store: evaluate.evaluate(editor, [faces], [], store, Plan(2), ["nose"]),
    lambda editor, faces, store: evaluate.evaluate(editor, [faces], [], store, Plan(2), parts=["everything"]),
    lambda editor, faces, store: completion.distribution_scores(np.zeros((3, 4)), np.zeros((2, 4)), np.arange(3)),
])
def test_bad_input_is_named(call: Callable, faces: TestSet, editor, tmp_path: Path) -> None:
    with pytest.raises(FacemugError) as caught:
        call(editor, faces, Store(tmp_path))
    assert "\n" not in str(caught.value)
