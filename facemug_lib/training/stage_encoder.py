"""Stage 1: the style encoder E_s learns to read codes from any mixture of modalities (FACEMUG Algorithm 1).

A face sampled from the prior has exactly known codes, so the encoder regresses them; the picture that the prior makes of the
predicted codes is compared with the *complete* face, whatever was masked or dropped; and a latent discriminator keeps the codes
where the mapping network puts them (encoder4editing). Faces from a folder without codes train by the image losses alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.devices import batches
from facemug_lib.faces.dataset import FaceBatch, FaceFolder, heldout_faces, known_codes
from facemug_lib.modalities.conditions import exemplar_input
from facemug_lib.modalities.dropout import training_conditions
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import colourise
from facemug_lib.models.discriminator import LatentDiscriminator
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig
from facemug_lib.pictures import picture_grid
from facemug_lib.training import losses
from facemug_lib.training.augmentation import varied_photographs
from facemug_lib.training.conditions import labels_from, whole_conditions
from facemug_lib.training.profiles import GuidedSettings, RebuildingSettings, knob
from facemug_lib.training.rebuilding import rebuilt_and_target
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import start, start_path

TEST_MASK_SEED = 1


class EncoderSettings(GuidedSettings, RebuildingSettings):
    """Stage 1: the style encoder E_s (Algorithm 1)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    trunk_start: Literal["expert", "imagenet"] = knob(
        "expert", "what a fresh compact trunk starts from: the face parser's trunk as far as it goes, or ImageNet weights alone")
    input_size: int | None = knob(
        None, "side at which the encoder looks at its input, 128 or 256; none = that of the weights it starts from, else 256",
        ge=128, le=256, multiple_of=128)
    lr: float = knob(1e-3, "Adam's learning rate (e4e: Ranger, 1e-4)", gt=0)
    clip_norm: float | None = knob(5.0, "largest gradient norm per optimizer", gt=0)
    scheme: Literal["algorithm1", "dominant"] = knob(
        "algorithm1", "modalities dropped each by its own draw, or one of them always shown as in e4e", "paper")
    drop: float = knob(0.5, "probability that a modality is absent", "e4e", ge=0, le=1)
    exemplar_share: float = knob(0.15, "share of faces shown whole, as exemplars are", ge=0, le=1)
    regions_share: float = knob(0.5, "share of present guidance that shows the hole or the whole face, not a random region",
                                ge=0, le=1)
    l2_weight: float = knob(1.0, "weight of the squared pixel error", "e4e", ge=0)
    lpips_weight: float = knob(0.8, "weight of LPIPS", "e4e", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("alex", "network of LPIPS", "e4e")
    identity_weight: float = knob(0.5, "weight of the identity loss", "e4e", ge=0)
    latent_weight: float = knob(0.1, "weight of the latent discriminator's loss", "e4e", ge=0)
    latent_lr: float = knob(2e-5, "Adam's learning rate of the latent discriminator", "e4e", gt=0)
    delta_weight: float = knob(2e-4, "weight of the code offsets' norm", "e4e", ge=0)
    spread_weight: float = knob(
        0.0, "weight of the squared distance of photographs' codes from the mean of their codes, in units of std(w)²", ge=0)
    frozen_norm: bool = knob(False, "batch normalisation keeps the statistics that it starts with, for small batches")
    progressive_start: int = knob(0, "images before the first code offset is learned (e4e: 160,000)", ge=0)
    progressive_every: int = knob(0, "images between unlocked offsets; 0 = all at once (e4e: 16,000)", ge=0)
    r1_gamma: float = knob(10.0, "R1 weight of the latent discriminator", "e4e", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "e4e", ge=1)


class EncoderStage:
    """Stage 1 for :func:`facemug_lib.training.loop.train`."""

    settings_class = EncoderSettings
    name = "encoder"
    ema = ("style_encoder",)
    image_source = "faces"

    def __init__(self, settings: EncoderSettings, encoder: StyleEncoder, latent_discriminator: LatentDiscriminator,
                 prior: nn.Module, expert: nn.Module | None, identity: Callable[[Tensor], Tensor],
                 perceptual: Callable[[Tensor, Tensor], Tensor], test_perceptual: Callable[[Tensor, Tensor], Tensor],
                 photographs: FaceFolder | None = None) -> None:
        """``identity``: image → embedding; ``perceptual``: two images → distance [b]; all frozen, on the training device.
        ``photographs``: held-out ones that are scored too."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"style_encoder": encoder, "latent_discriminator": latent_discriminator}
        self.prior, self.expert = prior, expert
        self.identity, self.perceptual, self.test_perceptual = identity, perceptual, test_perceptual
        self.photographs = photographs
        self._test: FaceBatch | None = None

    @classmethod
    def build(cls, settings: EncoderSettings, device: torch.device, init: str = "scratch") -> EncoderStage:
        """With the project's own experts and prior. A fresh compact trunk starts from the expert's, or from ImageNet weights."""
        from facemug_lib.experts.identity import ArcFace
        from facemug_lib.experts.perceptual import Lpips
        from facemug_lib.experts.student import ExpertStudent
        from facemug_lib.faces.bank import load_bank
        from facemug_lib.weights import read_weights, weights_path

        prior = load_bank(settings.bank, device)
        config = getattr(StyleEncoderConfig, settings.network)(prior.num_codes)
        if settings.input_size is not None:
            config = replace(config, input_size=settings.input_size)
        elif init != "scratch":
            _, header, _ = read_weights(start_path("style_encoder", init))
            config = replace(config, input_size=header.get("input_size", config.input_size))
        encoder = StyleEncoder(config, mean_w=prior.mean_w.cpu())
        expert = ExpertStudent.load(device) if weights_path("expert").is_file() else None
        if init == "scratch" and config.trunk == "compact":
            encoder.init_from_imagenet()
            if settings.trunk_start == "expert" and expert is not None:
                encoder.init_from_expert(expert.trunk)
        encoder.to(memory_format=torch.channels_last)  # on the CPU too: a step takes 26 instead of 46 ms a face there
        discriminator = LatentDiscriminator(prior.code_dim)
        start(encoder, "style_encoder", init)
        start(discriminator, "latent_discriminator", init, optional=True)
        perceptual = Lpips(settings.lpips_net).to(device)
        test_perceptual = perceptual if settings.lpips_net == "alex" else Lpips("alex").to(device)
        photographs = None if settings.real is None else FaceFolder(settings.real, device, split="test", flip=False)
        return cls(settings, encoder, discriminator, prior, expert, ArcFace().to(device), perceptual, test_perceptual,
                   photographs)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        s = self.settings
        return {"encoder": torch.optim.Adam(self.modules["style_encoder"].parameters(), lr=s.lr),
                "latent": torch.optim.Adam(self.modules["latent_discriminator"].parameters(), lr=s.latent_lr)}

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s = self.settings
        encoder, discriminator = self.modules["style_encoder"], self.modules["latent_discriminator"]
        if s.progressive_every:
            unlocked = max(0, context.images_seen - s.progressive_start) // s.progressive_every
            encoder.set_active_deltas(min(unlocked, self.prior.num_codes - 1))
        if s.frozen_norm:
            for layer in encoder.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        known = known_codes(batch)
        batch = varied_photographs(batch, s, context.generator)
        codes, deltas = encoder(self._shown(batch, context.generator), return_deltas=True)
        terms: dict[str, tuple[float, Tensor]] = {"delta": (s.delta_weight, losses.delta_norm(deltas))}
        if bool(known.any()):
            terms["code"] = (s.code_weight, losses.code_regression_loss(codes[known], batch.codes[known], self.prior.std_w))
        if s.spread_weight and not bool(known.all()):
            spread = codes[~known] - codes[~known].mean(dim=1, keepdim=True)
            terms["spread"] = (s.spread_weight, (spread / self.prior.std_w).square().mean())
        if s.latent_weight:
            terms["latent"] = (s.latent_weight, losses.generator_loss(discriminator(codes.float())))
        pairs = self._pictures(codes, batch, known, context.is_turn(s.image_loss_every))
        if pairs:
            rebuilt, target = (torch.cat(pictures) for pictures in zip(*pairs, strict=True))
            terms["l2"] = (s.l2_weight, F.mse_loss(rebuilt, target))
            terms["lpips"] = (s.lpips_weight, self.perceptual(rebuilt, target).mean())
            terms["identity"] = (s.identity_weight, losses.identity_loss(self.identity(rebuilt), self.identity(target)))
        context.update("encoder", sum(weight * value for weight, value in terms.values()))
        logged: dict[str, float | Tensor] = {name: value.detach() for name, (_, value) in terms.items()}
        if s.latent_weight:
            logged |= self._step_discriminator(codes.detach().float(), context)
        return logged

    def _pictures(self, codes: Tensor, batch: FaceBatch, known: Tensor, is_turn: bool) -> list[tuple[Tensor, Tensor]]:
        """Pairs (the prior's pictures of the codes, what they should show): of all photographs in every step, of faces whose
        codes are known only when it is their turn, since the codes' regression says the same."""
        s, pairs = self.settings, []
        count = s.image_loss_faces  # the first ones: faces come in random order
        groups = [((~known).nonzero().flatten()[:count], None)]
        if is_turn:
            groups.append((known.nonzero().flatten()[:count], batch.codes))
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=True) if s.half_prior else nullcontext():
            for places, exact in groups:
                if len(places):
                    exact = None if exact is None else exact[places]
                    pairs.append(rebuilt_and_target(self.prior, codes[places], batch.images[places], exact, s.image_loss_size))
        return pairs

    def _shown(self, batch: FaceBatch, generator: torch.Generator) -> Tensor:
        """What the encoder gets to see of a batch, [b,26,h,w]."""
        s = self.settings
        return training_conditions(batch.images, labels_from(batch, self.expert), generator, scheme=s.scheme, drop=s.drop,
                                   regions_share=s.regions_share, exemplar_share=s.exemplar_share, coarse_share=s.coarse_share,
                                   sketch_detail=s.sketch_detail).encoder_input()

    def observe(self, encoder: nn.Module, batch: FaceBatch, generator: torch.Generator) -> None:
        """Show a batch to ``encoder`` as in training, without teaching it anything."""
        encoder(self._shown(batch, generator))

    def _step_discriminator(self, codes: Tensor, context: StepContext) -> dict[str, Tensor]:
        """D_w: real codes are mapped z; lazy R1 on them, scaled by its interval."""
        s, discriminator = self.settings, self.modules["latent_discriminator"]
        with torch.no_grad(), context.full_precision():
            real = self.prior.sample_w(len(codes), context.generator, psi=1.0).float()
        with context.full_precision():
            loss = losses.discriminator_loss(discriminator(real), discriminator(codes))
            logged = {"latent_discriminator": loss.detach()}
            if s.r1_gamma and context.is_turn(s.r1_every):
                real = real.requires_grad_()
                penalty = losses.r1_penalty(discriminator(real), real)
                logged["latent_r1"] = penalty.detach()
                loss = loss + 0.5 * s.r1_gamma * s.r1_every * penalty
        context.update("latent", loss)
        return logged

    # -- judged on unseen faces -------------------------------------------------------------------------------------------

    def _test_faces(self, count: int) -> FaceBatch:
        if self._test is None or len(self._test) < count:
            self._test = heldout_faces(self.prior, count)
        return self._test

    def _test_views(self, count: int, first: int = 0) -> tuple[FaceBatch, dict[str, Tensor]]:
        """Unseen faces ``first`` … and three views of each: whole, with a hole, with the hole and all guidance."""
        test = self._test_faces(first + count)
        faces = FaceBatch(test.images[first : first + count], test.codes[first : first + count])
        return faces, self._views(faces, first)

    def _views(self, faces: FaceBatch, first: int) -> dict[str, Tensor]:
        """The three views [b,26,h,w] of faces ``first`` … of a test set."""
        images = faces.images
        generator = torch.Generator().manual_seed(TEST_MASK_SEED + first)
        mask = free_form(len(images), *images.shape[2:], generator, device=images.device, hole_range=(0.1, 0.6))
        labels = labels_from(faces, self.expert)
        return {
            "whole": exemplar_input(images),
            "hole": whole_conditions(images, labels, mask, guidance=()).encoder_input(),
            "guided": whole_conditions(images, labels, mask).encoder_input(),
        }

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """Code error, LPIPS-Alex and identity similarity per view (see :meth:`_test_views`).

        ``code_mse_mean`` is what always answering the mean code would get.
        """
        self._test_faces(count)  # renders all faces once
        total: dict[str, float] = {}

        def add(score: str, value: Tensor, faces: int) -> None:
            total[score] = total.get(score, 0.0) + float(value) * faces

        for places in batches(count):
            faces, views = self._test_views(len(places), places.start)
            number = len(faces)
            mean = self.prior.mean_w.expand_as(faces.codes)
            add("code_mse_mean", losses.code_regression_loss(mean, faces.codes, self.prior.std_w), number)
            for view, codes, scores in self._scored(modules["style_encoder"], faces, views):
                add(f"code_mse_{view}", losses.code_regression_loss(codes, faces.codes, self.prior.std_w), number)
                for score, values in scores.items():
                    add(f"{score}_{view}", values.mean(), number)
        scores = {score: value / count for score, value in total.items()}
        return scores | self._evaluate_photographs(modules["style_encoder"])

    def _scored(self, encoder: nn.Module, faces: FaceBatch,
                views: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Per view: (its name, the codes [b,t,512], LPIPS-Alex and identity similarity [b] of the prior's pictures of them)."""
        target = self.identity(faces.images)
        for view, inputs in views.items():
            codes = encoder(inputs)
            rebuilt = self.prior.synthesize(codes).float().clamp(-1, 1)
            alike = F.cosine_similarity(self.identity(rebuilt).float(), target.float(), dim=1)
            yield view, codes, {"lpips": self.test_perceptual(rebuilt, faces.images), "identity": alike}

    def _evaluate_photographs(self, encoder: nn.Module) -> dict[str, float]:
        """LPIPS-Alex and identity similarity of the held-out photographs, whole, with a hole, and with the hole and guidance."""
        if self.photographs is None:
            return {}
        total: dict[str, float] = {}
        for places in batches(len(self.photographs)):
            faces = self.photographs.draw(places, 0)
            for view, _, scores in self._scored(encoder, faces, self._views(faces, places.start)):
                for score, values in scores.items():
                    key = f"photo_{score}_{view}"
                    total[key] = total.get(key, 0.0) + float(values.sum())
        return {score: value / len(self.photographs) for score, value in total.items()}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four unseen faces, and eight held-out photographs where some take part: face, masked face, label map; then the prior's
        picture of the codes of each view."""
        shown = [self._test_views(4)]
        if self.photographs is not None:
            faces = self.photographs.draw(range(min(8, len(self.photographs))), 0)
            shown.append((faces, self._views(faces, 0)))
        columns = []
        for faces, views in shown:
            made = [self.prior.synthesize(modules["style_encoder"](inputs)) for inputs in views.values()]
            columns.append([faces.images, views["hole"][:, :3], colourise(labels_from(faces, self.expert)), *made])
        return picture_grid([torch.cat(row) for row in zip(*columns, strict=True)])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {name: (modules[name].state_dict(), modules[name].config_dict()) for name in self.modules}
