"""A user's own StyleGAN2-FFHQ weights as the feature bank: the widespread ``g_ema`` state-dict layout, 256 to 1024 px.

The parameter names below are that layout's (rosinality's StyleGAN2, which e4e, pSp and many others share), so a state
dict loads without renaming. The operations are plain PyTorch: no custom CUDA kernel is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import CODE_DIM, CodeSpace, Feature, pixel_norm

MAPPING_LR = 0.01  # the mapping network's equalised learning-rate multiplier
FIR = (1.0, 3.0, 3.0, 1.0)


def channels_at(resolution: int, multiplier: int = 2) -> int:
    """Channels of StyleGAN2 config-f at a resolution (multiplier 2)."""
    return min(512, 256 * 64 * multiplier // resolution)


def fir_kernel(gain: float) -> Float[Tensor, "1 1 4 4"]:
    """The separable [1, 3, 3, 1] low-pass filter as [1, 1, 4, 4], scaled to sum to ``gain``."""
    taps = torch.tensor(FIR)
    kernel = torch.outer(taps, taps)
    return (kernel / kernel.sum() * gain)[None, None]


def filter2d(x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "1 1 k k"], padding: tuple[int, int]) -> Float[Tensor, "b c _ _"]:
    """Depthwise filtering with zero padding (before, after) on both axes."""
    channels = x.shape[1]
    x = functional.pad(x, (*padding, *padding))
    return functional.conv2d(x, kernel.to(x.dtype).expand(channels, 1, -1, -1), groups=channels)


def upsample2(x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "1 1 4 4"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Zero insertion and low-pass: [b, c, h, w] → [b, c, 2h, 2w]."""
    b, c, h, w = x.shape
    spread = x.new_zeros(b, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = x
    return filter2d(spread.reshape(b, c, 2 * h, 2 * w), kernel, (2, 1))


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate; with ``activate``, leaky ReLU 0.2 and gain √2."""

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale, self.lr_multiplier, self.activate = lr_multiplier / math.sqrt(in_features), lr_multiplier, activate

    def forward(self, x: Float[Tensor, "*n inner"]) -> Float[Tensor, "*n outer"]:
        y = functional.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)
        return functional.leaky_relu(y, 0.2) * math.sqrt(2.0) if self.activate else y


class ModulatedConv(nn.Module):
    """Weight-modulated convolution of StyleGAN2, grouped over the batch; optionally up-sampling by two."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channels, in_channels, kernel, kernel))
        self.modulation = EqualLinear(CODE_DIM, in_channels)
        self.scale, self.demodulate, self.up = 1.0 / math.sqrt(in_channels * kernel**2), demodulate, up
        self.register_buffer("fir", fir_kernel(4.0), persistent=False)

    def forward(self, x: Float[Tensor, "b inner h w"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b outer _ _"]:
        b, c, h, w = x.shape
        weight = self.scale * self.weight * self.modulation(code)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, b * c, h, w)
        if not self.up:
            padding = weight.shape[-1] // 2
            x = functional.conv2d(x, weight.flatten(0, 1), padding=padding, groups=b)
            return x.reshape(b, -1, h, w)
        x = functional.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=b)
        return filter2d(x.reshape(b, -1, 2 * h + 1, 2 * w + 1), self.fir, (1, 1))


class StyledConv(nn.Module):
    """Modulated convolution, fixed noise scaled by a learned strength, bias, leaky ReLU with gain √2."""

    def __init__(self, in_channels: int, out_channels: int, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, up=up)
        self.noise = nn.ParameterDict({"weight": nn.Parameter(torch.zeros(1))})
        self.activate = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(out_channels))})

    def forward(self, x: Float[Tensor, "b inner h w"], code: Float[Tensor, "b 512"],
                noise: Float[Tensor, "1 1 s s"]) -> Float[Tensor, "b outer s s"]:
        y = self.conv(x, code) + self.noise["weight"] * noise + self.activate["bias"][None, :, None, None]
        return functional.leaky_relu(y, 0.2) * math.sqrt(2.0)


class ToRgb(nn.Module):
    """Modulated 1×1 convolution to RGB, added to the up-sampled picture so far."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(channels, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.register_buffer("fir", fir_kernel(4.0), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"], code: Float[Tensor, "b 512"],
                skip: Float[Tensor, "b 3 h//2 w//2"] | None = None) -> Float[Tensor, "b 3 h w"]:
        rgb = self.conv(x, code) + self.bias
        return rgb if skip is None else rgb + upsample2(skip, self.fir)


class StyleGAN2Prior(CodeSpace):
    """StyleGAN2 of ``native_size`` px with the interface of :class:`~facemug_lib.faces.prior.FacePrior`.

    ``num_codes`` is 2·log2(native_size) − 2: 14 at 256 px, 18 at 1024 px (what the released encoder uses). Features are
    those after the second convolution of each resolution, up to ``image_size`` = 256.
    """

    def __init__(self, native_size: int = 256, widths: Mapping[int, int] | None = None) -> None:
        """``widths``: resolution → channels, where they differ from those of config-f at channel multiplier 2."""
        octaves = int(math.log2(native_size))
        if native_size != 2**octaves or not 64 <= native_size <= 1024:
            raise FacemugError(f"a StyleGAN2 of {native_size} px is not known: 64, 128, 256, 512 or 1024")
        super().__init__(num_codes=2 * octaves - 2)
        self.native_size = native_size
        channels = {2**octave: channels_at(2**octave) for octave in range(2, octaves + 1)} | dict(widths or {})
        # Index 0 of `style` is the parameter-free pixel norm, which keeps the layout's numbering 1…8.
        self.style = nn.ModuleList(
            [nn.Identity(), *(EqualLinear(CODE_DIM, CODE_DIM, MAPPING_LR, activate=True) for _ in range(8))]
        )
        self.input = nn.ParameterDict({"input": nn.Parameter(torch.randn(1, channels[4], 4, 4))})
        self.conv1 = StyledConv(channels[4], channels[4])
        self.to_rgb1 = ToRgb(channels[4])
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        self.noises = nn.Module()
        self.noises.register_buffer("noise_0", torch.randn(1, 1, 4, 4))
        for octave in range(3, octaves + 1):
            size = 2**octave
            self.convs.append(StyledConv(channels[size // 2], channels[size], up=True))
            self.convs.append(StyledConv(channels[size], channels[size]))
            self.to_rgbs.append(ToRgb(channels[size]))
            for index in (2 * octave - 5, 2 * octave - 4):
                self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, size, size))
        self.feature_channels = {size: width for size, width in channels.items() if size <= self.image_size}
        self.code_layers = {4: (0, 1)} | {
            2**octave: tuple(range(2 * octave - 5, 2 * octave - 2))
            for octave in range(3, octaves + 1)
            if 2**octave <= self.image_size
        }

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> StyleGAN2Prior:
        """Read a checkpoint: a state dict of this layout, or a file holding one under ``g_ema`` (safe unpickler only)."""
        path = Path(path)
        if not path.is_file():
            raise FacemugError(f"no StyleGAN2 checkpoint {path}: name a .pt file with a state dict, under g_ema or by itself")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise FacemugError(
                f"{path} is not a plain PyTorch state dict ({str(error).splitlines()[0]}): save it as tensors only"
            ) from error
        if not isinstance(state, Mapping):
            raise FacemugError(f"{path} holds a {type(state).__name__}: a state dict is needed, under g_ema or by itself")
        try:
            return cls.from_state_dict(state.get("g_ema", state)).to(device)
        except FacemugError as error:
            raise FacemugError(f"{path}: {error}") from error

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> StyleGAN2Prior:
        """Build the bank whose size and width the state dict implies; frozen, evaluation mode, on the CPU."""
        blocks = {int(name.split(".")[1]) for name in state if name.startswith("to_rgbs.")}
        if not blocks or "input.input" not in state:
            raise FacemugError("not a StyleGAN2 generator: no input.input and to_rgbs.* in the state dict")
        native_size = 2 ** (max(blocks) + 3)
        widths = {8 * 2**block: state[name].shape[1] for block in sorted(blocks)
                  if (name := f"convs.{2 * block + 1}.conv.weight") in state}
        prior = cls(native_size, {4: state["input.input"].shape[1]} | widths)
        wanted = {name: value for name, value in state.items() if not name.endswith(".kernel")}  # fixed FIR filters
        mine = prior.state_dict()
        for name, value in wanted.items():
            if name in mine and value.shape != mine[name].shape:
                raise FacemugError(f"the state dict is no StyleGAN2 of {native_size} px: {name} has shape {list(value.shape)}, "
                                   f"not {list(mine[name].shape)}")
        problems = prior.load_state_dict(wanted, strict=False)
        if problems.missing_keys or problems.unexpected_keys:
            first = (problems.missing_keys + problems.unexpected_keys)[0]
            raise FacemugError(f"the state dict is no StyleGAN2 of {native_size} px: {first} is missing or unexpected")
        prior.eval().requires_grad_(False)
        prior.measure_w()
        return prior

    def map(self, z: Float[Tensor, "b 512"]) -> Float[Tensor, "b 512"]:
        """Mapping network F, z ~ N(0, I) [b, 512] → w [b, 512]."""
        w = pixel_norm(z)
        for layer in self.style[1:]:
            w = layer(w)
        return w

    def style_affines(self) -> list[Float[Tensor, "_ 512"]]:
        """Weights [c, 512] of the modulations, in the order of the codes: those of the convolutions, and the last picture's."""
        convolutions = [self.conv1, *self.convs, self.to_rgbs[-1]]
        return [one.conv.modulation.weight.detach().cpu() for one in convolutions]

    def features(self, codes: Float[Tensor, "b {self.num_codes} 512"], max_resolution: int = 256) -> dict[int, Feature]:
        """Bank features of codes [b, num_codes, 512]: resolution → [b, c, r, r]."""
        return self._run(codes, max_resolution)[1]

    def synthesize(self, codes: Float[Tensor, "b {self.num_codes} 512"] | Float[Tensor, "b 512"],
                   size: int = 256) -> Float[Tensor, "b 3 {size} {size}"]:
        """Picture [b, 3, size, size] in about [−1, 1]: the native one, reduced by area averaging where smaller."""
        if not 64 <= size <= self.native_size:
            raise FacemugError(f"picture size {size} is out of range: this bank gives 64 … {self.native_size}")
        image, _ = self._run(self.broadcast(codes) if codes.ndim == 2 else codes, self.native_size)
        return functional.adaptive_avg_pool2d(image, size) if size < self.native_size else image

    def forward(self, codes: Float[Tensor, "b {self.num_codes} 512"],
                size: int = 256) -> tuple[Float[Tensor, "b 3 {size} {size}"], dict[int, Feature]]:
        """One pass: (picture at ``size`` px, at most the native one, bank features up to that size)."""
        image, features = self._run(codes, self.native_size)
        features = {side: value for side, value in features.items() if side <= size}
        return functional.adaptive_avg_pool2d(image, size), features

    def _run(self, codes: Tensor, max_resolution: int) -> tuple[Tensor, dict[int, Tensor]]:
        codes = self._checked(codes)
        x = self.input["input"].expand(codes.shape[0], -1, -1, -1)
        x = self.conv1(x, codes[:, 0], self.noises.noise_0)
        rgb, features = self.to_rgb1(x, codes[:, 1]), {4: x}
        for block, to_rgb in enumerate(self.to_rgbs):
            resolution, first = 8 * 2**block, 1 + 2 * block
            if resolution > max_resolution:
                break
            x = self.convs[2 * block](x, codes[:, first], self.noises.get_buffer(f"noise_{first}"))
            x = self.convs[2 * block + 1](x, codes[:, first + 1], self.noises.get_buffer(f"noise_{first + 1}"))
            rgb, features[resolution] = to_rgb(x, codes[:, first + 2], rgb), x
        return rgb, features
