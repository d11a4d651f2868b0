"""Stage 3: aggregation, refinement auto-encoder and discriminator, trained together (FACEMUG Algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import batches
from facemug_lib.experts.fidelity import psnr
from facemug_lib.faces.dataset import FaceBatch, derangement, heldout_faces
from facemug_lib.modalities.conditions import Conditions, exemplar_input
from facemug_lib.modalities.draws import chance, integers, normal, uniform
from facemug_lib.modalities.dropout import training_conditions
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import colourise
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.pictures import picture_grid
from facemug_lib.training import losses
from facemug_lib.training.conditions import labels_from, whole_conditions
from facemug_lib.training.profiles import GuidedSettings, knob
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import frozen, start

TEST_MASK_SEED = 3


class GeneratorSettings(GuidedSettings):
    """Stage 3: aggregation, refinement auto-encoder and discriminator (Algorithm 3)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    fusion: Literal["fusion", "addition", "gated"] = knob("fusion", "style fusion block, or ablation B or C", "paper")
    use_bank: bool = knob(True, "feed the bank's features to the decoder; false = ablation E", "paper")
    attribute: Literal["diverse", "plain"] = knob("diverse", "attribute loss with interpolated codes (Eq. 20–21), or ablation D",
                                                  "paper")
    encoder: str = knob("shipped", "the frozen style encoder: shipped, or a weights file")
    lr: float = knob(2e-3, "Adam's learning rate, with betas 0 and 0.99", "StyleGAN2", gt=0)
    adversarial_weight: float = knob(1.0, "weight of the non-saturating adversarial loss", "paper", ge=0)
    identity_weight: float = knob(0.1, "weight of the identity loss", "EXE-GAN", ge=0)
    lpips_weight: float = knob(0.5, "weight of LPIPS-VGG", "EXE-GAN", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("vgg", "network of LPIPS", "paper")
    attribute_weight: float = knob(0.1, "weight of the attribute loss", "EXE-GAN", ge=0)
    pixel_weight: float = knob(0.5, "weight of L1 inside the hole, own exemplars only", ge=0)
    r1_gamma: float = knob(10.0, "R1 weight", "StyleGAN2", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "StyleGAN2", ge=1)
    foreign_share: float = knob(0.8, "probability that a step's exemplars are other faces", "EXE-GAN", ge=0, le=1)
    drop: float = knob(0.5, "probability that a guidance is absent", "e4e", ge=0, le=1)
    regions_share: float = knob(0.5, "share of present guidance that shows the hole or the whole face, not a random region",
                                ge=0, le=1)
    full_mask_share: float = knob(0.05, "share of faces masked completely (generation without a photo)", ge=0, le=1)
    projected_share: float = knob(0.5, "own exemplars: probability that the codes come from the conditions instead", ge=0, le=1)
    code_noise: float = knob(0.0, "largest noise on the codes, in standard deviations of w; drawn for each face", ge=0)
    expert_loss_every: int = knob(1, "steps between identity, LPIPS and attribute losses", ge=1)


class GeneratorStage:
    """Stage 3 for :func:`facemug_lib.training.loop.train`."""

    settings_class = GeneratorSettings
    name = "generator"
    ema = ("generator",)
    image_source = "faces"

    def __init__(self, settings: GeneratorSettings, generator: RefinementGenerator, discriminator: Discriminator,
                 encoder: nn.Module, prior: nn.Module, expert: nn.Module | None, identity: Callable[[Tensor], Tensor],
                 perceptual: Callable[[Tensor, Tensor], Tensor]) -> None:
        """``encoder``, ``prior``, ``expert`` and the losses' two experts are frozen, on the training device."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        self.encoder, self.prior, self.expert, self.identity, self.perceptual = encoder, prior, expert, identity, perceptual
        self._test: Tensor | None = None

    @classmethod
    def build(cls, settings: GeneratorSettings, device: torch.device, init: str = "scratch") -> GeneratorStage:
        """With the project's own experts, prior and style encoder."""
        from facemug_lib.experts.identity import ArcFace
        from facemug_lib.experts.perceptual import Lpips
        from facemug_lib.experts.student import ExpertStudent
        from facemug_lib.faces.bank import load_bank
        from facemug_lib.models.style_encoder import StyleEncoder
        from facemug_lib.weights import weights_path

        prior = load_bank(settings.bank, device)
        encoder = frozen("style_encoder", settings.encoder, StyleEncoder.from_config, device)
        config = getattr(GeneratorConfig, settings.network)(
            feature_channels=prior.feature_channels, code_layers=prior.code_layers, num_codes=prior.num_codes)
        generator = RefinementGenerator(replace(config, fusion=settings.fusion, use_bank=settings.use_bank))
        discriminator = Discriminator(getattr(DiscriminatorConfig, settings.network)())
        start(generator, "generator", init)
        start(discriminator, "discriminator", init, optional=True)
        expert = ExpertStudent.load(device) if weights_path("expert").is_file() else None
        return cls(settings, generator, discriminator, encoder, prior, expert, ArcFace().to(device),
                   Lpips(settings.lpips_net).to(device))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with betas (0, 0.99); the discriminator's are raised to the power of the lazy regulariser's ratio (StyleGAN2)."""
        s = self.settings
        ratio = s.r1_every / (s.r1_every + 1)
        return {
            "generator": torch.optim.Adam(self.modules["generator"].parameters(), lr=s.lr, betas=(0.0, 0.99)),
            "discriminator": torch.optim.Adam(self.modules["discriminator"].parameters(), lr=s.lr * ratio,
                                              betas=(0.0, 0.99**ratio)),
        }

    # -- one step ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _draw(self, images: Tensor, labels: Tensor, context: StepContext) -> tuple[Conditions, Tensor, Tensor, bool]:
        """(conditions, exemplars x_e, codes w̄, whether the exemplars are other faces): Algorithm 3, lines 3 to 28."""
        s, draws, b = self.settings, context.generator, len(images)
        is_foreign = bool(chance((), s.foreign_share, draws))
        exemplars = images[derangement(b, draws).to(images.device)] if is_foreign else images
        # A foreign exemplar contradicts guidance taken from the face itself, so it comes without any.
        conditions = training_conditions(images, labels, draws, scheme="algorithm3", drop=s.drop, regions_share=s.regions_share,
                                         full_mask_share=s.full_mask_share, coarse_share=s.coarse_share,
                                         sketch_detail=s.sketch_detail, foreign=torch.full((b,), is_foreign))
        codes = self.encoder(exemplar_input(exemplars)).float()
        if is_foreign and s.attribute == "diverse":
            # Eq. 20: w̄ = (1 − r)·w_mix + r·w_e, w_mix = style mixing of F(z_1) and F(z_2); r = 1 where x_e is the face itself.
            w_mix = self.prior.mix(*(self.prior.sample_w(b, draws, psi=s.psi_high).float() for _ in range(2)),
                                   int(integers((), 1, self.prior.num_codes, draws)))
            r = uniform((b, 1, 1), 0, 1, draws).to(images.device)
            codes = (1 - r) * w_mix + r * codes
        elif not is_foreign:
            # Editing without an exemplar starts from the codes that the encoder reads from the conditions.
            is_projected = chance((b, 1, 1), s.projected_share, draws).to(images.device)
            codes = torch.where(is_projected, self.encoder(conditions.encoder_input()).float(), codes)
        if s.code_noise:
            size = uniform((b, 1, 1), 0, s.code_noise, draws) * normal(codes.shape, draws)
            codes = codes + size.to(images.device) * self.prior.std_w
        return conditions, exemplars, codes, is_foreign

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s, images = self.settings, batch.images
        generator, discriminator = self.modules["generator"], self.modules["discriminator"]
        conditions, exemplars, codes, is_foreign = self._draw(images, labels_from(batch, self.expert), context)
        with torch.no_grad():
            prior_image, features = self.prior(codes)
        made = generator(conditions, codes, features, prior_image.float()).image.float()
        edited = conditions.composite(made, images)

        # Eq. 14 and Eq. 23: the weighted sum of L_adv (Eq. 22), L_id (Eq. 18), L_lpips (Eq. 19), L_datt (Eq. 21). The L1 in the
        # hole is ours. Generator and discriminator take turns (Eq. 24).
        discriminator.requires_grad_(False)
        terms = {"adversarial": (s.adversarial_weight, losses.generator_loss(discriminator(edited)))}
        if not is_foreign:
            terms["pixel"] = (s.pixel_weight, losses.pixel_loss(edited, images, conditions.mask))
        if context.is_turn(s.expert_loss_every):
            terms["identity"] = (s.identity_weight, losses.identity_loss(self.identity(edited), self.identity(exemplars)))
            terms["attribute"] = (s.attribute_weight, losses.attribute_loss(self.encoder(exemplar_input(edited)), codes))
            if not is_foreign:
                terms["lpips"] = (s.lpips_weight, self.perceptual(edited, images).mean())
        context.update("generator", sum(weight * value for weight, value in terms.values()))
        discriminator.requires_grad_(True)
        logged: dict[str, float | Tensor] = {name: value.detach() for name, (_, value) in terms.items()}
        return logged | self._step_discriminator(images, edited.detach(), context)

    def _step_discriminator(self, real: Tensor, fake: Tensor, context: StepContext) -> dict[str, Tensor]:
        s, discriminator = self.settings, self.modules["discriminator"]
        real_scores, fake_scores = discriminator(real), discriminator(fake)
        loss = losses.discriminator_loss(real_scores, fake_scores)
        logged = {"discriminator": loss.detach(), "real_score": real_scores.detach().mean(),
                  "fake_score": fake_scores.detach().mean()}
        context.update("discriminator", loss)
        if s.r1_gamma and context.is_turn(s.r1_every):
            with context.full_precision():
                real = real.detach().clone().requires_grad_()
                penalty = losses.r1_penalty(discriminator(real), real)
                context.update("discriminator", 0.5 * s.r1_gamma * s.r1_every * penalty)
            logged["r1"] = penalty.detach()
        return logged

    # -- judged on unseen faces -------------------------------------------------------------------------------------------

    def _test_faces(self, count: int) -> Tensor:
        if self._test is None or len(self._test) < count:
            self._test = heldout_faces(self.prior, count).images
        return self._test

    def _test_edits(self, count: int, first: int = 0) -> tuple[Tensor, dict[str, Conditions]]:
        """Unseen faces ``first`` … with a hole: without guidance, and with all of it."""
        images = self._test_faces(first + count)[first : first + count]
        generator = torch.Generator().manual_seed(TEST_MASK_SEED + first)
        mask = free_form(len(images), *images.shape[2:], generator, device=images.device, hole_range=(0.1, 0.6))
        labels = labels_from(FaceBatch(images), self.expert)
        return images, {"hole": whole_conditions(images, labels, mask, guidance=()),
                        "guided": whole_conditions(images, labels, mask)}

    def _edit(self, generator: nn.Module, conditions: Conditions, images: Tensor) -> tuple[Tensor, Tensor]:
        """(edited faces, the prior's pictures of the same codes pasted into the holes): one feed-forward pass."""
        codes = self.encoder(conditions.encoder_input()).float()
        prior_image, features = self.prior(codes)
        made = generator(conditions, codes, features, prior_image.float()).image.float()
        return conditions.composite(made.clamp(-1, 1), images), conditions.composite(prior_image.float().clamp(-1, 1), images)

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """LPIPS and the PSNR inside the hole (dB), without and with guidance; ``prior_…`` is inversion and paste, untrained."""
        self._test_faces(count)  # renders all faces once
        total: dict[str, float] = {}
        for places in batches(count):
            images, edits = self._test_edits(len(places), places.start)
            for view, conditions in edits.items():
                ours, prior = self._edit(modules["generator"], conditions, images)
                for who, made in (("", ours), ("prior_", prior)):
                    scores = {"lpips": self.perceptual(made, images), "psnr": psnr(made, images, conditions.mask)}
                    for score, value in scores.items():
                        key = f"{who}{score}_{view}"
                        total[key] = total.get(key, 0.0) + float(value.sum())
        return {name: value / count for name, value in total.items()}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four unseen faces: face, masked face, label map; edit and pasted prior without guidance; the same with all of it."""
        images, edits = self._test_edits(4)
        rows = [images, edits["hole"].image, colourise(labels_from(FaceBatch(images), self.expert))]
        for conditions in edits.values():
            rows += self._edit(modules["generator"], conditions, images)
        return picture_grid(rows)

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {name: (modules[name].state_dict(), modules[name].config_dict()) for name in self.modules}
