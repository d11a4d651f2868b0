"""Distillation of the expert: what several public networks say of a face, learned by one compact network.

Batches that carry ``extra["labels"]`` (and ``extra["attributes"]``), as a folder labelled by
:func:`facemug_lib.training.distillation.teachers.label_folder` does, or photographs with label maps made by hand, are learned
from directly. Any other face is shown to the teachers first, which come from the npm registry.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.devices import batches
from facemug_lib.experts.student import ATTRIBUTES, ExpertConfig, ExpertStudent
from facemug_lib.faces.dataset import FaceFolder
from facemug_lib.modalities.draws import chance
from facemug_lib.modalities.semantics import NUM_CLASSES, colourise, flip_labels
from facemug_lib.pictures import picture_grid
from facemug_lib.training.augmentation import jittered, photograph
from facemug_lib.training.conditions import labels_from
from facemug_lib.training.distillation.agreement import class_iou, compare, confused
from facemug_lib.training.profiles import PhotographSettings, knob
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.start import start

if TYPE_CHECKING:
    from facemug_lib.training.distillation.teachers import Teachers

IGNORED = -1
# Offsets and scales of the attributes that are numbers: mean and deviation of 326 teacher-labelled prior samples, rounded.
ATTRIBUTE_SCALE = {"age": (32.0, 12.0), "mouth_open": (0.115, 0.085), "eyes_open": (0.255, 0.04), "yaw": (0.0, 13.0),
                   "pitch": (0.0, 8.0), "hair_lightness": (0.27, 0.12), "hair_length": (4.1, 5.4)}
# Share of each class's pixels in those samples.
CLASS_SHARE = (.307, .276, .022, .007, .002, .002, .005, .005, .007, .006, .0035, .004, .007, .245, .012, .0002, .0001, .04, .05)


class ExpertSettings(PhotographSettings):
    """The expert student: face parsing and attributes."""

    teachers: Literal["public", "start"] = knob(
        "public", "who says what a face without labels shows: the public networks, or the weights that the run starts from")
    psi_low: float = knob(0.5, "smallest truncation of sampled faces", ge=0, le=1)
    trunk_rate: float = knob(0.3, "learning rate of the trunk, which arrives trained, over the others", ge=0, is_later=True)
    weight_decay: float = knob(1e-2, "AdamW's weight decay", ge=0, is_later=True)
    small_share: float = knob(0.5, "first share of the run that looks at smaller pictures, which are quicker", ge=0, le=1)
    small_size: int = knob(160, "side of these smaller pictures", ge=32, is_later=True)
    dice_weight: float = knob(0.5, "weight of soft Dice beside the cross-entropy of the parse", ge=0, is_later=True)
    attributes_weight: float = knob(0.5, "weight of the attributes beside the parse", ge=0, is_later=True)
    number_beta: float = knob(0.5, "where smooth L1 of the numbers turns linear, in standard deviations", gt=0, is_later=True)
    class_power: float = knob(1 / 3, "small parts decide how a parse looks but cover few pixels: a class weighs by its share of "
                              "the pixels to the power of minus this", ge=0, le=1, is_later=True)
    class_limit: float = knob(4.0, "largest weight of a class", ge=1, is_later=True)
    turn: float = knob(10.0, "faces turn by at most so many degrees", ge=0, le=45, is_later=True)
    zoom: float = knob(0.2, "their size changes by 2^±this at most", ge=0, le=1, is_later=True)
    shift: float = knob(0.05, "they move by at most this share of their side", ge=0, le=0.5, is_later=True)


class ExpertStage:
    """The expert's stage for :func:`facemug_lib.training.loop.train`."""

    settings_class = ExpertSettings
    name = "expert"
    ema = ("expert",)
    image_source = "faces"

    def __init__(self, settings: ExpertSettings, expert: ExpertStudent, teachers: Teachers | FormerExpert | None = None,
                 photographs: FaceFolder | None = None) -> None:
        """``teachers`` are fetched when a batch first arrives without labels; ``photographs`` are held-out ones with label
        maps that are scored too."""
        self.settings, self.photographs = settings, photographs
        self.modules: dict[str, nn.Module] = {"expert": expert}
        self._teachers = teachers
        self._test: FaceBatch | None = None
        share = torch.tensor(CLASS_SHARE)
        self._class_weight = (share / 0.3).pow(-settings.class_power).clamp(max=settings.class_limit)  # about 1 for skin
        self._is_logit = torch.tensor([attribute.logit for attribute in ATTRIBUTES.values()])
        self._sign = torch.tensor([-1.0 if attribute.odd else 1.0 for attribute in ATTRIBUTES.values()])
        scale = torch.tensor([ATTRIBUTE_SCALE.get(name, (0.0, 1.0)) for name in ATTRIBUTES])
        expert.set_attribute_scale(scale[:, 0], scale[:, 1])

    @classmethod
    def build(cls, settings: ExpertSettings, device: torch.device, init: str = "scratch") -> ExpertStage:
        """A fresh expert starts from ImageNet weights."""
        expert = ExpertStudent(ExpertConfig())
        if init == "scratch":
            expert.trunk.load_imagenet()
        start(expert, "expert", init)
        teachers = FormerExpert(expert.to(device)) if settings.teachers == "start" else None
        photographs = None if settings.real is None else FaceFolder(settings.real, device, split="test", flip=False)
        return cls(settings, expert.to(device), teachers, photographs)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        expert = self.modules["expert"]
        trunk = {id(parameter) for parameter in expert.trunk.parameters()}
        fresh = [parameter for parameter in expert.parameters() if id(parameter) not in trunk]
        s = self.settings
        groups = [{"params": list(expert.trunk.parameters()), "lr": s.trunk_rate * s.lr}, {"params": fresh, "lr": s.lr}]
        return {"expert": torch.optim.AdamW(groups, lr=s.lr, betas=(0.9, 0.99), weight_decay=s.weight_decay)}

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        labels, attributes = self._targets(batch)
        s = self.settings
        images, labels, attributes = augment(batch.images, labels, attributes * 1.0, self._sign, context.generator, turn=s.turn,
                                             zoom=s.zoom, shift=s.shift)
        is_small = context.images_seen < s.small_share * s.images
        logits, raw = self.modules["expert"].raw(images, s.small_size if is_small else None)
        with context.full_precision():
            parse = self.parse_loss(logits.float(), labels)
            values = self._attribute_losses(raw.float(), attributes)
            read = values.mean()
        context.update("expert", parse + s.attributes_weight * read)
        logged = {name: value.detach() for name, value in zip(ATTRIBUTES, values, strict=True)}
        return {"parse": parse.detach(), "attributes": read.detach(), **logged}

    def parse_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted cross-entropy plus soft Dice, at half the label map's resolution."""
        size = (labels.shape[1] // 2, labels.shape[2] // 2)
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        labels = labels[:, ::2, ::2]
        entropy = F.cross_entropy(logits, labels, self._class_weight.to(logits.device), ignore_index=IGNORED)
        known = (labels != IGNORED)[:, None]
        truth = F.one_hot(labels.clamp(min=0), NUM_CLASSES).permute(0, 3, 1, 2) * known
        guess = logits.softmax(1) * known
        overlap, total = (guess * truth).sum((0, 2, 3)), (guess + truth).sum((0, 2, 3))
        present = truth.sum((0, 2, 3)) > 0
        dice = 1 - (2 * overlap + 1) / (total + 1)
        return entropy + self.settings.dice_weight * (dice * present).sum() / present.sum().clamp(min=1)

    def _attribute_losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """One loss per attribute [10]: cross-entropy with the teacher's probability, or smooth L1 on standardised numbers."""
        expert = self.modules["expert"]
        known = targets.isfinite()
        targets = torch.where(known, targets, torch.zeros_like(targets))
        logit = self._is_logit.to(raw.device)
        probability = F.binary_cross_entropy_with_logits(raw, targets.clamp(0, 1), reduction="none")
        standardised = (targets - expert.attribute_mean) / expert.attribute_std
        number = F.smooth_l1_loss(raw, standardised, reduction="none", beta=self.settings.number_beta)
        each = torch.where(logit, probability, number) * known
        return each.sum(0) / known.sum(0).clamp(min=1)

    def _targets(self, batch: FaceBatch) -> tuple[Tensor, Tensor]:
        attributes = batch.extra.get("attributes")
        labels = labels_from(batch, self)
        if attributes is None:
            attributes = self._ask().attributes(batch.images, labels).to(batch.images.device)
        elif "mirrored" in batch.extra:  # the file's rows describe the images before the source flipped them
            attributes = torch.where(batch.extra["mirrored"][:, None], attributes * self._sign.to(attributes), attributes)
        return labels, attributes

    def parse(self, images: Tensor) -> Tensor:
        """The teachers' label maps, long [b,h,w], of images [b,3,h,w] in [-1,1]."""
        return self._ask().parse(images)

    def _ask(self) -> Teachers | FormerExpert:
        if self._teachers is None:
            from facemug_lib.training.distillation.teachers import Teachers

            self._teachers = Teachers(next(self.modules["expert"].parameters()).device)
        return self._teachers

    def _test_faces(self, count: int) -> FaceBatch:
        if self._test is None or len(self._test) < count:
            from facemug_lib.faces.dataset import heldout_faces
            from facemug_lib.faces.prior import FacePrior

            device = next(self.modules["expert"].parameters()).device
            faces = heldout_faces(FacePrior.load(device), count)
            batch = FaceBatch(faces.images)
            labels, attributes = zip(*(self._targets(FaceBatch(part)) for part in faces.images.split(8)), strict=True)
            self._test = FaceBatch(batch.images, None, {"labels": torch.cat(labels), "attributes": torch.cat(attributes)})
        return self._test

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """Agreement with the teachers on unseen prior samples: mIoU, pixel accuracy, correlation or accuracy per attribute; and
        ``photo_…`` with the label maps of held-out photographs, over all classes that these show."""
        faces = self._test_faces(count)
        scores = compare(modules["expert"], faces.images, faces.extra["labels"], faces.extra["attributes"]).summary()
        return scores | self._evaluate_photographs(modules["expert"])

    def _evaluate_photographs(self, expert: nn.Module) -> dict[str, float]:
        if self.photographs is None:
            return {}
        confusion = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.long)
        for places in batches(len(self.photographs)):
            faces = self.photographs.draw(places, 0)
            confusion += confused(expert.parse(faces.images), faces.extra["labels"])
        is_shown = confusion.sum(1) > 0
        return {"photo_pixel_accuracy": float(confusion.diagonal().sum() / confusion.sum()),
                "photo_miou": float(class_iou(confusion)[is_shown].mean())}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Eight unseen faces, and eight held-out photographs where some take part: the teacher's parse, the student's."""
        faces = self._test_faces(8)
        images, labels = faces.images[:8], faces.extra["labels"][:8]
        if self.photographs is not None:
            photographs = self.photographs.draw(range(min(8, len(self.photographs))), 0)
            images, labels = torch.cat((images, photographs.images)), torch.cat((labels, photographs.extra["labels"]))
        return picture_grid([images, colourise(labels), colourise(modules["expert"].parse(images))])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        expert = modules["expert"]
        return {"expert": (expert.state_dict(), expert.describe())}


class FormerExpert:
    """The weights that a run starts from, frozen, as the teacher of what its faces' own labels do not say."""

    def __init__(self, expert: ExpertStudent) -> None:
        self._expert = copy.deepcopy(expert).eval().requires_grad_(False)

    @torch.no_grad()
    def parse(self, images: Tensor) -> Tensor:
        """Label maps, long [b,h,w], of images [b,3,h,w]."""
        return self._expert.parse(images)

    @torch.no_grad()
    def attributes(self, images: Tensor, labels: Tensor) -> Tensor:
        """Attributes [b,10]: probabilities, or numbers in their own units."""
        values = self._expert.attributes(images)
        return torch.stack([values[name].sigmoid() if attribute.logit else values[name]
                            for name, attribute in ATTRIBUTES.items()], dim=1)


def augment(images: Tensor, labels: Tensor, attributes: Tensor, sign: Tensor, generator: torch.Generator, *, turn: float,
            zoom: float, shift: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror half of the faces, move them a little and change their photography, so that prior samples stand for photos.

    images [b,3,h,w] in [-1,1], labels [b,h,w], attributes [b,10], ``sign`` [10] what mirroring multiplies them by.
    Pixels that the motion brings in from outside have the label -1.
    """
    device, count = images.device, len(images)
    mirrored = chance((count,), 0.5, generator).to(device)
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    labels = torch.where(mirrored.view(-1, 1, 1), flip_labels(labels), labels)
    attributes = torch.where(mirrored.view(-1, 1), attributes * sign.to(device), attributes)

    images, labels = jittered(images, labels, generator, turn=turn, zoom=zoom, shift=shift)
    return photograph(images, generator), labels, attributes
