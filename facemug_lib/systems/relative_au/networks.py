"""Networks of relative-AU expression editing (Ling et al., "Toward Fine-grained Facial Expression Manipulation", ECCV 2020).

The condition is v = target − source: how much each facial action unit (AU) is to change. A unit at 0 asks for nothing, so the
zero vector asks for the very same face.

The authors tile v to maps beside the features, ahead of a convolution and an instance norm. A constant map adds a constant to
what the convolution gives, and the norm takes it away again: all that is left of v comes from the zeros around the picture. Hence
the second way here, :class:`Scales` behind the norms (ours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config

SLOPE = 0.01  # of the leaky ReLUs
LEVELS = 4  # halvings of the U-Net


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
        return cls(units, size, widths=(16, 24, 48, 72, 72), condition="scales", output="residual")


def tiled(features: Tensor, condition: Tensor) -> Tensor:
    """Features [b,c,h,w] with the condition [b,n] as n more maps: [b,c+n,h,w]."""
    maps = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat((features, maps), 1)


def _normalised(convolution: nn.Module, channels: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(channels, affine=True), activation)


def _same(inner: int, outer: int, kernel: int, *, is_leaky: bool = False) -> nn.Sequential:
    """Convolution at stride 1, instance norm, ReLU. A bias would be taken away again by the norm."""
    return _normalised(nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=False), outer,
                       nn.LeakyReLU(SLOPE) if is_leaky else nn.ReLU())


def _down(inner: int, outer: int) -> nn.Sequential:
    """4×4 convolution at stride 2, instance norm, leaky ReLU: half the side."""
    return _normalised(nn.Conv2d(inner, outer, 4, 2, 1, bias=False), outer, nn.LeakyReLU(SLOPE))


def _lifted(inner: int, outer: int) -> nn.Sequential:
    """4×4 transposed convolution at stride 2, instance norm, leaky ReLU: twice the side."""
    return _normalised(nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), outer, nn.LeakyReLU(SLOPE))


class Scales(nn.Module):
    """x · (1 + A·v) + B·v, channel by channel: v where no norm comes after it. [b,c,h,w], [b,n] → [b,c,h,w].

    There is no constant in it: v = 0 leaves x as it is.
    """

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(units, 2 * channels, bias=False)
        nn.init.normal_(self.numbers.weight, 0.0, 0.3)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        factor, shift = self.numbers(condition).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return x * (1 + factor) + shift


class Conditioned(nn.Module):
    """Convolution over features and the maps of v, instance norm, :class:`Scales` if asked for, ReLU.

    [b,inner,h,w], [b,n] → [b,outer,h,w].
    """

    def __init__(self, inner: int, outer: int, kernel: int, units: int, *, scales: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inner + units, outer, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.InstanceNorm2d(outer, affine=True)
        self.scales = Scales(outer, units) if scales else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(self.convolution(tiled(x, condition)))
        return torch.relu(x if self.scales is None else self.scales(x, condition))


class Up(nn.Module):
    """4×4 transposed convolution at stride 2, instance norm, :class:`Scales` if asked for, ReLU: twice the side."""

    def __init__(self, inner: int, outer: int, units: int, *, scales: bool) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False)
        self.norm = nn.InstanceNorm2d(outer, affine=True)
        self.scales = Scales(outer, units) if scales else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(self.convolution(x))
        return torch.relu(x if self.scales is None else self.scales(x, condition))


class Exchange(nn.Module):
    """Two resolutions hear of each other: each output is half of its own scale's features and half of the other's.

    [b,high,h,w], [b,low,h/2,w/2] → the same shapes.
    """

    def __init__(self, high: int, low: int) -> None:
        super().__init__()
        self.high_to_high = _same(high, high // 2, 3)
        self.low_to_high = _lifted(low, high - high // 2)
        self.high_to_low = _down(high, low // 2)
        self.low_to_low = _same(low, low - low // 2, 3)

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        return (torch.cat((self.high_to_high(high), self.low_to_high(low)), 1),
                torch.cat((self.high_to_low(high), self.low_to_low(low)), 1))


class MultiScaleFusion(nn.Module):
    """The paper's multi-scale feature fusion (MSF): what a skip connection carries is changed by the condition and by the scale
    below.

    skip [b,high,h,w] from the encoder, below [b,low,h/2,w/2], condition [b,n] → [b,high,h,w].
    """

    def __init__(self, high: int, low: int, units: int, *, scales: bool = False) -> None:
        super().__init__()
        self.enter = Conditioned(high, high, 5, units, scales=scales)
        self.exchange = Exchange(high, low)
        lifted = min(high, low)
        self.lift = _lifted(low, lifted)
        self.fine = _same(high + lifted, high // 2, 3)
        self.wide = _same(high + lifted, high - high // 2, 5)

    def forward(self, skip: Tensor, below: Tensor, condition: Tensor) -> Tensor:
        high, low = self.exchange(self.enter(skip, condition), below)
        both = torch.cat((high, self.lift(low)), 1)
        return torch.cat((self.fine(both), self.wide(both)), 1)


class RelativeAuGenerator(nn.Module):
    """G: a face [b,3,s,s] in [-1,1] and relative action units v [b,n] → the face with the other expression [b,3,s,s] in [-1,1].

    A U-Net of four halvings; v enters at its bottom and in each of the three skip connections, which are MSF modules.
    """

    def __init__(self, config: RelativeAuConfig) -> None:
        super().__init__()
        self.config = config
        full, half, quarter, eighth, bottom = config.widths
        units, scales = len(config.units), config.condition == "scales"
        self.enter = _same(3, full, 7, is_leaky=True)
        self.down = nn.ModuleList(_down(inner, outer) for inner, outer in zip(config.widths, config.widths[1:], strict=False))
        self.bottom = Conditioned(bottom, bottom, 3, units, scales=scales)
        self.fuse_eighth = MultiScaleFusion(eighth, bottom, units, scales=scales)
        self.fuse_quarter = MultiScaleFusion(quarter, eighth, units, scales=scales)
        self.fuse_half = MultiScaleFusion(half, quarter, units, scales=scales)
        self.up_eighth = Up(bottom, eighth, units, scales=scales)
        self.up_quarter = Up(2 * eighth, quarter, units, scales=scales)
        self.up_half = Up(2 * quarter, half, units, scales=scales)
        self.up_full = Up(2 * half, full, units, scales=scales)
        self.exit = nn.Conv2d(full, 3, 7, padding=3, bias=False)
        _initialise(self)
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
        half, quarter, eighth, bottom = self._encoded(self.enter(image))
        bottom = self.bottom(bottom, condition)
        eighth = self.fuse_eighth(eighth, bottom, condition)
        quarter = self.fuse_quarter(quarter, eighth, condition)
        half = self.fuse_half(half, quarter, condition)
        x = torch.cat((self.up_eighth(bottom, condition), eighth), 1)
        x = torch.cat((self.up_quarter(x, condition), quarter), 1)
        x = torch.cat((self.up_half(x, condition), half), 1)
        painted = torch.tanh(self.exit(self.up_full(x, condition)).float())
        return painted if self.config.output == "direct" else towards(image, painted)

    def _encoded(self, x: Tensor) -> list[Tensor]:
        levels = []
        for layer in self.down:
            x = layer(x)
            levels.append(x)
        return levels


def towards(image: Tensor, share: Tensor) -> Tensor:
    """Each value of ``image`` in [-1,1] moved by ``share`` in [-1,1] of its way to white, or of its way to black where
    negative."""
    return image + share - share.abs() * image


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
        _initialise(self)

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


def _initialise(module: nn.Module) -> None:
    """Convolutions from N(0, 0.02²), as published GAN code of that time does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
