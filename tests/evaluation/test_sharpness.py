"""Sharpness: the formulas on pictures whose answer is known, and whole photographs through the protocol."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.editing.edit import Edit
from facemug_lib.evaluation import guided, tables
from facemug_lib.evaluation.evaluate import PHOTOS_IN_A_ROW, Plan
from facemug_lib.evaluation.sharpness import (
    AUTO,
    OWN,
    SMALL,
    SharpnessProtocol,
    detail_energy,
    edge_gradient,
    inner,
    ring_around,
    sharpness,
    summary,
)
from facemug_lib.faces.alignment import AlignedFace, crop_photo
from facemug_lib.faces.photos import read_photo

SIDE = 160
WHERE = np.zeros((SIDE, SIDE), bool)
WHERE[40:120, 50:110] = True


def noise(height: float, seed: int = 0) -> np.ndarray:
    return 0.5 + height * np.random.default_rng(seed).standard_normal((SIDE, SIDE)).astype(np.float32)


def test_detail_is_what_a_gaussian_removes() -> None:
    columns = np.arange(SIDE, dtype=np.float32)
    for period in (4, 8, 40):
        waves = np.tile(np.cos(2 * np.pi * columns / period), (SIDE, 1))
        passed = 1 - np.exp(-2 * (np.pi / period) ** 2)  # of a Gaussian of one pixel
        assert detail_energy(waves, WHERE) == pytest.approx(passed**2 * np.square(waves[WHERE]).mean(), rel=0.05)
    assert detail_energy(np.full((SIDE, SIDE), 0.3), WHERE) < 1e-12
    assert np.isnan(detail_energy(noise(1.0), np.zeros_like(WHERE)))


def test_the_ring_and_the_inside_keep_off_the_edge() -> None:
    ring = ring_around(WHERE, 5)
    assert not (ring & WHERE).any() and ring[35, 80] and not ring[34, 80]
    inside = inner(WHERE)
    assert inside[43, 80] and not inside[42, 80]
    assert inner(np.ones((9, 9), bool)).all()  # the picture's border is no edge


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_twice_the_noise_in_the_hole_is_four_times_the_energy(gain: float) -> None:
    photo = noise(0.02)
    edit = np.where(WHERE, 0.5 + gain * (photo - 0.5), photo)
    found = sharpness(edit, photo, WHERE, 24)
    assert found["detail_own"] == pytest.approx(gain**2, rel=1e-3)
    assert found["detail_ring"] == pytest.approx(gain**2, rel=0.1)  # the ring holds other draws of the same noise


def test_a_step_at_the_holes_edge_is_a_seam() -> None:
    photo = np.tile(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, 1)) + np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]
    slope = 1 / (SIDE - 1)
    assert edge_gradient(photo, WHERE) == pytest.approx(slope, rel=1e-3)
    assert sharpness(photo, photo, WHERE, 24)["seam"] == 1
    raised = photo + 3 * slope * WHERE  # uphill into the hole 4 slopes, out of it 2: on average 3
    assert sharpness(raised, photo, WHERE, 24)["seam"] == pytest.approx(3, rel=1e-3)
    assert np.isnan(edge_gradient(photo, np.ones_like(WHERE)))


def test_a_blank_photo_has_nothing_to_compare_with() -> None:
    assert all(np.isnan(value) for value in sharpness(noise(0.1), np.zeros((SIDE, SIDE), np.float32), WHERE, 24).values())


def test_ratios_are_averaged_by_their_logarithms() -> None:
    measured = {"detail_ring": np.array([0.5, 2.0, np.nan]), "detail_own": np.array([0.9, 1.1, 4.0]),
                "seam": np.array([1.0, 1.0, 1.0]), "lpips_512": np.array([0.1, 0.2, 0.3])}
    found = summary(measured, np.arange(3))
    assert found["detail_ring"].value == pytest.approx(1) and found["detail_ring"].n == 2
    assert found["alike"].value == pytest.approx(2 / 3) and found["lpips_512"].value == pytest.approx(0.2)


def test_as_many_photographs_as_the_parts_need() -> None:
    plan = Plan(count=5, sharpness=40)
    assert plan.photographs(("completion",)) == 0 and plan.photographs(("incremental",)) == PHOTOS_IN_A_ROW
    assert plan.photographs(("incremental", "sharpness")) == 40 and Plan(5, sharpness=None).photographs(("sharpness",)) is None


# -- photographs --------------------------------------------------------------------------------------------------------------


class Listening:
    """An editor that remembers what it was asked for."""

    def __init__(self, editor) -> None:
        self.editor, self.asked = editor, []

    def edit_many(self, edits: list[Edit]):
        self.asked += edits
        return self.editor.edit_many(edits)


class Stub:
    """Judges of distances: how far pictures differ on average."""

    def parse(self, pictures: torch.Tensor) -> torch.Tensor:
        labels = torch.zeros(1, 256, 256, dtype=torch.long)
        labels[:, 80:200, 80:180] = 1
        return labels

    def embedded(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [pictures]

    def lpips_to(self, embedded: list[torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
        return (pictures - embedded[0]).abs().mean((1, 2, 3))


@pytest.fixture
def protocol(tiny, tmp_path, monkeypatch) -> SharpnessProtocol:
    rows, columns = np.mgrid[:700, :700] / 700
    waves = np.stack([np.sin(25 * rows), np.cos(31 * columns), rows * columns], axis=2)
    picture = (128 + 60 * waves + np.random.default_rng(0).normal(0, 6, waves.shape)).clip(0, 255).astype(np.uint8)
    PIL.Image.fromarray(picture).save(tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    matrix = np.array([[256 / 600, 0, -9.0], [0, 256 / 600, -13.0]])
    monkeypatch.setattr("facemug_lib.evaluation.sharpness.open_face",
                        lambda path: AlignedFace(crop_photo(photo, matrix, 256), photo, matrix))
    return SharpnessProtocol(Listening(tiny.steerable_editor()), Stub(), [tmp_path / "photo.png"])


def test_both_sizes_of_one_edit_are_scored_beside_the_photo(protocol, tmp_path) -> None:
    rows = guided.run(protocol, 1)
    assert [row["edit"] for row in rows] == [OWN, SMALL, AUTO] and [row["reference"] for row in rows] == [True, False, False]
    own, small, auto = (row["scores"] for row in rows)
    assert own["detail_own"].value == own["seam"].value == 1 and own["lpips_512"].value == 0 and own["alike"].value == 1
    assert all(0 < one["detail_own"].value < 0.8 and one["alike"].value == 0 for one in (small, auto))  # of a toy, soft
    assert small["detail_own"].value != auto["detail_own"].value
    assert len(protocol.editor.asked) == 1
    text = tables.markdown([tables.guided_row(row) for row in rows], "edit", bold=False)
    assert "face holes, nothing but the mask" in text and "seam" in text and "size auto" in text


def test_the_small_edit_is_the_one_of_size_256(protocol) -> None:
    face, where = protocol.case(0)
    made = protocol.pictures(face, where, 3)
    alone = protocol.editor.edit_many([Edit(face, where, seed=3, size=256)])[0]
    assert np.array_equal(made[SMALL], alone.paste_back()) and not np.array_equal(made[SMALL], made[AUTO])
    assert all(np.array_equal(picture[~where], face.original[~where]) for picture in made.values())


def test_other_photographs_and_holes_are_kept_apart(protocol, tmp_path) -> None:
    first = protocol.describe(AUTO, [0])
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((64, 64, 3), np.uint8))
    assert protocol.describe(AUTO, [0]) != first and protocol.describe(SMALL, [0]) != protocol.describe(AUTO, [0])
