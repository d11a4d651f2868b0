"""L2M-GAN: its losses against slow forms, its codes, its training on faces that are tints, its weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from runs import QUIET, equal, train
from system_fakes import fake_maker
from tiny import TinyLpips

from facemug_lib import systems
from facemug_lib.errors import FacemugError
from facemug_lib.store import Store
from facemug_lib.systems.common.faces import SystemFaces
from facemug_lib.systems.l2m_gan import L2MGan
from facemug_lib.systems.l2m_gan.losses import (
    cosine,
    cycle_loss,
    masked_mean,
    orthogonality_loss,
    perceptual_loss,
    style_loss,
)
from facemug_lib.systems.l2m_gan.networks import Codes, Discriminator, Generator, L2MConfig, L2MNetworks, face_heat, normalised
from facemug_lib.systems.l2m_gan.stage import COMPACT_DISCRIMINATOR, L2MStage
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.losses import discriminator_loss, generator_loss, r1_penalty
from facemug_lib.training.stage import StepContext
from facemug_lib.training.stages import settings
from facemug_lib.weights import save_weights


def stage(folder: Path, **overrides: object) -> L2MStage:
    """A compact one at 64 px, on faces that are tints, with a perceptual distance of a few lines."""
    torch.manual_seed(0)
    chosen = settings(L2MStage, "smoke", {"size": 64, "half": "never", "evaluate_count": 8} | overrides)
    config = L2MConfig.of("compact", chosen.attribute_names, 64, skip=chosen.skip, output=chosen.output)
    faces = SystemFaces(fake_maker(), chosen.attribute_names, chosen.pool, store=Store(folder / "faces"))
    return L2MStage(chosen, L2MNetworks(config), Discriminator(len(config.attributes), 64, (16, 16, 16), 2), TinyLpips(), faces)


def run(one: L2MStage, out: Path, **more: object) -> dict[str, float]:
    s = one.settings
    options = QUIET | dict(batch=s.batch, lr=s.lr, ema_halflife=50) | more
    return train(one, one.source("prior", torch.device("cpu")), out, **options).scores


@pytest.fixture
def codes() -> Codes:
    return Codes(*torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1)))


# -- losses ---------------------------------------------------------------------------------------------------------------


def test_orthogonality_is_the_mean_product_of_every_element_before_and_after(codes: Codes) -> None:
    before = after = 0.0
    for face in range(3):
        for place in range(4):
            before += abs(float(codes.related[face, place]) * float(codes.unrelated[face, place])) / 12
            after += abs(float(codes.new_related[face, place]) * float(codes.unrelated[face, place])) / 12
    assert float(orthogonality_loss(codes)) == pytest.approx(before + after, rel=1e-5)
    apart = codes._replace(related=torch.eye(3, 4), new_related=2 * torch.eye(3, 4), unrelated=torch.eye(4).roll(1, 1)[:3])
    assert float(orthogonality_loss(apart)) == 0 and cosine(apart) == (0, 0)


def test_parts_of_one_length_cannot_win_by_shrinking(codes: Codes) -> None:
    small = codes._replace(unrelated=1e-2 * codes.unrelated)
    assert float(orthogonality_loss(small)) < 0.02 * float(orthogonality_loss(codes))
    whole, shrunk = (float(orthogonality_loss(one, is_unit=True)) for one in (codes, small))
    assert shrunk == pytest.approx(whole, rel=1e-2)
    slow = [sum(abs(a * b) for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
            for part in (codes.related, codes.new_related) for x, y in zip(part.tolist(), codes.unrelated.tolist(), strict=True)]
    assert float(orthogonality_loss(codes, is_unit=True)) == pytest.approx(sum(slow) / 3, rel=1e-4)


def test_cosines_are_those_of_each_face(codes: Codes) -> None:
    for found, own in zip(cosine(codes), (codes.related, codes.new_related), strict=True):
        slow = [abs(sum(a * b for a, b in zip(x, y, strict=True))) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
                for x, y in zip(own.tolist(), codes.unrelated.tolist(), strict=True)]
        assert float(found) == pytest.approx(sum(slow) / 3, rel=1e-5)


def test_style_cycle_and_perceptual_losses_are_mean_differences() -> None:
    draw = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 2, 3, generator=draw)
    slow = sum(abs(x - y) for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / 6
    assert float(style_loss(a, b)) == pytest.approx(slow, rel=1e-5) == float(style_loss(b, a))
    images, back = torch.randn(2, 2, 3, 4, 4, generator=draw)
    slow = sum(abs(x - y) for x, y in zip(back.flatten().tolist(), images.flatten().tolist(), strict=True)) / 96
    assert float(cycle_loss(back, images)) == pytest.approx(slow, rel=1e-5)
    levels = [torch.randn(2, 3, 4, 4, generator=draw), torch.randn(2, 5, 2, 2, generator=draw)]
    others = [torch.zeros_like(level) for level in levels]
    slow = (float(levels[0].abs().sum()) / 96 + float(levels[1].abs().sum()) / 40) / 2  # each level counts the same
    assert float(perceptual_loss(levels, others)) == pytest.approx(slow, rel=1e-5)
    assert float(masked_mean(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([True, False, True]))) == 2
    assert float(masked_mean(torch.ones(2), torch.zeros(2, dtype=torch.bool))) == 0


def test_the_step_adds_up_the_weighted_losses(tmp_path: Path) -> None:
    """What the two optimizers get, against every term written out here."""
    weights = dict(adversarial_weight=1.5, cycle_weight=2.0, style_weight=3.0, perceptual_weight=5.0, orthogonal_weight=7.0,
                   r1_weight=11.0, unit_parts=False, pair_weight=0.0, same_share=0.0, cycle_every=2, r1_every=4)
    one = stage(tmp_path, **weights)
    networks, opponent = one.modules["l2m_gan"], one.modules["discriminator"]
    torch.nn.init.normal_(networks.generator.exit.weight, std=0.1)  # the identity would hide the cycle
    given: dict[str, float] = {}

    class Context:
        generator, images_seen, precision, device = torch.Generator().manual_seed(0), 0, "fp32", torch.device("cpu")
        is_turn, full_precision = staticmethod(lambda every: True), staticmethod(torch.enable_grad)

        def update(self, name: str, loss: torch.Tensor) -> None:
            given[name] = float(loss.detach())

    batch = one.source("prior", torch.device("cpu")).draw(range(4), 0)
    one.step(batch, Context())
    task = one.task(batch, torch.Generator().manual_seed(0))
    x, rows = batch.images, torch.arange(4)
    assert torch.equal(task.goal, 1 - task.side)
    fake, codes = networks(x, task.attribute, task.goal)
    own, sent = 2 * task.attribute + task.side, 2 * task.attribute + task.goal
    leaf = x.clone().requires_grad_()
    expected = discriminator_loss(opponent(x)[rows, own], opponent(fake)[rows, sent]) \
        + 11 / 2 * 4 * r1_penalty(opponent(leaf)[rows, own], leaf)
    assert given["discriminator"] == pytest.approx(float(expected.detach()), rel=1e-4)
    features = [one.perceptual.embed(images) for images in (x, fake)]
    expected = 1.5 * generator_loss(opponent(fake)[rows, sent]) \
        + 3 * style_loss(codes.edited, networks.style(fake, task.attribute)) \
        + 2 * 2 * cycle_loss(networks.paint(fake, networks.style(fake, task.attribute), codes.style), x) \
        + 5 * perceptual_loss(*features) + 7 * orthogonality_loss(codes)
    assert given["l2m_gan"] == pytest.approx(float(expected.detach()), rel=1e-4)


# -- networks -------------------------------------------------------------------------------------------------------------


def test_codes_are_split_moved_and_joined() -> None:
    torch.manual_seed(0)
    networks = L2MNetworks(L2MConfig(("smile", "age")))
    style, attribute, side = torch.randn(3, networks.config.style_dim), torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
    codes = networks.codes(style, attribute, side)
    assert torch.allclose(codes.unrelated + codes.related, style, atol=1e-6)
    assert torch.allclose(codes.edited, codes.unrelated + codes.new_related, atol=1e-6)
    for face in range(3):  # each with the maps of its own attribute and side
        unrelated = networks.decomposer.maps[int(attribute[face])](style[face])
        moved = networks.transformer.maps[2 * int(attribute[face]) + int(side[face])](style[face] - unrelated)
        assert torch.allclose(codes.unrelated[face], unrelated, atol=1e-5)
        assert torch.allclose(codes.new_related[face], moved, atol=1e-5)
    still, half = (networks.codes(style, attribute, side, degree).edited for degree in (0.0, 0.5))
    assert torch.allclose(still, style, atol=1e-6) and torch.allclose(half, (style + codes.edited) / 2, atol=1e-6)
    mixed = networks.codes(style, attribute, side, torch.tensor([0.0, 1.0, 0.5])).edited
    assert torch.allclose(mixed, torch.stack((still[0], codes.edited[1], half[2])), atol=1e-6)


def test_styles_of_the_compact_network_have_one_length() -> None:
    torch.manual_seed(0)
    faces, which = torch.rand(3, 3, 64, 64) * 2 - 1, torch.zeros(3, dtype=torch.long)
    lengths = [L2MNetworks(L2MConfig(("smile",), 64, unit_style=unit)).style(faces, which).square().mean(1)
               for unit in (True, False)]
    assert torch.allclose(lengths[0], torch.ones(3), atol=1e-3) and not torch.allclose(lengths[1], torch.ones(3), atol=0.1)
    assert not L2MConfig.of("paper", ("smile",), 64).unit_style


def test_normalisation_is_torchs_own() -> None:
    x = torch.randn(2, 3, 8, 8) * 4 + 1
    assert torch.allclose(normalised(x), torch.nn.functional.instance_norm(x), atol=1e-5)


def test_a_residual_generator_begins_as_the_identity_and_a_painting_one_does_not() -> None:
    torch.manual_seed(0)
    x, style = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randn(2, 16)
    residual, painting = (Generator(L2MConfig(("smile",), 64, output=output)) for output in ("residual", "image"))
    assert torch.equal(residual(x, style), x) and not torch.allclose(painting(x, style), x, atol=0.1)


@torch.no_grad()
def test_the_u_net_paints_by_how_much_the_style_is_to_change() -> None:
    torch.manual_seed(0)
    x, own, style = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randn(2, 16), torch.randn(2, 16)
    networks = L2MNetworks(L2MConfig(("smile",), 64))
    assert torch.equal(networks.paint(x, own, style), x)  # begins as the identity
    torch.nn.init.normal_(networks.generator.exit.weight, std=0.1)
    torch.testing.assert_close(networks.paint(x, own, style), networks.paint(x, own + 1, style + 1), rtol=0, atol=0.02)
    assert not torch.allclose(networks.paint(x, own, style), networks.paint(x, own, own), atol=0.01)
    of_the_paper = L2MNetworks(L2MConfig(("smile",), 64, trunk="styled", output="image"))
    torch.testing.assert_close(of_the_paper.paint(x, own, style), of_the_paper.generator(x, style), rtol=0, atol=0.02)


def test_the_papers_skip_passes_edges_near_the_parts_of_a_face_alone() -> None:
    generator = Generator(L2MConfig(("smile",), 64, skip="high_pass"))
    flat, spot = torch.ones(1, 8, 32, 32), torch.zeros(1, 8, 32, 32)
    assert float(generator._edges(flat)[..., 1:-1, 1:-1].abs().max()) == 0
    spot[..., 23, 16], spot[..., 2, 2] = 1, 1  # on the mouth, and in a corner
    passed = generator._edges(spot)[0, 0]
    assert float(passed[23, 16]) > 7 and float(passed[2, 2]) < 0.1
    assert float(face_heat(128, flat).max()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("text", ["skip", "output"])
def test_switches_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(FacemugError, match="choose from plain, high_pass, none and from residual, image"):
        L2MConfig(("smile",), **{text: "other"})
    with pytest.raises(FacemugError, match="needs an attribute"):
        L2MConfig(())


# -- training -------------------------------------------------------------------------------------------------------------


def test_it_learns_and_leaves_what_it_is_not_asked_for(tmp_path: Path) -> None:
    one = stage(tmp_path, lr=2e-3, attributes="smile", batch=8, perceptual_weight=0.0, cycle_every=4, half="auto")
    scores = run(one, tmp_path / "run", images=240)
    assert scores["smile_moved"] > 0.25 and scores["smile_pair"] < 0.85 * scores["smile_pair_unedited"], scores
    trained = L2MGan(one.modules["l2m_gan"].eval())
    faces = one.source("prior", torch.device("cpu")).unseen("smile", 6).images
    steps = [float(systems.edited(trained, faces, {"smile": strength})[:, 0].mean()) for strength in (-1.0, -0.5, 0.5, 1.0)]
    assert steps == sorted(steps)


@torch.no_grad()
def test_attributes_are_changed_one_after_the_other() -> None:
    torch.manual_seed(0)
    trained = L2MGan(L2MNetworks(L2MConfig(("smile", "age"), 64)))
    torch.nn.init.normal_(trained.networks.generator.exit.weight, std=0.05)
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    both = systems.edited(trained, faces, {"smile": 1.0, "age": -1.0})
    assert torch.equal(both, trained.edit(trained.edit(faces, {"smile": 1.0}), {"age": -1.0}).clamp(-1, 1))
    assert not torch.equal(both, systems.edited(trained, faces, {"smile": -1.0, "age": -1.0}))


def test_an_interrupted_run_ends_as_a_whole_one(tmp_path: Path) -> None:
    states = []
    for name, lengths in (("whole", (16,)), ("parts", (8, 16))):
        for images in lengths:
            run(stage(tmp_path), tmp_path / name, images=images)
        states.append(newest_checkpoint(tmp_path / name)[1] | {"seconds": 0})
    assert equal(*states)


def test_faces_are_sent_to_the_other_side(tmp_path: Path) -> None:
    one = stage(tmp_path, same_share=0.5, stray_share=0.0)
    batch = one.source("prior", torch.device("cpu")).draw(range(64), 0)
    batch.extra["has_pair"][40:] = False
    task = one.task(batch, torch.Generator().manual_seed(0))
    assert torch.equal(task.attribute[:40], batch.extra["strength"].abs().argmax(1)[:40])
    assert not task.is_paired[40:].any() and not (task.is_paired & task.stays).any() and 8 < int(task.is_paired.sum()) < 40
    assert bool((task.goal != task.side)[~task.stays].all()) and bool((task.degree == 1)[~task.stays].all())
    still = task.stays & (task.degree == 0)
    assert bool((task.goal != task.side)[still].all()) and bool((task.goal == task.side)[task.stays & ~still].all())


def test_the_warm_up_fades(tmp_path: Path) -> None:
    one = stage(tmp_path, pair_weight=4.0, pair_images=100, pair_fade=100, pair_rest=0.25)
    assert [one.pair_weight(seen) for seen in (0, 100, 150, 200, 900)] == [4, 4, 2.5, 1, 1]


def test_the_papers_network_makes_a_step(tmp_path: Path) -> None:
    chosen = settings(L2MStage, "paper", {"size": 64, "batch": 2})
    config = L2MConfig.of("paper", chosen.attribute_names, 64, skip=chosen.skip, output=chosen.output)
    assert config.widths == (64, 128, 256, 512) and L2MConfig.of("paper", ("smile",), 256).widths == (64, 128, 256, 512, 512, 512)
    faces = SystemFaces(fake_maker(), chosen.attribute_names, 8, store=Store(tmp_path / "faces"))
    one = L2MStage(chosen, L2MNetworks(config), Discriminator(1, 64, config.style_widths), TinyLpips(), faces)
    before = one.modules["l2m_gan"].generator.exit.weight.clone()
    draw, generator = one.source("prior", torch.device("cpu")).draw(range(2), 0), torch.Generator().manual_seed(0)
    one.step(draw, StepContext(Accelerator(cpu=True), torch.device("cpu"), one.optimizers(), generator, generator, 0, 2))
    assert not torch.equal(before, one.modules["l2m_gan"].generator.exit.weight)


def test_weights_are_small_and_go_round(tmp_path: Path) -> None:
    chosen = settings(L2MStage, "laptop")
    networks = L2MNetworks(L2MConfig.of("compact", chosen.attribute_names, chosen.size, skip=chosen.skip, output=chosen.output))
    torch.nn.init.normal_(networks.generator.exit.weight, std=0.02)
    path = save_weights(tmp_path / "l2m_gan.safetensors", networks.state_dict(), config=networks.describe(), card={})
    assert path.stat().st_size <= 3 * 2**20
    loaded = systems.load_system("l2m_gan", path, "cpu")
    assert list(loaded.attributes) == ["smile", "mouth_open", "gender", "age"] and loaded.size == 128
    face = torch.rand(2, 3, 128, 128) * 2 - 1
    assert torch.equal(systems.edited(loaded, face, {"smile": 1.0}), systems.edited(loaded, face, {"smile": 1.0}))
    with pytest.raises(FacemugError, match="no attribute 'glasses': these weights were not trained for it, choose from smile"):
        systems.edited(loaded, face, {"glasses": 1.0})
    assert len(COMPACT_DISCRIMINATOR) == 4
