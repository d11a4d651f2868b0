"""Stand-ins for what the systems' faces are made of: a prior whose tints are attributes, and an expert that reads them back."""

from __future__ import annotations

import torch
from fakes import FakePrior
from torch import Tensor, nn

from facemug_lib.editing.latent.directions import Direction, constant
from facemug_lib.experts.student import ATTRIBUTES, ExpertOutput
from facemug_lib.systems.common.rendering import SIDES, Maker

TINTS = {"smile": 0, "age": 1, "gender": 2}
"""Attribute → the colour that it tints the whole picture with."""


class TintExpert(nn.Module):
    """Attributes are the mean tints, in deviations of :data:`SIDES`; labels tell bright (1) from dark (17)."""

    def forward(self, images: Tensor) -> ExpertOutput:
        light = images.mean(1)
        semantics = torch.full((len(images), 19, *images.shape[2:]), -4.0)
        semantics[:, 1], semantics[:, 17] = light, -light
        units = images.clamp(-0.999, 0.999).atanh().mean((2, 3))
        values = {name: torch.zeros(len(images)) for name in ATTRIBUTES}
        for name, channel in TINTS.items():
            values[name] = SIDES[name].middle + SIDES[name].deviation * units[:, channel]
        return ExpertOutput(semantics, values)


def tint_directions() -> dict[str, Direction]:
    """One unit of each moves its tint by one deviation."""
    return {name: constant(name, torch.eye(512)[channel], "factor") for name, channel in TINTS.items()}


def fake_maker(size: int = 64) -> Maker:
    return Maker(size, (0.7, 1.0), 0.5, prior=FakePrior(), expert=TintExpert(), directions=tint_directions())
