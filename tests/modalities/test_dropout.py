"""Training guidance: how often each modality is seen, and through what."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.dropout import training_conditions

SIZE, BATCH = 32, 256


@pytest.fixture(scope="module")
def faces() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    masks = torch.zeros(BATCH, 1, SIZE, SIZE)
    masks[..., 8:24, 8:24] = 1
    return {
        "images": torch.rand(BATCH, 3, SIZE, SIZE, generator=rng) * 1.8 - 0.9,
        "labels": torch.randint(0, 19, (BATCH, SIZE, SIZE), generator=rng),
        "sketch": torch.ones(BATCH, 1, SIZE, SIZE),
        "masks": masks,
    }


def make(faces: dict[str, torch.Tensor], **options):
    return training_conditions(**faces, generator=torch.Generator().manual_seed(1), jitter=False, **options)


def test_algorithm_1_drops_each_modality_half_of_the_time(faces) -> None:
    conditions = make(faces)
    rate = conditions.present.float().mean(0)
    assert ((rate - 0.5).abs() < 0.125).all()  # four standard errors of 256 draws
    together = (conditions.present[:, 1] & conditions.present[:, 2]).float().mean()
    assert abs(together - 0.25) < 0.11  # independent
    assert (conditions.image * conditions.mask == 0).all()
    shown = conditions.sketch[conditions.present[:, 1]].mean((1, 2, 3))
    assert (shown > 0).all() and (shown < 1).all()  # always through a mask
    assert not torch.equal(conditions.sketch[conditions.present[:, 1:].all(1)].bool(),
                           conditions.semantics[conditions.present[:, 1:].all(1)].sum(1, keepdim=True).bool())  # fmt: skip
    assert make(faces, drop=0.0).present.all()
    nothing = make(faces, drop=1.0)  # nothing but the masked image is left then
    assert not nothing.present[:, 1:].any() and torch.equal(nothing.image, faces["images"] * (1 - faces["masks"]))


def test_algorithm_3_keeps_the_image_and_silences_foreign_samples(faces) -> None:
    foreign = torch.arange(BATCH) % 2 == 0
    conditions = make(faces, scheme="algorithm3", foreign=foreign)
    assert conditions.present[:, 0].all()
    assert torch.equal(conditions.image, faces["images"] * (1 - faces["masks"]))
    assert not conditions.present[foreign, 1:].any()
    assert conditions.present[~foreign, 1:].float().mean() > 0.4
    with pytest.raises(FacemugError, match="foreign"):
        make(faces, foreign=foreign)


def test_dominant_scheme_shows_one_modality_whole(faces) -> None:
    conditions = make(faces, scheme="dominant", drop=1.0)
    assert (conditions.present.sum(1) == 1).all()
    assert ((conditions.present.float().mean(0) - 0.25).abs() < 0.11).all()
    sketched = conditions.present[:, 1]
    assert torch.equal(conditions.sketch[sketched], faces["masks"][sketched])
    pictured = conditions.present[:, 0]
    assert torch.equal(conditions.image[pictured], (faces["images"] * (1 - faces["masks"]))[pictured])
    assert make(faces, scheme="dominant").present.float().mean() > 0.5


def test_same_seed_same_guidance_and_no_labels_no_semantics(faces) -> None:
    few = {name: value[:4] for name, value in faces.items()}
    a, b = make(few), make(few)
    assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
    bare = training_conditions(few["images"], None, torch.Generator().manual_seed(2), drop=0.0)
    assert bare.present[:, 0].all() and not bare.present[:, 2:].any()
    with pytest.raises(FacemugError, match="unknown scheme"):
        make(few, scheme="algorithm2")
