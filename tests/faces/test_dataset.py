"""Faces by their numbers: from the prior, from folders; who is held out; derangements."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import (
    TEST_SEEDS,
        FaceBatch,
    FaceFolder,
    MixedFaces,
    PriorFaces,
    derangement,
    flip_faces,
    heldout_faces,
    read_square,
    training_seed,
)
from facemug_lib.modalities.semantics import PALETTE, SEMANTIC_CLASSES


class PaintingPrior(nn.Module):
    """Codes show through: the picture's mean is tanh of a code's mean."""

    num_codes = 17

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_w", torch.full((512,), 0.25))

    def map(self, z: Tensor) -> Tensor:
        return z + self.mean_w

    def synthesize(self, codes: Tensor, size: int = 256) -> Tensor:
        return (3 * codes.mean((1, 2))).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def test_a_label_map_belongs_to_one_image(tmp_path):
    for place in ("a/0.png", "b/0.png", "labels/0.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((256, 256), np.uint8)).save(tmp_path / place)
    with pytest.raises(FacemugError, match=r"a/0\.png and .*b/0\.png would share one label map, 0\.png"):
        FaceFolder(tmp_path)


def test_hidden_files_are_no_faces(tmp_path):
    Image.fromarray(np.full((256, 256, 3), 90, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7 of a Mac")
    faces = FaceFolder(tmp_path, split="all")
    assert len(faces) == 1 and faces.draw([0], seed=0).images.shape == (1, 3, 256, 256)


def test_prior_faces_depend_on_their_number_and_seed_alone() -> None:
    source = PriorFaces(PaintingPrior())
    together, apart = source.draw(range(8), seed=3), source.draw([5], seed=3)
    torch.testing.assert_close(together.codes[5], apart.codes[0])
    assert not torch.equal(source.draw([5], seed=4).codes, apart.codes)
    assert together.images.shape == (8, 3, 8, 8) and together.images.abs().max() <= 1
    assert len(PriorFaces(PaintingPrior(), render=False).draw(range(2), 0).images[0, 0]) == 0


def test_truncation_and_mixing() -> None:
    prior = PaintingPrior()
    mean = PriorFaces(prior, (0.0, 0.0), mixing=1.0).codes(range(4))
    assert torch.equal(mean, prior.mean_w.expand(4, 17, 512))
    plain = PriorFaces(prior, mixing=0.0).codes(range(16))
    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    mixed = PriorFaces(prior, mixing=1.0).codes(range(64))
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(-1)
    assert (changes.sum(1) == 1).all()  # one crossover each …
    assert len(Counter(changes.float().argmax(1).tolist())) > 10  # … at many places
    narrow, wide = (PriorFaces(prior, (psi, psi), 0.0).codes(range(64)) - prior.mean_w for psi in (0.5, 1.0))
    torch.testing.assert_close(2 * narrow, wide)


def test_training_never_draws_a_test_face() -> None:
    assert min(training_seed(seed, 0) for seed in range(3)) > max(TEST_SEEDS)
    assert training_seed(0, (1 << 40) - 1) < training_seed(1, 0)
    with pytest.raises(FacemugError, match="out of range"):
        training_seed(0, 1 << 40)
    prior = PaintingPrior()
    fewer, more = heldout_faces(prior, 5), heldout_faces(prior, 9)
    assert torch.equal(fewer.codes, more.codes[:5]) and torch.equal(fewer.images, more.images[:5])


def write_faces(folder: Path, count: int, size: int = 32) -> None:
    (folder / "more").mkdir(parents=True)
    for i in range(count):
        grey = np.full((size, size, 3), i, np.uint8)
        grey[:, : size // 2] += 100
        Image.fromarray(grey).save(folder / ("more" if i % 2 else ".") / f"{i:03d}.png")


def numbers(images: Tensor) -> list[int]:
    """Which faces these are: the right (or, mirrored, the left) half's value."""
    values = ((images[:, 0, 0] + 1) * 127.5).round().long()
    return [min(int(row[0]), int(row[-1])) for row in values]


def test_folder_gives_each_image_once_a_pass_in_new_order(tmp_path: Path) -> None:
    write_faces(tmp_path, 40)
    folder = FaceFolder(tmp_path, size=32)
    assert len(folder) == 38 and not folder.has_codes
    first, second = numbers(folder.draw(range(38), 0).images), numbers(folder.draw(range(38, 76), 0).images)
    assert len(set(first)) == 38 and sorted(first) == sorted(second) and first != second
    assert numbers(folder.draw(range(10, 20), 0).images) == first[10:20]
    held = FaceFolder(tmp_path, size=32, split="test")
    assert not set(numbers(held.draw(range(2), 0).images)) & set(first)
    flipped = [bool(image[0, 0, 0] < image[0, 0, -1]) for image in folder.draw(range(38), 0).images]
    assert 8 < sum(flipped) < 30


def test_folder_with_codes_pairs_them_and_never_flips(tmp_path: Path) -> None:
    write_faces(tmp_path, 24)
    order = sorted(path for path in tmp_path.rglob("*.png"))
    values = torch.tensor([float(path.stem) for path in order])
    save_file({"w": values[:, None].expand(-1, 512).contiguous()}, tmp_path / "codes.safetensors")
    faces = FaceFolder(tmp_path, size=32, num_codes=17).draw(range(20), 1)
    assert faces.codes.shape == (20, 17, 512)
    assert faces.codes[:, 16, 511].tolist() == numbers(faces.images)
    assert (faces.images[:, 0, 0, 0] > faces.images[:, 0, 0, -1]).all()
    save_file({"w": torch.zeros(3, 512)}, tmp_path / "codes.safetensors")
    with pytest.raises(FacemugError, match="3 codes for 24 images"):
        FaceFolder(tmp_path, size=32, num_codes=17)


def test_folder_with_labels(tmp_path: Path) -> None:
    write_faces(tmp_path, 4)
    (tmp_path / "labels").mkdir()
    left, right = SEMANTIC_CLASSES.index("l_eye"), SEMANTIC_CLASSES.index("r_eye")
    labels = np.full((32, 32), 255, np.uint8)
    labels[:, :16], labels[:, 20:] = right, left
    for i in range(4):
        Image.fromarray(labels).save(tmp_path / "labels" / f"{i:03d}.png")
    faces = FaceFolder(tmp_path, size=32).draw(range(16), 0)
    mirrored = faces.images[:, 0, 0, 0] < faces.images[:, 0, 0, -1]
    assert mirrored.any() and not mirrored.all()
    # The subject's right eye is on the picture's left, mirrored or not; only the widths change sides.
    assert (faces.extra["labels"][:, 0, 0] == right).all() and (faces.extra["labels"][:, 0, -1] == left).all()
    assert ((faces.extra["labels"][:, 0, 13] == -1) == mirrored).all()
    (tmp_path / "labels" / "002.png").unlink()
    with pytest.raises(FacemugError, match="002.png is missing"):
        FaceFolder(tmp_path, size=32).draw(range(4), 0)


def test_folder_tells_which_attributes_were_mirrored(tmp_path: Path) -> None:
    write_faces(tmp_path, 24)
    values = torch.tensor([float(path.stem) for path in sorted(tmp_path.rglob("*.png"))])
    save_file({"attributes": values[:, None].expand(-1, 10).contiguous()}, tmp_path / "attributes.safetensors")
    faces = FaceFolder(tmp_path, size=32).draw(range(20), 0)
    assert faces.extra["attributes"].shape == (20, 10) and faces.extra["attributes"][:, 3].tolist() == numbers(faces.images)
    is_flipped = faces.images[:, 0, 0, 0] < faces.images[:, 0, 0, -1]
    assert is_flipped.any() and torch.equal(faces.extra["mirrored"], is_flipped)


def test_a_folder_is_read_as_photos_are(tmp_path: Path) -> None:
    """16-bit grey is not white, and a photo is upright."""
    Image.fromarray(np.full((40, 40), 88 * 257, np.uint16)).save(tmp_path / "a.png")
    assert (read_square(tmp_path / "a.png", 40) == 88).all()
    lying = np.zeros((40, 40, 3), np.uint8)
    lying[:10] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(lying).save(tmp_path / "b.png", exif=exif)
    assert (read_square(tmp_path / "b.png", 40)[:, :, 30:] == 200).all()


def test_coloured_label_maps_give_their_classes(tmp_path: Path) -> None:
    write_faces(tmp_path, 2)
    (tmp_path / "labels").mkdir()
    hair = SEMANTIC_CLASSES.index("hair")
    colours = np.full((32, 32, 3), PALETTE[hair], np.uint8)
    colours[:4] = 255
    for number in range(2):
        Image.fromarray(colours).save(tmp_path / "labels" / f"{number:03d}.png")
    labels = FaceFolder(tmp_path, size=32, flip=False).draw(range(2), 0).extra["labels"]
    assert (labels[:, 4:] == hair).all() and (labels[:, :4] == -1).all()
    Image.fromarray(colours // 2).save(tmp_path / "labels" / "001.png")
    with pytest.raises(FacemugError, match=r"001\.png holds the colour \(127, 127, 127\) .* names no class"):
        FaceFolder(tmp_path, size=32).draw(range(2), 0)


def test_bad_folders_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="is not a folder"):
        FaceFolder(tmp_path / "none")
    with pytest.raises(FacemugError, match="no image in"):
        FaceFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(FacemugError, match="or remove it from the folder"):
        FaceFolder(tmp_path).draw([0], 0)


def test_images_are_cut_square_and_resized(tmp_path: Path) -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    image = FaceFolder(tmp_path, size=16, flip=False).draw([0], 0).images
    torch.testing.assert_close(image, torch.full((1, 3, 16, 16), 200 / 127.5 - 1))


class Numbered:
    """Faces that are their own numbers."""

    def __init__(self, has_codes: bool, labels: bool = False) -> None:
        self.has_codes, self.labels = has_codes, labels

    def draw(self, indices, seed):
        numbers = torch.tensor(list(indices), dtype=torch.float32).view(-1, 1, 1, 1)
        extra = {"labels": torch.full((len(numbers), 1, 1), 13)} if self.labels else {}
        return FaceBatch(numbers, numbers.flatten(1)[..., None] if self.has_codes else None, extra)

    def describe(self) -> str:
        return "numbers"


def test_photographs_are_spread_evenly_and_bring_their_labels() -> None:
    source = MixedFaces(Numbered(True), Numbered(False, labels=True), share=0.75)
    drawn = [source.draw(range(first, first + 4), 0) for first in range(0, 32, 4)]
    known = torch.cat([batch.extra["has_codes"] for batch in drawn])
    assert known.reshape(-1, 4).sum(1).tolist() == [1] * 8  # in every batch
    numbers = torch.cat([batch.images.flatten() for batch in drawn])
    assert numbers[known].tolist() == list(range(8)) and numbers[~known].tolist() == list(range(24))  # without gaps
    for batch in drawn:
        has = batch.extra["has_codes"]
        assert torch.equal(batch.codes[has].flatten(), batch.images[has].flatten()) and not batch.codes[~has].any()
        assert (batch.extra["labels"][has] == -1).all() and (batch.extra["labels"][~has] == 13).all()
    halves = torch.cat([source.draw(range(first, first + 2), 0).images.flatten() for first in range(0, 32, 2)])
    assert torch.equal(halves, numbers)  # two processes that share a batch
    alone = MixedFaces(Numbered(True), Numbered(False), share=0.01).draw(range(4), 0)
    assert alone.extra["has_codes"].all() and "labels" not in alone.extra
    for share in (0, 1, 1.5):
        with pytest.raises(FacemugError, match="between 0 and 1"):
            MixedFaces(Numbered(True), Numbered(False), share)


def test_flip_moves_and_swaps() -> None:
    images = torch.arange(6.0).view(2, 1, 1, 3)
    labels = torch.tensor([[[4, 1, 5]], [[4, 1, -1]]])
    flipped, extra = flip_faces(images, {"labels": labels}, torch.tensor([True, False]))
    assert flipped.flatten().tolist() == [2, 1, 0, 3, 4, 5]
    assert extra["labels"].tolist() == [[[4, 1, 5]], [[4, 1, -1]]]


def test_derangements_are_uniform_and_have_no_fixed_point() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = Counter(tuple(derangement(4, generator).tolist()) for _ in range(1800))
    assert len(seen) == 9  # all derangements of four
    assert all(order[i] != i for order in seen for i in range(4))
    assert max(seen.values()) < 1.4 * min(seen.values())
    with pytest.raises(FacemugError, match="at least two faces"):
        derangement(1, generator)
