"""Training of relative-AU expression editing: the paper's, unpaired, and before it a warm-up on known pairs.

The paper trains on photographs of many people and the AUs that a network read from each. The target is the AUs of another face
of the batch, and the discriminator says whether it was reached. Faces sampled from the prior also come with a *pair*, the same
face with another expression, so the difference of the two readings is a condition whose answer is known. The warm-up learns from
pairs alone (ours): on a CPU the adversarial game would take days to begin with.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES, UnitReader, along_axes
from facemug_lib.faces.dataset import derangement
from facemug_lib.modalities.draws import chance, uniform
from facemug_lib.pictures import picture_grid
from facemug_lib.systems.common.faces import Reading, SystemFaces, SystemSettings
from facemug_lib.systems.common.scores import pair_scores
from facemug_lib.systems.relative_au import losses
from facemug_lib.systems.relative_au.networks import AuCritic, CriticConfig, RelativeAuConfig, RelativeAuGenerator
from facemug_lib.systems.relative_au.scores import monotony, psnr
from facemug_lib.training.profiles import knob
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.start import start

NAME = "relative_au"
READING = "units"  # of SystemFaces: extra["units"] and extra["pair_units"], [b,n] along AXIS_NAMES
READING_VERSION = 1  # raise when faces/action_units.py reads otherwise
SHOWN = ("au12", "au26", "au45", "au01")  # in the sample grid


class RelativeAuSettings(SystemSettings):
    """Relative-AU expression editing."""

    attributes: str = knob("smile,mouth_open,eyes_open", "the directions whose pairs differ in expression, with commas between")
    network: Literal["compact", "paper"] = knob("compact", "widths of the networks: compact, or the paper's (64 at full size)")
    lr: float = knob(1e-4, "Adam's learning rate of the generator", "authors' code", gt=0)
    critic_lr: float = knob(1e-4, "Adam's learning rate of the discriminator", "authors' code", gt=0)
    beta1: float = knob(0.5, "Adam's first moment", "authors' code", ge=0, lt=1)
    beta2: float = knob(0.999, "Adam's second moment", "authors' code", ge=0, lt=1)
    adversarial_weight: float = knob(1.0, "weight of WGAN", "authors' code", ge=0)
    penalty_weight: float = knob(10.0, "weight of its gradient penalty, in an optimizer step of its own", "authors' code", ge=0)
    unit_weight: float = knob(150.0, "weight of the regression of action units", "authors' code", ge=0)
    zero_weight: float = knob(30.0, "weight of L1 between a face and its zero edit", "authors' code", ge=0)
    cycle_weight: float = knob(30.0, "weight of L1 between a face and what v and then −v make of it", "authors' code", ge=0)
    variation_weight: float = knob(1e-5, "weight of the total variation, a sum over the batch", "authors' code", ge=0)
    generator_every: int = knob(4, "steps of the discriminator for one of the generator", "authors' code", ge=1)
    source_noise: float = knob(0.02, "largest error added to the AUs of a face", "authors' code", ge=0)
    target_noise: float = knob(0.1, "largest error added to the AUs that are aimed at", "authors' code", ge=0)
    pair_images: int = knob(0, "first images of the run, which learn from known pairs; 0 = as the paper throughout", ge=0)
    pair_lr: float = knob(1e-3, "Adam's learning rate meanwhile", gt=0)
    pair_emphasis: float = knob(4.0, "how much more than others a pixel weighs that a pair changes by 1, of a range of 2", ge=0)
    zero_share: float = knob(0.2, "share of pairs whose condition is made 0 and whose answer is then the face itself", ge=0, le=1)
    critic_images: int = knob(0, "images after the pairs from which the discriminator alone learns, to catch up", ge=0)
    pair_weight: float = knob(0.0, "weight of the pairs after the warm-up, beside the paper's losses", ge=0)

    @property
    def critic_until(self) -> int:
        """Images from which on the generator learns from the discriminator."""
        return self.pair_images + (self.critic_images if self.pair_images else 0)


_SMOKE = {"images": 48, "batch": 8, "pool": 16, "attributes": "smile", "pair_images": 32, "critic_images": 8,
          "generator_every": 1, "ema_halflife": 16, "stats_every": 8, "checkpoint_every": 256, "grid_every": 256,
          "evaluate_count": 2}
_LAPTOP = {"images": 60_000, "batch": 8, "warmup": 500, "decay": 8_000, "pair_images": 40_000, "critic_images": 4_000,
           "generator_every": 2, "lr": 2e-4, "critic_lr": 2e-4, "pair_weight": 30.0, "ema_halflife": 1_000, "stats_every": 500,
           "checkpoint_every": 2_000, "grid_every": 4_000, "evaluate_count": 32}
_PAPER = {"images": 2_000_000, "batch": 16, "decay": 800_000, "network": "paper", "pool": 20_000, "stats_every": 10_000,
          "checkpoint_every": 200_000, "grid_every": 100_000, "evaluate_count": 256}


class RelativeAuStage:
    """The stage of relative-AU editing for :func:`facemug_lib.training.loop.train`."""

    name, settings_class, image_source = NAME, RelativeAuSettings, "faces"
    ema = ("generator",)
    presets = {"smoke": _SMOKE, "laptop": _LAPTOP, "paper": _PAPER}

    def __init__(self, settings: RelativeAuSettings, generator: RelativeAuGenerator, critic: AuCritic,
                 reader: UnitReader | None = None) -> None:
        """``reader`` reads the action units of faces; by default from the landmarks."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"generator": generator, "critic": critic}
        self.reader = reader or UnitReader()
        self._faces: SystemFaces | None = None

    @classmethod
    def build(cls, settings: RelativeAuSettings, device: torch.device, init: str = "scratch") -> RelativeAuStage:
        generator = RelativeAuGenerator(getattr(RelativeAuConfig, settings.network)(AXIS_NAMES, settings.size))
        critic = AuCritic(getattr(CriticConfig, settings.network)(AXIS_NAMES, settings.size))
        start(generator, NAME, init)
        return cls(settings, generator.to(device), critic.to(device))

    def source(self, data: str, device: torch.device) -> SystemFaces:
        """Faces, each with the readings of the axes as ``extra["units"]`` [b,n]."""
        if data != "prior" and self.settings.pair_images:
            raise FacemugError(f"photographs alone have no pairs, which the first {self.settings.pair_images:,} images learn "
                               "from: leave out --data and name the folder as --set real=FOLDER, or add --set pair_images=0")
        self._faces = SystemFaces.of(self.settings, data, device, [Reading(READING, READING_VERSION, self.reader)])
        return self._faces

    @property
    def faces(self) -> SystemFaces:
        """Where the faces that no training sees come from."""
        return self._faces or self.source("prior", next(self.modules["generator"].parameters()).device)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        s, betas = self.settings, (self.settings.beta1, self.settings.beta2)
        generator, critic = self.modules["generator"].parameters(), self.modules["critic"].parameters()
        made = {"generator": torch.optim.Adam(generator, lr=s.lr, betas=betas),
                "critic": torch.optim.Adam(critic, lr=s.critic_lr, betas=betas)}
        if s.pair_images:  # its own moments: the two games' gradients differ by orders of magnitude
            made["pairs"] = torch.optim.Adam(self.modules["generator"].parameters(), lr=s.pair_lr, betas=(0.9, 0.99))
        return made

    # -- steps ------------------------------------------------------------------------------------------------------------

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        if context.images_seen < self.settings.pair_images:
            return self._paired_step(batch, context)
        told = self._critic_step(batch, context)
        if context.images_seen >= self.settings.critic_until and context.is_turn(self.settings.generator_every):
            told |= self._generator_step(batch, context)
        return told

    def _paired_step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        """G(x, v) against the known picture of that face; a photograph, which has no pair, is its own with v = 0."""
        image, known, change = self._pairs(batch, context)
        made = self.modules["generator"](image, change)
        loss = losses.pair_loss(made, known, image, self.settings.pair_emphasis)
        context.update("pairs", loss)
        return {"pair": loss.detach(), "pair_unedited": losses.pair_loss(image, known, image, self.settings.pair_emphasis)}

    def _pairs(self, batch: FaceBatch, context: StepContext) -> tuple[Tensor, Tensor, Tensor]:
        """Faces, what is to be made of them, and the condition [b,n] that asks for it; some ask for nothing."""
        is_zero = chance((len(batch),), self.settings.zero_share, context.generator).to(batch.images.device)
        change = (batch.extra["pair_units"] - batch.extra["units"]) * ~is_zero[:, None]
        return batch.images, torch.where(is_zero[:, None, None, None], batch.images, batch.extra["pair"]), change

    def _conditions(self, batch: FaceBatch, context: StepContext) -> tuple[Tensor, Tensor]:
        """The AUs of the faces and those that are aimed at, another face's of the batch, both [b,n] and with their noise."""
        s, units = self.settings, batch.extra["units"]

        def noisy(values: Tensor, largest: float) -> Tensor:
            return values + uniform(tuple(values.shape), -largest, largest, context.generator).to(values)

        return noisy(units, s.source_noise), noisy(units[derangement(len(units), context.generator)], s.target_noise)

    def _critic_step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        """Real from made, and the AUs of real faces; then the penalty, in a step of its own."""
        s, critic, image = self.settings, self.modules["critic"], batch.images
        source, target = self._conditions(batch, context)
        with torch.no_grad():
            fake = self.modules["generator"](image, target - source)
        (real_score, read), (fake_score, _) = critic(image), critic(fake)
        game, units = losses.critic_loss(real_score, fake_score), losses.unit_loss(read, source)
        context.update("critic", s.adversarial_weight * game + s.unit_weight * units)
        with context.full_precision():
            share = uniform((len(image),), 0, 1, context.generator)
            penalty = losses.gradient_penalty(lambda x: critic(x)[0], image.float(), fake.float(), share)
            context.update("critic", s.penalty_weight * penalty)
        return {"critic": game.detach(), "units_real": units.detach(), "penalty": penalty.detach()}

    def _generator_step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s, generator, image = self.settings, self.modules["generator"], batch.images
        source, target = self._conditions(batch, context)
        change = target - source
        fake = generator(image, change)
        score, read = self.modules["critic"](fake)
        terms = {
            "adversarial": (s.adversarial_weight, losses.adversarial_loss(score)),
            "units": (s.unit_weight, losses.unit_loss(read, target)),
            "zero": (s.zero_weight, losses.same_face_loss(generator(image, torch.zeros_like(change)), image)),
            "cycle": (s.cycle_weight, losses.same_face_loss(generator(fake, -change), image)),
            "variation": (s.variation_weight, losses.total_variation(fake)),
        }
        if s.pair_weight:
            face, known, asked = self._pairs(batch, context)
            terms["pair"] = (s.pair_weight, losses.pair_loss(generator(face, asked), known, face, s.pair_emphasis))
        context.update("generator", sum(weight * value for weight, value in terms.values()))
        return {name: value.detach() for name, (_, value) in terms.items()}

    # -- what it has learned ----------------------------------------------------------------------------------------------

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """On ``count`` unseen faces: scores against the known pair, how far off the AUs that were asked for are, the zero edit's
        PSNR, and Spearman's correlation of asked and read per unit, over eight of them; PSNR of unseen photographs too."""
        generator = modules["generator"]
        scores: dict[str, float] = {}
        for name in self.settings.attribute_names:
            faces = self.faces.unseen(name, count)
            asked = faces.extra["pair_units"] - faces.extra["units"]
            edited = generator(faces.images, asked)
            scores |= pair_scores(edited, faces, name, self.faces.maker)
            got = self.reader(edited).to(asked)
            scores[f"{name}_units_off"] = float((got - faces.extra["pair_units"]).abs().mean())
            scores[f"{name}_units_off_unedited"] = float(asked.abs().mean())
        scores["zero_psnr"] = psnr(generator(faces.images, torch.zeros_like(asked)), faces.images)
        photographs = self.faces.unseen_photographs(count)
        if photographs is not None:
            zero = photographs.images.new_zeros(len(photographs), len(AXIS_NAMES))
            scores["zero_psnr_photographs"] = psnr(generator(photographs.images, zero), photographs.images)
        return scores | monotony(generator, faces.images[:8], self.reader)

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Per direction two unseen faces, and photographs where some take part. Rows: the face, its zero edit, its pair, what was
        made of the pair's condition, and four units at 1."""
        rows = [self.faces.unseen(name, 2) for name in self.settings.attribute_names]
        photographs = self.faces.unseen_photographs(4)
        rows += [] if photographs is None else [photographs]
        images, pair, change = (torch.cat(parts) for parts in (
            [row.images for row in rows], [row.extra["pair"] for row in rows],
            [row.extra["pair_units"] - row.extra["units"] for row in rows]))
        generator = modules["generator"]
        units = [torch.from_numpy(along_axes({unit: 1.0})).to(change).expand_as(change) for unit in SHOWN]
        return picture_grid([images, generator(images, torch.zeros_like(change)), pair, generator(images, change),
                             *(generator(images, unit) for unit in units)])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        generator = modules["generator"]
        config = {"system": NAME, "attributes": list(ACTION_UNITS), "network": generator.config_dict()}
        return {NAME: (generator.state_dict(), config)}
