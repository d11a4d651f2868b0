"""The numbered steps of the one pass, each against its equation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from facemug_lib.editing import forward
from facemug_lib.editing.inputs import Exemplars
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.models.generator import GeneratorOutput


@pytest.fixture
def conditions(face, mask) -> Conditions:
    return Conditions.build(mask, face, sketch=mask)


def test_step_1_draws_each_code_from_its_own_seed(editor) -> None:
    both = forward.random_codes(editor.prior, [3, 4])
    assert torch.equal(both[:1], forward.random_codes(editor.prior, [3])) and not torch.equal(both[0], both[1])
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(4))
    mean = editor.prior.mean_w
    assert torch.allclose(both[1:], mean + 0.7 * (editor.prior.map(z) - mean))


def test_step_2_ends_at_the_exemplar() -> None:
    w_z, w_e = torch.randn(3, 17, 512), torch.randn(3, 17, 512)
    w_bar = forward.interpolated(w_z, w_e, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(w_bar[0], w_z[0]) and torch.equal(w_bar[2], w_e[2])
    assert torch.allclose(w_bar[1], 0.75 * w_z[1] + 0.25 * w_e[1], atol=1e-6)


def test_what_is_unknown_is_the_seeds(face) -> None:
    half = torch.zeros(1, 1, 256, 256)
    half[..., :128] = 1
    plain, guided = Conditions.build(half, face), Conditions.build(half, face, sketch=half)
    assert float(forward.certainty_of(plain)) == pytest.approx(1 - 0.5**6)
    assert float(forward.certainty_of(guided)) == pytest.approx(1 - 0.25**6)
    assert float(forward.certainty_of(Conditions.build(torch.ones_like(half), face))) == 0


def test_step_3_weighs_what_the_guidance_adds(conditions) -> None:
    def encoder(shown: torch.Tensor) -> torch.Tensor:
        return shown[:, :4].sum((1, 2, 3))[:, None, None].expand(-1, 17, 512)

    without = encoder(conditions.select("image").encoder_input())
    whole = forward.projected_codes(encoder, conditions)
    assert torch.equal(whole, encoder(conditions.encoder_input()))
    for weight in (0.0, 0.5, 2.0):
        made = forward.projected_codes(encoder, conditions, {"sketch": weight})
        assert torch.allclose(made, without + weight * (whole - without), rtol=1e-5)


def test_step_4_is_equation_2() -> None:
    source, target = torch.randn(2, 17, 512), torch.randn(2, 17, 512)
    assert torch.equal(forward.warped(lambda w_s, w_r: w_s * w_r, source, target), source + source * target)


def test_only_exemplars_are_warped(reading_editor, conditions, face) -> None:
    two = Conditions(**{name: value.expand(2, *value.shape[1:]) for name, value in vars(conditions).items()})
    shown = Exemplars(torch.cat((face, torch.zeros_like(face))), torch.tensor([True, False]))
    codes = forward.read_codes(reading_editor.prior, reading_editor.encoder, lambda source, target: torch.ones_like(source), two,
                               [0, 1], shown)
    assert torch.equal(codes.w_warp[0], codes.w_bar[0] + 1) and torch.equal(codes.w_warp[1], codes.w_bar[1])
    assert torch.equal(codes.w_bar[:1], forward.exemplar_codes(reading_editor.encoder, shown)[:1])


def test_variety_leaves_part_of_the_codes_to_the_seed_in_the_pose_of_the_photo(reading_editor, conditions) -> None:
    two = Conditions(**{name: value.expand(2, *value.shape[1:]) for name, value in vars(conditions).items()})
    prior, encoder = reading_editor.prior, reading_editor.encoder
    plain = forward.read_codes(prior, encoder, lambda source, target: torch.ones_like(source), two, [3, 4])
    codes = forward.read_codes(prior, encoder, lambda source, target: torch.ones_like(source), two, [3, 4], variety=[0.0, 0.75])
    assert all(torch.equal(mine[:1], without[:1]) for mine, without in zip(codes, plain, strict=True))
    w_x, random = forward.projected_codes(encoder, two), prior.broadcast(codes.w_z)
    assert torch.allclose(codes.certainty[1], 0.25 * plain.certainty[1])
    assert torch.allclose(codes.w_bar[1], torch.lerp(random[1], w_x[1], codes.certainty[1]), atol=1e-6)
    assert torch.equal(codes.w_warp[1], codes.w_bar[1] + 1)


def test_steps_6_to_8_are_the_bank_and_the_generator(editor, conditions) -> None:
    codes = editor.prior.broadcast(editor.prior.w_of_seeds([1]))
    given = forward.bank(editor.prior, codes)
    image, shares = forward.refined_picture(editor.generator, conditions, codes, given, {"exemplar": 0.5})
    output = editor.generator(conditions, codes, given.features, given.picture)
    assert torch.equal(image, output.image) and torch.equal(shares, output.contributions) and given.small is given.picture


def test_a_smaller_generator_decides_what_its_pixels_can_show(editor, conditions) -> None:
    codes = editor.prior.broadcast(editor.prior.w_of_seeds([1]))
    given = forward.bank(editor.prior, codes, 64)
    assert given.small.shape == (1, 3, 64, 64)
    target = torch.zeros(1, 3, 64, 64)
    target[..., :32] = 0.5  # what the generator paints, whatever it is given

    def generator(reduced, codes, features, prior_image, influence):
        assert reduced.mask.shape[-1] == 64 and torch.equal(prior_image, given.small)
        return GeneratorOutput(target, torch.full((1, 4, 64, 64), 0.25))

    image, shares = forward.refined_picture(generator, conditions, codes, given)
    assert image.shape == (1, 3, 256, 256) and shares.shape == (1, 4, 256, 256)
    assert torch.allclose(F.avg_pool2d(image, 4)[..., 2:28], target[..., 2:28], atol=0.02)  # away from the target's own step
    fine = given.picture - F.interpolate(given.small, (256, 256), mode="bicubic")
    kept = image - F.interpolate(target, (256, 256), mode="bicubic")
    assert torch.allclose(kept, fine, atol=1e-5)  # what is finer than its pixels is the prior's
