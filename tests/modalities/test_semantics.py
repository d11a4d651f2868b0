"""Semantic maps: class order, sides, colours, reading drawn maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemug_lib.errors import FacemugError
from facemug_lib.modalities import semantics
from facemug_lib.modalities.semantics import PALETTE, SEMANTIC_CLASSES


def random_labels(low: int = -1, shape: tuple[int, ...] = (2, 32, 40)) -> torch.Tensor:
    coarse = torch.randint(low, 19, (shape[0], 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse.float(), shape[1:]).long()[:, 0]


def portrait() -> torch.Tensor:
    """An unmirrored face as CelebAMask-HQ labels it: the subject's left eye is on the image's right."""
    labels = torch.ones(1, 20, 20, dtype=torch.long)
    labels[0, 8, 14] = SEMANTIC_CLASSES.index("l_eye")
    labels[0, 8, 5] = SEMANTIC_CLASSES.index("r_eye")
    labels[0, 15, 10], labels[0, 16, 10] = SEMANTIC_CLASSES.index("u_lip"), SEMANTIC_CLASSES.index("l_lip")
    return labels


def test_order_is_celebamask_hq() -> None:
    assert len(SEMANTIC_CLASSES) == 19 == len(set(PALETTE))
    assert [SEMANTIC_CLASSES.index(n) for n in ("background", "skin", "eye_g", "l_eye", "hair", "cloth")] == [0, 1, 3, 4, 13, 18]
    assert semantics.UNLABELLED_COLOUR not in PALETTE


def test_one_hot_leaves_unlabelled_empty_and_inverts() -> None:
    labels = random_labels()
    planes = semantics.one_hot(labels)
    assert planes.shape == (2, 19, 32, 40)
    assert torch.equal(planes.sum(1), (labels >= 0).float())
    assert torch.equal(semantics.labels_of(planes), labels)


def test_mirroring_keeps_the_subjects_left_on_the_images_right() -> None:
    labels = portrait()
    left = SEMANTIC_CLASSES.index("l_eye")
    assert (labels == left).nonzero()[0, 2] >= 10
    flipped = semantics.flip_labels(labels)
    assert (flipped == left).nonzero()[0, 2] >= 10  # a mirrored face is a face: its left eye is on the right again
    assert flipped[0, 15, 9] == SEMANTIC_CLASSES.index("u_lip") and flipped[0, 16, 9] == SEMANTIC_CLASSES.index("l_lip")
    anything = random_labels()
    assert torch.equal(semantics.flip_labels(semantics.flip_labels(anything)), anything)
    assert torch.equal(semantics.flip_labels(anything) == -1, (anything == -1).flip(-1))
    image = torch.arange(20.0).expand(1, 3, 20, 20)
    both = semantics.flip(image, labels)
    assert torch.equal(both[0], image.flip(-1)) and torch.equal(both[1], flipped)


def test_maps_survive_a_file_in_both_forms(tmp_path: Path) -> None:
    labels = random_labels()[:1]
    index = labels[0].numpy().copy()
    index[index < 0] = 255
    Image.fromarray(index.astype(np.uint8)).save(tmp_path / "index.png")
    colours = ((semantics.colourise(labels)[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    assert torch.equal(semantics.label_map_from_image(tmp_path / "index.png"), labels)
    assert torch.equal(semantics.label_map_from_image(tmp_path / "colour.png"), labels)
    clear = np.dstack((colours, np.full(colours.shape[:2], 255, np.uint8)))
    clear[0, :, 3] = 0
    read = semantics.label_map_from_image(clear)
    assert (read[0, 0] == -1).all() and torch.equal(read[0, 1:], labels[0, 1:])


def test_maps_as_paint_programs_save_them(tmp_path: Path) -> None:
    """With 16 bits, as numbers or stretched, and with a palette in the program's own order."""
    labels = random_labels()[:1]
    index = labels[0].numpy().copy()
    index[index < 0] = 255
    index = index.astype(np.uint8)
    Image.fromarray(index.astype(np.uint16)).save(tmp_path / "plain.png")
    Image.fromarray(index.astype(np.uint16) * 257).save(tmp_path / "stretched.png")
    order = [18, 3, 255, *(number for number in range(18) if number != 3)]
    place = np.zeros(256, np.uint8)
    place[order] = np.arange(len(order))
    shuffled = Image.fromarray(place[index], "P")
    shuffled.putpalette([value for number in order for value in (PALETTE[number] if number < 19 else (255, 255, 255))])
    shuffled.save(tmp_path / "shuffled.png")
    other = Image.fromarray(index, "P")  # colours that name no class tell indices apart
    other.putpalette([value for number in range(256) for value in (number, 7, 255 - number)])
    other.save(tmp_path / "other.png")
    for name in ("plain", "stretched", "shuffled", "other"):
        assert torch.equal(semantics.label_map_from_image(tmp_path / f"{name}.png"), labels), name


@pytest.mark.parametrize(
    ("pixels", "line"),
    [
        (np.full((4, 4), 19, np.uint8), "holds the value 19 at 16 of 16 pixels"),
        (np.full((4, 4, 3), 7, np.uint8), r"holds the colour \(7, 7, 7\)"),
        (np.zeros((4, 4), np.float32), "float32 values"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
    ],
)
def test_wrong_maps_get_one_clear_line(pixels: np.ndarray, line: str) -> None:
    with pytest.raises(FacemugError, match=line) as caught:
        semantics.label_map_from_image(pixels)
    assert "\n" not in str(caught.value)


def test_an_unreadable_map_gets_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_text("not a picture")
    with pytest.raises(FacemugError, match="cannot read label map"):
        semantics.label_map_from_image(tmp_path / "map.png")


def test_coarsened_labels_keep_the_regions_and_round_the_borders() -> None:
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    labels = torch.where((y - 64) ** 2 + (x - 64) ** 2 < 40**2, 13, -1)[None].repeat(8, 1, 1)
    labels[:, 10, 10] = 5  # a speck
    coarse = semantics.coarsen_labels(labels, torch.Generator().manual_seed(0))
    assert coarse.shape == labels.shape and coarse.dtype == torch.long
    assert set(coarse.unique().tolist()) == {-1, 13}
    overlap = ((coarse == 13) & (labels == 13)).sum((1, 2)) / ((coarse == 13) | (labels == 13)).sum((1, 2))
    assert (overlap > 0.85).all() and (overlap < 1).all()
    assert not torch.equal(coarse[0], coarse[1])
