"""Stand-ins for relative-AU editing: narrow networks, and toy faces whose two "units" are colours of their right half."""

from __future__ import annotations

import torch
from fakes import FakePrior
from system_fakes import TintExpert
from torch import Tensor

from facemug_lib.editing.latent.directions import constant
from facemug_lib.experts.student import ExpertOutput
from facemug_lib.faces.action_units import AXIS_NAMES
from facemug_lib.systems.common.rendering import SIDES, Maker
from facemug_lib.systems.relative_au.networks import AuCritic, CriticConfig, RelativeAuConfig, RelativeAuGenerator

SIZE, UNITS = 64, len(AXIS_NAMES)
CORNERS, GAP = AXIS_NAMES.index("lip_corners"), AXIS_NAMES.index("lip_gap")


def tiny_generator(output: str = "residual", condition: str = "scales") -> RelativeAuGenerator:
    torch.manual_seed(0)
    return RelativeAuGenerator(RelativeAuConfig(AXIS_NAMES, SIZE, (4, 6, 8, 8, 8), condition, output))


def learning_generator(size: int) -> RelativeAuGenerator:
    """Wide enough to learn from any rounding: of four ReLU channels at the full size, some runs have none left for a colour."""
    torch.manual_seed(0)
    return RelativeAuGenerator(RelativeAuConfig(AXIS_NAMES, size, (12, 12, 16, 16, 16), "scales", "residual"))


def tiny_critic() -> AuCritic:
    torch.manual_seed(1)
    return AuCritic(CriticConfig(AXIS_NAMES, SIZE, (4, 8, 8, 8, 8)))


def sides(images: Tensor) -> Tensor:
    """By how much each colour is more of the picture's right half than of its left: [b,3]."""
    left, right = images.chunk(2, -1)
    return (right.mean((2, 3)) - left.mean((2, 3))) / 2


def read_sides(images: Tensor) -> Tensor:
    """What is "read" of toy faces: red of the right half is the lip corners, green of it the lips' gap; nothing else moves."""
    units = torch.zeros(len(images), UNITS)
    units[:, CORNERS], units[:, GAP] = sides(images)[:, :2].unbind(1)
    return units


class SideExpert(TintExpert):
    """Reads the smile from the red of the right half and the age from its green, in deviations."""

    def forward(self, images: Tensor) -> ExpertOutput:
        seen = super().forward(images)
        for name, value in zip(("smile", "age"), sides(images).unbind(1), strict=False):
            seen.attributes[name] = SIDES[name].middle + SIDES[name].deviation * value.clamp(-0.999, 0.999).atanh()
        return seen


def side_maker(size: int = SIZE) -> Maker:
    """Toy faces whose pairs differ in the right half's red ("smile") or green ("age"); it is bluer in all of them."""
    prior = FakePrior()
    prior.spread[5], prior.mean_w[5] = 0, 1
    directions = {name: constant(name, torch.eye(512)[axis], "factor") for name, axis in (("smile", 3), ("age", 4))}
    return Maker(size, (0.7, 1.0), 0.5, prior=prior, expert=SideExpert(), directions=directions)
