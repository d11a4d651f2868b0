"""Edits at the photo's own size: which size, the same edit with more detail, and nothing outside the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import steerable_editor

from facemug_lib.editing import sharp
from facemug_lib.editing.edit import Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.fill.detail import GAINS, detailed, enlarged, fine, noise_of
from facemug_lib.editing.script.edit_script import Step
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, crop_photo
from facemug_lib.faces.photos import read_photo
from facemug_lib.pictures import reduced


def face_of(side: int, photo_size: int = 700) -> AlignedFace:
    """A face whose square has ``side`` px in a photo of waves and noise."""
    rows, columns = np.mgrid[:photo_size, :photo_size] / photo_size
    waves = np.stack([np.sin(25 * rows), np.cos(31 * columns), rows * columns], axis=2)
    noise = np.random.default_rng(0).normal(0, 6, waves.shape)
    photo = read_photo((128 + 60 * waves + noise).clip(0, 255).astype(np.uint8))
    scale = 256 / side
    matrix = np.array([[scale, 0, -scale * 20], [0, scale, -scale * 30]])
    return AlignedFace(crop_photo(photo, matrix, 256), photo, matrix)


@pytest.fixture(scope="module")
def steerable() -> Editor:
    return steerable_editor()


@pytest.fixture(scope="module")
def large_face() -> AlignedFace:
    return face_of(600)


@pytest.mark.parametrize(("side", "asked", "size"), [
    (200, "auto", 256), (310, "auto", 256), (330, "auto", 512), (630, "auto", 512), (660, "auto", 1024), (3000, "auto", 1024),
    (3000, 512, 512), (3000, 256, 256), (330, 1024, 512), (200, 512, 256)])
def test_the_size_is_the_photos_or_less(side: int, asked: object, size: int) -> None:
    face = face_of(side)
    assert sharp.side_in_photo(face) == pytest.approx(side)
    assert sharp.size_for(face, asked) == size
    assert sharp.size_for(face, asked, largest=256) == 256  # a prior that paints no more


def test_the_larger_crop_shows_the_same_square(large_face) -> None:
    large = sharp.at_size(large_face, 512)
    assert large.size == 512 and large.codes is None
    assert float((reduced(large.image, 256) - large_face.image)[..., 4:-4, 4:-4].abs().mean()) < 0.02


@pytest.mark.parametrize("size", [0, 300, 2048, "large", True, None])
def test_sizes_that_are_not_offered_are_refused(size: object, face, mask) -> None:
    with pytest.raises(FacemugError, match=r"size .*: use auto.*256, 512, 1024"):
        Edit(face, mask, size=size)


def test_too_little_memory_is_one_line_with_the_size_that_fits(monkeypatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1.5 * 2**30}))
    with pytest.raises(FacemugError, match=r"1024 px takes .* GiB and 1\.5 are free: use size=512"):
        sharp.check_memory(1024)
    sharp.check_memory(512)


# -- detail -------------------------------------------------------------------------------------------------------------------


def waves(size: int, height: float) -> torch.Tensor:
    """Stripes two pixels wide, which 256 px do not show."""
    stripe = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(size // 4) * height
    return stripe.expand(1, 3, size, size).contiguous()


def test_the_coarse_part_is_the_finished_edit_and_the_fine_part_is_painted(face, mask) -> None:
    hole, photo = (enlarged(mask, 512) >= 0.5).float(), waves(512, 0.1)
    made = detailed(face, waves(512, 0.1), photo, hole, grain=False)
    inside = (hole > 0.5).expand_as(made)
    assert torch.equal(made[~inside], photo[~inside])
    assert torch.allclose(made[inside], (enlarged(face, 512) + fine(waves(512, 0.1)))[inside].clamp(-1, 1), atol=1e-5)


@pytest.mark.parametrize(("own", "gain"), [(0.05, 0.5), (0.2, GAINS[1]), (0.001, GAINS[0])])
def test_detail_is_as_strong_as_the_photos(own: float, gain: float, mask) -> None:
    hole = (enlarged(mask, 512) >= 0.5).float()
    made = detailed(torch.zeros(1, 3, 256, 256), waves(512, 0.1), waves(512, own), hole, grain=False)
    inside = hole[0, 0] > 0.5
    inside[:, : 2 * 70 + 8] = inside[:, 2 * 200 - 8 :] = False  # away from the hole's own edges
    assert float(made[0, 0][inside].abs().mean()) == pytest.approx(gain * float(fine(waves(512, 0.1)).abs().mean()), rel=0.05)


def test_a_grainy_photo_gets_grain_in_the_hole_and_a_clean_one_none(mask) -> None:
    hole, coarse, raw = (enlarged(mask, 512) >= 0.5).float(), torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 512, 512)
    draw = torch.Generator().manual_seed(1)
    grainy = 0.05 * torch.randn(1, 1, 512, 512, generator=draw).expand(1, 3, -1, -1)
    made, again, other = (detailed(coarse, raw, grainy, hole, seed) for seed in (3, 3, 4))
    assert torch.equal(made, again) and not torch.equal(made, other)
    assert noise_of(fine(made), hole > 0.5) == pytest.approx(noise_of(fine(grainy), hole < 0.5), rel=0.15)
    assert torch.equal(detailed(coarse, raw, torch.zeros_like(raw), hole, 3), raw)


# -- edits --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [{}, {"attributes": {"light": 1.0}}])
def test_a_larger_edit_is_the_same_edit_and_leaves_the_rest(steerable, large_face, wanted: dict) -> None:
    drawn = np.zeros((700, 700), bool)
    drawn[200:420, 250:500] = True
    small, large = (steerable.edit(large_face, drawn, seed=2, size=size, **wanted) for size in (256, 512))
    assert small.sharp is None and small.size == 256 and large.size == 512
    assert torch.equal(small.image, large.image)  # what is seen while editing does not change
    pasted = large.paste_back()
    assert np.array_equal(pasted[~drawn], large_face.original[~drawn])
    difference = np.abs(pasted.astype(int) - small.paste_back()).mean()
    assert 0 < difference < 0.1 * np.abs(pasted.astype(int) - large_face.original).mean() + 6


def test_a_mask_in_the_aligned_frame_is_painted_at_that_size_too(steerable, large_face, mask) -> None:
    made = steerable.edit(large_face, mask, guidance_frame="aligned")
    assert made.size == 512 and made.remarks == []
    changed = (made.paste_back() != large_face.original).any(axis=2)
    assert changed.any() and not changed[~sharp.at_size(large_face, 512).mask_to_photo(made.sharp.mask)].any()


def test_what_was_used_instead_is_said(steerable, large_face, mask) -> None:
    made = steerable.edit(large_face, mask, guidance_frame="aligned", size=1024)
    assert made.size == 512 and len(made.remarks) == 1
    assert "512 px instead of 1024" in made.remarks[0] and "600 px" in made.remarks[0]


def test_grain_can_be_left_out(steerable, large_face, mask) -> None:
    grainy, smooth = (steerable.edit(large_face, mask, guidance_frame="aligned", grain=grain).sharp for grain in (True, False))
    inside = grainy.mask > 0.5
    noise = [noise_of(fine(one.image), inside) for one in (grainy, smooth)]
    assert noise[0] > 1.5 * noise[1]
    with pytest.raises(FacemugError, match="grain 'no': use True"):
        Edit(large_face, mask, grain="no")


def test_a_script_says_that_there_is_no_grain_and_others_have_it(face, mask) -> None:
    kept = Step.of_edit(Edit(face, mask, grain=False), {"mask": "mask.png"})
    assert kept.model_dump(exclude_defaults=True)["grain"] is False and not kept.edit(face, {"mask": mask}, "aligned").grain
    assert Step.of(mask="mask.png", size="auto").edit(face, {"mask": mask}, "aligned").grain


def test_a_script_keeps_the_size_and_an_old_one_stays_at_256(face, mask) -> None:
    assert Step.of_edit(Edit(face, mask, size=1024), {"mask": "mask.png"}).size == 1024
    assert Step.of_edit(Edit(face, mask), {"mask": "mask.png"}).size == "auto"
    old = Step.of(mask="mask.png")
    assert old.size == 256 and old.edit(face, {"mask": mask}, "aligned").size == 256
