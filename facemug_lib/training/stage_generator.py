"""Stage 3: aggregation, refinement auto-encoder and discriminator, trained together (FACEMUG Algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.devices import batches
from facemug_lib.editing.fill.settling import settled
from facemug_lib.errors import FacemugError
from facemug_lib.experts.fidelity import psnr
from facemug_lib.faces.dataset import FaceBatch, FaceFolder, derangement, heldout_faces
from facemug_lib.modalities.conditions import Conditions, exemplar_input
from facemug_lib.modalities.draws import chance, integers, normal, uniform
from facemug_lib.modalities.dropout import training_conditions
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import colourise, labels_of
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig
from facemug_lib.models.generator import BaseMode, GeneratorConfig, GeneratorOutput, RefinementGenerator
from facemug_lib.pictures import picture_grid, reduced
from facemug_lib.training import losses
from facemug_lib.training.augmentation import varied_photographs
from facemug_lib.training.conditions import labels_from, whole_conditions
from facemug_lib.training.profiles import GuidedSettings, knob
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import frozen, start, start_path
from facemug_lib.weights import read_weights

TEST_MASK_SEED = 3


class GeneratorSettings(GuidedSettings):
    """Stage 3: aggregation, refinement auto-encoder and discriminator (Algorithm 3)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    size: int = knob(256, "side of the pictures it paints, 64, 128 or 256; at 128 a step costs a quarter, and what is finer is "
                          "the prior's", is_later=True, ge=64, le=256, multiple_of=64)
    fusion: Literal["fusion", "addition", "gated"] = knob("fusion", "style fusion block, or ablation B or C", "paper")
    use_bank: bool = knob(True, "feed the bank's features to the decoder; false = ablation E", "paper")
    attribute: Literal["diverse", "plain"] = knob("diverse", "attribute loss with interpolated codes (Eq. 20–21), or ablation D",
                                                  "paper")
    base: BaseMode = knob("prior", "what it corrects: the prior's picture, or the photo with that picture toned and blended into "
                                   "its hole", is_later=True)
    encoder: str = knob("shipped", "the frozen style encoder: shipped, or a weights file")
    lr: float = knob(2e-3, "Adam's learning rate, with betas 0 and 0.99", "StyleGAN2", gt=0)
    adversarial_weight: float = knob(1.0, "weight of the non-saturating adversarial loss", "paper", ge=0)
    adversarial_start: int = knob(0, "images before the adversarial game begins: the pixels' losses settle first", is_later=True,
                                  ge=0)
    adversarial_rise: int = knob(0, "images over which its weight then rises from 0", is_later=True, ge=0)
    patch: int | None = knob(None, "side of the piece about the hole's edge that the discriminator sees, 64 or 128; none = the "
                                   "picture", is_later=True, ge=64, le=128, multiple_of=64)
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
    lpips_every: int | None = knob(None, "steps between LPIPS, the cheapest of the three; none = the same", is_later=True, ge=1)


class GeneratorStage:
    """Stage 3 for :func:`facemug_lib.training.loop.train`."""

    settings_class = GeneratorSettings
    name = "generator"
    ema = ("generator",)
    image_source = "faces"

    def __init__(self, settings: GeneratorSettings, generator: RefinementGenerator, discriminator: Discriminator,
                 encoder: nn.Module, prior: nn.Module, expert: nn.Module | None, identity: Callable[[Tensor], Tensor],
                 perceptual: Callable[[Tensor, Tensor], Tensor], photographs: FaceFolder | None = None) -> None:
        """``encoder``, ``prior``, ``expert`` and the losses' two experts are frozen, on the training device; training never sees
        ``photographs``."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        self.encoder, self.prior, self.expert, self.identity, self.perceptual = encoder, prior, expert, identity, perceptual
        self.photographs = photographs
        self.size = generator.config.size
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
            feature_channels=prior.feature_channels, code_layers=prior.code_layers, num_codes=prior.num_codes, size=settings.size)
        generator = RefinementGenerator(replace(config, fusion=settings.fusion, use_bank=settings.use_bank,
                                                base=settings.base))
        discriminator = Discriminator(getattr(DiscriminatorConfig, settings.network)(settings.patch or settings.size))
        start(generator, "generator", init)
        if init != "scratch" and (base := read_weights(start_path("generator", init))[1].get("base", "prior")) != settings.base:
            raise FacemugError(f"the generator of --init {init} corrects another picture than asked for: use --set base={base}, "
                               "or --init scratch")
        start(discriminator, "discriminator", init, optional=True)
        expert = ExpertStudent.load(device) if weights_path("expert").is_file() else None
        photographs = None if settings.real is None else FaceFolder(settings.real, device, split="test", flip=False)
        return cls(settings, generator, discriminator, encoder, prior, expert, ArcFace().to(device),
                   Lpips(settings.lpips_net).to(device), photographs)

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
        s = self.settings
        generator, discriminator = self.modules["generator"], self.modules["discriminator"]
        batch = varied_photographs(batch, s, context.generator)
        conditions, exemplars, codes, is_foreign = self._draw(batch.images, labels_from(batch, self.expert), context)
        # Another face's complexion is wanted with it; a face's own is the photo's.
        made, _ = self.paint(generator, conditions, codes, batch.images, 0.0 if is_foreign else 1.0)
        # Guidance and codes are those of the whole picture, as when editing; what is painted may be smaller.
        conditions, images = conditions.reduced(self.size), reduced(batch.images, self.size)
        edited = conditions.composite(made.image.float(), images)

        # Eq. 14 and Eq. 23: the weighted sum of L_adv (Eq. 22), L_id (Eq. 18), L_lpips (Eq. 19), L_datt (Eq. 21). The L1 in the
        # hole is ours. Generator and discriminator take turns (Eq. 24).
        terms: dict[str, tuple[float, Tensor]] = {}
        adversarial, views = self._adversarial_weight(context.images_seen), [images, edited]
        if adversarial is not None:
            if s.patch is not None:
                views = edge_patches(views, conditions.mask, s.patch, context.generator)
            discriminator.requires_grad_(False)
            terms["adversarial"] = (adversarial, losses.generator_loss(discriminator(views[1])))
        if not is_foreign:
            terms["pixel"] = (s.pixel_weight, losses.pixel_loss(edited, images, conditions.mask))
        if context.is_turn(s.expert_loss_every):
            terms["identity"] = (s.identity_weight, losses.identity_loss(self.identity(edited), self.identity(exemplars)))
            terms["attribute"] = (s.attribute_weight, losses.attribute_loss(self.encoder(exemplar_input(edited)), codes))
        if not is_foreign and context.is_turn(s.lpips_every or s.expert_loss_every):
            terms["lpips"] = (s.lpips_weight, self.perceptual(edited, images).mean())
        if terms:
            context.update("generator", sum(weight * value for weight, value in terms.values()))
        logged: dict[str, float | Tensor] = {name: value.detach() for name, (_, value) in terms.items()}
        if adversarial is None:
            return logged
        discriminator.requires_grad_(True)
        return logged | self._step_discriminator(views[0], views[1].detach(), context)

    def paint(self, generator: RefinementGenerator, conditions: Conditions, codes: Tensor, images: Tensor, tones: float = 1.0,
              influence: Mapping[str, float] | None = None) -> tuple[GeneratorOutput, Tensor]:
        """(what ``generator`` paints, not composited; what it corrects [b,3,s,s]), both at the generator's own size s.

        ``conditions`` and ``images`` [b,3,256,256] are those of an edit; ``tones``, 0 … 1, says how far the photo's are wanted.
        """
        config = getattr(generator, "module", generator).config  # trained in several processes, it is wrapped
        conditions, images = conditions.reduced(config.size), reduced(images, config.size)
        with torch.no_grad():
            base, features = self._base(config.base, codes, conditions, images, tones)
        return generator(conditions, codes, features, base, influence), base

    def _base(self, kind: BaseMode, codes: Tensor, conditions: Conditions, images: Tensor,
              tones: float) -> tuple[Tensor, dict[int, Tensor]]:
        """(what the generator corrects [b,3,s,s], the bank's features).

        The prior's picture head of a smaller size paints it a little otherwise (LPIPS 0.04 at 128 px). What is settled is the
        picture that an edit shows, averaged down, so that the generator does not learn that difference.
        """
        size = images.shape[-1]
        if kind == "prior":
            prior_image, features = self.prior(codes, size)
            return prior_image.float(), features
        prior_image, features = self.prior(codes)
        with torch.autocast(prior_image.device.type, enabled=False):
            shares = prior_image.new_full((len(images),), tones, dtype=torch.float32)
            return settled(self.expert, reduced(prior_image.float(), size), images, conditions.mask, shares), features

    def _adversarial_weight(self, images_seen: int) -> float | None:
        """The weight of the adversarial loss after so many images; None before its game begins."""
        s, since = self.settings, images_seen - self.settings.adversarial_start
        if since < 0:
            return None
        return s.adversarial_weight * (min(1.0, since / s.adversarial_rise) if s.adversarial_rise else 1.0)

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
        return images, self._edits_of(images, labels_from(FaceBatch(images), self.expert), first)

    def _edits_of(self, images: Tensor, labels: Tensor, first: int) -> dict[str, Conditions]:
        """A hole that the place ``first`` decides: without guidance, and with all of it."""
        generator = torch.Generator().manual_seed(TEST_MASK_SEED + first)
        mask = free_form(len(images), *images.shape[2:], generator, device=images.device, hole_range=(0.1, 0.6))
        return {"hole": whole_conditions(images, labels, mask, guidance=()), "guided": whole_conditions(images, labels, mask)}

    def _edit(self, generator: RefinementGenerator, conditions: Conditions, images: Tensor) -> tuple[Tensor, Tensor]:
        """(edited faces, what was corrected pasted into the holes: the prior's pictures, say): one feed-forward pass."""
        made, base = self.paint(generator, conditions, self.encoder(conditions.encoder_input()).float(), images)
        conditions, images = conditions.reduced(base.shape[-1]), reduced(images, base.shape[-1])
        return tuple(conditions.composite(one.float().clamp(-1, 1), images) for one in (made.image, base))

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """LPIPS and the PSNR inside the hole (dB), without and with guidance; ``prior_…`` is what was corrected, the untrained
        generator's picture, and ``photo_…`` the held-out photographs."""
        self._test_faces(count)  # renders all faces once
        scores = self._scores(modules["generator"], count, self._test_edits)
        if self.photographs is not None:
            photos = self._scores(modules["generator"], len(self.photographs), self._photo_edits)
            scores |= {f"photo_{name}": value for name, value in photos.items()}
        return scores

    def _photo_edits(self, count: int, first: int = 0) -> tuple[Tensor, dict[str, Conditions]]:
        """Held-out photographs ``first`` … with a hole: without guidance, and with all of it."""
        faces = self.photographs.draw(range(first, first + count), 0)
        return faces.images, self._edits_of(faces.images, labels_from(faces, self.expert), first)

    def _scores(self, generator: nn.Module, count: int,
                edits_of: Callable[[int, int], tuple[Tensor, dict[str, Conditions]]]) -> dict[str, float]:
        total: dict[str, float] = {}
        for places in batches(count):
            images, edits = edits_of(len(places), places.start)
            for view, conditions in edits.items():
                pictures = zip(("", "prior_"), self._edit(generator, conditions, images), strict=True)
                for who, made in pictures:
                    small, mask = reduced(images, made.shape[-1]), conditions.reduced(made.shape[-1]).mask
                    for score, value in (("lpips", self.perceptual(made, small)), ("psnr", psnr(made, small, mask))):
                        key = f"{who}{score}_{view}"
                        total[key] = total.get(key, 0.0) + float(value.sum())
        return {name: value / count for name, value in total.items()}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four unseen faces, and four held-out photographs where some take part: face, masked face, label map; edit and pasted
        prior without guidance; the same with all of it."""
        sources = [self._test_edits] if self.photographs is None else [self._test_edits, self._photo_edits]
        columns = []
        for edits_of in sources:
            images, edits = edits_of(4)
            labels = labels_of(edits["guided"].semantics)
            rows = [reduced(images, self.size), reduced(edits["hole"].image, self.size), reduced(colourise(labels), self.size)]
            for conditions in edits.values():
                rows += self._edit(modules["generator"], conditions, images)
            columns.append(rows)
        return picture_grid([torch.cat(row) for row in zip(*columns, strict=True)])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {name: (modules[name].state_dict(), modules[name].config_dict()) for name in self.modules}


def edge_patches(pictures: Sequence[Tensor], mask: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """A square of ``size`` px out of each picture [b,3,h,w], the same of all of them, about a random pixel of the hole's edge.

    There a filling shows. A face without an edge (no hole, or nothing else) gives a square about any pixel. ``generator`` is a
    CPU one.
    """
    b, _, h, w = mask.shape
    edge = (F.max_pool2d(mask, 3, 1, 1) + F.max_pool2d(-mask, 3, 1, 1)).flatten(1).cpu()  # 1 where both are within a pixel
    weights = torch.where(edge.sum(dim=1, keepdim=True) > 0, edge, torch.ones_like(edge))
    where = torch.multinomial(weights, 1, generator=generator)[:, 0]
    top = (where // w - size // 2).clamp(0, h - size).tolist()
    left = (where % w - size // 2).clamp(0, w - size).tolist()
    places = [(i, slice(None), slice(top[i], top[i] + size), slice(left[i], left[i] + size)) for i in range(b)]
    return [torch.stack([picture[place] for place in places]) for picture in pictures]
