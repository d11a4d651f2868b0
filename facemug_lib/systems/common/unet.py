"""The U-Net of relative-AU expression editing (Ling et al., ECCV 2020), on which the compact networks of other systems stand too.

A *condition* v [b,n] says what is to become of a face. It enters at the U-Net's bottom and in each of its three skip connections,
which are the paper's multi-scale feature fusion.

The authors tile v to maps beside the features, ahead of a convolution and an instance norm. A constant map adds a constant to
what the convolution gives, and the norm takes it away again: all that is left of v comes from the zeros around the picture. Hence
the second way here, :class:`Scales` behind the norms (ours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.weights import read_weights, weights_path

SLOPE = 0.01  # of the leaky ReLUs
LEVELS = 4  # halvings of the U-Net
COMPACT_WIDTHS = (16, 24, 48, 72, 72)
"""Channels at 1, 1/2, 1/4, 1/8 and 1/16 of the side, of the shipped networks: 1/40 of the parameters of the authors' widths."""


def compact_widths(width: int) -> tuple[int, ...]:
    """Widths in the proportions of :data:`COMPACT_WIDTHS`, ``width`` at full size."""
    return tuple(width * one // COMPACT_WIDTHS[0] for one in COMPACT_WIDTHS)


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


class ConditionedUNet(nn.Module):
    """Faces [b,3,h,w] in [-1,1], h and w multiples of 16, and conditions [b,n] → features at full or at half size.

    What becomes of the features is left to who inherits.
    """

    def __init__(self, widths: Sequence[int], conditions: int, *, scales: bool) -> None:
        """``widths``: channels at 1, 1/2, 1/4, 1/8 and 1/16 of the side. ``conditions``: n. ``scales``: v also enters behind the
        norms."""
        super().__init__()
        if len(widths) != LEVELS + 1 or any(width < 2 for width in widths):
            raise FacemugError(f"widths {tuple(widths)}: a U-Net needs {LEVELS + 1} of them, each at least 2, because two "
                               "branches share the channels")
        full, half, quarter, eighth, bottom = widths
        self.enter = _same(3, full, 7, is_leaky=True)
        self.down = nn.ModuleList(_down(inner, outer) for inner, outer in zip(widths, widths[1:], strict=False))
        self.bottom = Conditioned(bottom, bottom, 3, conditions, scales=scales)
        self.fuse_eighth = MultiScaleFusion(eighth, bottom, conditions, scales=scales)
        self.fuse_quarter = MultiScaleFusion(quarter, eighth, conditions, scales=scales)
        self.fuse_half = MultiScaleFusion(half, quarter, conditions, scales=scales)
        self.up_eighth = Up(bottom, eighth, conditions, scales=scales)
        self.up_quarter = Up(2 * eighth, quarter, conditions, scales=scales)
        self.up_half = Up(2 * quarter, half, conditions, scales=scales)
        self.up_full = Up(2 * half, full, conditions, scales=scales)

    def halfway(self, image: Tensor, condition: Tensor) -> Tensor:
        """Features at half the side, [b, 2·widths[1], h/2, w/2], ahead of the last step up."""
        half, quarter, eighth, bottom = self._encoded(self.enter(image))
        bottom = self.bottom(bottom, condition)
        eighth = self.fuse_eighth(eighth, bottom, condition)
        quarter = self.fuse_quarter(quarter, eighth, condition)
        half = self.fuse_half(half, quarter, condition)
        x = torch.cat((self.up_eighth(bottom, condition), eighth), 1)
        x = torch.cat((self.up_quarter(x, condition), quarter), 1)
        return torch.cat((self.up_half(x, condition), half), 1)

    def features(self, image: Tensor, condition: Tensor) -> Tensor:
        """Features at full size, [b, widths[0], h, w]."""
        return self.up_full(self.halfway(image, condition), condition)

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


def initialise(module: nn.Module) -> None:
    """Convolutions from N(0, 0.02²), as published GAN code of that time does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)


def begin_with(network: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    """Give ``network`` what another U-Net has learned: every tensor of the same name and shape. Returns how many.

    Where a layer takes more numbers of condition than it did there, the first ones are taken and the others stay as they are.
    """
    own, taken = network.state_dict(), 0
    for name, value in own.items():
        known = tensors.get(name)
        if known is None or known.ndim != value.ndim or not value.ndim:
            continue
        if value.shape == known.shape:
            value.copy_(known)
        elif value.ndim > 1 and value.shape[1] > known.shape[1] and value.shape[:1] + value.shape[2:] == (
                known.shape[:1] + known.shape[2:]):
            value[:, : known.shape[1]] = known
        else:
            continue
        taken += 1
    return taken


def begin_with_expressions(network: nn.Module) -> None:
    """Give ``network`` what the shipped network of relative action units has learned of faces.

    Raises :class:`FacemugError` where its widths are others.
    """
    path = weights_path("relative_au")
    taken = begin_with(network, read_weights(path)[0])
    needed = sum(name.split(".")[0] in ("enter", "down", "bottom") for name in network.state_dict())
    if taken < needed:
        raise FacemugError(f"{path} has other widths than these settings ask for: use width={COMPACT_WIDTHS[0]}, or begin=fresh")
