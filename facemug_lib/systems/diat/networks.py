"""The networks of DIAT (deep identity-aware transfer of facial attributes, Li, Zuo and Zhang, arXiv 1610.05586).

A *reference* is what a face shall have: smiling, not smiling, older … The transform network makes a face have it, the enhancement
network improves the picture, the attribute discriminator tells real faces that have it from made ones. In DIAT-A its features
also tell whether the person stayed the same.

The paper trains a transform network for each reference. Ours share their convolutions between them. In the paper's layout each
reference has scales and shifts of its own (conditional instance normalisation, Dumoulin et al. 2017); the compact network is a
U-Net that other systems share (:mod:`facemug_lib.systems.common.unet`), and a reference is 32 numbers, the condition of it.

Taught in `notebooks/15_diat.ipynb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config
from facemug_lib.systems.common.places import places_of
from facemug_lib.systems.common.unet import COMPACT_WIDTHS, LEVELS, ConditionedUNet, initialise, towards

CONDITIONS = 32  # numbers that stand for a reference in the U-Net
SPREAD = 0.3
"""Deviation of the scales and shifts of a reference at first. Where all begin alike, they take thousands of images to part."""
EXIT_GAIN = 0.2
"""Of a residual network's last convolution: a step of Adam moves its hundreds of weights together, the picture by their sum."""


@dataclass(frozen=True)
class DiatConfig:
    """Shape of the two networks that an edit needs. ``references``: their names, in the order of their numbers.

    trunk: of T, "unet" (ours) or "residual" (the paper's). widths: channels from the finest resolution, five of a U-Net and three
    of a residual network. blocks, kernel, residual and places belong to the residual one: blocks at its coarsest; side of the
    first and the last convolution; whether it paints what it changes, on top of the face, or the whole face as in the paper;
    whether it also sees where in the picture it is, as parts of aligned faces have their place.
    """

    references: tuple[str, ...]
    size: int = 128  # side of the pictures that it is trained on
    trunk: Literal["unet", "residual"] = "unet"
    widths: tuple[int, ...] = COMPACT_WIDTHS
    blocks: int = 5
    kernel: int = 7
    residual: bool = True
    places: bool = True
    enhancement_width: int = 16
    enhancement_layers: int = 4

    def __post_init__(self) -> None:
        if not self.references or len(set(self.references)) < len(self.references):
            raise FacemugError(f"references {', '.join(self.references) or 'none'}: DIAT needs at least one, each once")
        needed = LEVELS + 1 if self.trunk == "unet" else 3
        if len(self.widths) != needed:
            raise FacemugError(f"widths {self.widths}: a {self.trunk} trunk has {needed}")

    @classmethod
    def paper(cls, **changes: Any) -> DiatConfig:
        """Three convolutions, five residual blocks, two transposed ones and one: the widths of Johnson et al. (2016)."""
        return cls(**{"trunk": "residual", "widths": (32, 64, 128), "kernel": 9, "residual": False, "places": False,
                      "enhancement_width": 64} | changes)


class ReferenceNorm(nn.Module):
    """Instance normalisation with a scale and a shift for every reference: [b,c,h,w] and references [b] (long) → [b,c,h,w]."""

    def __init__(self, channels: int, references: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + SPREAD * torch.randn(references, channels))
        self.shift = nn.Parameter(SPREAD * torch.randn(references, channels))

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        scale, shift = (table[reference][:, :, None, None] for table in (self.scale, self.shift))
        return F.instance_norm(x) * scale + shift


class _Normed(nn.Module):
    """A convolution, normalised for the reference; ReLU where ``activate``."""

    def __init__(self, layer: nn.Module, channels: int, references: int, activate: bool = True) -> None:
        super().__init__()
        self.layer, self.norm, self.activate = layer, ReferenceNorm(channels, references), activate

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        x = self.norm(self.layer(x), reference)
        return F.relu(x) if self.activate else x


class _Residual(nn.Module):
    def __init__(self, width: int, references: int) -> None:
        super().__init__()
        self.first = _Normed(nn.Conv2d(width, width, 3, padding=1, bias=False), width, references)
        self.second = _Normed(nn.Conv2d(width, width, 3, padding=1, bias=False), width, references, activate=False)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        return x + self.second(self.first(x, reference), reference)


class UNetTransform(ConditionedUNet):
    """T on the shared U-Net: faces [b,3,h,w] in [-1,1], h and w multiples of 16, and references [b] → faces that have them.

    A reference is a condition that is learned. The picture says how far each value goes towards black or white.
    """

    def __init__(self, config: DiatConfig) -> None:
        super().__init__(config.widths, CONDITIONS, scales=True)
        self.exit = nn.Conv2d(config.widths[0], 3, 7, padding=3, bias=False)
        initialise(self)
        self.conditions = nn.Embedding(len(config.references), CONDITIONS)
        nn.init.normal_(self.conditions.weight, 0.0, CONDITIONS**-0.5)  # together as strong as one number of 1
        nn.init.zeros_(self.exit.weight)  # at first, nothing is changed

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        features = self.features(image, self.conditions(reference))
        with torch.autocast(image.device.type, enabled=False):  # bf16 would leave 256 steps of brightness, and paint bands
            return towards(image, self.exit(features.float()).tanh())


class TransformNetwork(nn.Module):
    """T in the paper's layout: faces [b,3,h,w] in [-1,1], h and w multiples of 4, and references [b] → faces that have them.

    Three convolutions (two halve the size), residual blocks, two transposed convolutions and one convolution.
    """

    def __init__(self, config: DiatConfig) -> None:
        super().__init__()
        k, (a, b, c), kernel = len(config.references), config.widths, config.kernel
        self.is_residual, self.sees_places = config.residual, config.places
        self.layers = nn.ModuleList([
            _Normed(nn.Conv2d(3 + 2 * config.places, a, kernel, padding=kernel // 2, bias=False), a, k),
            _Normed(nn.Conv2d(a, b, 4, 2, 1, bias=False), b, k), _Normed(nn.Conv2d(b, c, 4, 2, 1, bias=False), c, k),
            *(_Residual(c, k) for _ in range(config.blocks)),
            _Normed(nn.ConvTranspose2d(c, b, 4, 2, 1, bias=False), b, k),
            _Normed(nn.ConvTranspose2d(b, a, 4, 2, 1, bias=False), a, k)])
        self.exit = nn.Conv2d(a, 3, kernel, padding=kernel // 2)
        if self.is_residual:  # at first, nothing is changed
            nn.init.zeros_(self.exit.weight)
            nn.init.zeros_(self.exit.bias)

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        x = torch.cat((image, places_of(image)), dim=1) if self.sees_places else image
        for layer in self.layers:
            x = layer(x, reference)
        with torch.autocast(image.device.type, enabled=False):  # bf16 would leave 256 steps of brightness, and paint bands
            made = self.exit(x.float())
            return (image + 2 * (EXIT_GAIN * made).tanh()).clamp(-1, 1) if self.is_residual else made.tanh()


class EnhancementNetwork(nn.Module):
    """Transformed faces and the faces that they come from, both [b,3,h,w] → better pictures of the former, [b,3,h,w].

    It adds what is missing, at full size. That it sees the source face is ours: skin and hair are there to be taken.
    """

    def __init__(self, config: DiatConfig) -> None:
        super().__init__()
        widths = [6, *[config.enhancement_width] * (config.enhancement_layers - 1)]
        layers: list[nn.Module] = []
        for inner, outer in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.exit = nn.Conv2d(widths[-1], 3, 3, padding=1)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, made: Tensor, image: Tensor) -> Tensor:
        x = self.layers(torch.cat((made, image), dim=1))
        with torch.autocast(image.device.type, enabled=False):
            return (made + EXIT_GAIN * self.exit(x.float())).clamp(-1, 1)


class DiatNetworks(nn.Module):
    """What an edit needs: ``transform`` and ``enhance``. ``forward`` is one after the other."""

    def __init__(self, config: DiatConfig) -> None:
        super().__init__()
        self.config = config
        self.transform = UNetTransform(config) if config.trunk == "unet" else TransformNetwork(config)
        self.enhance = EnhancementNetwork(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DiatNetworks:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(DiatConfig, {name: value for name, value in config.items() if name != "system"}))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        return self.enhance(self.transform(image, reference), image)


class AttributeDiscriminator(nn.Module):
    """D: faces [b,3,s,s] → a logit per reference [b,k]: is this a real face that has it?

    Six convolutions 4×4 that halve the size, two full layers (as the authors' later code has it); one logit for each reference.
    """

    def __init__(self, references: int, size: int = 128, widths: tuple[int, ...] = (24, 48, 96, 96, 96, 96),
                 hidden: int = 128) -> None:
        super().__init__()
        if size % 2 ** len(widths):
            raise FacemugError(f"pictures of {size} px cannot be halved {len(widths)} times: use a multiple of "
                               f"{2 ** len(widths)}")
        self.convs = nn.ModuleList(nn.Conv2d(inner, outer, 4, 2, 1) for inner, outer in zip((3, *widths), widths, strict=False))
        self.hidden = nn.Linear(widths[-1] * (size // 2 ** len(widths)) ** 2, hidden)
        self.logits = nn.Linear(hidden, references)

    @classmethod
    def paper(cls, references: int, size: int) -> AttributeDiscriminator:
        """Widths of the authors' later code."""
        return cls(references, size, (64, 128, 256, 256, 256, 256), 512)

    def features(self, image: Tensor, last: int | None = None) -> list[Tensor]:
        """What each convolution gives, after its LeakyReLU; the first ``last`` of them, or all."""
        levels, x = [], image
        for conv in self.convs[:last]:
            x = F.leaky_relu(conv(x), 0.2)
            levels.append(x)
        return levels

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(F.leaky_relu(self.hidden(self.features(image)[-1].flatten(1)), 0.2))

    def scores(self, image: Tensor, reference: Tensor) -> Tensor:
        """The logit [b] of each face's own reference [b]."""
        return self(image).gather(1, reference[:, None])[:, 0]


class Denoiser(nn.Module):
    """Two 3×3 convolutions that take a little noise away, [b,3,h,w] → [b,3,h,w]: a real face passes unchanged, and what does not
    is what the smoothness loss counts."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True),
                                    nn.Conv2d(width, 3, 3, padding=1))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.layers(image)
