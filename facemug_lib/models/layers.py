"""Layers shared by the networks: equalised learning rate, FIR resampling, StyleGAN2's modulated convolution.

One learning rate of 0.002 is to suit all layers. So every weight is stored at unit variance and scaled when it is used (Karras
et al. 2018, §4.1). StyleGAN2 multiplies the output of a leaky ReLU by √2. Here the weights before it are multiplied instead: for
a leaky ReLU φ and a factor c > 0, c·φ(x) = φ(c·x), and a pass over the features is saved.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2.0)
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of ``module``; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def leaky(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Leaky ReLU with the project's slope 0.2 and no gain."""
    return F.leaky_relu(x, SLOPE)


def upsample(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Twice the resolution, bilinear, which is FIR filtering by [1, 3, 3, 1]. [b,c,h,w] → [b,c,2h,2w]."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class EqualLinear(nn.Linear):
    """Linear layer with equalised learning rate. ``gain`` multiplies the output's scale."""

    def __init__(self, inner: int, outer: int, *, bias_init: float = 0.0, gain: float = 1.0) -> None:
        super().__init__(inner, outer)
        nn.init.normal_(self.weight)
        nn.init.constant_(self.bias, bias_init)
        self.scale = gain / math.sqrt(inner)
        self.gain = gain

    def forward(self, x: Float[Tensor, "*n inner"]) -> Float[Tensor, "*n outer"]:
        return F.linear(x, self.weight * self.scale, self.bias * self.gain)


class EqualConv2d(nn.Conv2d):
    """Convolution with equalised learning rate and "same" padding at stride 1."""

    def __init__(self, inner: int, outer: int, kernel: int, *, stride: int = 1, padding: int | None = None, groups: int = 1,
                 bias: bool = True, gain: float = 1.0) -> None:
        super().__init__(inner, outer, kernel, stride, kernel // 2 if padding is None else padding, groups=groups, bias=bias)
        nn.init.normal_(self.weight)
        if bias:
            nn.init.zeros_(self.bias)
        self.scale = gain / math.sqrt(inner // groups * kernel**2)
        self.gain = gain

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer _ _"]:
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding, groups=self.groups)


class Blur(nn.Module):
    """FIR low-pass [1, 3, 3, 1] in both directions, padded by ``padding`` on each side. Shrinks by 3 − 2·padding."""

    def __init__(self, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        taps = torch.tensor(FIR_TAPS) / sum(FIR_TAPS)
        self.register_buffer("kernel", (taps[:, None] * taps[None, :] * gain)[None, None], persistent=False)
        self.padding = padding

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(x, kernel, padding=self.padding, groups=channels)


class ConvLayer(nn.Module):
    """3×3 (or ``kernel``) convolution, optionally halving the resolution behind a low-pass, then a leaky ReLU.

    ``separable`` splits it into a depthwise and a 1×1 convolution. [b,inner,h,w] → [b,outer,h,w] or [b,outer,h/2,w/2].
    """

    def __init__(self, inner: int, outer: int, kernel: int = 3, *, down: bool = False, separable: bool = False,
                 activate: bool = True, bias: bool = True) -> None:
        super().__init__()
        gain = LEAKY_GAIN if activate else 1.0
        # Low-pass, then stride 2, must take 2n to n: the padded and blurred side 2n + 2·padding − 3 has to be 2n + kernel − 2.
        self.blur = Blur(padding=(kernel + 1) // 2) if down else None
        stride, padding = (2, 0) if down else (1, kernel // 2)
        layers: list[nn.Module] = []
        if separable:
            layers.append(EqualConv2d(inner, inner, kernel, stride=stride, padding=padding, groups=inner, bias=False))
            layers.append(EqualConv2d(inner, outer, 1, bias=bias, gain=gain))
        else:
            layers.append(EqualConv2d(inner, outer, kernel, stride=stride, padding=padding, bias=bias, gain=gain))
        self.convolution = nn.Sequential(*layers)
        self.activate = activate

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer _ _"]:
        if self.blur is not None:
            x = self.blur(x)
        x = self.convolution(x)
        return leaky(x) if self.activate else x


class ModulatedConv(nn.Module):
    """StyleGAN2's modulated convolution with demodulation (Karras et al. 2020, Eq. 1–3), without per-sample weights.

    StyleGAN2 scales the weights of each sample, so that every sample needs a convolution of its own. Scaling the input channels
    by s and the output channels by the demodulation factor gives the same result with one convolution for the batch.
    ``separable`` takes the product of a depthwise 3×3 and a 1×1 convolution as the weight. The squared norm of that product is
    the product of the two squared norms, so demodulation stays exact.

    Shapes: features [b,inner,h,w], style [b,style_dim] → [b,outer,h,w], or [b,outer,2h,2w] with ``up``.
    """

    def __init__(self, inner: int, outer: int, style_dim: int, kernel: int = 3, *, up: bool = False, separable: bool = False,
                 demodulate: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.affine = EqualLinear(style_dim, inner, bias_init=1.0)
        self.up, self.separable, self.demodulate = up, separable, demodulate
        self.gain = gain
        self.padding = kernel // 2
        if separable:
            # Up-sampling comes between the two, so that the costly 1×1 runs at the low resolution.
            self.depthwise = nn.Parameter(torch.randn(outer if up else inner, 1, kernel, kernel))
            self.weight = nn.Parameter(torch.randn(outer, inner, 1, 1))
            self.scale = 1.0 / math.sqrt(inner)
            self.depth_scale = 1.0 / kernel
        else:
            self.weight = nn.Parameter(torch.randn(outer, inner, kernel, kernel))
            self.scale = 1.0 / math.sqrt(inner * kernel**2)
            self.blur = Blur(padding=1, gain=4.0) if up else None

    def forward(self, x: Float[Tensor, "b inner h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b outer _ _"]:
        s = self.affine(style)
        x = x * s[:, :, None, None].to(x.dtype)
        weight = self.weight * self.scale
        if self.separable:
            depthwise = self.depthwise * self.depth_scale
            if self.up:
                x = upsample(F.conv2d(x, weight))
            x = F.conv2d(x, depthwise, padding=self.padding, groups=depthwise.shape[0])
            if not self.up:
                x = F.conv2d(x, weight)
        elif self.up:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        if not self.demodulate:
            return x * self.gain if self.gain != 1.0 else x
        power = weight.square().sum(dim=(2, 3))  # [outer, inner]
        if self.separable:
            depth_power = depthwise.square().sum(dim=(1, 2, 3))
            power = power * (depth_power[:, None] if self.up else depth_power[None, :])
        factor = torch.rsqrt(F.linear(s.square(), power) + 1e-8) * self.gain
        return x * factor[:, :, None, None].to(x.dtype)


class StyledConv(nn.Module):
    """Modulated convolution, bias, and the activation that its place asks for.

    ``activation``: "leaky" is StyleGAN2's style layer (gain √2). None is for the three layers ST of FACEMUG Eq. 7–8: there the
    equation itself applies σ or φ to what this layer returns. StyleGAN2 adds noise here, and this layer does not, so that the
    picture depends on its inputs alone.
    """

    def __init__(self, inner: int, outer: int, style_dim: int, *, up: bool = False, separable: bool = False,
                 activation: str | None = "leaky") -> None:
        super().__init__()
        gain = LEAKY_GAIN if activation == "leaky" else 1.0
        self.convolution = ModulatedConv(inner, outer, style_dim, up=up, separable=separable, gain=gain)
        self.bias = nn.Parameter(torch.zeros(outer))
        self.activation = activation

    def forward(self, x: Float[Tensor, "b inner h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b outer _ _"]:
        x = self.convolution(x, style)
        x = x + self.bias[:, None, None].to(x.dtype)
        return leaky(x) if self.activation == "leaky" else x


class ToRgb(nn.Module):
    """Modulated 1×1 convolution to three channels, zero at initialisation. [b,inner,h,w], [b,style_dim] → [b,3,h,w]."""

    def __init__(self, inner: int, style_dim: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv(inner, 3, style_dim, kernel=1, demodulate=False)
        nn.init.zeros_(self.convolution.weight)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Float[Tensor, "b inner h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b 3 h w"]:
        x = self.convolution(x, style)
        return x + self.bias[:, None, None].to(x.dtype)


class ResBlock(nn.Module):
    """Two 3×3 convolutions beside a 1×1 skip, summed and scaled by 1/√2, no activation after. [b,inner,h,w] → [b,outer,h,w]."""

    def __init__(self, inner: int, outer: int, hidden: int) -> None:
        super().__init__()
        # The sum is to be scaled by √½: its two convolutions are.
        self.enter = EqualConv2d(inner, hidden, 3, gain=LEAKY_GAIN)
        self.exit = EqualConv2d(hidden, outer, 3, gain=1.0 / LEAKY_GAIN)
        self.skip = EqualConv2d(inner, outer, 1, bias=False, gain=1.0 / LEAKY_GAIN)

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer h w"]:
        return self.exit(leaky(self.enter(x))) + self.skip(x)
