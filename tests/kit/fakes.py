"""Stand-ins at 64 px for the prior and the frozen judges, so that the real stages train in seconds without any download."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.experts.student import ExpertOutput
from facemug_lib.modalities.semantics import one_hot
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig, LatentDiscriminator
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping, LatentWarpingConfig
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig
from facemug_lib.training.stage_encoder import EncoderStage
from facemug_lib.training.stage_generator import GeneratorStage
from facemug_lib.training.stage_warping import WarpingStage
from facemug_lib.training.stages import settings

SIZE = 64


class FakePrior(nn.Module):
    """Codes → smooth coloured pictures, linearly but for a tanh. Codes vary in six directions only: easy to invert."""

    num_codes, code_dim = 17, 512
    feature_channels = {4: 8, 8: 8, 16: 8, 32: 8}
    code_layers = {4: (0,), 8: (1, 2, 3), 16: (4, 5, 6), 32: (7, 8, 9)}

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("spread", (torch.arange(512) < 6).float())
        # Each direction tints the whole picture, or its left half one way and its right half the other.
        patterns = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).repeat(2, 1)[:, :, None, None].expand(-1, -1, 8, 8).clone()
        patterns[3:, :, :, :4] *= -1
        self.register_buffer("paint", torch.zeros(512, 3 * 64).index_copy(0, torch.arange(6), patterns.flatten(1)))
        self.register_buffer("feature", torch.randn(512, 8 * 64, generator=generator) / 512**0.5)
        self.register_buffer("mean_w", 0.1 * torch.randn(512, generator=generator))
        self.register_buffer("std_w", torch.ones(512))

    def map(self, z: Tensor) -> Tensor:
        return z * self.spread + self.mean_w

    def sample_w(self, count: int, generator: torch.Generator | None = None, psi: float = 0.7) -> Tensor:
        return self.mean_w + psi * self.spread * torch.randn(count, 512, generator=generator)

    def broadcast(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, 17, -1)

    def mix(self, coarse: Tensor, fine: Tensor, crossover: int) -> Tensor:
        return torch.cat((self.broadcast(coarse)[:, :crossover], self.broadcast(fine)[:, crossover:]), dim=1)

    def synthesize(self, codes: Tensor, size: int = SIZE) -> Tensor:
        small = (codes.mean(dim=1) @ self.paint).view(-1, 3, 8, 8).tanh()
        return F.interpolate(small, (size, size), mode="bilinear")

    def forward(self, codes: Tensor, size: int = SIZE) -> tuple[Tensor, dict[int, Tensor]]:
        small = (codes.mean(dim=1) @ self.feature).view(-1, 8, 8, 8)
        return self.synthesize(codes, size), {r: F.interpolate(small, (r, r)) for r in self.feature_channels}


class FakeEncoder(nn.Module):
    """The exact inverse of :class:`FakePrior` on pictures of repeated codes."""

    def __init__(self, prior: FakePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor) -> Tensor:
        small = F.interpolate(x[:, :3], (8, 8), mode="area").clamp(-0.999, 0.999).atanh().flatten(1)
        known = small @ torch.linalg.pinv(self.prior.paint[:6]) - self.prior.mean_w[:6]
        return self.prior.broadcast(self.prior.mean_w + F.pad(known, (0, 506)))


class FakeExpert(nn.Module):
    """Labels by brightness: skin where bright, hair where dark."""

    def parse(self, image: Tensor) -> Tensor:
        return torch.where(image.mean(dim=1) > 0, 1, 13)

    def forward(self, image: Tensor) -> ExpertOutput:
        return ExpertOutput(8 * one_hot(self.parse(image)), {})


def fake_identity(image: Tensor) -> Tensor:
    return F.normalize(F.adaptive_avg_pool2d(image, 4).flatten(1), dim=1)


def fake_perceptual(a: Tensor, b: Tensor) -> Tensor:
    return (F.avg_pool2d(a, 4) - F.avg_pool2d(b, 4)).square().mean(dim=(1, 2, 3))


def tiny_encoder(prior: FakePrior) -> StyleEncoder:
    return StyleEncoder(StyleEncoderConfig(width=16, squeeze=8, hidden=32, rank=8), mean_w=prior.mean_w)


def encoder_stage(photographs: object = None, **overrides: object) -> EncoderStage:
    torch.manual_seed(0)
    prior = FakePrior()
    chosen = settings("encoder", "smoke", {"image_loss_every": 2, "r1_every": 2, "code_weight": 1.0} | overrides)
    return EncoderStage(chosen, tiny_encoder(prior), LatentDiscriminator(), prior, FakeExpert(), fake_identity, fake_perceptual,
                        fake_perceptual, photographs)


def warping_stage(**overrides: object) -> WarpingStage:
    torch.manual_seed(0)
    prior = FakePrior()
    encoder = FakeEncoder(prior)
    warping = LatentWarping(LatentWarpingConfig(rank=8, hidden=8, blocks=2))
    return WarpingStage(settings("warping", "smoke", overrides), warping, encoder, prior, fake_identity, fake_perceptual)


def generator_stage(photographs: object = None, levels: int = 5, **overrides: object) -> GeneratorStage:
    """Stage 3 that paints 4·2^(levels − 1) px; ``photographs`` are held out."""
    torch.manual_seed(0)
    prior = FakePrior()
    chosen = settings("generator", "smoke", {"expert_loss_every": 1, "r1_every": 2} | overrides)
    config = GeneratorConfig(widths=(16,) * levels, bank_channels=(8, 8, 8, 8, 0)[:levels],
                             code_layers=((0, 0, 0), (1, 2, 3), (4, 5, 6), (7, 8, 9), (16, 16, 16))[:levels], global_dim=16,
                             bottleneck=8, style_rank=16, fusion=chosen.fusion, use_bank=chosen.use_bank,
                             base=chosen.base)
    discriminator = Discriminator(DiscriminatorConfig(widths=(16,) * levels))
    encoder = tiny_encoder(prior).eval().requires_grad_(False)
    return GeneratorStage(chosen, RefinementGenerator(config), discriminator, encoder, prior, FakeExpert(), fake_identity,
                          fake_perceptual, photographs)
