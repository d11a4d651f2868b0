"""Stages 1 to 3 on a small stand-in prior: they learn, resume bit-equal, and keep their hands off each other's networks."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from fakes import FakeExpert, FakePrior, encoder_stage, generator_stage, warping_stage
from runs import QUIET, FourFaces, equal, in_process, run, train
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch, MixedFaces, PriorFaces, known_codes
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.modalities.dropout import training_conditions
from facemug_lib.modalities.semantics import one_hot
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig
from facemug_lib.pictures import reduced
from facemug_lib.training.augmentation import varied_photographs
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.conditions import labels_from, whole_conditions
from facemug_lib.training.rebuilding import rebuilt_and_target
from facemug_lib.training.stage import StepContext
from facemug_lib.training.stage_generator import edge_patches


def test_encoder_learns_codes_and_pictures(tmp_path: Path) -> None:
    stage = encoder_stage(lr=3e-3, exemplar_share=1.0, code_weight=50.0, image_loss_every=1, latent_weight=0.0)
    result = train(stage, FourFaces(stage.prior), tmp_path, images=120, batch=4, **QUIET | {"stats_every": 20})
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    first, last = lines[0]["losses"], lines[-2]["losses"]
    for name in ("code", "l2", "lpips", "identity"):
        assert last[name] < 0.6 * first[name], name
    assert set(result.weights) == {"style_encoder", "latent_discriminator"}
    assert (tmp_path / "grid-000000000120.png").is_file()


class Photographs:
    """Photographs without codes: the fake prior's pictures of the codes that no test face has, with a label map each."""

    def __init__(self, prior: FakePrior) -> None:
        self.faces, self.has_codes = PriorFaces(prior), False

    def __len__(self) -> int:
        return 5

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        images = self.faces.faces([2_000_000 + index % 5 for index in indices]).images
        return FaceBatch(images, extra={"labels": FakeExpert().parse(images)})

    def describe(self) -> str:
        return "photographs"


def test_encoder_learns_from_photographs_beside_sampled_faces(tmp_path: Path) -> None:
    """The held-out faces' scores rise though half of each batch has no codes, and image losses are of photographs alone."""
    photographs = Photographs(FakePrior())
    stage = encoder_stage(photographs, real="photographs", real_turn=0, real_zoom=0, real_shift=0, real_photographed=0, lr=3e-3,
                          exemplar_share=1.0, latent_weight=0.0, image_loss_every=10**6, image_loss_faces=None,
                          spread_weight=0.01, frozen_norm=True, half_prior=True, identity_weight=2.0, l2_weight=10.0)
    with torch.no_grad():
        untrained = stage.evaluate(stage.modules, 4)
    statistics = {name: value.clone() for name, value in stage.modules["style_encoder"].state_dict().items() if "running" in name}
    source = MixedFaces(PriorFaces(stage.prior), photographs, share=0.5)
    train(stage, source, tmp_path, images=160, batch=4, **QUIET | {"stats_every": 40})
    scores = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()][-1]["scores"]
    assert scores["photo_lpips_whole"] < 0.85 * untrained["photo_lpips_whole"]
    assert scores["photo_identity_whole"] > untrained["photo_identity_whole"]
    now = stage.modules["style_encoder"].state_dict()
    assert statistics and all(torch.equal(value, now[name]) for name, value in statistics.items())


def test_only_photographs_are_varied() -> None:
    stage = encoder_stage(real="photographs", real_photographed=1.0)
    batch = MixedFaces(PriorFaces(stage.prior), Photographs(stage.prior), share=0.5).draw(range(6), 0)
    known = known_codes(batch)
    varied = varied_photographs(batch, stage.settings, torch.Generator().manual_seed(0))
    assert known.sum() == 3 and torch.equal(varied.images[known], batch.images[known])
    assert (varied.images - batch.images)[~known].abs().flatten(1).mean(1).min() > 0.01
    assert torch.equal(labels_from(varied, FakeExpert())[known], FakeExpert().parse(batch.images)[known])  # unknown ones are read


@pytest.mark.parametrize("are_known", [True, False])
def test_image_losses_at_a_smaller_size(are_known: bool) -> None:
    prior = FakePrior()
    codes = PriorFaces(prior).codes([1, 2])
    rebuilt, target = rebuilt_and_target(prior, codes, prior.synthesize(codes, 128), codes if are_known else None, 64)
    assert rebuilt.shape == target.shape == (2, 3, 64, 64)
    error = (rebuilt - target).abs().max()
    assert error == 0 if are_known else 0 < error < 0.1


def test_untrained_encoder_scores_as_the_mean_code() -> None:
    stage = encoder_stage()
    stage.modules["style_encoder"].eval()
    with torch.no_grad():
        scores = stage.evaluate(stage.modules, 4)
    assert scores["code_mse_mean"] > 0
    for view in ("whole", "hole", "guided"):
        assert scores[f"code_mse_{view}"] == pytest.approx(scores["code_mse_mean"], rel=0.05)


KILLED = """
import os, signal, sys
from fakes import encoder_stage
from runs import run
stage = encoder_stage()
step = stage.step
def until(batch, context):
    if context.images_seen == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(batch, context)
stage.step = until
run(stage, sys.argv[1], 32, checkpoint_every=8)
"""


def test_killed_encoder_run_resumes_bit_equal(tmp_path: Path) -> None:
    killed = in_process(KILLED, str(tmp_path / "killed"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest_checkpoint(tmp_path / "killed")[0] == 16
    whole = run(encoder_stage(), tmp_path / "whole", 32, checkpoint_every=8)
    resumed = run(encoder_stage(), tmp_path / "killed", 32, checkpoint_every=8)
    for part in ("modules", "averages", "optimizers"):
        assert equal(whole[part], resumed[part]), part


def test_encoder_unlocks_offsets_by_images_seen(tmp_path: Path) -> None:
    stage = encoder_stage(progressive_start=8, progressive_every=4, image_loss_every=1, scheme="dominant")
    run(stage, tmp_path, 24)
    # The last step began at 20 images: (20 − 8) / 4.
    assert stage.modules["style_encoder"].active_deltas == 3


def test_faces_without_codes_train_by_images(tmp_path: Path) -> None:
    stage = encoder_stage(image_loss_every=100)  # whoever has no codes gets image losses on every step
    source = PriorFaces(stage.prior)
    draw = source.draw
    source.draw = lambda indices, seed: type(faces)(faces.images) if (faces := draw(indices, seed)) else None
    source.has_codes = False
    before = stage.modules["style_encoder"].heads.base.weight.clone()
    train(stage, source, tmp_path, images=8, batch=4, **QUIET)
    assert not torch.equal(before, stage.modules["style_encoder"].heads.base.weight)
    for line in (tmp_path / "stats.jsonl").read_text().splitlines()[:2]:
        assert {"l2", "lpips", "identity"} <= set(json.loads(line)["losses"])


def test_untrained_warping_leaves_the_source_and_learns(tmp_path: Path) -> None:
    stage = warping_stage(lr=3e-3)
    with torch.no_grad():
        before = stage.evaluate(stage.modules, 8)
    for score in ("lpips", "identity", "attribute"):
        assert before[f"{score}_warped"] == pytest.approx(before[f"{score}_source"], abs=1e-6)
    train(stage, FourFaces(stage.prior), tmp_path, images=160, batch=4, **QUIET | {"stats_every": 40})
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert lines[-2]["losses"]["lpips"] < 0.9 * lines[0]["losses"]["lpips"]
    assert lines[-1]["scores"]["lpips_source"] == pytest.approx(before["lpips_source"], rel=0.5)


def test_warping_learns_from_codes_alone(tmp_path: Path) -> None:
    stage = warping_stage(lr=3e-3, code_weight=1.0, attribute_weight=0.0, image_loss_every=1000)
    result = train(stage, FourFaces(stage.prior), tmp_path, images=320, batch=4, **QUIET | {"stats_every": 40})
    lines = [json.loads(line)["losses"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()[:-1]]
    assert "lpips" in lines[0] and "lpips" not in lines[-1]
    assert lines[-1]["code"] < 0.8 * lines[0]["code"]
    assert result.scores["code_mse_source"] > 0


def test_untrained_generator_is_the_pasted_prior_and_learns(tmp_path: Path) -> None:
    stage = generator_stage(adversarial_weight=0.01, foreign_share=0.0)
    for module in stage.modules.values():
        module.eval()
    with torch.no_grad():
        before = stage.evaluate(stage.modules, 4)
    for view in ("hole", "guided"):
        assert before[f"lpips_{view}"] == pytest.approx(before[f"prior_lpips_{view}"], rel=1e-5)
    result = train(stage, PriorFaces(stage.prior), tmp_path, images=64, batch=4, **QUIET | {"ema_halflife": 20})
    assert result.scores["prior_lpips_hole"] == pytest.approx(before["prior_lpips_hole"], rel=1e-4)
    assert result.scores["psnr_guided"] > before["psnr_guided"]
    assert set(result.weights) == {"generator", "discriminator"}


@pytest.mark.parametrize("overrides", [{"fusion": "addition"}, {"fusion": "gated"}, {"attribute": "plain"}, {"use_bank": False},
                                       {"foreign_share": 1.0}, {"full_mask_share": 1.0, "expert_loss_every": 2},
                                       {"base": "settled"}])
def test_generator_variants_train_both_networks(overrides: dict, tmp_path: Path) -> None:
    stage = generator_stage(**overrides)
    before = {name: [p.clone() for p in module.parameters()] for name, module in stage.modules.items()}
    state = run(stage, tmp_path, 8)
    for name, module in stage.modules.items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], module.parameters(), strict=True)), name
        assert all(p.requires_grad for p in module.parameters())
    assert set(state["optimizers"]) == {"generator", "discriminator"}


def test_a_smaller_generator_learns_photographs_and_plays_the_game_later(tmp_path: Path) -> None:
    game = {"patch": 64, "adversarial_start": 8, "adversarial_rise": 8, "adversarial_weight": 0.01}
    stage = generator_stage(Photographs(FakePrior()), levels=4, foreign_share=0.0, real="photographs", real_photographed=0.0,
                            lpips_every=1, expert_loss_every=4, **game)
    assert stage.size == 32
    stage.settings = stage.settings.model_copy(update={"patch": 16})
    stage.modules["discriminator"] = Discriminator(DiscriminatorConfig(widths=(16, 16, 16)))
    fresh = {name: value.clone() for name, value in stage.modules["discriminator"].state_dict().items()}
    with torch.no_grad():
        before = stage.evaluate(stage.modules, 4)
    assert before["photo_lpips_hole"] == pytest.approx(before["photo_prior_lpips_hole"], rel=1e-5)
    source = MixedFaces(PriorFaces(stage.prior), stage.photographs, share=0.5)
    ticks = QUIET | {"stats_every": 4, "ema_halflife": 20}
    train(stage, source, tmp_path, images=8, batch=4, **ticks)
    discriminator = stage.modules["discriminator"]
    assert all(torch.equal(value, fresh[name]) for name, value in discriminator.state_dict().items())
    result = train(stage, source, tmp_path, images=64, batch=4, **ticks)
    assert any(not torch.equal(value, fresh[name]) for name, value in discriminator.state_dict().items())
    lines = [json.loads(line)["losses"] for line in (tmp_path / "stats.jsonl").read_text().splitlines() if "losses" in line]
    assert "adversarial" not in lines[0] and "adversarial" in lines[-1] and "lpips" in lines[1] and "identity" not in lines[1]
    assert [stage._adversarial_weight(seen) for seen in (0, 8, 12, 16, 99)] == [None, 0.0, 0.005, 0.01, 0.01]
    assert result.scores["photo_psnr_guided"] > before["photo_psnr_guided"]


def test_a_generator_can_begin_with_the_settled_photo() -> None:
    """Untrained, it returns the photo with the prior's picture blended into its hole, which meets the photo at the edge."""
    plain, stage = generator_stage(), generator_stage(base="settled")
    images, edits = plain._test_edits(2)
    with torch.no_grad():
        (made, settled), (_, pasted) = (one._edit(one.modules["generator"], edits["hole"], images) for one in (stage, plain))
    small, mask = reduced(images, 64), edits["hole"].reduced(64).mask
    assert torch.equal(made, settled) and torch.equal(torch.where(mask > 0.5, 0.0, settled - small), torch.zeros_like(settled))
    rim = (F.max_pool2d(1 - mask, 3, 1, 1) * mask).expand_as(made) > 0.5  # the hole's pixels beside a known one
    known = F.avg_pool2d(small * (1 - mask), 3, 1, 1) / F.avg_pool2d(1 - mask, 3, 1, 1).clamp_min(1e-3)
    assert (settled - known)[rim].abs().mean() < 0.5 * (pasted - known)[rim].abs().mean()


def test_patches_lie_about_the_edge_and_are_the_same_of_both_pictures() -> None:
    mask = torch.zeros(40, 1, 32, 32)
    mask[:, :, 10:20, 12:22] = 1
    mask[30:] = 1  # no edge
    rows = torch.arange(32.0).view(1, 1, 32, 1).expand(40, 1, 32, 32)
    columns = torch.arange(32.0).expand(40, 1, 32, 32)
    places = torch.cat((rows, columns, mask), dim=1)
    one, other = edge_patches([places, places + 100], mask, 8, torch.Generator().manual_seed(0))
    assert one.shape == (40, 3, 8, 8) and torch.equal(one + 100, other)
    shares = one[:30, 2].mean((1, 2))
    assert ((shares > 0) & (shares < 1)).all()  # both sides of the edge are seen
    assert len({tuple(patch[:2, 0, 0].tolist()) for patch in one[:30]}) > 10


def test_noise_on_the_codes_reaches_the_generator() -> None:
    stage = generator_stage(code_noise=0.5, foreign_share=0.0, projected_share=0.0)
    faces = PriorFaces(stage.prior).faces(range(4))
    labels = stage.expert.parse(faces.images)

    def codes(stage) -> Tensor:
        context = StepContext(None, torch.device("cpu"), {}, torch.Generator().manual_seed(0), torch.Generator(), 0, 4)
        return stage._draw(faces.images, labels, context)[2]

    clean = generator_stage(foreign_share=0.0, projected_share=0.0)
    clean.encoder = stage.encoder
    spread = ((codes(stage) - codes(clean)) / stage.prior.std_w).flatten(1).std(dim=1)
    assert (spread > 0).all() and (spread < 0.55).all() and spread.std() > 0.02


def test_foreign_exemplars_need_company(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="at least two faces"):
        run(generator_stage(foreign_share=1.0), tmp_path, 1, batch=1)


def test_sampled_conditions_obey_their_shares() -> None:
    prior = FakePrior()
    images = PriorFaces(prior).faces(range(24)).images
    labels = torch.ones(24, 64, 64, dtype=torch.long)

    def draw(**shares: object) -> Conditions:
        return training_conditions(images, labels, torch.Generator().manual_seed(0), **{"scheme": "algorithm1"} | shares)

    kept = draw(drop=0.0, regions_share=1.0)
    assert kept.present[:, 2].all()
    share = kept.semantics.sum(1, keepdim=True)
    for one, mask in zip(share, kept.mask, strict=True):  # the whole face, or exactly the hole
        assert torch.equal(one, torch.ones_like(one)) or torch.equal(one, mask)
    assert 4 < sum(torch.equal(one, torch.ones_like(one)) for one in share) < 20
    checks = (torch.arange(64)[:, None] // 8 + torch.arange(64) // 8) % 2
    labels = checks.expand(24, -1, -1)
    drawn = draw(drop=0.0, regions_share=1.0, coarse_share=0.5)
    moved = [((getattr(drawn, name) != exact) & getattr(drawn, name).any(1, keepdim=True)).flatten(1).any(1)
             for name, exact in (("semantics", one_hot(labels)), ("colour", region_mean(images, labels)))]
    assert (moved[0] == moved[1]).sum() > 20 and all(4 < one.sum() < 20 for one in moved)
    images = images + 0.3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))  # lines both strong and faint
    assert draw(drop=0.0, regions_share=1.0, sketch_detail=0.9).sketch.sum() != draw(drop=0.0, regions_share=1.0).sketch.sum()
    images = PriorFaces(prior).faces(range(24)).images
    labels = torch.ones(24, 64, 64, dtype=torch.long)
    exemplars = draw(exemplar_share=1.0)
    assert torch.equal(exemplars.image, images) and not exemplars.present[:, 1:].any() and not exemplars.mask.any()
    nothing = draw(drop=1.0)
    assert nothing.present[:, 0].all() and not nothing.present[:, 1:].any()
    blind = draw(scheme="algorithm3", full_mask_share=1.0)
    assert blind.mask.all() and not blind.image.any()
    foreign = draw(scheme="algorithm3", drop=0.0, foreign=torch.ones(24, dtype=torch.bool))
    assert not foreign.present[:, 1:].any()
    whole = whole_conditions(images, labels, kept.mask, guidance=("sketch",))
    assert whole.present[:, 1].all() and not whole.present[:, 2:].any()
