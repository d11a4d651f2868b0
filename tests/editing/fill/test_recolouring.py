from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from facemug_lib.editing.fill import toning
from facemug_lib.editing.fill.recolouring import SEAM, SMALLEST, recoloured, regions, spread
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES, one_hot

SKIN, NOSE, HAIR, WALL = (SEMANTIC_CLASSES.index(name) for name in ("skin", "nose", "hair", "background"))
RED, BLUE = ((0.7, -0.4, -0.5), (-0.6, -0.1, 0.6))


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """(a picture with texture and shading, a mask, labels: a wall, above it hair, between them skin with a nose)"""
    draw = torch.Generator().manual_seed(2)
    image = torch.rand(1, 3, 256, 256, generator=draw) * 0.1 + torch.linspace(-0.3, 0.1, 256).view(1, 1, 1, 256)
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 16:240, 16:240] = 1
    labels = torch.full((1, 256, 256), WALL)
    labels[:, :100], labels[:, 100:180], labels[:, 130:150, 110:140] = HAIR, SKIN, NOSE
    return image, mask, labels


def stroke(*areas: tuple[tuple[float, float, float], slice, slice]) -> Tensor:
    colour = torch.zeros(1, 3, 256, 256)
    for value, rows, columns in areas:
        colour[..., rows, columns] = torch.tensor(value)[:, None, None]
    return colour


def paint(colour: Tensor, meant: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(the scene, the scene recoloured); ``meant`` are other labels than those that are seen."""
    image, mask, labels = scene()
    return image, recoloured(image, colour, mask, one_hot(labels), labels if meant is None else meant)


def test_a_stroke_colours_the_whole_of_its_region_and_keeps_its_texture() -> None:
    before, after = paint(stroke((RED, slice(40, 60), slice(30, 60))))  # in the darker part of the hair
    hair, middle = (slice(16, 100), slice(16, 240)), (slice(52, 100), slice(52, 204))  # far from the hair beyond the mask
    assert torch.allclose(after[0, :, middle[0], middle[1]].mean((1, 2)), torch.tensor(RED), atol=0.01)
    shift = (after - before)[0, :, middle[0], middle[1]]
    assert shift.std(dim=(1, 2)).max() < 1e-3 and shift.abs().amin(dim=(1, 2)).min() > 0.3
    other = torch.ones(256, 256, dtype=torch.bool)
    other[hair] = False
    assert torch.equal(before[0, :, other], after[0, :, other])  # skin, wall, and what is outside of the mask


def test_the_colour_fades_towards_the_same_region_beyond_the_mask() -> None:
    before, after = paint(stroke((RED, slice(40, 60), slice(100, 140))))
    shift = (after - before)[0, 0, 70].abs()
    assert shift[15] == 0 and 0 < shift[16] < 0.02 * shift[120] and shift[16 + 3 * int(SEAM)] > 0.99 * shift[120]
    image, mask, labels = scene()
    labels[:, :16], labels[:, :, :16], labels[:, :, 240:] = WALL, WALL, WALL  # now the hair ends with the mask
    made = recoloured(image, stroke((RED, slice(40, 60), slice(100, 140))), mask, one_hot(labels), labels)
    assert (made - image)[0, 0, 16:100, 16:240].abs().min() > 0.3


def test_two_strokes_share_a_region() -> None:
    before, after = paint(stroke((RED, slice(40, 60), slice(30, 50)), (BLUE, slice(40, 60), slice(200, 220))))
    left, right = (after[0, :, 40:60, columns].mean((1, 2)) for columns in (slice(30, 50), slice(200, 220)))
    assert torch.allclose(left, torch.tensor(RED), atol=0.12) and torch.allclose(right, torch.tensor(BLUE), atol=0.12)
    assert (after[0, :, 40:98, 40:216] - before[0, :, 40:98, 40:216]).abs().amax(0).min() > 0.1  # all of it has some colour


def test_a_nose_goes_with_the_skin() -> None:
    before, after = paint(stroke((RED, slice(160, 170), slice(40, 120))))
    assert ((after - before)[0, :, 135:145, 115:135].abs().mean((1, 2)) > 0.15).all()
    shares = regions(one_hot(scene()[2]))
    assert torch.equal(shares.sum(1), torch.ones(1, 256, 256)) and shares[0, 0, 140, 120] == shares[0, 0, 170, 120] == 1


def test_what_is_no_longer_there_is_not_coloured() -> None:
    colour = stroke((RED, slice(200, 230), slice(40, 120)))  # upon the wall, where hair was
    once = scene()[2].clone()
    once[:, 100:] = HAIR
    before, after = paint(colour, once)
    assert torch.equal(before, after)
    before, after = paint(stroke((RED, slice(90, 230), slice(40, 120))), once)  # 10 of 140 rows still lie on hair
    assert torch.equal(before, after)
    before, after = paint(stroke((RED, slice(60, 230), slice(40, 120))), once)
    assert (after - before)[0, 0, 60, 100] > 0.3 and torch.equal(after[..., 100:, :], before[..., 100:, :])


def test_specks_unlabelled_strokes_and_empty_masks_change_nothing() -> None:
    side = int(SMALLEST**0.5)
    before, after = paint(stroke((RED, slice(40, 40 + side), slice(40, 39 + side))))
    assert torch.equal(before, after)
    before, after = paint(stroke((RED, slice(40, 40 + side), slice(40, 40 + side))))
    assert not torch.equal(before, after)
    before, after = paint(stroke((RED, slice(40, 60), slice(40, 60))), torch.full((1, 256, 256), -1))
    assert torch.equal(before, after)
    image, mask, labels = scene()
    colour = stroke((RED, slice(40, 60), slice(40, 60)))
    assert torch.equal(recoloured(image, colour, torch.zeros_like(mask), one_hot(labels), labels), image)
    whole = recoloured(image, colour, torch.ones_like(mask), one_hot(labels), labels)
    assert torch.isfinite(whole).all() and (whole[0, 0, :100] > image[0, 0, :100]).all()


def test_every_sample_by_itself() -> None:
    image, mask, labels = scene()
    colours = torch.cat((stroke((RED, slice(40, 60), slice(40, 60))), stroke((BLUE, slice(120, 140), slice(40, 60)))))
    both = recoloured(*(torch.cat((one, one.flip(-1))) for one in (image,)), colours, mask.expand(2, -1, -1, -1),
                      one_hot(labels).expand(2, -1, -1, -1), labels.expand(2, -1, -1))
    assert torch.equal(both[:1], recoloured(image, colours[:1], mask, one_hot(labels), labels))


def test_spreading_takes_what_is_near() -> None:
    values, known = torch.zeros(1, 1, 256, 256), torch.zeros(1, 1, 256, 256)
    known[..., 100:110, 20:30], known[..., 100:110, 220:230] = 1, 1
    values[..., 20:30], values[..., 220:230] = 1.0, 3.0
    filled = spread(values, known)[0, 0]
    assert filled[105, 25] == pytest.approx(1, abs=1e-3) and filled[105, 225] == pytest.approx(3, abs=1e-3)
    assert filled.min() > 0.99 and filled.max() < 3.01 and filled[105, 60] < 2 < filled[105, 190]
    assert filled[0, 128] == pytest.approx(2, abs=0.2)  # as far from one as from the other


class Parser(nn.Module):
    """Sees hair in the upper half and a wall below, whatever is shown."""

    def forward(self, image: Tensor) -> SimpleNamespace:
        labels = torch.full((len(image), 256, 256), WALL)
        labels[:, :128] = HAIR
        return SimpleNamespace(semantics=one_hot(labels) * 200)


def test_an_edit_gets_its_colours(editor, face, monkeypatch) -> None:
    monkeypatch.setattr(toning, "toned", lambda raw, *_: raw)
    judges = SimpleNamespace(parser=Parser())
    knowing, other = copy.copy(editor), copy.copy(editor)

    def judges_of(parser: bool, identity: bool, perceptual: bool) -> SimpleNamespace:
        assert parser and not identity and not perceptual  # colours need nobody else, and LPIPS-VGG would have to be fetched
        return judges

    knowing._experts, other._experts = judges_of, None
    mask, colour = torch.zeros(1, 1, 256, 256), stroke((RED, slice(60, 80), slice(100, 160)))
    mask[..., 40:200, 40:200] = 1
    given = dict(face=face, mask=mask, colour=colour, guidance_frame="aligned")
    plain, made = other.edit(**given), knowing.edit(**given)
    place = (0, slice(None), slice(60, 128), slice(64, 176))
    assert torch.allclose(made.image[place].mean((1, 2)), torch.tensor(RED), atol=0.15)
    assert not torch.allclose(plain.image[place].mean((1, 2)), torch.tensor(RED), atol=0.3)
    assert torch.equal(made.raw, plain.raw) and torch.equal(made.image[..., 128:, :], plain.image[..., 128:, :])
    known = (mask < 0.5).expand_as(face)
    assert torch.equal(made.image[known], face[known])
    half, none = (knowing.edit(**given, influence={"colour": weight}).image for weight in (0.5, 0.0))
    assert torch.equal(none, other.edit(**given, influence={"colour": 0.0}).image)
    assert 0 < (half - other.edit(**given, influence={"colour": 0.5}).image)[place].abs().mean() < (
        (made.image - plain.image)[place].abs().mean())
    # What the labels say is meant goes before what the photo shows.
    labels = torch.full((1, 256, 256), WALL)
    named = given | dict(semantics=labels)
    assert torch.equal(knowing.edit(**named).image, other.edit(**named).image)
