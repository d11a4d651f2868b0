"""PSAM as a system that edits: strengths of attributes to labels, labels to pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import skin_traits
from facemug_lib.systems.common.contract import SystemAttribute, load_networks
from facemug_lib.systems.psam import makeup
from facemug_lib.systems.psam.networks import PsamGenerator
from facemug_lib.systems.psam.stage import PsamStage, apply
from facemug_lib.systems.psam.tasks import REQUESTS, TASKS, requested

ATTRIBUTES = {
    "lipstick": SystemAttribute("1: lips as red as the most made-up of faces; -1: as usual"),
    "eye_shadow": SystemAttribute("1: lids as dark as the most made-up of faces; -1: as usual"),
    "blush": SystemAttribute("1: cheeks as red as the most made-up of faces; -1: as usual"),
    "smile": SystemAttribute("1: a full smile; -1: none", trait="smile"),
    "mouth_open": SystemAttribute("1: the mouth wide open; -1: closed", trait="mouth_open"),
    "light": SystemAttribute("1: lit from the right of the picture; -1: from its left", trait="light"),
    "soft_light": SystemAttribute("1: lit from in front, both halves of the face alike", low=0.0),
    "age": SystemAttribute("1: 65 years and older; -1: 15 and younger", trait="age"),
}
"""Attributes, one for each of :data:`.tasks.REQUESTS`. Between 0 and ±1 the labels move straight from the face's own."""


class Psam:
    """A trained PSAM. The expert reads a face's own labels, from which every strength starts."""

    name = "psam"
    title = "Fine-grained Face Editing via Personalized Spatial-aware Affine Modulation (Liu et al., IEEE TMM 2022)"
    stage = PsamStage
    all_attributes = ATTRIBUTES

    def __init__(self, generator: PsamGenerator, expert: nn.Module) -> None:
        self.networks = nn.ModuleDict({"generator": generator, "expert": expert}).eval()
        self.size = generator.config.size
        self.attributes = {name: ATTRIBUTES[name] for name, request in REQUESTS.items() if request.task in generator.config.tasks}

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Psam:
        """The system of a weights file that `facemug train psam` wrote."""
        return cls(load_networks("psam", path, PsamGenerator.from_config, device), ExpertStudent.load(device))

    def labels(self, images: Tensor, task: str) -> Tensor:
        """What faces [b,3,s,s] in [-1,1] show of a task, [b,n] in [0,1]: their own labels."""
        output = self.networks["expert"](images)
        labels = output.semantics.argmax(1)
        readings = dict(output.attributes) | skin_traits(images, labels)
        if task == "makeup":
            readings |= makeup.amounts(images, labels)
        return TASKS[task].read(readings)

    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """Edited faces; attributes of one task are asked for together, tasks follow one another in the order of training."""
        for task in self.networks["generator"].config.tasks:
            asked = {name: strength for name, strength in strengths.items() if REQUESTS[name].task == task}
            if not asked:
                continue
            own = wanted = self.labels(images, task)
            for name, strength in asked.items():
                wanted = requested(wanted, name, strength)
            images = apply(self.networks["generator"], images, own, wanted, task)
        return images
