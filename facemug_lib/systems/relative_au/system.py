"""The trained system: strengths of action units, by hand or from another photograph, to edited faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES, HIGHEST, LOWEST, UnitReader, along_axes
from facemug_lib.systems.common.contract import SystemAttribute, load_networks
from facemug_lib.systems.relative_au.networks import RelativeAuGenerator
from facemug_lib.systems.relative_au.stage import NAME, RelativeAuStage

EXPRESSIONS = {
    "smile": {"au07": 0.2, "au09": 0.4, "au10": 0.4, "au12": 0.6, "au25": 0.8, "au26": 0.75},
    "mouth_open": {"au01": 0.3, "au10": 0.3, "au12": 0.2, "au25": 0.8, "au26": 0.8},
    "eyes_open": {"au01": 0.7, "au02": 0.4, "au05": 1.0, "au07": -0.6},
}
"""Whole expressions as units: what 2.5 deviations along the direction of that name add to each axis (the table of
:mod:`facemug_lib.faces.action_units`), rounded; for the eyes without what that direction does to the mouth."""

_TRAITS = {"au05": "eyes_open", "au12": "smile", "au25": "mouth_open", "au26": "mouth_open"}
ATTRIBUTES = {
    name: SystemAttribute(f"AU {unit.number}, {unit.name}: 1 adds a strong one, -1 takes one away", -1, 1, _TRAITS.get(name))
    for name, unit in ACTION_UNITS.items()
} | {name: SystemAttribute(f"1 adds {', '.join(units)}; -1 takes them away", -1, 1, name) for name, units in EXPRESSIONS.items()}
NEGLIGIBLE = 0.02  # a difference of readings that is noise


def condition(strengths: Mapping[str, float]) -> Tensor:
    """Strengths of units and of whole expressions as v [n] along the axes, which add up; no axis goes beyond ± 1.5."""
    units: dict[str, float] = {}
    for name, strength in strengths.items():
        for unit, share in EXPRESSIONS.get(name, {name: 1.0}).items():
            units[unit] = units.get(unit, 0.0) + share * strength
    return torch.from_numpy(along_axes(units)).clamp(LOWEST, HIGHEST)


class RelativeAu:
    """Relative-AU expression editing with trained weights (a :class:`facemug_lib.systems.common.contract.System`)."""

    name = NAME
    title = "Toward Fine-grained Facial Expression Manipulation (Ling et al., ECCV 2020)"
    stage = RelativeAuStage
    all_attributes = ATTRIBUTES

    def __init__(self, networks: RelativeAuGenerator, reader: UnitReader | None = None) -> None:
        self.networks = networks
        self.size = networks.config.size
        self.attributes = {name: one for name, one in ATTRIBUTES.items() if self._was_trained_for(name)}
        self.reader = reader or UnitReader()

    def _was_trained_for(self, name: str) -> bool:
        return all(ACTION_UNITS[unit].axis in self.networks.config.units for unit in EXPRESSIONS.get(name, (name,)))

    @classmethod
    def load(cls, path: Path, device: torch.device) -> RelativeAu:
        return cls(load_networks(NAME, path, lambda config: RelativeAuGenerator.from_config(config["network"]), device))

    @torch.no_grad()
    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """Faces [b,3,s,s] with units added: v is what was asked for, whatever the face shows already."""
        return self.networks(images, condition(strengths).to(images).expand(len(images), -1))

    def strengths_like(self, image: Tensor, like: Tensor) -> dict[str, float]:
        """The strengths that give face ``image`` [1,3,h,w] the expression of another, ``like`` [1,3,h,w]; aligned, of any size.

        v = reading of ``like`` − reading of ``image``. Two people's proportions are in it too: somebody with high brows lends
        some of AU 1. Named by units and rounded to a thousandth, so that an edit can be written down and made again.
        """
        change = dict(zip(AXIS_NAMES, (self.reader(like) - self.reader(image))[0].clamp(-1, 1).tolist(), strict=True))
        strengths = {}
        for axis, value in change.items():
            if abs(value) < NEGLIGIBLE or axis not in self.networks.config.units:
                continue
            units = {unit.sign: name for name, unit in ACTION_UNITS.items() if unit.axis == axis}
            sign = -1 if value < 0 and -1 in units else 1
            strengths[units[sign]] = round(sign * value, 3)
        return strengths
