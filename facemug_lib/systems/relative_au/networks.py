"""Networks of relative-AU expression editing (Ling et al., "Toward Fine-grained Facial Expression Manipulation", ECCV 2020).

The condition is v = target − source: how much each facial action unit (AU) is to change. A unit at 0 asks for nothing, so the
zero vector asks for the very same face. The U-Net itself is :class:`facemug_lib.systems.common.unet.ConditionedUNet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config
from facemug_lib.systems.common.unet import COMPACT_WIDTHS, LEVELS, SLOPE, ConditionedUNet, initialise, towards


@dataclass(frozen=True)
class RelativeAuConfig:
    """Shape of the generator.

    size: side of the picture in pixels, a multiple of 16. units: what the condition's numbers stand for, in order. widths:
    channels at 1, 1/2, 1/4, 1/8 and 1/16 of the side. condition: "maps" as in the paper, or "scales" as well (ours). output:
    "direct" paints the picture, as in the paper; "residual" (ours) paints how far each value moves towards black or white, so
    that narrow networks need not learn to copy the face first.
    """

    units: tuple[str, ...]
    size: int = 128
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    condition: Literal["maps", "scales"] = "maps"
    output: Literal["direct", "residual"] = "direct"

    def __post_init__(self) -> None:
        if len(self.widths) != LEVELS + 1 or self.size % 2**LEVELS or not self.units:
            raise FacemugError(f"a generator of {self.size} px, {len(self.widths)} widths and {len(self.units)} units: it needs "
                               f"a multiple of {2**LEVELS} px, {LEVELS + 1} widths and at least one unit")
        if any(width < 2 for width in self.widths):
            raise FacemugError(f"widths {self.widths}: each must be at least 2, because two branches share the channels")

    @classmethod
    def paper(cls, units: tuple[str, ...], size: int = 128) -> RelativeAuConfig:
        """The authors' widths."""
        return cls(units, size)

    @classmethod
    def compact(cls, units: tuple[str, ...], size: int = 128) -> RelativeAuConfig:
        """The shipped one: 1/40 of the paper's parameters."""
        return cls(units, size, widths=COMPACT_WIDTHS, condition="scales", output="residual")


class RelativeAuGenerator(ConditionedUNet):
    """G: a face [b,3,s,s] in [-1,1] and relative action units v [b,n] → the face with the other expression [b,3,s,s] in [-1,1].

    A U-Net of four halvings; v enters at its bottom and in each of the three skip connections, which are MSF modules.
    """

    def __init__(self, config: RelativeAuConfig) -> None:
        super().__init__(config.widths, len(config.units), scales=config.condition == "scales")
        self.config = config
        self.exit = nn.Conv2d(config.widths[0], 3, 7, padding=3, bias=False)
        initialise(self)
        if config.output == "residual":  # begins as the identity
            nn.init.zeros_(self.exit.weight)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RelativeAuGenerator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(RelativeAuConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        size, units = self.config.size, len(self.config.units)
        if tuple(image.shape[1:]) != (3, size, size) or tuple(condition.shape) != (len(image), units):
            raise FacemugError(f"the generator takes faces [b, 3, {size}, {size}] and conditions [b, {units}], not "
                               f"{tuple(image.shape)} and {tuple(condition.shape)}")
        painted = torch.tanh(self.exit(self.features(image, condition)).float())
        return painted if self.config.output == "direct" else towards(image, painted)


@dataclass(frozen=True)
class CriticConfig:
    """Shape of the discriminator. widths: channels after each halving of the side; ``size`` / 2^len(widths) is the last map's."""

    units: tuple[str, ...]
    size: int = 128
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)

    def __post_init__(self) -> None:
        if not self.widths or self.size % 2**len(self.widths) or not self.units:
            raise FacemugError(f"a discriminator of {self.size} px, {len(self.widths)} halvings and {len(self.units)} units: the "
                               f"size must be a multiple of {2**len(self.widths)}, and there must be a unit and a width")

    @classmethod
    def paper(cls, units: tuple[str, ...], size: int = 128) -> CriticConfig:
        """The authors' widths."""
        return cls(units, size)

    @classmethod
    def compact(cls, units: tuple[str, ...], size: int = 128) -> CriticConfig:
        """For training on a CPU."""
        return cls(units, size, widths=(16, 32, 64, 128, 192, 192))


class AuCritic(nn.Module):
    """D: a picture [b,3,s,s] → how real each patch looks [b,1,k,k], larger for real, and its action units [b,n].

    PatchGAN (Isola et al. 2017) without any norm, which WGAN-GP asks for, and a regression of the AUs from the whole last map.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for inner, outer in zip((3, *config.widths), config.widths, strict=False):
            kernel, padding = (4, 1) if layers else (5, 2)
            layers += [nn.Conv2d(inner, outer, kernel, 2, padding, bias=False), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers)
        self.real = nn.Conv2d(config.widths[-1], 1, 3, padding=1, bias=False)
        self.read = nn.Conv2d(config.widths[-1], len(config.units), config.size // 2**len(config.widths), bias=False)
        initialise(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AuCritic:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(CriticConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(image)
        return self.real(features).float(), self.read(features).flatten(1).float()
