"""DIAT as a system that edits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.systems.common.contract import SystemAttribute, load_networks
from facemug_lib.systems.diat.networks import DiatNetworks
from facemug_lib.systems.diat.references import REFERENCES
from facemug_lib.systems.diat.stage import DiatStage

_MEANINGS = {"smile": "1: smiling; -1: not smiling", "mouth_open": "1: the mouth open; -1: closed",
             "glasses": "-1: glasses taken off", "age": "1: older; -1: younger", "gender": "1: male; -1: female"}


def _attributes(references: tuple[str, ...]) -> dict[str, SystemAttribute]:
    """What faces can be asked for with these references: an attribute goes only to the sides that have one."""
    sides: dict[str, list[int]] = {}
    for name in references:
        sides.setdefault(REFERENCES[name].attribute, []).append(REFERENCES[name].side)
    return {name: SystemAttribute(_MEANINGS[name], float(min(0, *found)), float(max(0, *found)), name)
            for name, found in sides.items()}


class Diat:
    """A trained DIAT or DIAT-A. Its papers know no degrees: between 0 and ±1 the whole edit is faded in."""

    name = "diat"
    title = "Deep Identity-aware Transfer of Facial Attributes (Li, Zuo and Zhang, 2016)"
    stage = DiatStage
    all_attributes = _attributes(tuple(REFERENCES))

    def __init__(self, networks: DiatNetworks) -> None:
        self.networks = networks.eval()
        self.size = networks.config.size
        self.attributes = _attributes(networks.config.references)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Diat:
        """The system of a weights file that `facemug train diat` wrote."""
        return cls(load_networks("diat", path, DiatNetworks.from_config, device))

    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """Edited faces; attributes follow one another in the order of the references."""
        for place, name in enumerate(self.networks.config.references):
            strength = strengths.get(REFERENCES[name].attribute, 0.0) * REFERENCES[name].side
            if strength > 0:
                reference = torch.full((len(images),), place, device=images.device)
                images = torch.lerp(images, self.networks(images, reference), strength)
        return images
