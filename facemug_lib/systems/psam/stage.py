"""Training PSAM: its settings, and the stage that the common loop trains.

Each step belongs to one task, the tasks take turns: one trunk, an attribute branch and a class head for each. The paper trains
unpaired: labels are shuffled, a class head says whether they were met, and the way back must lead to the source. Here most faces
have a known pair, so a run may begin with the distance to it (``pair_images``), and its scores are distances to pairs throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import fast_bf16
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.modalities.draws import chance, uniform
from facemug_lib.pictures import picture_grid
from facemug_lib.systems.common.faces import SystemFaces, SystemSettings
from facemug_lib.systems.common.scores import pair_scores
from facemug_lib.systems.common.targets import attribute_alone, pair_terms
from facemug_lib.systems.common.unet import begin_with_expressions
from facemug_lib.systems.psam import losses, makeup
from facemug_lib.systems.psam.networks import PsamConfig, PsamDiscriminator, PsamDiscriminatorConfig, PsamGenerator
from facemug_lib.systems.psam.tasks import Task, readable, require_tasks
from facemug_lib.systems.psam.transfer import load_all_but_branches
from facemug_lib.training.losses import r1_penalty
from facemug_lib.training.profiles import knob
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import start

CODE = "authors' code"


class PsamSettings(SystemSettings):
    """PSAM: personalised spatial-aware affine modulation."""

    tasks: str = knob("makeup,expression,illumination,aging", "the tasks, with commas between; they take turns", "paper")
    attributes: str = knob("smile,age", "streams of sampled faces that makeup is put on; every other task has its own")
    network: Literal["compact", "paper"] = knob("compact", "widths: ours for a CPU, or those of the authors' code")
    width: int = knob(16, "channels of F, Γ and B in the compact network (authors' code: 64)", ge=4)
    begin: Literal["relative_au", "fresh"] = knob("relative_au", "what the compact network's trunk begins with: the shipped "
                                                  "network of relative action units, or nothing")
    mode: Literal["add", "concat", "attention", "no_b"] = knob("add", "how Γ, B and F meet", CODE)
    plane: bool = knob(False, "Γ has one channel for all of F", CODE)
    gate: Literal["sigmoid", "relu"] = knob("sigmoid", "what ends the head of Γ", CODE)
    lr: float = knob(1e-3, "Adam's learning rate (authors' code: 1e-4)", gt=0)
    discriminator_lr: float = knob(4e-4, "that of the discriminator (authors' code: 1e-4)", gt=0)
    beta1: float = knob(0.5, "Adam's first beta; the second is 0.999", CODE, ge=0, lt=1)
    adversarial: losses.Adversarial = knob("logistic", "the authors' critic with gradient penalty, or logistic with R1")
    adversarial_weight: float = knob(0.1, "weight of the adversarial loss (authors' code: 1)", ge=0)
    class_weight: float = knob(0.1, "weight of the class loss on edited faces (authors' code: 1)", ge=0)
    cycle_weight: float = knob(10.0, "weight of the L1 of the way back to the source", CODE, ge=0)
    cycle_every: int = knob(2, "steps between ways back (authors' code: 1)", ge=1)
    penalty_weight: float = knob(10.0, "weight of the gradient penalty", CODE, ge=0)
    r1_gamma: float = knob(1.0, "R1 weight of the logistic loss", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "StyleGAN2", ge=1)
    generator_every: int = knob(1, "steps of the discriminator for one of the generator (authors' code: 5)", ge=1)
    pairs_alone: int = knob(0, "images at the start that learn from known pairs alone, without a discriminator", ge=0)
    pair_images: int | None = knob(None, "images at the start that learn from known pairs; none = all, 0 = as the paper", ge=0)
    keep_elsewhere: bool = knob(True, "where a pair hardly differs from the face, the face itself is to be learned")
    still_share: float = knob(
        0.15, "share of known pairs whose face is to stay as it is, as its own labels say: without it, labels could be ignored",
        ge=0, lt=1)
    pair_weight: float = knob(1.0, "weight of the distance to the known pair, as a share of the face's own", ge=0)
    pair_lpips_weight: float = knob(0.5, "weight of LPIPS-Alex to the known pair", ge=0)
    transfer_from: str | None = knob(None, "weights or run folder of other tasks, whose trunk and critic this run begins with")
    fast_bf16: bool = knob(True, "networks compute in bf16 on a CPU too, where that is faster (AVX512-BF16, AMX)")


_TICKS = {"stats_every": 16, "checkpoint_every": 256, "grid_every": 256, "evaluate_count": 2}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": _TICKS | {"images": 32, "batch": 4, "pairs_alone": 8, "size": 64, "width": 8, "pool": 16,
                       "tasks": "makeup,expression", "attributes": "smile", "begin": "fresh", "pair_lpips_weight": 0.0,
                       "ema_halflife": 50},
    "laptop": {"images": 40_000, "batch": 8, "pairs_alone": 24_000, "warmup": 400, "decay": 10_000, "ema_halflife": 1_000,
               "stats_every": 400, "evaluate_count": 16, "checkpoint_every": 2_000, "grid_every": 2_000, "evaluate_every": 4_000},
    # The authors' numbers: 200 epochs of about 200,000 faces, batch 11, five critic steps for one of the generator, no pairs.
    "paper": {"images": 40_000_000, "batch": 11, "size": 256, "network": "paper", "width": 64, "lr": 1e-4,
              "discriminator_lr": 1e-4, "adversarial": "wgan-gp", "adversarial_weight": 1.0, "class_weight": 1.0,
              "cycle_every": 1, "generator_every": 5, "pair_images": 0, "decay": 20_000_000, "pool": 100_000,
              "stats_every": 10_000, "checkpoint_every": 200_000, "grid_every": 100_000, "evaluate_count": 256},
}


@dataclass(frozen=True)
class TaskBatch:
    """One task's faces: source and target [b,3,s,s] with their labels [b,n]; ``paired`` [b]: which targets are known."""

    source: Tensor
    own: Tensor
    target: Tensor
    wanted: Tensor
    paired: Tensor


class TaskFaces:
    """The tasks' faces, a batch of each in turn (:class:`facemug_lib.faces.dataset.FaceSource`)."""

    has_codes = False

    def __init__(self, sources: Sequence[SystemFaces], batch: int) -> None:
        self.sources, self.batch = tuple(sources), batch

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        turn, which = divmod(indices[0] // self.batch, len(self.sources))
        return self.sources[which].draw([turn * self.batch + index % self.batch for index in indices], seed)

    def describe(self) -> str:
        return "; ".join(dict.fromkeys(source.describe() for source in self.sources))


class PsamStage:
    """PSAM for :func:`facemug_lib.training.loop.train`."""

    settings_class = PsamSettings
    presets = PRESETS
    name = "psam"
    ema = ("psam",)
    image_source = "faces"

    def __init__(self, settings: PsamSettings, generator: PsamGenerator, discriminator: PsamDiscriminator,
                 perceptual: Callable[[Tensor, Tensor], Tensor] | None, device: torch.device | str = "cpu") -> None:
        """``perceptual``: LPIPS of two pictures, [b]; None where its weight is 0."""
        self.settings, self.device = settings, torch.device(device)
        self.tasks = require_tasks(settings.tasks)
        self.modules: dict[str, nn.Module] = {"psam": generator, "discriminator": discriminator}
        self.perceptual = perceptual
        self._faces: dict[str, SystemFaces] = {}

    @classmethod
    def build(cls, settings: PsamSettings, device: torch.device, init: str = "scratch") -> PsamStage:
        """With fresh networks, those of ``init``, or, with ``transfer_from``, all of them but what belongs to a task."""
        tasks = require_tasks(settings.tasks)
        shape = {"tasks": tuple(task.name for task in tasks), "attributes": tuple(task.labels for task in tasks)}
        ways = {name: getattr(settings, name) for name in ("size", "width", "mode", "plane", "gate")}
        is_paper = settings.network == "paper"
        generator = PsamGenerator((PsamConfig.paper if is_paper else PsamConfig)(**shape, **ways))
        layers = {} if is_paper else {"layers": min(5, int(np.log2(settings.size)) - 2)}
        kind = PsamDiscriminatorConfig.paper if is_paper else PsamDiscriminatorConfig
        discriminator = PsamDiscriminator(kind(**shape, size=settings.size, **layers))
        for network in (generator, discriminator):
            network.to(memory_format=torch.channels_last)  # on the CPU too: 7.0 instead of 6.6 images a second there
        if not is_paper and init == "scratch" and settings.begin == "relative_au":
            begin_with_expressions(generator.trunk)
        start(generator, "psam", init)
        if settings.transfer_from is not None:
            load_all_but_branches(generator, discriminator, settings.transfer_from)
        perceptual = None
        if settings.pair_lpips_weight and settings.pair_images != 0:
            from facemug_lib.experts.perceptual import Lpips

            perceptual = Lpips("alex").to(device)
        return cls(settings, generator, discriminator, perceptual, device)

    # -- faces ------------------------------------------------------------------------------------------------------------

    def faces_of(self, task: Task, data: str = "prior") -> SystemFaces:
        """The faces that a task is learned from: those moved along its own attributes, and for makeup any."""
        if task.name not in self._faces:
            self._faces[task.name] = SystemFaces.of(self.settings, data, self.device, attributes=task.moves or None)
        return self._faces[task.name]

    def source(self, data: str, device: torch.device) -> TaskFaces:
        """A batch of each task in turn."""
        return TaskFaces([self.faces_of(task, data) for task in self.tasks], self.settings.batch)

    def task_batch(self, task: Task, batch: FaceBatch, generator: torch.Generator, use_pairs: bool = True) -> TaskBatch:
        """Sources, targets and labels of one task. Without pairs, and for faces that have none, the wanted labels are those of
        another face of the batch."""
        if task.name == "makeup":
            return self._made_up(task, batch, generator, use_pairs)
        own, other = (task.read(readable(batch.extra[name])) for name in ("traits", "pair_traits"))
        paired = batch.extra["has_pair"] & use_pairs
        shuffled = own[torch.randperm(len(own), generator=generator).to(own.device)]
        target = batch.extra["pair"]
        if self.settings.keep_elsewhere:
            target = attribute_alone(batch.images, target)
        # A pair lies on the other side, always: where nothing else was ever asked for, nobody would have to read the labels.
        stays = chance((len(own),), self.settings.still_share, generator).to(own.device) & paired
        other = torch.where(stays[:, None], own, other)
        target = torch.where(stays.view(-1, 1, 1, 1), batch.images, target)
        return TaskBatch(batch.images, own, target, torch.where(paired[:, None], other, shuffled), paired)

    def _made_up(self, task: Task, batch: FaceBatch, generator: torch.Generator, use_pairs: bool) -> TaskBatch:
        """Makeup makes its own pairs: each face with two amounts of it. Half of the sources stay as they are."""
        where = makeup.regions(batch.extra["labels"])
        now = torch.stack(list(makeup.amounts(batch.images, batch.extra["labels"], where=where).values()), dim=1)
        # A quarter beyond each end, so that "none" and "all" are seen often.
        drawn = uniform((2, *now.shape), -0.25, 1.25, generator).clamp(0, 1).to(now.device)
        stays = chance((len(now), 1), 0.5, generator).to(now.device)
        own = torch.where(stays, now, drawn[0])
        source, target = (makeup.made_up(batch.images, batch.extra["labels"], amount - now, where=where)
                          for amount in (own, drawn[1]))
        own, wanted = own.clamp(0, 1), drawn[1]
        if not use_pairs:
            wanted = own[torch.randperm(len(own), generator=generator).to(own.device)]
        return TaskBatch(source, own, target, wanted, torch.full((len(now),), use_pairs, device=now.device))

    # -- one step ---------------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        s = self.settings
        return {name: torch.optim.Adam(self.modules[name].parameters(), lr=lr, betas=(s.beta1, 0.999))
                for name, lr in (("psam", s.lr), ("discriminator", s.discriminator_lr))}

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 inside the block, where a CPU is faster in it."""
        return fast_bf16(self.device) if self.settings.fast_bf16 else nullcontext()

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s = self.settings
        task = self.tasks[context.step_index % len(self.tasks)]
        turn = context.step_index // len(self.tasks)  # how often this task has had its turn
        use_pairs = s.pair_images is None or context.images_seen < s.pair_images
        faces = self.task_batch(task, batch, context.generator, use_pairs)
        if context.images_seen < s.pairs_alone:
            return self._step_warm_up(task, faces, context)
        logged: dict[str, float | Tensor] = {}
        with self.autocast():
            if turn % s.generator_every == 0:
                fake, terms = self.generator_terms(task, faces, with_cycle=turn // s.generator_every % s.cycle_every == 0)
                logged |= {f"{name}_{task.name}": value.detach() for name, (_, value) in terms.items()}
            else:
                with torch.no_grad():
                    fake, terms = self._painted(task, faces.source, faces.own, faces.wanted), {}
        if terms:
            context.update("psam", sum(weight * value for weight, value in terms.values()))
        return logged | self._step_discriminator(task, faces, fake.detach(), turn, context)

    def _step_warm_up(self, task: Task, faces: TaskBatch, context: StepContext) -> dict[str, float | Tensor]:
        """The known pairs alone: what a face is to become is learned before anybody judges the picture."""
        if not bool(faces.paired.any()):
            return {}
        source, own, wanted, target = (one[faces.paired] for one in (faces.source, faces.own, faces.wanted, faces.target))
        with self.autocast():
            terms = pair_terms(self.settings, self.perceptual, self._painted(task, source, own, wanted), source,
                               target)
        context.update("psam", sum(weight * value for weight, value in terms.values()))
        return {f"{name}_{task.name}": value.detach() for name, (_, value) in terms.items()}

    def _painted(self, task: Task, images: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
        """G's pictures of faces with labels ``own`` that shall have ``wanted``."""
        generator = self.modules["psam"]
        return generator(images, generator.asked(own, wanted), task.name).image

    def generator_terms(self, task: Task, faces: TaskBatch,
                        with_cycle: bool = True) -> tuple[Tensor, dict[str, tuple[float, Tensor]]]:
        """(edited faces, loss → (weight, value)) of G on one batch."""
        s, discriminator = self.settings, self.modules["discriminator"]
        fake = self._painted(task, faces.source, faces.own, faces.wanted)
        discriminator.requires_grad_(False)
        patches, classes = discriminator(fake, task.name)
        discriminator.requires_grad_(True)
        terms = {"adversarial": (s.adversarial_weight, losses.generator_adversarial(patches, s.adversarial)),
                 "class": (s.class_weight, task.class_loss(classes, faces.wanted))}
        if with_cycle:
            back = self._painted(task, fake, faces.wanted, faces.own)
            terms["cycle"] = (s.cycle_weight, losses.pixel_distance(back, faces.source))
        if bool(faces.paired.any()):
            terms |= pair_terms(s, self.perceptual, *(one[faces.paired] for one in (fake, faces.source, faces.target)))
        return fake, terms

    def _step_discriminator(self, task: Task, faces: TaskBatch, fake: Tensor, turn: int,
                            context: StepContext) -> dict[str, Tensor]:
        """D: real from edited, and the labels of real faces; the penalty is a step of its own, as in the authors' code."""
        s, discriminator = self.settings, self.modules["discriminator"]
        with self.autocast():
            real_patches, classes = discriminator(faces.source, task.name)
            fake_patches, _ = discriminator(fake, task.name)
            told = task.class_loss(classes, faces.own)
            loss = losses.discriminator_adversarial(real_patches, fake_patches, s.adversarial) + told
        context.update("discriminator", loss)
        logged = {f"discriminator_{task.name}": loss.detach(), f"real_class_{task.name}": told.detach()}
        with context.full_precision():
            if s.adversarial == "wgan-gp" and s.penalty_weight:
                share = uniform((len(fake), 1, 1, 1), 0, 1, context.generator).to(fake.device)
                penalty = losses.gradient_penalty(lambda x: discriminator(x, task.name)[0], faces.source, fake, share)
                context.update("discriminator", s.penalty_weight * penalty)
                logged["penalty"] = penalty.detach()
            elif s.adversarial == "logistic" and s.r1_gamma and turn % s.r1_every == 0:
                real = faces.source.detach().clone().requires_grad_()
                penalty = r1_penalty(discriminator(real, task.name)[0].mean((2, 3)), real)
                context.update("discriminator", 0.5 * s.r1_gamma * s.r1_every * penalty)
                logged["penalty"] = penalty.detach()
        return logged

    # -- judged on unseen faces -------------------------------------------------------------------------------------------

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """Per attribute the scores of :func:`.common.scores.pair_scores`; of makeup, L1 to the target inside its regions.

        ``…_pair`` and ``…_pair_unedited`` are L1 to the known pair, of the edit and of the face itself.
        """
        scores: dict[str, float] = {}
        for task in self.tasks:
            faces = self.faces_of(task)
            for attribute in task.moves or faces.attributes[:1]:
                unseen = faces.unseen(attribute, count)
                chosen = self.task_batch(task, unseen, torch.Generator().manual_seed(0))
                edited = apply(modules["psam"], chosen.source, chosen.own, chosen.wanted, task.name)
                if task.moves:
                    scores |= pair_scores(edited, unseen, attribute, faces.maker)
                    continue
                where = makeup.regions(unseen.extra["labels"]).amax(1, keepdim=True)
                for name, picture in (("pair", edited), ("pair_unedited", chosen.source)):
                    inside = ((picture - chosen.target).abs().mean(1, keepdim=True) * where).sum() / where.sum()
                    scores[f"makeup_{name}"] = float(inside)
        return scores

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Per task three rows: six unseen faces, their edits, the known pairs."""
        rows: list[Tensor] = []
        for task in self.tasks:
            faces = self.faces_of(task)
            attribute = (task.moves or faces.attributes)[0]
            chosen = self.task_batch(task, faces.unseen(attribute, 6), torch.Generator().manual_seed(0))
            rows += [chosen.source, apply(modules["psam"], chosen.source, chosen.own, chosen.wanted, task.name), chosen.target]
        return picture_grid(rows)

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {"psam": (modules["psam"].state_dict(), modules["psam"].config_dict() | {"system": self.name})}


def apply(generator: PsamGenerator, images: Tensor, own: Tensor, wanted: Tensor, task: str) -> Tensor:
    """Edited faces [b,3,h,w]: what the wanted labels c' change against the face's own c, x + G(x, c → c') − G(x, c → c) (ours).

    What G cannot rebuild of a face stays as it was, and c' = c changes nothing at all.
    """
    made, still = (generator(images, generator.asked(own, labels), task).image for labels in (wanted, own))
    return (images + made - still).clamp(-1, 1)
