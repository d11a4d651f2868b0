"""Training DIAT and DIAT-A: settings, and the stage that the common loop trains.

First the transform network learns against the attribute discriminator, held to the person by the identity loss; then it is
frozen and the enhancement network learns. The paper trains unpaired. Here most faces have a known pair, so a run may also learn
from the distance to it (``pair_images``), and its scores are distances to pairs throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.devices import fast_bf16
from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.modalities.draws import normal
from facemug_lib.pictures import picture_grid
from facemug_lib.systems.common.faces import SystemFaces, SystemSettings
from facemug_lib.systems.common.scores import pair_scores
from facemug_lib.systems.common.targets import attribute_alone, pair_terms
from facemug_lib.systems.common.unet import begin_with_expressions, compact_widths
from facemug_lib.systems.diat import losses
from facemug_lib.systems.diat.networks import AttributeDiscriminator, Denoiser, DiatConfig, DiatNetworks
from facemug_lib.systems.diat.references import Transfers, references_of, transfers
from facemug_lib.training.losses import discriminator_loss, generator_loss, r1_penalty
from facemug_lib.training.profiles import knob
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import start

CODE = "authors' code"  # of their later version, for Caffe
ADAPTIVE_LAYERS = slice(3, 5)  # the fourth and fifth convolution of the discriminator


class DiatSettings(SystemSettings):
    """DIAT and DIAT-A: deep identity-aware transfer of facial attributes."""

    attributes: str = knob("smile,mouth_open,glasses,age,gender", "the attributes, with commas between; each has its references",
                           "paper")
    side: Literal["both", "up", "down"] = knob("both", "references on either side of the average, or on one of them alone")
    network: Literal["compact", "paper"] = knob("compact", "one network for all references, or the paper's widths")
    width: int = knob(16, "channels of the compact network at full size; 1.5, 3 and 4.5 times as many below", ge=4)
    begin: Literal["relative_au", "fresh"] = knob("relative_au", "what the compact network begins with: the shipped network of "
                                                  "relative action units, or nothing")
    discriminator_width: int = knob(24, "channels of the compact discriminator's first layer", ge=4)
    identity: Literal["adaptive", "perceptual", "off"] = knob(
        "adaptive", "identity loss on the discriminator's features (DIAT-A), on an identity network's (DIAT), or off", "paper")
    lr: float = knob(1e-3, "Adam's learning rate (the authors' later code: RMSProp, 5e-5)", gt=0)
    discriminator_lr: float = knob(4e-4, "that of the discriminator and the denoiser", gt=0)
    adversarial_weight: float = knob(0.2, "weight of the attribute loss (authors' later code: 1)", ge=0)
    identity_weight: float = knob(0.1, "weight of the identity loss", CODE, ge=0)
    identity_every: int = knob(4, "steps between perceptual identity losses, whose network costs as much as ours", ge=1)
    identity_faces: int | None = knob(4, "faces of a batch that get it; none = all", ge=1)
    smooth_weight: float = knob(1.0, "weight of the denoiser's smoothness loss (authors' later code: a dynamic one)", ge=0)
    noise: float = knob(0.1, "deviation of the noise that the denoiser learns to take away, pictures in [-1, 1]", gt=0)
    r1_gamma: float = knob(1.0, "R1 weight of the discriminator", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "StyleGAN2", ge=1)
    pairs_alone: int = knob(0, "images at the start that learn from known pairs alone, without a discriminator", ge=0)
    pair_images: int | None = knob(None, "images at the start that learn from known pairs; none = all, 0 = as the paper", ge=0)
    keep_elsewhere: bool = knob(True, "where a pair hardly differs from the face, the face itself is to be learned")
    pair_weight: float = knob(1.0, "weight of the distance to the known pair, as a share of the face's own", ge=0)
    pair_lpips_weight: float = knob(0.5, "weight of LPIPS-Alex to the known pair", ge=0)
    enhance_from: int = knob(30_000, "images after which the transform network stays and the enhancement network learns", ge=0)
    keep_weight: float = knob(5.0, "enhancement: weight of the L1 to the face where it was not changed", ge=0)
    follow_weight: float = knob(5.0, "enhancement: weight of the L1 to the coarse transformed picture where it was", ge=0)
    fast_bf16: bool = knob(True, "networks compute in bf16 on a CPU too, where that is faster (AVX512-BF16, AMX)")


_TICKS = {"stats_every": 16, "checkpoint_every": 256, "grid_every": 256, "evaluate_count": 2}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": _TICKS | {"images": 32, "batch": 4, "pairs_alone": 8, "size": 64, "width": 8, "pool": 16, "attributes": "smile",
                       "begin": "fresh", "discriminator_width": 8, "enhance_from": 24, "pair_lpips_weight": 0.0,
                       "ema_halflife": 50},
    "laptop": {"images": 40_000, "batch": 8, "pairs_alone": 20_000, "warmup": 400, "decay": 10_000, "ema_halflife": 1_000,
               "stats_every": 400, "evaluate_count": 16, "checkpoint_every": 2_000, "grid_every": 2_000, "evaluate_every": 4_000},
    # One reference at a time, no pairs; batch and weights of the authors' later code.
    "paper": {"images": 3_000_000, "batch": 30, "attributes": "smile", "side": "up", "network": "paper", "lr": 5e-5,
              "discriminator_lr": 5e-5, "adversarial_weight": 1.0, "identity_every": 1, "identity_faces": None, "pair_images": 0,
              "enhance_from": 2_000_000, "pool": 100_000, "stats_every": 10_000, "checkpoint_every": 200_000,
              "grid_every": 100_000, "evaluate_count": 256},
}


class DiatStage:
    """DIAT for :func:`facemug_lib.training.loop.train`."""

    settings_class = DiatSettings
    presets = PRESETS
    name = "diat"
    ema = ("diat",)
    image_source = "faces"

    def __init__(self, settings: DiatSettings, networks: DiatNetworks, discriminator: AttributeDiscriminator, denoiser: Denoiser,
                 perceptual: Callable[[Tensor, Tensor], Tensor] | None, identity: nn.Module | None,
                 device: torch.device | str = "cpu") -> None:
        """``perceptual``: LPIPS of two pictures, [b], or None; ``identity``: faces to feature maps, needed where ``identity`` is
        "perceptual"."""
        self.settings, self.device = settings, torch.device(device)
        self.names = networks.config.references
        self.modules: dict[str, nn.Module] = {"diat": networks, "discriminator": discriminator, "denoiser": denoiser}
        self.perceptual, self.identity = perceptual, identity
        if settings.identity == "perceptual" and identity is None:
            raise FacemugError("the perceptual identity loss needs an identity network: give one, or use --set identity=adaptive")
        self._faces: SystemFaces | None = None

    @classmethod
    def build(cls, settings: DiatSettings, device: torch.device, init: str = "scratch") -> DiatStage:
        """With fresh networks, or those of ``init``."""
        names = references_of(settings.attribute_names, settings.side)
        if settings.network == "paper":
            networks = DiatNetworks(DiatConfig.paper(references=names, size=settings.size))
            discriminator = AttributeDiscriminator.paper(len(names), settings.size)
        else:
            w = settings.discriminator_width
            networks = DiatNetworks(DiatConfig(names, settings.size, widths=compact_widths(settings.width)))
            discriminator = AttributeDiscriminator(len(names), settings.size, (w, 2 * w, 4 * w, 4 * w, 4 * w, 4 * w))
            if init == "scratch" and settings.begin == "relative_au":
                begin_with_expressions(networks.transform)
        for network in (networks, discriminator):
            network.to(memory_format=torch.channels_last)
        start(networks, "diat", init)
        perceptual = identity = None
        if settings.pair_lpips_weight and settings.pair_images != 0:
            from facemug_lib.experts.perceptual import Lpips

            perceptual = Lpips("alex").to(device)
        if settings.identity == "perceptual":
            identity = losses.IdentityFeatures().to(device)
        return cls(settings, networks, discriminator, Denoiser(), perceptual, identity, device)

    def faces(self, data: str = "prior") -> SystemFaces:
        """The faces of all attributes."""
        if self._faces is None:
            self._faces = SystemFaces.of(self.settings, data, self.device)
        return self._faces

    def source(self, data: str, device: torch.device) -> SystemFaces:
        """The same, for the loop."""
        return self.faces(data)

    # -- one step ---------------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network; transform and enhancement networks learn one after the other and have one each."""
        s, networks = self.settings, self.modules["diat"]
        parts = {"transform": (networks.transform, s.lr), "enhance": (networks.enhance, s.lr),
                 "discriminator": (self.modules["discriminator"], s.discriminator_lr),
                 "denoiser": (self.modules["denoiser"], s.discriminator_lr)}
        return {name: torch.optim.Adam(part.parameters(), lr=lr, betas=(0.5, 0.999)) for name, (part, lr) in parts.items()}

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 inside the block, where a CPU is faster in it."""
        return fast_bf16(self.device) if self.settings.fast_bf16 else nullcontext()

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s, networks = self.settings, self.modules["diat"]
        use_pairs = s.pair_images is None or context.images_seen < s.pair_images
        faces = self.transfers(batch, context.generator)
        is_enhancing = context.images_seen >= s.enhance_from
        if context.images_seen < s.pairs_alone and not is_enhancing:
            return self._step_warm_up(faces, context)
        with self.autocast():
            if is_enhancing:
                with torch.no_grad():
                    made = networks.transform(faces.source, faces.reference)
                picture = networks.enhance(made, faces.source)
                terms = self.enhancement_terms(faces, made, picture, use_pairs)
            else:
                picture = networks.transform(faces.source, faces.reference)
                terms = self.transform_terms(faces, picture, use_pairs, context.is_turn(s.identity_every))
        context.update("enhance" if is_enhancing else "transform", sum(weight * value for weight, value in terms.values()))
        stem = "enhance_" if is_enhancing else ""
        logged: dict[str, float | Tensor] = {stem + name: value.detach() for name, (_, value) in terms.items()}
        return logged | self._step_discriminator(faces, picture.detach(), context)

    def transfers(self, batch: FaceBatch, generator: torch.Generator) -> Transfers:
        """Who is to become what of a batch."""
        faces = transfers(batch, self.faces_attributes, self.names, generator)
        return replace(faces, target=attribute_alone(faces.source, faces.target)) if self.settings.keep_elsewhere else faces

    def _step_warm_up(self, faces: Transfers, context: StepContext) -> dict[str, float | Tensor]:
        """The known pairs alone: what a face is to become is learned before anybody judges the picture."""
        if not bool(faces.paired.any()):
            return {}
        with self.autocast():
            source, reference, target = (one[faces.paired] for one in (faces.source, faces.reference, faces.target))
            terms = pair_terms(self.settings, self.perceptual, self.modules["diat"].transform(source, reference), source, target)
        context.update("transform", sum(weight * value for weight, value in terms.values()))
        return {name: value.detach() for name, (_, value) in terms.items()}

    @property
    def faces_attributes(self) -> tuple[str, ...]:
        """The streams, in the order of a batch's ``strength``."""
        return self.settings.attribute_names

    def _attribute_loss(self, faces: Transfers, picture: Tensor) -> Tensor:
        """The GAN attribute loss: does the discriminator take the picture for a real face that has its reference?"""
        discriminator = self.modules["discriminator"].requires_grad_(False)
        scores = discriminator.scores(picture, faces.reference)
        discriminator.requires_grad_(True)
        return generator_loss(scores)

    def _known_terms(self, faces: Transfers, picture: Tensor, use_pairs: bool) -> dict[str, tuple[float, Tensor]]:
        """Those of the faces whose pair is known, where pairs are used at all."""
        if not use_pairs or not bool(faces.paired.any()):
            return {}
        return pair_terms(self.settings, self.perceptual, *(one[faces.paired] for one in (picture, faces.source, faces.target)))

    def transform_terms(self, faces: Transfers, made: Tensor, use_pairs: bool = True,
                        is_identity_turn: bool = True) -> dict[str, tuple[float, Tensor]]:
        """Loss → (weight, value) of the transform network's pictures ``made`` [b,3,s,s]."""
        s = self.settings
        terms = {"attribute": (s.adversarial_weight, self._attribute_loss(faces, made))}
        if s.identity == "adaptive":  # DIAT-A
            discriminator = self.modules["discriminator"].requires_grad_(False)
            with torch.no_grad():
                known = discriminator.features(faces.source, ADAPTIVE_LAYERS.stop)[ADAPTIVE_LAYERS]
            found = discriminator.features(made, ADAPTIVE_LAYERS.stop)[ADAPTIVE_LAYERS]
            discriminator.requires_grad_(True)
            terms["identity"] = (s.identity_weight, losses.perceptual_identity(found, known))
        elif s.identity == "perceptual" and is_identity_turn:
            few = slice(s.identity_faces)
            terms["identity"] = (s.identity_weight, losses.perceptual_identity(
                self.identity(made[few]), losses.identity_feature_maps(self.identity, faces.source[few])))
        if s.smooth_weight:
            denoiser = self.modules["denoiser"].requires_grad_(False)
            terms["smooth"] = (s.smooth_weight, losses.smoothness(made, denoiser(made)))
            denoiser.requires_grad_(True)
        return terms | self._known_terms(faces, made, use_pairs)

    def enhancement_terms(self, faces: Transfers, made: Tensor, enhanced: Tensor,
                          use_pairs: bool = True) -> dict[str, tuple[float, Tensor]]:
        """Loss → (weight, value) of the enhancement network's pictures ``enhanced`` of T's pictures ``made``, both [b,3,s,s]."""
        s = self.settings
        told = losses.enhancement_losses(enhanced, made, faces.source)
        terms = {"attribute": (s.adversarial_weight, self._attribute_loss(faces, enhanced)),
                 "keep": (s.keep_weight, told["keep"]), "follow": (s.follow_weight, told["follow"])}
        return terms | self._known_terms(faces, enhanced, use_pairs)

    def _step_discriminator(self, faces: Transfers, picture: Tensor, context: StepContext) -> dict[str, Tensor]:
        """D: real faces that have a reference from made ones. The denoiser learns on the same real faces."""
        s, discriminator, denoiser = self.settings, self.modules["discriminator"], self.modules["denoiser"]
        real, wanted = faces.real[faces.is_real], faces.real_reference[faces.is_real]
        if not len(real):
            return {}
        with self.autocast():
            loss = discriminator_loss(discriminator.scores(real, wanted), discriminator.scores(picture, faces.reference))
        context.update("discriminator", loss)
        logged = {"discriminator": loss.detach()}
        if s.r1_gamma and context.is_turn(s.r1_every):
            with context.full_precision():
                shown = real.detach().clone().requires_grad_()
                penalty = r1_penalty(discriminator.scores(shown, wanted), shown)
                context.update("discriminator", 0.5 * s.r1_gamma * s.r1_every * penalty)
            logged["r1"] = penalty.detach()
        if s.smooth_weight and context.images_seen < s.enhance_from:
            noisy = real + s.noise * normal(real.shape, context.generator).to(real.device)
            with self.autocast():
                restored = F.mse_loss(denoiser(noisy).float(), real)
            context.update("denoiser", restored)
            logged["denoiser"] = restored.detach()
        return logged

    # -- judged on unseen faces -------------------------------------------------------------------------------------------

    def _edits(self, modules: dict[str, nn.Module], attribute: str, count: int) -> tuple[FaceBatch, Transfers, Tensor, Tensor]:
        """Unseen faces, what they shall have, T's pictures and the enhanced ones."""
        unseen = self.faces().unseen(attribute, count)
        chosen = transfers(unseen, self.faces_attributes, self.names, torch.Generator().manual_seed(0))
        made = modules["diat"].transform(chosen.source, chosen.reference)
        return unseen, chosen, made, modules["diat"].enhance(made, chosen.source)

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """Per attribute the scores of :func:`.common.scores.pair_scores`, of T's pictures (``transform_…``) and the enhanced."""
        scores: dict[str, float] = {}
        for attribute in self.faces_attributes:
            unseen, chosen, made, enhanced = self._edits(modules, attribute, count)
            swapped = (chosen.source != unseen.images).flatten(1).any(1)  # where no reference leads to the pair
            both = {name: torch.where(swapped.view(-1, *[1] * (unseen.extra[name].ndim - 1)), other, unseen.extra[name])
                    for name, other in (("traits", unseen.extra["pair_traits"]), ("pair_traits", unseen.extra["traits"]))}
            judged = FaceBatch(chosen.source, extra={"pair": chosen.target, **both})
            for stem, pictures in (("", enhanced), ("transform_", made)):
                found = pair_scores(pictures, judged, attribute, self.faces().maker)
                scores |= {stem + name: value for name, value in found.items() if not (stem and name.endswith("_unedited"))}
        return scores

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Per attribute four rows: eight unseen faces, T's pictures, the enhanced ones, the known pairs."""
        rows: list[Tensor] = []
        for attribute in self.faces_attributes:
            _, chosen, made, enhanced = self._edits(modules, attribute, 8)
            rows += [chosen.source, made, enhanced, chosen.target]
        return picture_grid(rows)

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {"diat": (modules["diat"].state_dict(), modules["diat"].config_dict() | {"system": self.name})}
