from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from stubs import StubJudges
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.editing.inputs import INFLUENCES, Edit
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import guided, incremental, warping_ablation
from facemug_lib.evaluation.protocols import TestSet as FaceSet
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.store import Store


class Judges(StubJudges):
    """The kit's, with three brightness classes and yaw from left and right."""

    def parse(self, pictures: Tensor) -> Tensor:
        light = pictures.mean(1)
        return torch.where(light > 0.15, 1, torch.where(light > -0.15, 13, 0))

    def pose(self, pictures: Tensor) -> Tensor:
        yaw = 120 * (pictures[..., 128:].mean((1, 2, 3)) - pictures[..., :128].mean((1, 2, 3)))
        return torch.stack([yaw, torch.zeros_like(yaw), torch.zeros_like(yaw)], dim=1)


@dataclass
class Painter:
    """An editor that fills holes by a rule, and notes what it was asked for."""

    fill: object
    asked: list[Edit]
    refine: int | None = None

    def edit_many(self, edits: Sequence[Edit], **options: object) -> list[SimpleNamespace]:
        self.asked += edits
        self.refine = options.get("refine")
        pictures = [torch.where(edit.mask > 0.5, self.fill(edit), edit.face) for edit in edits]
        return [SimpleNamespace(image=picture, raw=picture) for picture in pictures]


def painter(fill) -> Painter:
    return Painter(fill, [])


truthful = lambda edit: edit.face  # noqa: E731
deaf = lambda edit: torch.zeros_like(edit.face)  # noqa: E731
copying = lambda edit: deaf(edit) if edit.exemplar is None else edit.exemplar  # noqa: E731
colouring = lambda edit: deaf(edit) if edit.colour is None else edit.colour  # noqa: E731


def face_set(count: int = 8) -> FaceSet:
    draw = torch.Generator().manual_seed(1)
    faces = F.interpolate(torch.rand(count, 3, 6, 6, generator=draw) * 2 - 1, (256, 256), mode="bicubic").clamp(-1, 1)
    pixels = (faces * 127.5 + 127.5).round().to(torch.uint8)
    labels = Judges().parse(pixels.float() / 127.5 - 1).to(torch.uint8)
    return FaceSet("blobs", pixels, tuple(map(str, range(count))), labels, pixels[:0], "smooth noise")


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return face_set()


@pytest.fixture(scope="module")
def editor(tiny):
    """Untrained, but with a warping that moves codes (an untrained one is zero)."""
    class Push(nn.Module):
        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            return 0.5 * target.roll(1, dims=1) + 0.3

    made = tiny.tiny_editor()
    made.warping = Push()
    return made


def by_edit(rows: list[dict]) -> dict[str, dict]:
    return {row["edit"]: row for row in rows}


# -- guidance obeyed ------------------------------------------------------------------------------------------------------


def test_the_truth_in_the_hole_reaches_the_limit_of_every_score(faces) -> None:
    rows = by_edit(guided.run(guided.GuidanceProtocol(painter(truthful), Judges(), faces), 2))
    assert set(rows) == {*guided.GUIDED_EDITS, *guided.REFERENCES}
    for edit in (*guided.GUIDED_EDITS, "true face"):
        scores = rows[edit]["scores"]
        assert scores["miou"].value == pytest.approx(1) and scores["sketch"].value == pytest.approx(1)
        assert scores["colour"].value == pytest.approx(0, abs=1e-4) and scores["lpips_alex"].value == 0
    stranger = rows["stranger's face"]["scores"]
    assert stranger["miou"].value < 0.9 and stranger["sketch"].value < 0.9
    assert stranger["colour"].value > 2 and stranger["lpips_alex"].value > 0
    assert rows["exemplar's face"]["scores"]["exemplar_arcface"].value > stranger["exemplar_arcface"].value


def test_who_ignores_the_guidance_changes_nothing(faces) -> None:
    rows = by_edit(guided.run(guided.GuidanceProtocol(painter(deaf), Judges(), faces), 2))
    for edit in list(guided.GUIDED_EDITS)[1:]:
        changes = rows[edit]["changes"]
        assert set(changes) == {"miou", "sketch", "colour", "exemplar_arcface", "exemplar_facenet", "lpips_alex"}
        assert all(score.value == 0 for score in changes.values() if np.isfinite(score.value))
        assert all(changes[name].value == changes[name].error == 0 for name in ("miou", "colour", "exemplar_arcface"))
    assert not rows[guided.NO_GUIDANCE]["changes"] and not rows["true face"]["changes"]


def test_who_copies_the_exemplar_gains_likeness_and_by_the_exemplar_alone(faces) -> None:
    rows = by_edit(guided.run(guided.GuidanceProtocol(painter(copying), Judges(), faces, units=(
        guided.NO_GUIDANCE, "+ colour", "+ exemplar", "exemplar's face")), 3))
    gain = rows["+ exemplar"]["changes"]
    assert gain["exemplar_arcface"].value > 0.1 and gain["exemplar_facenet"].value > 0.1
    assert gain["exemplar_arcface"].value == pytest.approx(
        rows["+ exemplar"]["scores"]["exemplar_arcface"].value - rows[guided.NO_GUIDANCE]["scores"]["exemplar_arcface"].value)
    assert rows["+ exemplar"]["scores"] == rows["exemplar's face"]["scores"]
    assert rows["+ colour"]["changes"]["exemplar_arcface"].value == 0


def test_foreign_wishes_are_judged_by_the_foreign_face(faces) -> None:
    units = (guided.NO_GUIDANCE, "+ colour", "+ exemplar", "true face")
    copied, painted = (by_edit(guided.run(guided.GuidanceProtocol(painter(fill), Judges(), faces, "foreign", units=units), 2))
                       for fill in (copying, colouring))
    assert copied["+ exemplar"]["scores"]["miou"].value == pytest.approx(1)
    assert copied["true face"]["scores"]["miou"].value < 0.9
    assert painted["+ colour"]["changes"]["colour"].value < -2
    assert painted["+ colour"]["scores"]["colour"].value < painted["true face"]["scores"]["colour"].value


@pytest.mark.parametrize("count", range(4, 12))
def test_owner_exemplar_and_stranger_are_three_people(count) -> None:
    faces = face_set(count)
    protocol = guided.GuidanceProtocol(painter(deaf), Judges(), faces)
    for index in range(count):
        trio = {index, faces.exemplar_of(index), protocol.stranger_of(index)}
        assert len(trio) == 3 and trio <= set(range(count))


def test_all_edits_meet_the_same_holes_and_seeds(faces) -> None:
    listener = painter(deaf)
    protocol = guided.GuidanceProtocol(listener, Judges(), faces, refine=7)
    for unit in protocol.units:
        protocol.pictures(unit, range(2))
    assert listener.refine == 7
    rounds = [listener.asked[start:start + 2] for start in range(0, len(listener.asked), 2)]
    assert len(rounds) == len(guided.GUIDED_EDITS)
    for (name, modalities), edits in zip(guided.GUIDED_EDITS.items(), rounds, strict=True):
        for edit, first in zip(edits, rounds[0], strict=True):
            assert torch.equal(edit.mask, first.mask) and edit.seed == first.seed
            given = {modality for modality in INFLUENCES[1:] if getattr(edit, modality) is not None}
            assert given == set(modalities), name


def test_guidance_without_a_word_inside_the_hole_is_left_out() -> None:
    images, hole = torch.zeros(2, 3, 256, 256), torch.zeros(2, 1, 256, 256)
    hole[..., :20] = 1
    sketch = torch.zeros(2, 1, 256, 256)
    sketch[0, ..., 10] = 1
    sketch[1, ..., 100] = 1
    labels = torch.full((2, 256, 256), -1)
    plan = guided.planned(images, hole, (0, 1), {"sketch": sketch, "semantics": labels, "exemplar": images})
    assert [edit.sketch is not None for edit in plan] == [True, False]
    assert all(edit.semantics is None and edit.exemplar is not None for edit in plan)


# -- subsets --------------------------------------------------------------------------------------------------------------


def test_the_32_subsets_are_distinct_and_asked_for_as_named(faces) -> None:
    assert len(set(guided.SUBSETS.values())) == len(guided.SUBSETS) == 32
    assert all(sum(name in subset for subset in guided.SUBSETS.values()) == 16 for name in INFLUENCES)
    listener = painter(deaf)
    protocol = guided.SubsetProtocol(listener, Judges(), faces)
    rows = guided.run(protocol, 1)
    for subset, edit, row in zip(guided.SUBSETS.values(), listener.asked, rows, strict=True):
        assert {name for name in INFLUENCES[1:] if getattr(edit, name) is not None} == set(subset) - {"image"} == \
            set(row["modalities"]) - {"image"}
        assert bool(edit.mask.all()) == ("image" not in subset)
        assert edit.exemplar is None or torch.equal(edit.exemplar, edit.face.flip(-1))
    for name in guided.RANKED:
        assert sorted(row["ranks"][name] for row in rows) == list(range(1, 33))


def test_the_best_subset_ranks_first(faces) -> None:
    best = painter(lambda edit: edit.face if edit.exemplar is not None and edit.colour is not None else deaf(edit))
    rows = by_edit(guided.run(guided.SubsetProtocol(best, Judges(), faces), 1))
    both = [row for row in rows.values() if {"colour", "exemplar"} <= set(row["modalities"])]
    assert {row["ranks"]["hole_lpips_alex"] for row in both} == set(range(1, 9))
    # Around the hole, nothing that was made counts.
    assert rows["image"]["scores"]["hole_lpips_alex"].value == rows["none"]["scores"]["hole_lpips_alex"].value
    assert rows["image"]["scores"]["lpips_alex"].value < rows["none"]["scores"]["lpips_alex"].value


def test_the_editor_makes_a_face_from_nothing_and_its_seed_decides_which(editor, faces) -> None:
    protocol = guided.SubsetProtocol(editor, Judges(), faces)
    pictures = protocol.pictures("none", [0, 1])
    again = protocol.pictures("none", [0, 6])
    assert pictures.shape == (2, 3, 256, 256) and pictures.isfinite().all()
    assert not torch.equal(pictures[0], pictures[1])
    same_seed = protocol.pictures("none", [1, 6])  # faces 1 and 6 share a seed, and nothing else is known
    assert torch.allclose(same_seed[0], same_seed[1]) and torch.allclose(again[1], pictures[1])


# -- warping --------------------------------------------------------------------------------------------------------------


def test_warping_off_moves_no_code_and_leaves_the_editor_as_it_was(editor, faces) -> None:
    plain = warping_ablation.without_warping(editor)
    codes = torch.randn(2, 17, 512)
    assert torch.equal(plain.warping(codes, codes.flip(0)), torch.zeros_like(codes))
    assert editor.warping(codes, codes).abs().sum() > 0 and plain.generator is editor.generator
    cases = faces.cases("centre", [0])
    edit = Edit(cases.images, cases.masks, exemplar=cases.exemplars, guidance_frame="aligned")
    own = editor.encoder(tiny_input(cases.exemplars))
    assert torch.allclose(plain.edit_many([edit])[0].codes, own, atol=1e-5)
    assert not torch.allclose(editor.edit_many([edit])[0].codes, own, atol=1e-2)


def tiny_input(images: Tensor) -> Tensor:
    return torch.cat([images, images.new_zeros(len(images), 23, 256, 256)], 1)


def test_only_turned_pairs_are_measured(editor, faces) -> None:
    protocol = warping_ablation.WarpingProtocol(editor, Judges(), faces)
    yaw = Judges().pose(faces.images(range(8)))[:, 0]
    exemplars, turns = protocol.exemplars("mirrored", range(8))
    assert torch.equal(exemplars, faces.images(range(8)).flip(-1)) and torch.allclose(turns, 2 * yaw.abs())
    assert 0 < (turns >= warping_ablation.TURN).sum() < 8
    _, foreign = protocol.exemplars("foreign", range(8))
    assert torch.allclose(foreign, torch.maximum(yaw.max() - yaw, yaw - yaw.min()))
    unit = f"mirrored, centre, {warping_ablation.ON}"
    measured = protocol.measure(unit, range(8))
    assert np.array_equal(np.isfinite(measured["lpips_alex"]), (turns >= warping_ablation.TURN).numpy())
    assert np.isnan(protocol.measure(f"foreign, centre, {warping_ablation.ON}", range(2))["lpips_alex"]).all()


def test_a_warping_that_helps_is_seen_to_help(faces, monkeypatch) -> None:
    pasting = painter(copying)
    turning = painter(lambda edit: deaf(edit) if edit.exemplar is None else edit.exemplar.flip(-1))
    monkeypatch.setattr(warping_ablation, "without_warping", lambda editor: pasting)
    rows = guided.run(warping_ablation.WarpingProtocol(turning, Judges(), faces), 4)
    assert {row["mask"] for row in rows} > {"centre", "irregular"}
    for row in rows:
        if row["exemplar"] == "mirrored" and row["edit"] == warping_ablation.ON:
            assert row["scores"]["lpips_alex"].value == 0 and row["scores"]["pose"].value == pytest.approx(0, abs=1e-4)
            assert row["changes"]["lpips_alex"].value < 0 and row["changes"]["pose"].value < 0 < row["changes"]["arcface"].value
        else:
            assert not row["changes"] or row["exemplar"] == "foreign"


# -- edits in a row -------------------------------------------------------------------------------------------------------


def test_nothing_drifts_where_pictures_are_copied_and_all_does_where_they_are_not(reading_editor, faces, monkeypatch) -> None:
    assert len(incremental.INCREMENTS) == 10
    monkeypatch.setattr(incremental, "INCREMENTS", incremental.INCREMENTS[:4])
    rows = guided.run(incremental.IncrementalProtocol(reading_editor, Judges(), faces), 1)
    kept, fed_back = rows[:4], rows[4:]
    assert len(fed_back) == 4
    assert all(row["most_changed"] == 0 and row["scores"]["outside_lpips_alex"].value == 0 for row in kept)
    assert all(row["most_changed"] > 1000 and row["scores"]["outside_lpips_alex"].value > 1e-3 for row in fed_back)
    for chain in (kept, fed_back):
        shares = [row["scores"]["edited"].value for row in chain]
        assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 0.95
        assert chain[-1]["scores"]["arcface"].value < 0.9999
    assert [row["edit"] for row in kept if row["edit"] != "no guidance"] == [step.guidance for step in incremental.INCREMENTS
                                                                             if step.guidance]


def test_a_photograph_keeps_every_value_outside_and_a_slip_of_one_is_counted(editor, faces, tmp_path, monkeypatch) -> None:
    from skimage.data import astronaut

    monkeypatch.setattr(incremental, "INCREMENTS", incremental.INCREMENTS[:2])
    path = tmp_path / "astronaut.png"
    PIL.Image.fromarray(astronaut()).save(path)
    protocol = incremental.PhotoProtocol(editor, Judges(), faces, [path])
    rows = guided.run(protocol, 1)
    assert len(rows) == 2 and all(row["most_changed"] == 0 for row in rows)
    pictures, unions = protocol.pictures(0)
    assert pictures[-1].shape == astronaut().shape and (pictures[-1] != astronaut())[unions[-1]].any()

    faithful = AlignedFace.paste_back

    def slipping(self, *args, **options) -> np.ndarray:
        pasted = faithful(self, *args, **options)
        pasted[0, 0, 0] ^= 1
        return pasted

    monkeypatch.setattr(AlignedFace, "paste_back", slipping)
    assert protocol.measure(incremental.PASTED, [0])["changed"].tolist() == [[1, 0]]  # flipped, and flipped back


# -- every protocol -------------------------------------------------------------------------------------------------------


def protocols(editor, faces) -> list:
    return [guided.GuidanceProtocol(editor, Judges(), faces), guided.SubsetProtocol(editor, Judges(), faces),
            warping_ablation.WarpingProtocol(editor, Judges(), faces),
            incremental.IncrementalProtocol(editor, Judges(), faces)]


@pytest.mark.parametrize("number", range(4))
def test_a_face_scores_the_same_in_any_company_and_every_time(editor, faces, number, monkeypatch) -> None:
    monkeypatch.setattr(incremental, "INCREMENTS", incremental.INCREMENTS[:2])
    protocol = protocols(editor, faces)[number]
    unit = protocol.units[1]
    together, again = protocol.measure(unit, [0, 1]), protocol.measure(unit, [0, 1])
    alone = protocols(editor, faces)[number].measure(unit, [1])
    for name, values in together.items():
        assert np.array_equal(values, again[name], equal_nan=True)
        # A batch's rounding errors may move a pixel across a class border.
        tolerance = 0.02 * np.nanmax(np.abs(values)) if name in ("iou", "changed") else 2e-3
        assert len(values) == 2 and np.allclose(values[1:2], alone[name], atol=tolerance, rtol=0, equal_nan=True), name


@pytest.mark.parametrize("number", range(4))
def test_what_is_kept_is_found_again_and_depends_on_the_pixels(editor, faces, number, tmp_path) -> None:
    first, other = protocols(painter(deaf), faces)[number], protocols(painter(deaf), face_set(6))[number]
    first = replace(first, units=first.units[:3])
    keys = {json.dumps(first.describe(unit, indices), sort_keys=True) for unit in first.units for indices in ([0, 1], [2, 3])}
    assert len(keys) == 2 * len(first.units)
    pixels = faces.pixels.clone()
    pixels[1] = pixels[1].flip(-1)
    changed = protocols(painter(deaf), replace(faces, pixels=pixels))[number]
    assert first.describe(first.units[0], [0, 1]) != changed.describe(first.units[0], [0, 1])
    if number < 2:
        assert first.describe(first.units[0], [0, 1]) == other.describe(first.units[0], [0, 1])
        store = Store(tmp_path)
        assert guided.run(first, 2, store.get) == guided.run(first, 2, store.get)
        assert store.made == store.found == len(first.units)


def test_user_mistakes(faces) -> None:
    with pytest.raises(FacemugError, match="4 or more"):
        guided.GuidanceProtocol(painter(deaf), Judges(), face_set(3))
    with pytest.raises(FacemugError, match="1 or more"):
        guided.run(guided.SubsetProtocol(painter(deaf), Judges(), faces), 0)
