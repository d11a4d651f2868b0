from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from facemug_lib.editing.fill import blending
from facemug_lib.editing.fill.blending import blend, detail_gain, grown, sameness, sharpen


def outside(mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return image[(mask < 0.5).expand_as(image)]


def test_known_pixels_are_copied_bit_for_bit(face, mask) -> None:
    out = blend(torch.randn_like(face), face, mask)
    assert torch.equal(outside(mask, out), outside(mask, face))
    assert not torch.equal(out, face)


def test_a_small_constant_colour_offset_is_removed(face, mask) -> None:
    offset = torch.tensor([0.05, -0.02, 0.01]).view(1, 3, 1, 1)
    out = blend(face * 0.7 + offset, face * 0.7, mask, match_detail=False)
    assert (out - face * 0.7).abs().max() < 0.1 * 0.05


def test_plain_poisson_removes_a_constant_offset_of_any_size(face, mask) -> None:
    offset = torch.tensor([0.6, -0.3, 0.1]).view(1, 3, 1, 1)
    out = blend(face * 0.3 + offset, face * 0.3, mask, reach=float("inf"), match_detail=False)
    assert (out - face * 0.3).abs().max() < 1e-4


def test_another_background_along_the_edge_does_not_tint_the_middle() -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 30:230, 30:230] = 1
    known = torch.tensor([-0.4, 0.1, 0.8]).view(1, 3, 1, 1).expand(1, 3, 256, 256)  # a blue sky
    raw = torch.full((1, 3, 256, 256), -0.2)  # painted on grey
    out = blend(raw, known, mask, match_detail=False)
    assert (out - raw)[..., 110:150, 110:150].abs().max() < 0.1
    assert (out - known)[..., 30, 60:200].abs().max() < 0.1  # the seam is closed all the same


def test_a_difference_of_light_is_carried_across_and_other_content_is_not(face) -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 40:220, 40:220] = 1
    middle = []
    for size in (0.1, 0.4, 0.8):
        raw = face * 0.2 + size
        middle.append(((raw - blend(raw, face * 0.2, mask, match_detail=False)) / size)[..., 110:150, 110:150].mean().item())
    wanted = [torch.tensor(-((size / blending.TRUST) ** 2)).exp().item() for size in (0.1, 0.4, 0.8)]
    assert middle == pytest.approx(wanted, abs=0.02)


def test_a_local_difference_at_the_edge_dies_out_inside(face) -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 40:220, 40:220] = 1
    known = face * 0.2
    raw = known.clone()
    raw[..., :, :60] += 0.8  # something else at the left edge only
    change = (blend(raw, known, mask, match_detail=False) - raw).abs().mean(1)[0]
    assert change[100:160, 41].mean() > 0.6  # the seam is closed …
    assert change[100:160, 150:].max() < 0.02  # … and the far side is left alone
    steps = (blend(raw, known, mask, match_detail=False) - known).abs().mean(1)[0]
    assert steps[60:200, 40].max() < 0.12  # no jump right behind the edge


def test_every_sample_is_blended_by_itself(face, mask) -> None:
    other = torch.zeros_like(mask)
    other[..., 20:60, 20:60] = 1
    raw, known = torch.cat((face + 0.1, face * 0.5)), torch.cat((face * 0.8, face * 0.6))
    both = blend(raw, known, torch.cat((mask, other)))
    assert torch.allclose(both[1:], blend(raw[1:], known[1:], other), atol=1e-6)


def test_nothing_known_leaves_the_picture(face) -> None:
    everything = torch.ones(1, 1, 256, 256)
    assert torch.equal(blend(face * 0.5, face, everything), face * 0.5)


def test_the_correction_fades_by_the_distance_to_the_edge() -> None:
    """A slit across the picture, too long for its ends to matter: nothing arrives in the middle of a wide one."""
    known, raw = torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)
    raw[..., :] = -1.0  # too much for a matter of light
    for half, expected in ((60, 0.02), (4, 0.93)):
        mask = torch.zeros(1, 1, 256, 256)
        mask[..., 128 - half : 128 + half, :] = 1
        correction = (blend(raw, known, mask, match_detail=False) - raw)[0, 0, 128, 32]
        assert correction == pytest.approx(expected, abs=0.1), half


@pytest.mark.parametrize("gain", [1.0, 1.1, 1.18])
def test_gain_finds_how_much_detail_was_lost(face, mask, gain) -> None:
    grain = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 0.05
    soft = face * 0.5 + grain
    found = detail_gain(soft, sharpen(soft, gain), mask)
    assert found.item() == pytest.approx(gain, rel=0.05)


def test_what_lies_under_the_mask_is_not_looked_at(face, mask) -> None:
    raw = face * 0.7 + 0.02 * torch.randn(face.shape, generator=torch.Generator().manual_seed(0))
    grainy = face + 0.05 * torch.randn(face.shape, generator=torch.Generator().manual_seed(1))
    assert detail_gain(raw, grainy, mask) == pytest.approx(blending.MAX_GAIN)
    assert torch.equal(blend(raw, grainy, mask), blend(raw, torch.where(mask > 0.5, -grainy, grainy), mask))


def test_a_hole_asked_for_again_gives_the_same_and_another_one_its_own(face, mask, monkeypatch) -> None:
    made = []
    system = blending._system
    monkeypatch.setattr(blending, "_system", lambda *given: made.append(given) or system(*given))
    raw, other = torch.rand_like(face), mask.flip(3)
    first, second, third = (blend(raw, face, where) for where in (mask, other, mask))
    count = len(made)
    again, plain = blend(raw, face, mask), blend(raw, face, mask, reach=float("inf"))
    assert torch.equal(first, third) and torch.equal(first, again) and not torch.equal(first, second)
    # Each hole costs the plain and the screened equation, and the same hole again nothing.
    assert count >= 4 and len(made) == count and not torch.equal(plain, first)


def test_threads_may_blend_at_once(face, mask) -> None:
    raws = [torch.rand_like(face) for _ in range(4)]
    wanted, found = [blend(raw, face, mask) for raw in raws], {}
    threads = [threading.Thread(target=lambda number=number: found.update({number: blend(raws[number], face, mask)}))
               for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], wanted[number]) for number in range(4))


def test_a_program_that_has_blended_in_a_daemon_thread_ends_silently() -> None:
    code = """
import threading, torch
from facemug_lib.editing.fill.blending import blend
done = threading.Event()
def work():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    blend(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), mask)
    done.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
done.wait()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("pixels", [0, 1, 7, 60])
def test_a_mask_grows_by_so_many_pixels_to_every_side(pixels: int) -> None:
    mask = (torch.rand(2, 1, 40, 50, generator=torch.Generator().manual_seed(1)) > 0.995).float()
    side = 2 * pixels + 1
    assert torch.equal(grown(mask, pixels), torch.nn.functional.max_pool2d(mask, side, 1, pixels) > 0.5)


def test_sameness_falls_with_the_change() -> None:
    before = torch.zeros(1, 3, 64, 64)
    after = before.clone()
    after[..., 40:] = 0.5
    same = sameness(before, after)
    assert same.shape == (1, 1, 64, 64) and torch.equal(sameness(before, before), torch.ones(1, 1, 64, 64))
    assert same[0, 0, 32, 4] > 0.99 and same[0, 0, 32, 60] == pytest.approx(torch.exp(torch.tensor(-4.0)).item(), rel=0.05)
