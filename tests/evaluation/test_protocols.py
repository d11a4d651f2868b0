"""Test sets and masks are fixed: by number, whatever the count, and never met in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.protocols import (
    BUCKETS,
    EDIT_SEEDS,
    FAMILIES,
    TestSet,
    bucket_name,
    folder_set,
    hole,
    mixed_family,
    prior_set,
    rows_of,
)
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.pictures import as_8_bit, to_pixels

SKIN, HAIR = SEMANTIC_CLASSES.index("skin"), SEMANTIC_CLASSES.index("hair")


class Parser:
    """Hair above, skin in the middle, background around: enough to make every family's masks."""

    def parse(self, images: torch.Tensor) -> torch.Tensor:
        labels = torch.zeros(len(images), 256, 256, dtype=torch.long)
        labels[:, 40:90, 60:200] = HAIR
        labels[:, 90:200, 80:180] = SKIN
        return labels


@pytest.fixture(scope="module")
def faces(tiny) -> TestSet:
    return prior_set(tiny.TinyPrior(), Parser(), 12, spare=4)


def test_a_set_is_the_beginning_of_a_larger_one(faces: TestSet, tiny) -> None:
    fewer = prior_set(tiny.TinyPrior(), Parser(), 6)
    assert torch.equal(fewer.pixels, faces.pixels[:6]) and len(fewer.spare) == 0
    assert fewer.listing == faces.listing[:6]
    for family in FAMILIES:
        small, large = fewer.cases(family, range(6)), faces.cases(family, range(12))
        assert torch.equal(small.masks, large.masks[:6])
        assert torch.equal(small.exemplars, large.exemplars[:6]) and small.seeds == large.seeds[:6]


def test_spare_faces_are_others(faces: TestSet) -> None:
    assert not any(torch.equal(one, other) for one in faces.spare for other in faces.pixels)


def test_an_exemplar_is_never_the_face_itself(faces: TestSet, tiny) -> None:
    odd = prior_set(tiny.TinyPrior(), Parser(), 5)
    for one in (faces, odd):
        assert all(one.exemplar_of(index) != index and one.exemplar_of(index) < len(one) for index in range(len(one)))
    assert [odd.exemplar_of(index) for index in range(5)] == [1, 0, 3, 2, 3]  # the last, without a partner, looks back
    assert [faces.exemplar_of(index) for index in range(6)] == [1, 0, 3, 2, 5, 4]


def test_irregular_holes_lie_in_their_buckets(faces: TestSet) -> None:
    shares = faces.cases("irregular", range(12)).masks.mean((1, 2, 3))
    for index, share in enumerate(shares):
        low, high = BUCKETS[index % 3]
        assert low < share <= high
        assert bucket_name(BUCKETS[index % 3]) in rows_of("irregular", index)
    assert bucket_name((0.2, 0.4)) == "irregular 20–40 %"


def test_semantic_holes_cover_their_region_and_leave_context() -> None:
    labels = Parser().parse(torch.zeros(1, 3, 256, 256))[0]
    for family, cls in (("hair", HAIR), ("face", SKIN)):
        mask = hole(family, 0, labels)[0, 0]
        assert mask[labels == cls].all() and mask.mean() < 0.5
        assert mask.sum() > (labels == cls).sum()  # the edge is hidden too
    assert hole("foreground", 0, labels)[0, 0][labels > 0].all()
    nothing = hole("hair", 0, torch.zeros(256, 256, dtype=torch.long))
    everything = hole("foreground", 0, torch.full((256, 256), SKIN))
    for mask in (nothing, everything):  # no hair, or no background: the centre instead
        assert mask.mean() == 0.25


def test_one_mask_per_face_meets_every_family_with_every_seed() -> None:
    met = {(mixed_family(index), index % EDIT_SEEDS) for index in range(EDIT_SEEDS * len(FAMILIES))}
    assert len(met) == EDIT_SEEDS * len(FAMILIES)
    assert "mixed" in rows_of(mixed_family(7), 7)


def test_the_fingerprint_sees_every_input(faces: TestSet) -> None:
    prints = {faces.cases(family, indices).fingerprint() for family in FAMILIES for indices in ([0, 1], [1, 0], [0, 2])}
    assert len(prints) == 3 * len(FAMILIES)
    assert faces.cases("hair", [0, 1]).fingerprint() == faces.cases("hair", [0, 1]).fingerprint()


def test_8_bit_rounding_is_what_a_png_keeps(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 16, 16) * 2.4 - 1.2
    Image.fromarray(to_pixels(images)[0].permute(1, 2, 0).numpy()).save(tmp_path / "x.png")
    read = torch.from_numpy(np.array(Image.open(tmp_path / "x.png"))).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.allclose(as_8_bit(images)[0], read, atol=1e-6)
    assert torch.equal(as_8_bit(as_8_bit(images)), as_8_bit(images))


def test_a_folder_of_aligned_faces(tmp_path: Path) -> None:
    for number in range(5):
        Image.fromarray(np.full((300, 300, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    faces = folder_set(tmp_path, Parser(), count=3, aligned=True)
    assert len(faces) == 3 and len(faces.spare) == 2 and faces.name == tmp_path.name
    assert torch.equal(faces.pixels[:2], folder_set(tmp_path, Parser(), count=2, aligned=True).pixels)
    for path in sorted(tmp_path.glob("*.png"))[1:]:
        path.unlink()
    with pytest.raises(FacemugError, match="holds 1 pictures"):
        folder_set(tmp_path, Parser(), aligned=True)


@pytest.mark.parametrize("call", [
    lambda prior: hole("nose", 0, torch.zeros(256, 256, dtype=torch.long)),
    lambda prior: prior_set(prior, Parser(), 1),
    lambda prior: folder_set("no such folder", Parser()),
])
def test_bad_input_is_named(call, tiny) -> None:
    with pytest.raises(FacemugError) as caught:
        call(tiny.TinyPrior())
    assert "\n" not in str(caught.value)
