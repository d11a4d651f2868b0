"""Conditions: channel order, absence, errors in one line, and compositing to the bit."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.conditions import CHANNELS, INPUT_CHANNELS, MODALITIES, Conditions, exemplar_input

SIZE = 16


def parts(b: int = 2) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "mask": (torch.rand(b, 1, SIZE, SIZE, generator=rng) < 0.5).float(),
        "image": torch.rand(b, 3, SIZE, SIZE, generator=rng) * 2 - 1,
        "sketch": (torch.rand(b, 1, SIZE, SIZE, generator=rng) < 0.1).float(),
        "semantics": torch.randint(-1, 19, (b, SIZE, SIZE), generator=rng),
        "colour": torch.rand(b, 3, SIZE, SIZE, generator=rng) * 2 - 1,
    }


def test_channel_order_is_that_of_the_released_trainer() -> None:
    given = parts()
    conditions = Conditions.build(**given)
    x = conditions.encoder_input()
    assert MODALITIES == ("image", "sketch", "semantics", "colour")
    assert x.shape == (2, 26, SIZE, SIZE) and INPUT_CHANNELS == 26 == sum(CHANNELS.values())
    assert torch.equal(x[:, :3], given["image"] * (1 - given["mask"]))
    assert torch.equal(x[:, 3:4], given["sketch"])
    assert torch.equal(x[:, 4:23].argmax(1)[given["semantics"] >= 0], given["semantics"][given["semantics"] >= 0])
    assert torch.equal(x[:, 23:], given["colour"])
    assert conditions.present.all()
    maps = conditions.maps()
    assert {name: m.shape[1] for name, m in maps.items()} == {"image": 4, "sketch": 1, "semantics": 19, "colour": 3}
    assert torch.equal(maps["image"][:, 3:], given["mask"] - 0.5)


def test_absent_is_zero_with_its_flag_off() -> None:
    given = parts()
    conditions = Conditions.build(given["mask"], given["image"], colour=given["colour"])
    assert conditions.present.tolist() == [[True, False, False, True]] * 2
    assert conditions.sketch.abs().sum() == 0 and conditions.semantics.abs().sum() == 0
    whole = Conditions.build(torch.ones(2, 1, SIZE, SIZE), given["image"])  # everything is edited: nothing of the image is known
    assert not whole.present.any()
    one = Conditions.build(**given, present=torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]]).bool())
    assert one.present.tolist() == [[True, False, True, False], [False, True, False, True]]
    assert one.sketch[0].abs().sum() == 0 and torch.equal(one.sketch[1], given["sketch"][1])


def test_a_modality_speaks_only_where_its_mask_says() -> None:
    given = parts()
    where = torch.zeros(2, 1, SIZE, SIZE)
    where[..., :4] = 1
    limited = Conditions.build(**given, colour_mask=where, semantics_mask=where)
    assert limited.colour[..., 4:].abs().sum() == 0 and torch.equal(limited.colour[..., :4], given["colour"][..., :4])
    assert limited.semantics[..., 4:].sum() == 0 and limited.semantics[..., :4].sum() > 0
    with pytest.raises(FacemugError, match="sketch_mask was given without sketch"):
        Conditions.build(given["mask"], sketch_mask=where)


def test_select_keeps_the_named_modalities() -> None:
    conditions = Conditions.build(**parts())
    only = conditions.select(["image", "sketch"])
    assert only.present.tolist() == [[True, True, False, False]] * 2
    assert torch.equal(only.image, conditions.image) and only.colour.abs().sum() == 0
    assert torch.equal(only.mask, conditions.mask) and conditions.colour.abs().sum() > 0
    with pytest.raises(FacemugError, match="unknown modality 'color'"):
        conditions.select(["color"])


def test_composite_copies_known_pixels_to_the_bit_and_passes_gradients_in_the_hole() -> None:
    given = parts()
    conditions = Conditions.build(given["mask"], given["image"])
    original = given["image"].clone()
    original[0, 0, 0, :] = torch.tensor([-0.0, 1e-45, 3e38, 0.1] * 4)  # values that a product with 0 or 1 would not keep
    generated = torch.full_like(original, torch.nan).masked_fill(given["mask"].expand_as(original) > 0, 0.5).requires_grad_()
    out = conditions.composite(generated, original)
    known = given["mask"].expand_as(original) == 0
    assert torch.equal(out[known].view(torch.int32), original[known].view(torch.int32))
    assert (out[~known] == 0.5).all()
    out.sum().backward()
    assert torch.equal(generated.grad, given["mask"].expand_as(original))
    with pytest.raises(FacemugError, match="original has shape"):
        conditions.composite(generated, original[:, :, :8])


def test_reduced_guidance_shows_nothing_hidden_and_loses_no_line() -> None:
    mask, sketch, image = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    mask[..., 1, 1] = mask[..., 4:, 4:] = 1
    sketch[..., 5, :] = 1
    image[..., 4:, 4:] = -1.0  # hidden
    image[..., 0, 6] = 0.1
    labels = torch.arange(64).view(1, 8, 8) // 4
    whole = Conditions.build(mask, image, sketch, labels, image)
    half = whole.reduced(4)
    assert half.mask[0, 0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert half.sketch[0, 0].tolist() == [[0] * 4, [0] * 4, [1] * 4, [0] * 4]
    assert half.image[0, 0, 0].tolist() == pytest.approx([0, 0.5, 0.5, 0.4]) and (half.image[..., 2:, 2:] == 0).all()
    assert torch.equal(half.semantics.argmax(1), labels[:, 1::2, 1::2]) and torch.equal(half.present, whole.present)
    assert whole.reduced(8) is whole
    with pytest.raises(FacemugError, match="cannot be reduced to 3 px"):
        whole.reduced(3)


def test_exemplar_fills_three_of_the_26_channels() -> None:
    image = parts()["image"]
    x = exemplar_input(image)
    assert x.shape[1] == 26 and torch.equal(x[:, :3], image) and x[:, 3:].abs().sum() == 0


BAD = {
    "mask size": ({"mask": torch.zeros(2, SIZE, SIZE)}, r"mask has shape \(2, 16, 16\): use \[b, 1, h, w\]"),
    "mask grey": ({"mask": torch.full((2, 1, SIZE, SIZE), 0.3)}, r"not only 0 and 1: threshold it, as in \(mask > 0.5\)"),
    "mask 8-bit": ({"mask": torch.full((2, 1, SIZE, SIZE), 255.0)}, r"as in \(mask > 127\)"),
    "mask NaN": ({"mask": torch.full((2, 1, SIZE, SIZE), torch.nan)}, "mask holds NaN"),
    "image size": ({"image": torch.zeros(2, 3, SIZE, 8)}, r"image has shape \(2, 3, 16, 8\): use \[2, 3, 16, 16\]"),
    "image batch": ({"image": torch.zeros(1, 3, SIZE, SIZE)}, "image has shape"),
    "image 8-bit": ({"image": torch.full((2, 3, SIZE, SIZE), 200.0)}, "x / 127.5 - 1"),
    "image range": ({"image": torch.full((2, 3, SIZE, SIZE), -1.5)}, "clamp"),
    "colour NaN": ({"colour": torch.full((2, 3, SIZE, SIZE), torch.nan)}, "colour holds NaN"),
    "sketch grey": ({"sketch": torch.full((2, 1, SIZE, SIZE), 0.5)}, "sketch has values"),
    "labels range": ({"semantics": torch.full((2, SIZE, SIZE), 19)}, "labels from 19 to 19"),
    "labels float": ({"semantics": torch.zeros(2, SIZE, SIZE)}, "labels.long"),
    "two classes": ({"semantics": torch.ones(2, 19, SIZE, SIZE)}, "several classes"),
    "present": ({"present": torch.ones(2, 3).bool()}, "one flag per modality"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line(name: str) -> None:
    wrong, line = BAD[name]
    with pytest.raises(FacemugError, match=line) as caught:
        Conditions.build(**(parts() | wrong))
    assert "\n" not in str(caught.value)


def test_to_moves_everything() -> None:
    moved = Conditions.build(**parts()).to("meta")
    assert {value.device.type for value in vars(moved).values()} == {"meta"}
