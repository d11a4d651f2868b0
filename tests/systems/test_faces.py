"""The systems' faces: the same for the same number, made once, paired as they say, never those of the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from system_fakes import fake_maker

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceFolder
from facemug_lib.pictures import to_pixels
from facemug_lib.store import Store
from facemug_lib.systems.common.faces import Reading, SystemFaces
from facemug_lib.systems.common.rendering import FARTHEST, NEAREST, SHARD, SIDES, TRAIT_NAMES, other_side
from facemug_lib.systems.common.scores import changed_region, pair_scores
from facemug_lib.systems.common.targets import SOFT, attribute_alone, share_left

SMILE = TRAIT_NAMES.index("smile")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "faces")


def faces(store: Store, **more: object) -> SystemFaces:
    return SystemFaces(fake_maker(), ("smile", "age"), pool=20, store=store, **more)


def sum_of_pixels(image: torch.Tensor) -> int:
    """The same for a mirrored picture, to the last bit."""
    return int(to_pixels(image).sum())


def test_a_face_depends_on_its_number_and_the_seed_alone(store: Store) -> None:
    whole = faces(store).draw(range(80, 92), 5)
    parts = [faces(store).draw([index], 5) for index in range(80, 92)]
    assert torch.equal(whole.images, torch.cat([one.images for one in parts]))
    for name, values in whole.extra.items():
        torch.testing.assert_close(values, torch.cat([one.extra[name] for one in parts]), rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(whole.images, faces(store).draw(range(80, 92), 6).images)


def test_each_shard_is_made_once_and_only_when_it_is_needed(store: Store) -> None:
    faces(store).draw(range(8), 0)
    assert store.made == 2  # the first of each stream
    faces(store).draw(range(8), 1)
    assert store.made == 2
    faces(store).draw(range(2 * SHARD, 2 * SHARD + 2), 0)
    assert store.made == 4


def test_the_first_pass_shows_every_face_and_later_ones_all_again_in_another_order(store: Store) -> None:
    source = faces(store)
    pictures = [{tuple(sorted(map(sum_of_pixels, pair))) for pair in zip(batch.images, batch.extra["pair"], strict=True)}
                for batch in (source.draw(range(40), 0), source.draw(range(40, 80), 0))]
    assert len(pictures[0]) == 40 and pictures[0] == pictures[1]  # 20 of each stream, whichever way round and mirrored
    moves = [source.draw(numbers, 0).extra["strength"].abs() for numbers in (range(40), range(40, 80))]
    assert not torch.equal(*moves)


def test_a_pair_is_the_same_face_on_the_other_side(store: Store) -> None:
    batch = faces(store).draw(range(40), 0)
    smiles = torch.arange(40) % 2 == 0
    strength, before, after = (batch.extra[name][smiles] for name in ("strength", "traits", "pair_traits"))
    assert bool((strength[:, 1] == 0).all()) and bool(batch.extra["has_pair"].all())
    moved = (after - before)[:, SMILE] / SIDES["smile"].deviation
    assert torch.allclose(moved, strength[:, 0], atol=0.2) and 0.2 < (strength[:, 0] > 0).float().mean() < 0.8
    small = strength[:, 0].abs() < SIDES["smile"].largest
    assert bool((before[small, SMILE] * after[small, SMILE] < 0).all())
    other = batch.extra["traits"][smiles][:, TRAIT_NAMES.index("gender")] - after[:, TRAIT_NAMES.index("gender")]
    assert float(other.abs().max()) < 0.2  # nothing else has moved


def test_the_other_side_lies_where_it_should() -> None:
    values = torch.linspace(-1, 1, 9)
    reached = values + SIDES["smile"].deviation * other_side(values, SIDES["smile"], torch.linspace(0, 1, 9))
    assert bool((reached * torch.where(values >= 0, 1, -1) < 0).all())
    deviations = reached.abs() / SIDES["smile"].deviation
    assert float(deviations.min()) >= NEAREST - 1e-5 and float(deviations.max()) <= FARTHEST + 1e-5
    assert other_side(torch.tensor([1e3]), SIDES["smile"], torch.zeros(1)) == -SIDES["smile"].largest


def test_training_never_sees_the_test_faces(store: Store) -> None:
    source = faces(store)
    unseen = source.unseen("smile", 20)
    seen = source.draw(range(40), 0)
    known = {one.numpy().tobytes() for batch in (seen.images, seen.images.flip(-1), seen.extra["pair"]) for one in batch}
    assert not known & {one.numpy().tobytes() for one in unseen.images}
    assert torch.equal(source.unseen("age", 20).images, unseen.images)  # the same people for every attribute
    assert torch.equal(source.unseen("smile", 3).images, unseen.images[:3])
    assert bool((unseen.extra["strength"][:, 0] != 0).all())


def test_mirrored_faces_have_mirrored_labels_and_readings(store: Store) -> None:
    def halves(images: torch.Tensor) -> torch.Tensor:
        return torch.stack((images[..., :32].mean((1, 2, 3)), images[..., 32:].mean((1, 2, 3))), 1)

    source = faces(store, readings=[Reading("halves", 1, halves, lambda values: values.flip(-1))])
    batch = source.draw(range(24), 0)
    assert torch.allclose(batch.extra["halves"], halves(batch.images), atol=1e-2)
    assert torch.allclose(batch.extra["pair_halves"], halves(batch.extra["pair"]), atol=1e-2)
    assert torch.equal(batch.extra["labels"], torch.where(batch.images.mean(1) > 0, 1, 17))
    made = store.made
    faces(store, readings=[Reading("halves", 1, halves)]).draw(range(8), 0)
    assert store.made == made  # read once; another version is read again
    faces(store, readings=[Reading("halves", 2, halves)]).draw(range(2), 0)
    assert store.made == made + 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        pixels = np.kron(numbers.integers(0, 255, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:04d}.png")
    return tmp_path / "photos"


def test_photographs_take_their_share_and_some_are_held_out(store: Store, folder: Path) -> None:
    own, held_out = (FaceFolder(folder, split=split, flip=False) for split in ("train", "test"))
    source = faces(store, photographs=own, held_out=held_out, real_share=0.25)
    batch = source.draw(range(160), 0)
    real = ~batch.extra["has_pair"]
    assert int(real.sum()) == 40 and "25% from 38 photographs of photos" in source.describe()
    assert torch.equal(batch.images[real], batch.extra["pair"][real]) and bool((batch.extra["strength"][real] == 0).all())
    unseen = source.unseen_photographs(9)
    assert len(unseen) == 2
    shown = {one.numpy().tobytes() for one in torch.cat((batch.images[real], batch.images[real].flip(-1)))}
    assert not shown & {one.numpy().tobytes() for one in unseen.images}
    alone = faces(store, photographs=own, held_out=held_out, real_share=1.0)
    assert not alone.draw(range(8), 0).extra["has_pair"].any() and alone.describe().startswith("38 photographs")
    assert faces(store).unseen_photographs(3) is None


def test_attributes_without_faces_are_refused(store: Store) -> None:
    for attributes, words in ((("beard",), "no faces can be made for attribute 'beard': choose from smile"),
                              ((), "no attribute is named")):
        with pytest.raises(FacemugError, match=words):
            SystemFaces(fake_maker(), attributes, 20, store=store)


def test_scores_of_the_pair_itself_and_of_doing_nothing(store: Store) -> None:
    source = faces(store)
    unseen = source.unseen("smile", 16)
    perfect, idle = (pair_scores(images, unseen, "smile", source.maker) for images in (unseen.extra["pair"], unseen.images))
    assert perfect["smile_right"] == 1 and perfect["smile_pair"] == 0 and perfect["smile_moved"] > 0.7
    assert idle["smile_right"] == 0 and idle["smile_kept"] == 0 and idle["smile_pair"] == idle["smile_pair_unedited"] > 0
    assert float(changed_region(unseen.images, unseen.images).sum()) == 0


def test_of_a_pair_only_what_clearly_differs_is_to_be_learned() -> None:
    images = torch.rand(1, 3, 64, 64) * 0.5
    pair = images + 0.02 * torch.rand(images.shape)  # a background that stirs
    pair[..., 20:40, 20:40] += 0.5
    target = attribute_alone(images, pair)
    torch.testing.assert_close(target[..., 26:34, 26:34], pair[..., 26:34, 26:34])
    assert float((target - images)[..., 50:, :].abs().max()) < 0.2 * float((pair - images)[..., 50:, :].abs().max())
    assert torch.equal(attribute_alone(images, images), images)


def test_what_is_left_of_a_change_is_measured_by_the_change() -> None:
    images = torch.rand(2, 3, 8, 8)
    target = images.clone()
    target[1] += 0.1  # the first face is to stay
    assert float(share_left(images, images, target)) == pytest.approx(0.5) and float(share_left(target, images, target)) == 0
    assert float(share_left(images[1:], images[1:], target[1:])) == pytest.approx(1)
    soft = [(d**2 + SOFT**2) ** 0.5 - SOFT for d in (0.05, 0.1)]
    half = share_left((images + target)[1:] / 2, images[1:], target[1:])
    assert float(half) == pytest.approx(soft[0] / soft[1], rel=1e-3)
    assert float(share_left(images + 0.2, images, images)) == pytest.approx((0.2**2 + SOFT**2) ** 0.5 - SOFT, rel=1e-4)
