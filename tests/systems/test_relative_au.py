"""Relative-AU editing: networks and losses against slow forms, the order of the steps, toy faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from side_fakes import CORNERS, GAP, SIZE, UNITS, learning_generator, read_sides, side_maker, sides, tiny_critic, tiny_generator
from torch import Tensor
from torch.nn import functional as F
from watched import watched

from facemug_lib.errors import FacemugError
from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES
from facemug_lib.faces.dataset import FaceBatch, derangement
from facemug_lib.models.layers import count_parameters
from facemug_lib.store import Store
from facemug_lib.systems.common.contract import edited
from facemug_lib.systems.common.faces import Reading, SystemFaces
from facemug_lib.systems.common.unet import (
    Conditioned,
    ConditionedUNet,
    MultiScaleFusion,
    begin_with,
    begin_with_expressions,
    compact_widths,
    towards,
)
from facemug_lib.systems.relative_au import losses, scores
from facemug_lib.systems.relative_au.networks import AuCritic, CriticConfig, RelativeAuConfig, RelativeAuGenerator
from facemug_lib.systems.relative_au.stage import RelativeAuStage
from facemug_lib.systems.relative_au.system import ATTRIBUTES, RelativeAu
from facemug_lib.training.stage import StepContext
from facemug_lib.training.stages import settings
from facemug_lib.weights import save_weights

FACES = 4


def toy_stage(tmp_path: Path, **overrides: object) -> RelativeAuStage:
    chosen = settings(RelativeAuStage, "smoke", {"size": SIZE, "attributes": "smile,age", "batch": FACES} | overrides)
    stage = RelativeAuStage(chosen, tiny_generator(), tiny_critic(), read_sides)
    for layer in stage.modules["generator"].exit.parameters():  # else it begins as the identity and half of the losses are 0
        torch.nn.init.normal_(layer, 0, 0.02)
    stage._faces = SystemFaces(side_maker(), chosen.attribute_names, 16, store=Store(tmp_path),
                               readings=[Reading("units", 1, read_sides)])
    return stage


# -- networks ---------------------------------------------------------------------------------------------------------------


def test_the_papers_widths_level_by_level() -> None:
    """Channels and sides of every block at 128 px, as published."""
    with torch.device("meta"):
        generator, critic = RelativeAuGenerator(RelativeAuConfig.paper(AXIS_NAMES)), AuCritic(CriticConfig.paper(AXIS_NAMES))
        image, change = torch.empty(2, 3, 128, 128), torch.empty(2, UNITS)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in generator.named_children():
        for part, one in [(name, module)] if name != "down" else [(f"down{i + 1}", layer) for i, layer in enumerate(module)]:
            one.register_forward_hook(lambda _, __, made, part=part: seen.update({part: tuple(made.shape[1:])}))
    assert generator(image, change).shape == image.shape
    assert seen == {
        "enter": (64, 128, 128), "down1": (128, 64, 64), "down2": (256, 32, 32), "down3": (512, 16, 16), "down4": (512, 8, 8),
        "bottom": (512, 8, 8), "fuse_eighth": (512, 16, 16), "fuse_quarter": (256, 32, 32), "fuse_half": (128, 64, 64),
        "up_eighth": (512, 16, 16), "up_quarter": (256, 32, 32), "up_half": (128, 64, 64), "up_full": (64, 128, 128),
        "exit": (3, 128, 128)}
    assert generator.bottom.convolution.in_channels == 512 + UNITS
    assert generator.fuse_half.enter.convolution.in_channels == 128 + UNITS
    assert [layer.kernel_size for layer in critic.trunk if isinstance(layer, torch.nn.Conv2d)] == [(5, 5)] + 5 * [(4, 4)]
    real, read = critic(image)
    assert real.shape == (2, 1, 2, 2) and read.shape == (2, UNITS) and critic.real.kernel_size == (3, 3)
    assert critic.read.kernel_size == (2, 2)


def naive_norm(x: Tensor, norm: torch.nn.InstanceNorm2d) -> Tensor:
    planes = [(plane - plane.mean()) / (plane.var(unbiased=False) + norm.eps).sqrt() * weight + bias
              for plane, weight, bias in zip(x, norm.weight, norm.bias, strict=True)]
    return torch.stack(planes)


def naive_block(x: Tensor, block: torch.nn.Sequential) -> Tensor:
    """Convolution, instance norm and (leaky) ReLU of one picture [c,h,w], the norm and the activation written out."""
    convolution, norm, activation = block
    value = naive_norm(convolution(x[None])[0], norm)
    return torch.where(value > 0, value, getattr(activation, "negative_slope", 0.0) * value)


def naive_conditioned(x: Tensor, v: Tensor, block: Conditioned) -> Tensor:
    maps = torch.stack([torch.full(x.shape[1:], float(value)) for value in v])
    planes = naive_norm(block.convolution(torch.cat((x, maps))[None])[0], block.norm)
    if block.scales is not None:
        numbers, channels = block.scales.numbers.weight @ v, len(planes)
        planes = torch.stack([planes[c] * (1 + numbers[c]) + numbers[channels + c] for c in range(channels)])
    return planes.clamp(min=0)


@pytest.mark.parametrize("scales", [False, True])
def test_multi_scale_fusion_against_its_slow_form(scales: bool) -> None:
    torch.manual_seed(0)
    fusion = MultiScaleFusion(6, 8, 2, scales=scales)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    skip, below, change = torch.randn(2, 6, 8, 8), torch.randn(2, 8, 4, 4), torch.randn(2, 2)
    slow = []
    for x, low, v in zip(skip, below, change, strict=True):
        high = naive_conditioned(x, v, fusion.enter)
        own = fusion.exchange
        from_high, from_low = naive_block(high, own.high_to_high), naive_block(low, own.low_to_high)
        assert from_high.shape == from_low.shape == (3, 8, 8)  # half of each scale's
        lower = torch.cat((naive_block(high, own.high_to_low), naive_block(low, own.low_to_low)))
        both = torch.cat((from_high, from_low, naive_block(lower, fusion.lift)))
        slow.append(torch.cat((naive_block(both, fusion.fine), naive_block(both, fusion.wide))))
    torch.testing.assert_close(fusion(skip, below, change), torch.stack(slow), rtol=1e-4, atol=1e-4)


def test_a_norm_takes_constant_maps_away_and_scales_stay() -> None:
    """Why there are scales: away from the border nothing of the maps' values is left behind the norm."""
    torch.manual_seed(0)
    maps, both = (Conditioned(3, 4, 3, 2, scales=scales) for scales in (False, True))
    maps.convolution.padding = both.convolution.padding = (0, 0)  # no zeros around the picture
    x, v = torch.randn(1, 3, 11, 11), torch.tensor([[0.7, -0.4]])
    torch.testing.assert_close(maps(x, v), maps(x, 0 * v), rtol=1e-4, atol=1e-5)
    assert (both(x, v) - both(x, 0 * v)).abs().max() > 0.05
    nothing = torch.cat((x, torch.zeros(1, 2, 11, 11)), 1)
    torch.testing.assert_close(both(x, 0 * v), torch.relu(both.norm(both.convolution(nothing))))


@pytest.mark.parametrize("condition", ["maps", "scales"])
def test_each_unit_reaches_the_picture(condition: str) -> None:
    generator = tiny_generator("direct", condition)
    image, change = torch.rand(1, 3, SIZE, SIZE) * 2 - 1, torch.zeros(1, UNITS, requires_grad=True)
    made = generator(image, change)
    assert made.abs().max() <= 1
    (gradient,) = torch.autograd.grad(made.square().sum(), change)
    assert (gradient != 0).all()


def test_residual_output_begins_as_the_face_and_stays_in_range() -> None:
    image = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    assert torch.equal(tiny_generator()(image, torch.ones(2, UNITS)), image)
    values, shares = torch.tensor([-1.0, -0.5, 0.0, 0.6, 1.0]), torch.tensor([-1.0, -0.3, 0.0, 0.4, 1.0])
    for x in values:
        slow = [float(x) + float(s) * (1 - float(x) if s > 0 else 1 + float(x)) for s in shares]
        assert towards(x.expand(5), shares).tolist() == pytest.approx(slow)
        assert max(map(abs, slow)) <= 1


def test_wrong_shapes_are_one_line() -> None:
    generator = tiny_generator()
    with pytest.raises(FacemugError, match=r"takes faces \[b, 3, 64, 64\] and conditions \[b, 9\], not"):
        generator(torch.zeros(1, 3, 32, 32), torch.zeros(1, UNITS))
    with pytest.raises(FacemugError, match="multiple of 16 px"):
        RelativeAuConfig(AXIS_NAMES, 100)
    with pytest.raises(FacemugError, match="multiple of 64"):
        CriticConfig(AXIS_NAMES, 96)


def test_the_shipped_width_fits(tmp_path: Path) -> None:
    """At most 3 MiB as fp16, and the paper's is far larger."""
    with torch.device("meta"):
        paper = RelativeAuGenerator(RelativeAuConfig.paper(AXIS_NAMES))
    compact = RelativeAuGenerator(RelativeAuConfig.compact(AXIS_NAMES))
    file = save_weights(tmp_path / "g.safetensors", compact.state_dict(), config={}, card={})
    assert file.stat().st_size <= 3 * 2**20 and count_parameters(paper) > 20 * count_parameters(compact)


# -- losses -----------------------------------------------------------------------------------------------------------------


def test_losses_against_slow_forms() -> None:
    torch.manual_seed(0)
    a, b, face = (torch.rand(2, 3, 5, 5) * 2 - 1 for _ in range(3))
    real, fake, read, wanted = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2), torch.randn(2, UNITS), torch.randn(2, UNITS)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    scores_real, scores_fake = real.flatten().tolist(), fake.flatten().tolist()
    assert float(losses.critic_loss(real, fake)) == pytest.approx(mean(scores_fake) - mean(scores_real), abs=1e-6)
    assert float(losses.adversarial_loss(fake)) == pytest.approx(-mean(scores_fake), abs=1e-6)
    pairs = zip(read.flatten().tolist(), wanted.flatten().tolist(), strict=True)
    assert float(losses.unit_loss(read, wanted)) == pytest.approx(mean([(x - y) ** 2 for x, y in pairs]), rel=1e-5)
    pairs = zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    assert float(losses.same_face_loss(a, b)) == pytest.approx(mean([abs(x - y) for x, y in pairs]), rel=1e-5)
    steps = [abs(float(plane[y, x] - plane[y, x + 1])) for plane in a.flatten(0, 1) for y in range(5) for x in range(4)]
    steps += [abs(float(plane[y, x] - plane[y + 1, x])) for plane in a.flatten(0, 1) for y in range(4) for x in range(5)]
    assert float(losses.total_variation(a)) == pytest.approx(sum(steps), rel=1e-5)
    total = 0.0
    for made, known, x in zip(a, b, face, strict=True):
        weights = [[1 + 4 * max(abs(float(known[c, i, j] - x[c, i, j])) for c in range(3)) for j in range(5)] for i in range(5)]
        middle = mean([value for row in weights for value in row])
        for c, i, j in np.ndindex(3, 5, 5):
            d = abs(float(made[c, i, j] - known[c, i, j]))
            total += weights[i][j] / middle * (d * d / 0.2 if d < 0.1 else d - 0.05)
    assert float(losses.pair_loss(a, b, face, 4.0)) == pytest.approx(total / a.numel(), rel=1e-5)


def test_the_penalty_is_that_of_each_pictures_own_gradient() -> None:
    """D(x) = ½ Σ k x²: its gradient at x̂ is k·x̂, so the penalty is (‖k·x̂‖ − 1)² and its slope in k is known, too."""
    real, fake, share = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([0.0, 0.3, 1.0])
    k = torch.tensor(0.7, requires_grad=True)
    penalty = losses.gradient_penalty(lambda x: 0.5 * k * x.square(), real, fake, share)
    slow, slope = 0.0, 0.0
    for x, y, r in zip(real, fake, share, strict=True):
        norm = float((float(r) * x + (1 - float(r)) * y).norm())
        slow += (0.7 * norm - 1) ** 2 / 3
        slope += 2 * (0.7 * norm - 1) * norm / 3
    assert penalty.item() == pytest.approx(slow, rel=1e-4)
    penalty.backward()
    assert float(k.grad) == pytest.approx(slope, rel=1e-3)


# -- the stage --------------------------------------------------------------------------------------------------------------


def batch_of(stage: RelativeAuStage) -> FaceBatch:
    return stage.faces.draw(range(FACES), 0)


def noisy(values: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    return values + (2 * torch.rand(values.shape, generator=generator) - 1) * largest


def test_the_papers_step_term_by_term(tmp_path: Path) -> None:
    stage = toy_stage(tmp_path, pair_images=0, pair_weight=7.0, zero_share=0.5)
    s, batch, context = stage.settings, batch_of(stage), watched(seed=3)
    told = stage.step(batch, context)
    generator, critic, image, units = stage.modules["generator"], stage.modules["critic"], batch.images, batch.extra["units"]
    draws = torch.Generator().manual_seed(3)

    source = noisy(units, 0.02, draws)
    target = noisy(units[derangement(FACES, draws)], 0.1, draws)
    with torch.no_grad():
        fake = generator(image, target - source)
        (real_score, read), (fake_score, _) = critic(image), critic(fake)
    game, off = float(fake_score.mean() - real_score.mean()), float((read - source).square().mean())
    share = torch.rand(FACES, generator=draws)
    norms = []
    for x, y, r in zip(image, fake, share, strict=True):
        between = (r * x + (1 - r) * y)[None].requires_grad_()
        norms.append(float(torch.autograd.grad(critic(between)[0].sum(), between)[0].norm()))
    penalty = sum((norm - 1) ** 2 for norm in norms) / FACES
    assert context.totals["critic"] == pytest.approx([game + 150 * off, 10 * penalty], rel=1e-3)

    source = noisy(units, 0.02, draws)
    target = noisy(units[derangement(FACES, draws)], 0.1, draws)
    with torch.no_grad():
        fake = generator(image, target - source)
        score, read = critic(fake)
        nothing = torch.rand(FACES, generator=draws) < 0.5
        known = torch.stack([image[i] if nothing[i] else batch.extra["pair"][i] for i in range(FACES)])
        asked = torch.stack([0 * units[i] if nothing[i] else batch.extra["pair_units"][i] - units[i] for i in range(FACES)])
        naive = {"adversarial": -float(score.mean()), "units": float((read - target).square().mean()),
                 "zero": float((generator(image, 0 * units) - image).abs().mean()),
                 "cycle": float((generator(fake, source - target) - image).abs().mean()),
                 "variation": float(fake.diff(dim=-1).abs().sum() + fake.diff(dim=-2).abs().sum()),
                 "pair": float(losses.pair_loss(generator(image, asked), known, image, s.pair_emphasis))}
    assert nothing.any() and not nothing.all()
    for name, value in naive.items():
        assert float(told[name]) == pytest.approx(value, rel=1e-3, abs=1e-6), name
    weights = {"adversarial": 1, "units": 150, "zero": 30, "cycle": 30, "variation": 1e-5, "pair": 7}  # the authors', and ours
    assert context.totals["generator"] == pytest.approx([sum(weights[name] * naive[name] for name in naive)], rel=1e-3)


def test_which_network_learns_when(tmp_path: Path) -> None:
    stage = toy_stage(tmp_path, pair_images=16, critic_images=8, generator_every=3)
    learned = []
    for seen in range(0, 48, FACES):
        context = watched(seen, seed=3)
        stage.step(batch_of(stage), context)
        learned.append(tuple(context.totals))
    game, alone = ("critic", "generator"), ("critic",)
    assert learned == [("pairs",)] * 4 + [alone] * 2 + [game, alone, alone, game, alone, alone]
    assert toy_stage(tmp_path, pair_images=0, critic_images=8).settings.critic_until == 0


def test_photographs_alone_have_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="photographs alone have no pairs.*--set real=FOLDER"):
        toy_stage(tmp_path).source("somewhere", torch.device("cpu"))


def test_it_learns_which_unit_tints_what(tmp_path: Path) -> None:
    """Pairs of the stream "smile" differ in red and those of "age" in green: after a short warm-up the pairs of unseen faces are
    met, each unit moves its own colour, more the more is asked for, and asking for nothing changes next to nothing.

    Asked for in two steps that most faces have room for: further up the answers end in white, and their order is chance. The rate
    falls over the second half, as in a real run: at a steady one, where the last step ends hangs on the processor's rounding.
    """
    stage, steps, rate = toy_stage(tmp_path, pair_images=10**6, zero_share=0.1), 150, 2e-3
    stage.modules["generator"] = learning_generator(32)
    stage._faces = SystemFaces(side_maker(32), ("smile", "age"), 64, store=Store(tmp_path),
                               readings=[Reading("units", 1, read_sides)])
    optimizers = stage.optimizers()
    for step in range(steps):
        for group in optimizers["pairs"].param_groups:
            group["lr"] = rate * min(1.0, 2 - 2 * step / steps)
        draws = torch.Generator().manual_seed(step)
        context = StepContext(_Alone(), torch.device("cpu"), optimizers, draws, draws, 8 * step, 8)
        stage.step(stage.faces.draw(range(8 * step, 8 * step + 8), 0), context)
    generator = stage.modules["generator"].eval()
    for stream, unit, own, other in (("smile", "au12", 0, 1), ("age", "au25", 1, 0)):
        faces = stage.faces.unseen(stream, 32)
        image, pair = faces.images, faces.extra["pair"]
        with torch.no_grad():
            made = generator(image, faces.extra["pair_units"] - faces.extra["units"])
            assert losses.pair_loss(made, pair, image, 4.0) < 0.8 * losses.pair_loss(image, pair, image, 4.0), stream
            rungs = scores.ladder(generator, image, unit, (0.0, 0.25, 0.5))
        nothing, some, more = (sides(rung).mean(0) for rung in rungs.unbind(1))
        assert some[own] > nothing[own] + 0.03 and more[own] > some[own] + 0.03, unit
        assert more[own] - nothing[own] > 3 * (more[other] - nothing[other]).abs(), unit
        assert scores.psnr(rungs[:, 0], image) > 30


class _Alone:
    """Accelerate's part in one process."""

    num_processes = 1

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def test_what_a_run_reports_and_exports(tmp_path: Path) -> None:
    stage = toy_stage(tmp_path)
    modules = {name: module.eval() for name, module in stage.modules.items()}
    with torch.no_grad():
        found = stage.evaluate(modules, 3)
        grid = stage.sample_grid(modules)
    assert {"smile_right", "smile_pair", "smile_pair_unedited", "age_units_off", "zero_psnr", "spearman"} < set(found)
    assert len([name for name in found if name.startswith("spearman_au")]) == len(ACTION_UNITS) == 12
    faces = stage.faces.unseen("smile", 3)
    wanted = (faces.extra["pair_units"] - faces.extra["units"]).abs().mean()
    assert found["smile_units_off_unedited"] == pytest.approx(float(wanted))
    assert grid.shape == (8 * (SIZE + 2) - 2, 4 * (SIZE + 2) - 2, 3)
    ((name, (tensors, config)),) = stage.export(modules).items()
    file = save_weights(tmp_path / f"{name}.safetensors", tensors, config=config, card={})
    system = RelativeAu.load(file, torch.device("cpu"))
    assert set(system.attributes) == set(ATTRIBUTES) and system.size == SIZE
    half = {key: value.half().float() for key, value in tensors.items()}
    modules["generator"].load_state_dict(half)
    with torch.no_grad():
        asked = torch.zeros(3, UNITS)
        asked[:, CORNERS] = 0.5
        assert torch.equal(edited(system, faces.images, {"au12": 0.5}), modules["generator"](faces.images, asked).clamp(-1, 1))


def test_scores_against_slow_forms() -> None:
    def noisy_edit(images: Tensor, change: Tensor) -> Tensor:
        """Reddens with the lip corners, wrongly in the middle; the gap goes the wrong way."""
        bent = change[:, CORNERS] - 1.5 * (change[:, CORNERS] == 0.5)
        colours = torch.stack((bent, -change[:, GAP], 0 * bent), 1)[..., None, None] * 0.2
        return images + colours * torch.tensor([-1.0] * 4 + [1.0] * 4)

    faces = torch.rand(2, 3, 8, 8) - 0.5
    found = scores.monotony(noisy_edit, faces, read_sides)
    ranks, steps = rankdata([0.0, 0.25, -1.0, 0.75, 1.0]), rankdata(scores.STEPS)
    slow = 1 - 6 * sum((a - b) ** 2 for a, b in zip(ranks, steps, strict=True)) / (5 * 24)
    assert found["spearman_au12"] == pytest.approx(slow) and found["spearman_au25"] == pytest.approx(-1)
    assert found["spearman_au15"] == pytest.approx(1) and found["spearman_au01"] == 0  # the other side; nothing moves
    assert found["reach_au12"] == pytest.approx(0.2, rel=1e-4) and found["reach_au25"] == pytest.approx(-0.2, rel=1e-4)
    other = faces + 0.1 * torch.randn_like(faces)
    slow = np.mean([10 * np.log10(4 / float(F.mse_loss(a, b))) for a, b in zip(faces, other, strict=True)])
    assert scores.psnr(other, faces) == pytest.approx(float(slow), rel=1e-5)


# -- the U-Net for other systems --------------------------------------------------------------------------------------------


def test_a_u_net_begins_with_another_whose_condition_is_shorter() -> None:
    torch.manual_seed(0)
    widths = compact_widths(4)
    teacher, pupil = ConditionedUNet(widths, 3, scales=True), ConditionedUNet(widths, 5, scales=True)
    before = {name: value.clone() for name, value in pupil.state_dict().items()}
    assert begin_with(pupil, teacher.state_dict()) == len(before)
    for name, value in pupil.state_dict().items():
        known = teacher.state_dict()[name]
        where = (slice(None), slice(known.shape[1])) if value.shape != known.shape else ()
        assert torch.equal(value[where], known), name
        if where:
            assert torch.equal(value[:, known.shape[1]:], before[name][:, known.shape[1]:]), name
    image, asked = torch.rand(2, 3, 32, 32), torch.randn(2, 3)
    longer = torch.cat((asked, torch.zeros(2, 2)), 1)  # numbers that ask for nothing change nothing
    torch.testing.assert_close(pupil.features(image, longer), teacher.features(image, asked), rtol=1e-4, atol=1e-4)
    assert begin_with(ConditionedUNet(compact_widths(8), 3, scales=True), teacher.state_dict()) < len(before) / 10
    with pytest.raises(FacemugError, match="other widths than these settings ask for: use width=16"):
        begin_with_expressions(pupil)
