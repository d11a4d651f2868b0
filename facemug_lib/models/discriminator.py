"""Discriminators: StyleGAN2's residual one for pictures, and an MLP for the encoder stage's codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config
from facemug_lib.models.layers import LEAKY_GAIN, SLOPE, ConvLayer, EqualLinear, leaky

COMPACT_WIDTHS = {4: 192, 8: 192, 16: 192, 32: 160, 64: 96, 128: 64, 256: 32}
PAPER_WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of D. ``widths`` has one entry per resolution 4, 8, … up to the picture's size."""

    widths: tuple[int, ...]
    in_channels: int = 3
    stddev_group: int = 4  # samples that share one minibatch standard deviation

    def __post_init__(self) -> None:
        if len(self.widths) < 2:
            raise FacemugError("a discriminator needs a width for at least the resolutions 4 and 8")

    @classmethod
    def compact(cls, size: int = 256) -> DiscriminatorConfig:
        """The shipped one."""
        return cls(widths=tuple(COMPACT_WIDTHS[4 * 2**i] for i in range(int(math.log2(size)) - 1)))

    @classmethod
    def paper(cls, size: int = 256) -> DiscriminatorConfig:
        """StyleGAN2's at channel multiplier 2."""
        return cls(widths=tuple(PAPER_WIDTHS[4 * 2**i] for i in range(int(math.log2(size)) - 1)))


class ResidualBlock(nn.Module):
    """Two convolutions, the second halving the resolution, beside a 1×1 skip. [b,inner,h,w] → [b,outer,h/2,w/2]."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.same = ConvLayer(inner, inner)
        self.down = ConvLayer(inner, outer, down=True)
        self.skip = ConvLayer(inner, outer, kernel=1, down=True, activate=False, bias=False)

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer h//2 w//2"]:
        return (self.down(self.same(x)) + self.skip(x)) * math.sqrt(0.5)


def minibatch_stddev(x: Float[Tensor, "b c h w"], group: int = 4) -> Float[Tensor, "b c+1 h w"]:
    """Append one channel: the standard deviation within groups of ``group`` samples, averaged over all features.

    Samples a multiple of b/group apart share a group. A batch that ``group`` does not divide is one group.
    [b,c,h,w] → [b,c+1,h,w].
    """
    b, c, h, w = x.shape
    group = group if b % group == 0 else b
    y = x.float().reshape(group, b // group, c, h, w)
    y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [b/group]
    y = y.repeat(group).view(b, 1, 1, 1).expand(-1, 1, h, w)
    return torch.cat((x, y.to(x.dtype)), dim=1)


class Discriminator(nn.Module):
    """D: picture [b,3,s,s] in [-1,1] → logit [b,1], larger for real."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DiscriminatorConfig.compact()
        widths = self.config.widths[::-1]
        self.size = 4 * 2 ** (len(widths) - 1)
        self.enter = ConvLayer(self.config.in_channels, widths[0], kernel=1)
        self.blocks = nn.Sequential(*(ResidualBlock(inner, outer) for inner, outer in zip(widths, widths[1:], strict=False)))
        self.exit = ConvLayer(widths[-1] + 1, widths[-1])
        self.hidden = EqualLinear(widths[-1] * 16, widths[-1], gain=LEAKY_GAIN)
        self.logit = EqualLinear(widths[-1], 1)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Discriminator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(DiscriminatorConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, image: Float[Tensor, "b c s s"]) -> Float[Tensor, "b 1"]:
        if tuple(image.shape[1:]) != (self.config.in_channels, self.size, self.size):
            raise FacemugError(f"the discriminator takes [b, {self.config.in_channels}, {self.size}, {self.size}], "
                               f"not {tuple(image.shape)}")
        x = self.blocks(self.enter(image))
        x = self.exit(minibatch_stddev(x, self.config.stddev_group))
        return self.logit(leaky(self.hidden(x.flatten(1))))


class LatentDiscriminator(nn.Module):
    """D_w of the encoder stage: one code w [..., dim] → logit [..., 1]. "Real" codes are those of the mapping network."""

    def __init__(self, dim: int = 512, layers: int = 3) -> None:
        super().__init__()
        self.dim, self.layers = dim, layers
        hidden = [layer for _ in range(layers) for layer in (nn.Linear(dim, dim), nn.LeakyReLU(SLOPE))]
        self.net = nn.Sequential(*hidden, nn.Linear(dim, 1))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LatentDiscriminator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(**config)

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {"dim": self.dim, "layers": self.layers}

    def forward(self, w: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 1"]:
        return self.net(w)
