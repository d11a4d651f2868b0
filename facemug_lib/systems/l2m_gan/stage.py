"""L2M-GAN's settings and its training stage.

The paper trains without pairs: two sets of faces, one on each side of an attribute. The prior knows pairs, so a *warm-up* is
offered (``pair_weight``): at first the edited face is also compared with the same face moved by the prior, which brings a compact
network to believable edits in a fraction of the images. ``--set pair_weight=0`` is the paper's training.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import has_fast_bf16
from facemug_lib.errors import FacemugError
from facemug_lib.experts.perceptual import Lpips
from facemug_lib.modalities.draws import chance, integers
from facemug_lib.pictures import picture_grid
from facemug_lib.systems.common.faces import SystemFaces, SystemSettings
from facemug_lib.systems.common.rendering import SIDES, TRAIT_NAMES
from facemug_lib.systems.common.scores import changed_region, pair_scores
from facemug_lib.systems.common.unet import begin_with_expressions
from facemug_lib.systems.l2m_gan.losses import cosine, cycle_loss, masked_mean, orthogonality_loss, perceptual_loss, style_loss
from facemug_lib.systems.l2m_gan.networks import Codes, Discriminator, L2MConfig, L2MNetworks, Output, Skip, chosen
from facemug_lib.training.losses import discriminator_loss, generator_loss, r1_penalty
from facemug_lib.training.profiles import knob
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.start import start

COMPACT_DISCRIMINATOR = (32, 64, 96, 128)


class L2MSettings(SystemSettings):
    """L2M-GAN. The authors published code for tests alone; ``public code`` is an independent one that trains."""

    batch: int = knob(8, "images of one step, over all processes", "public code", ge=1)
    lr: float = knob(1e-4, "Adam's learning rate", "public code", gt=0)
    weight_decay: float = knob(1e-4, "Adam's weight decay", "public code", ge=0)
    ema_halflife: int = knob(5_500, "half-life of the averaged networks in images: 0.999 a step of 8", "public code", ge=1)
    network: Literal["compact", "paper"] = knob("paper", "widths and blocks: the published ones, or those for one CPU core")
    width: int = knob(16, "channels of the compact generator at full size; 1.5, 3 and 4.5 times as many below", ge=4)
    begin: Literal["relative_au", "fresh"] = knob("relative_au", "what the compact generator begins with: the shipped network of "
                                                  "relative action units, or nothing")
    skip: Skip = knob("high_pass", "what the decoder gets of the encoder: edges around the parts of a face, all, or nothing",
                      "authors' code")
    output: Output = knob("image", "what the generator paints: a picture, or what is added to the face", "authors' code")
    adversarial_weight: float = knob(1.0, "weight of L_adv, what the discriminator says of edited faces", "authors' code", ge=0)
    cycle_weight: float = knob(1.0, "weight of L_cyc, the way back to the face itself", "authors' code", ge=0)
    cycle_every: int = knob(1, "steps between it; it weighs so much more then", ge=1)
    style_weight: float = knob(1.0, "weight of L_sty, the style of the edited face", "authors' code", ge=0)
    perceptual_weight: float = knob(1.0, "weight of L_per; φ is AlexNet, the authors take ResNet-18", "authors' code", ge=0)
    orthogonal_weight: float = knob(1.0, "weight of L_ort, the constraint on the parts of the style", "authors' code", ge=0)
    unit_parts: bool = knob(False, "L_ort compares the directions of the parts of the style, whatever their lengths")
    r1_weight: float = knob(1.0, "weight of ½‖∇D(real)‖²", "authors' code", ge=0)
    r1_every: int = knob(1, "steps between it; it weighs so much more then", ge=1)
    pair_weight: float = knob(0.0, "weight of the warm-up, L1 and a fifth of LPIPS to the known pair; 0 = the paper's training",
                              ge=0)
    pair_images: int = knob(0, "images after which the warm-up begins to fade", ge=0)
    pair_fade: int = knob(1, "images over which it fades", ge=1)
    pair_rest: float = knob(0.0, "share of the warm-up's weight that stays", ge=0, le=1)
    region_weight: float = knob(4.0, "how much more a pixel counts there where face and pair differ", ge=0)
    same_share: float = knob(0.0, "share of faces that are asked for what they show, or for degree 0, and shall not change", ge=0,
                             le=0.5)
    same_weight: float = knob(5.0, "weight of L1 for these", ge=0)
    stray_share: float = knob(0.2, "share of sampled faces whose attribute is another than their pair's", ge=0, le=1)
    half: Literal["auto", "never"] = knob("auto", "networks run in bf16 on a CPU that multiplies it, which is faster there")


class Task(NamedTuple):
    """What a batch is asked for, each [b]: the attribute's number, the side that a face is on (1: has it) and the one it shall be
    on, the degree, whether it shall stay as it is, and whether its pair shows what is asked for."""

    attribute: Tensor
    side: Tensor
    goal: Tensor
    degree: Tensor
    stays: Tensor
    is_paired: Tensor


class L2MStage:
    """The stage for :func:`facemug_lib.training.loop.train`."""

    name = "l2m_gan"
    settings_class = L2MSettings
    ema = ("l2m_gan",)
    image_source = "faces"
    presets = {
        "smoke": {"images": 32, "batch": 4, "size": 64, "network": "compact", "width": 8, "begin": "fresh", "pool": 16,
                  "attributes": "smile,age", "lr": 1e-3, "cycle_every": 2, "r1_every": 8, "pair_weight": 10.0,
                  "pair_images": 10_000, "same_share": 0.2, "unit_parts": True, "ema_halflife": 50, "stats_every": 8,
                  "checkpoint_every": 256, "grid_every": 256, "evaluate_count": 4},
        "laptop": {"images": 24_000, "batch": 8, "network": "compact", "lr": 1e-3,
                   "decay": 6_000, "cycle_every": 2, "r1_every": 8, "pair_weight": 10.0, "pair_images": 12_000,
                   "pair_fade": 6_000, "pair_rest": 0.3, "same_share": 0.15, "unit_parts": True, "ema_halflife": 1_000,
                   "clip_norm": 10.0, "stats_every": 400, "checkpoint_every": 2_000, "grid_every": 2_000,
                   "evaluate_every": 4_000, "evaluate_count": 32},
        "paper": {"images": 800_000, "size": 256, "attributes": "smile", "pool": 10_000, "stats_every": 10_000,
                  "checkpoint_every": 50_000, "grid_every": 50_000, "evaluate_count": 256},
    }

    def __init__(self, settings: L2MSettings, networks: L2MNetworks, discriminator: nn.Module, perceptual: Lpips,
                 faces: SystemFaces | None = None) -> None:
        """``perceptual`` is frozen; ``faces`` take the place of those that the settings describe."""
        self.settings, self.perceptual = settings, perceptual
        self.modules: dict[str, nn.Module] = {"l2m_gan": networks, "discriminator": discriminator}
        self._faces = faces
        unknown = [name for name in settings.attribute_names if name not in SIDES]
        if unknown:
            raise FacemugError(f"no faces are known for attribute {unknown[0]!r}: choose from {', '.join(SIDES)}")
        sides = [SIDES[name] for name in settings.attribute_names]
        self._columns = torch.tensor([TRAIT_NAMES.index(one.trait) for one in sides])
        self._middles = torch.tensor([one.middle for one in sides])

    @classmethod
    def build(cls, settings: L2MSettings, device: torch.device, init: str = "scratch") -> L2MStage:
        """Fresh networks, or those of ``init``; the opponent is always fresh, resume states aside."""
        is_compact = settings.network == "compact"
        ways = {"width": settings.width} if is_compact else {"skip": settings.skip, "output": settings.output}
        config = L2MConfig.of(settings.network, settings.attribute_names, settings.size, **ways)
        networks = L2MNetworks(config)
        if is_compact and init == "scratch" and settings.begin == "relative_au":
            begin_with_expressions(networks.generator)
        start(networks, cls.name, init)
        discriminator = Discriminator(len(config.attributes), config.size, COMPACT_DISCRIMINATOR if is_compact else
                                      config.style_widths, 2 if is_compact else 1)
        for module in (networks, discriminator):
            module.to(device, memory_format=torch.channels_last)
        return cls(settings, networks, discriminator, Lpips("alex").to(device))

    def source(self, data: str, device: torch.device) -> SystemFaces:
        """The common faces of the systems."""
        if self._faces is None:
            self._faces = SystemFaces.of(self.settings, data, device)
        return self._faces

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with betas (0, 0.99)."""
        s = self.settings
        return {name: torch.optim.Adam(module.parameters(), lr=s.lr, betas=(0.0, 0.99), weight_decay=s.weight_decay)
                for name, module in self.modules.items()}

    # -- one step ---------------------------------------------------------------------------------------------------------

    def task(self, batch: FaceBatch, generator: torch.Generator) -> Task:
        """What each face is asked for: the other side of the attribute that its pair differs in, or of a random one."""
        s, device, count = self.settings, batch.images.device, len(batch)
        own = batch.extra["strength"].abs().argmax(1)
        drawn = integers((count,), 0, len(self._columns), generator).to(device)
        strays = chance((count,), s.stray_share, generator).to(device) | ~batch.extra["has_pair"]
        attribute = torch.where(strays, drawn, own)
        column, middle = self._columns.to(device)[attribute], self._middles.to(device)[attribute]
        side, pair_side = ((traits.gather(1, column[:, None])[:, 0] >= middle).long() for traits in
                           (batch.extra["traits"], batch.extra["pair_traits"]))
        stays = chance((count,), s.same_share, generator).to(device)
        has_no_degree = stays & chance((count,), 0.5, generator).to(device)
        goal = torch.where(stays & ~has_no_degree, side, 1 - side)
        is_paired = batch.extra["has_pair"] & (attribute == own) & (pair_side == goal) & ~stays
        return Task(attribute, side, goal, (~has_no_degree).float(), stays, is_paired)

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        networks, discriminator = self.modules["l2m_gan"], self.modules["discriminator"]
        task = self.task(batch, context.generator)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with self._precision(context):
            fake, codes = networks(images, task.attribute, task.goal, task.degree)
        terms = self._oppose(images, fake.detach(), task, context)
        discriminator.requires_grad_(False)
        weighted = self._generator_terms(batch, images, fake, codes, task, context)
        context.update("l2m_gan", sum(weight * value for weight, value in weighted.values()))
        discriminator.requires_grad_(True)
        before, after = cosine(codes)
        terms |= {name: value for name, (_, value) in weighted.items()} | {"cosine": before, "cosine_after": after}
        return {name: value.detach() for name, value in terms.items()}

    def _oppose(self, images: Tensor, fake: Tensor, task: Task, context: StepContext) -> dict[str, Tensor]:
        """The discriminator's half: real faces on their own side, edited ones on the side where they were sent."""
        s, discriminator = self.settings, self.modules["discriminator"]
        shown = torch.where(task.degree > 0, task.goal, task.side)
        with self._precision(context):
            both = discriminator(torch.cat((images, fake))).float()
        real, edited = both.chunk(2)
        adversarial = discriminator_loss(chosen(real, 2 * task.attribute + task.side), chosen(edited, 2 * task.attribute + shown))
        terms, loss = {"discriminator": adversarial}, adversarial
        if s.r1_weight and context.is_turn(s.r1_every):
            with context.full_precision():
                leaf = images.detach().clone().requires_grad_()
                penalty = r1_penalty(chosen(discriminator(leaf), 2 * task.attribute + task.side), leaf)
            terms["r1"] = penalty
            loss = loss + s.r1_weight / 2 * s.r1_every * penalty
        context.update("discriminator", loss)
        return terms

    def _generator_terms(self, batch: FaceBatch, images: Tensor, fake: Tensor, codes: Codes, task: Task,
                         context: StepContext) -> dict[str, tuple[float, Tensor]]:
        """The other half: name → (weight, loss)."""
        s, networks = self.settings, self.modules["l2m_gan"]
        shown = torch.where(task.degree > 0, task.goal, task.side)
        terms: dict[str, tuple[float, Tensor]] = {}
        with self._precision(context):
            logits = self.modules["discriminator"](fake).float()
            terms["adversarial"] = (s.adversarial_weight, generator_loss(chosen(logits, 2 * task.attribute + shown)))
            read = networks.style(fake, task.attribute)
            terms["style"] = (s.style_weight, style_loss(codes.edited.float(), read.float()))
            if s.cycle_weight and context.is_turn(s.cycle_every):
                back = networks.paint(fake, read, codes.style)
                terms["cycle"] = (s.cycle_weight * s.cycle_every, cycle_loss(back.float(), images))
            features = self.perceptual.embed(fake)
            with torch.no_grad():
                own = self.perceptual.embed(images)
        features = [one.float() for one in features]
        terms["perceptual"] = (s.perceptual_weight, perceptual_loss([one.float() for one in own], features))
        parts = Codes(*(one.float() for one in codes))
        terms["orthogonal"] = (s.orthogonal_weight, orthogonality_loss(parts, s.unit_parts))
        if s.same_share and bool(task.stays.any()):
            apart = (fake.float() - images).abs().mean((1, 2, 3))
            terms["same"] = (s.same_weight, masked_mean(apart, task.stays))
        weight = self.pair_weight(context.images_seen)
        if weight and bool(task.is_paired.any()):
            terms["pair"] = (weight, self._pair_loss(batch, fake.float(), features, task.is_paired))
        return terms

    def _pair_loss(self, batch: FaceBatch, fake: Tensor, features: list[Tensor], is_paired: Tensor) -> Tensor:
        """L1 to the known pair, heavier where the attribute shows, and a fifth of LPIPS."""
        pair = batch.extra["pair"]
        weight = 1 + self.settings.region_weight * changed_region(batch.images, pair)
        apart = ((fake - pair).abs().mean(1, keepdim=True) * weight).mean((1, 2, 3))
        with torch.no_grad():
            aim = self.perceptual.embed(pair)
        lpips = self.perceptual.distance(features, aim)
        return masked_mean(apart + 0.2 * lpips, is_paired)

    def pair_weight(self, images_seen: int) -> float:
        """The warm-up's weight after so many images: whole, then falling to the share that stays."""
        s = self.settings
        gone = min(1.0, max(0.0, (images_seen - s.pair_images) / s.pair_fade))
        return s.pair_weight * (1 - gone * (1 - s.pair_rest))

    def _precision(self, context: StepContext) -> torch.autocast:
        """bf16 on a CPU that multiplies it; elsewhere what the loop has set."""
        is_fast = context.device.type == "cpu" and self.settings.half == "auto" and has_fast_bf16()
        is_half = context.precision == "bf16" or is_fast
        return torch.autocast(context.device.type, torch.bfloat16, enabled=is_half)

    # -- what has been learned --------------------------------------------------------------------------------------------

    def _edited(self, networks: nn.Module, images: Tensor, number: int, goal: Tensor) -> tuple[Tensor, Codes]:
        faces, codes = networks(images, torch.full((len(images),), number, device=images.device), goal)
        return faces.float().clamp(-1, 1), codes

    def _goal(self, traits: Tensor, number: int) -> Tensor:
        """The other side [b] of attribute ``number`` for faces with these traits [b,13]."""
        return (traits[:, self._columns[number]] < self._middles[number]).long()

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """:func:`pair_scores` of unseen faces sent to the other side of each attribute, ``photo_…`` what can be said of held-out
        photographs, and the mean |cos| of s_re and s_un before the transformation and after."""
        scores: dict[str, float] = {}
        cosines = []
        networks, faces = modules["l2m_gan"], self.source("prior", next(modules["l2m_gan"].parameters()).device)
        photographs = faces.unseen_photographs(count)
        for number, name in enumerate(self.settings.attribute_names):
            unseen = faces.unseen(name, count)
            edited, codes = self._edited(networks, unseen.images, number, self._goal(unseen.extra["traits"], number))
            scores |= pair_scores(edited, unseen, name, faces.maker)
            cosines.append(torch.stack(cosine(codes)))
            if photographs is not None:
                goal = self._goal(photographs.extra["traits"], number)
                edited, _ = self._edited(networks, photographs.images, number, goal)
                after = faces.maker.read(edited)[1][:, self._columns[number]].to(goal.device)
                scores[f"photo_{name}_right"] = float(((after >= self._middles[number]) == (goal == 1)).float().mean())
                scores[f"photo_{name}_change"] = float((edited - photographs.images).abs().mean())
        before, after = torch.stack(cosines).mean(0)
        return scores | {"cosine": float(before), "cosine_after": float(after)}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Six unseen faces, and six held-out photographs where some take part; below them each attribute on the other side."""
        networks, faces = modules["l2m_gan"], self.source("prior", next(modules["l2m_gan"].parameters()).device)
        names, photographs = self.settings.attribute_names, faces.unseen_photographs(6)
        rows = []
        for number, name in enumerate(names):
            unseen = faces.unseen(name, 6)
            shown = [unseen] if photographs is None else [unseen, photographs]
            images, traits = torch.cat([one.images for one in shown]), torch.cat([one.extra["traits"] for one in shown])
            edited, _ = self._edited(networks, images, number, self._goal(traits, number))
            rows += ([images] if not rows else []) + [torch.cat([one.extra["pair"] for one in shown]), edited]
        return picture_grid(rows)

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        networks = modules["l2m_gan"]
        return {self.name: (networks.state_dict(), networks.describe())}
