"""L2M-GAN's networks: style encoder E, decomposer P, domain transformer T, generator G and discriminator D.

One network here serves several attributes, each with two sides (a face smiles or does not), where the paper trains one for each.
The layout is the paper's: E reads a style code s of a face, P splits it into s_un, which has nothing to do with the attribute,
and s_re = s − s_un; T gives s̃_re of the side that is wanted, and G paints the face in the style s̃ = s_un + s̃_re. A head of E
belongs to an attribute and not to a side, so that nobody has to know which side a photograph is on to edit it.

The paper's G is given s̃ and has to see for itself what of the face is otherwise. The compact one is a U-Net that other systems
share (:mod:`facemug_lib.systems.common.unet`), and its condition is s̃ − s: where nothing is to change there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import pixel_norm
from facemug_lib.systems.common.unet import COMPACT_WIDTHS, ConditionedUNet, compact_widths, initialise, towards

SLOPE = 0.2
HALF = 0.5**0.5  # of two branches with unit variance, so that their sum has it too
PLACES = ((0.376, 0.478), (0.625, 0.478), (0.5, 0.61), (0.5, 0.73))  # eyes, nose, mouth of FFHQ-aligned faces: x, y of the side
SPREAD = 0.1  # of their heat, as a share of the side
Skip = Literal["plain", "high_pass", "none"]
Output = Literal["residual", "image"]


@dataclass(frozen=True)
class L2MConfig:
    """Shape of E, P, T and G.

    trunk: of G, "styled" as in the paper or "unet" (ours), which has ``width`` channels at full size. Of the styled one: fold,
    pixels of a side that become channels at G's entrance and exit; widths, G's channels at each resolution, from the finest;
    middle, residual blocks at the coarsest, without and with style each; skip, what G's decoder gets of its encoder:
    ``high_pass`` is the paper's, edges alone, where the parts of an aligned face lie; output: ``image`` is the paper's,
    ``residual`` is added to the face. style_widths and style_size: E's channels, and the side of the picture it looks at.
    unit_style: E's codes have mean square 1. Otherwise the losses of orthogonality and style are smallest where all codes vanish,
    and a short run gets no further.
    """

    attributes: tuple[str, ...]
    size: int = 128
    trunk: Literal["unet", "styled"] = "unet"
    width: int = COMPACT_WIDTHS[0]
    fold: int = 2
    widths: tuple[int, ...] = (32, 64, 96)
    middle: int = 2
    style_dim: int = 16
    style_size: int = 64
    style_widths: tuple[int, ...] = (12, 24, 40, 56)
    hidden: int = 32
    layers: int = 3
    skip: Skip = "plain"
    output: Output = "residual"
    unit_style: bool = True

    def __post_init__(self) -> None:
        if not self.attributes:
            raise FacemugError("L2M-GAN needs an attribute to change: name one, smile say")
        if self.skip not in get_args(Skip) or self.output not in get_args(Output):
            raise FacemugError(f"L2M-GAN has no skip {self.skip!r} or no output {self.output!r}: choose from "
                               f"{', '.join(get_args(Skip))} and from {', '.join(get_args(Output))}")

    @classmethod
    def of(cls, network: str, attributes: tuple[str, ...], size: int, **switches: Any) -> L2MConfig:
        """``compact``, the shipped shape; or ``paper``, with the published widths and blocks."""
        if network == "compact":
            return cls(attributes, size, **switches)
        switches = {"trunk": "styled"} | switches
        blocks = max(1, size.bit_length() - 4)  # five at 256 px: down to 8 px
        widths = tuple(min(512, 64 * 2**level) for level in range(blocks + 1))
        style_widths = tuple(min(512, 64 * 2**level) for level in range(blocks + 2))
        return cls(attributes, size, fold=1, widths=widths, middle=2, style_dim=64, style_size=size, style_widths=style_widths,
                   hidden=64, **{"unit_style": False} | switches)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> L2MConfig:
        """From a weights file's header."""
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items() if name != "system"}
        return cls(**plain)


class Codes(NamedTuple):
    """Style codes of faces, each [b,d]: s = s_un + s_re, what T makes of s_re, and s̃, in which G paints."""

    style: Tensor
    unrelated: Tensor
    related: Tensor
    new_related: Tensor
    edited: Tensor


class AdaIn(nn.Module):
    """(1 + γ(s)) · IN(x) + β(s): instance normalisation whose scale and shift the style decides."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        scale, shift = self.affine(style)[..., None, None].chunk(2, dim=1)
        return normalised(x) * (1 + scale) + shift


def normalised(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """IN(x): every channel of every picture with mean 0 and variance 1."""
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(variance + 1e-5)


class Down(nn.Module):
    """Residual block without style, pre-activated; halves the resolution where ``halves``, normalises where ``norm``."""

    def __init__(self, inner: int, outer: int, halves: bool = True, norm: bool = True) -> None:
        super().__init__()
        self.halves, self.norm = halves, norm
        self.first, self.second = nn.Conv2d(inner, inner, 3, padding=1), nn.Conv2d(inner, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1, bias=False) if inner != outer else nn.Identity()
        # Instance normalisation's own scale and shift, as in nn.InstanceNorm2d(affine=True).
        self.scale = nn.ParameterList(nn.Parameter(torch.ones(1, inner, 1, 1)) for _ in range(2 * norm))
        self.shift = nn.ParameterList(nn.Parameter(torch.zeros(1, inner, 1, 1)) for _ in range(2 * norm))

    def _activated(self, x: Tensor, place: int) -> Tensor:
        if self.norm:
            x = normalised(x) * self.scale[place] + self.shift[place]
        return F.leaky_relu(x, SLOPE)

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer h2 w2"]:
        y = self.first(self._activated(x, 0))
        if self.halves:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return (self.skip(x) + self.second(self._activated(y, 1))) * HALF


class Styled(nn.Module):
    """Residual block with AdaIN; doubles the resolution where ``doubles``."""

    def __init__(self, inner: int, outer: int, style_dim: int, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles
        self.norm1, self.norm2 = AdaIn(inner, style_dim), AdaIn(outer, style_dim)
        self.first, self.second = nn.Conv2d(inner, outer, 3, padding=1), nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1, bias=False) if inner != outer else nn.Identity()

    def forward(self, x: Float[Tensor, "b inner h w"], style: Float[Tensor, "b d"]) -> Float[Tensor, "b outer h2 w2"]:
        y = F.leaky_relu(self.norm1(x, style), SLOPE)
        x = self.skip(x)
        if self.doubles:
            x, y = (F.interpolate(one, scale_factor=2, mode="nearest") for one in (x, y))
        y = self.second(F.leaky_relu(self.norm2(self.first(y), style), SLOPE))
        return (x + y) * HALF


class StyleEncoder(nn.Module):
    """E: faces [b,3,s,s] → style codes [b,k,d], one for each attribute."""

    def __init__(self, config: L2MConfig) -> None:
        super().__init__()
        widths = config.style_widths
        self.size, self.shape = config.style_size, (len(config.attributes), config.style_dim)
        self.unit = config.unit_style
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Down(a, b, norm=False) for a, b in zip(widths, widths[1:], strict=False)))
        side = max(1, config.style_size >> (len(widths) - 1))
        self.last = nn.Conv2d(widths[-1], widths[-1], min(4, side))
        self.heads = nn.Linear(widths[-1], len(config.attributes) * config.style_dim)
        he_initialised(self)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k d"]:
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="area")
        x = self.last(F.leaky_relu(self.blocks(self.stem(images)), SLOPE)).mean((2, 3))
        style = self.heads(F.leaky_relu(x, SLOPE)).unflatten(1, self.shape)
        return pixel_norm(style.float()) if self.unit else style


class CodeMaps(nn.Module):
    """``count`` networks of equal shape for codes, Linear–ReLU–…–Linear: [b,d] with the network's number [b] → [b,d]."""

    def __init__(self, count: int, dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = (dim, *[hidden] * (layers - 1), dim)
        self.maps = nn.ModuleList()
        for _ in range(count):
            stack: list[nn.Module] = []
            for a, b in zip(widths, widths[1:], strict=False):
                stack += [nn.Linear(a, b), nn.ReLU()]
            self.maps.append(nn.Sequential(*stack[:-1]))
        he_initialised(self)

    def forward(self, codes: Float[Tensor, "b d"], which: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        return chosen(torch.stack([one(codes) for one in self.maps], 1), which)


def chosen(values: Tensor, which: Int[Tensor, " b"]) -> Tensor:
    """Of each row's k entries, [b,k,…], the one that ``which`` names: [b,…]."""
    return values[torch.arange(len(values), device=values.device), which]


class Generator(nn.Module):
    """G: a face and a style → a face, [b,3,s,s] in about [-1,1]."""

    def __init__(self, config: L2MConfig) -> None:
        super().__init__()
        self.config, widths, pixels = config, config.widths, 3 * config.fold**2
        self.stem = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Down(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.same = nn.ModuleList(Down(widths[-1], widths[-1], halves=False) for _ in range(config.middle))
        self.styled = nn.ModuleList(Styled(widths[-1], widths[-1], config.style_dim) for _ in range(config.middle))
        self.up = nn.ModuleList(Styled(b, a, config.style_dim, doubles=True)
                                for a, b in reversed(list(zip(widths, widths[1:], strict=False))))
        self.exit = nn.Conv2d(widths[0], pixels, 3, padding=1)
        he_initialised(self)
        if config.output == "residual":  # the face itself, at first
            nn.init.zeros_(self.exit.weight)
            nn.init.zeros_(self.exit.bias)
        edges = torch.full((1, 1, 3, 3), -1.0)
        edges[..., 1, 1] = 8.0
        self.register_buffer("edges", edges, persistent=False)

    def forward(self, images: Float[Tensor, "b 3 s s"], style: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 s s"]:
        folded = F.pixel_unshuffle(images, self.config.fold)
        x = self.stem(folded)
        kept = []
        for block in self.down:
            kept.append(x)
            x = block(x)
        for block in self.same:
            x = block(x)
        for block in self.styled:
            x = block(x, style)
        for block, fine in zip(self.up, reversed(kept), strict=True):
            x = block(x, style)
            if self.config.skip != "none":
                x = x + (fine if self.config.skip == "plain" else self._edges(fine))
        x = self.exit(F.leaky_relu(normalised(x), SLOPE))
        return F.pixel_shuffle(folded + x if self.config.output == "residual" else x, self.config.fold)

    def _edges(self, x: Tensor) -> Tensor:
        """The paper's skip, a high-pass of features where the parts of the face are. It takes them from a landmark network's heat
        maps; aligned faces have them at fixed places."""
        kernel = self.edges.to(x.dtype).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1]) * face_heat(x.shape[-1], x)


class UNetGenerator(ConditionedUNet):
    """G on the shared U-Net: a face and what is to change of its style, [b,3,s,s] in [-1,1] and [b,d] → a face [b,3,s,s]."""

    def __init__(self, config: L2MConfig) -> None:
        super().__init__(compact_widths(config.width), config.style_dim, scales=True)
        self.exit = nn.Conv2d(config.width, 3, 7, padding=3, bias=False)
        initialise(self)
        nn.init.zeros_(self.exit.weight)  # the face itself, at first

    def forward(self, images: Float[Tensor, "b 3 s s"], change: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 s s"]:
        features = self.features(images, change * change.shape[1] ** -0.5)  # codes have mean square 1, conditions length 1
        with torch.autocast(images.device.type, enabled=False):
            return towards(images, self.exit(features.float()).tanh())


def he_initialised(network: nn.Module) -> None:
    """He's initialisation of every convolution and linear layer: torch's own gives codes so small that both sides look alike."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def face_heat(size: int, like: Tensor) -> Float[Tensor, "1 1 s s"]:
    """Where the parts of an aligned face are: 1 at eyes, nose and mouth, falling to 0 around them."""
    place = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
    heat = [torch.exp(-((place[None, :] - x) ** 2 + (place[:, None] - y) ** 2) / (2 * SPREAD**2)) for x, y in PLACES]
    return torch.stack(heat).amax(0)[None, None]


class L2MNetworks(nn.Module):
    """All that an edit needs: E, P, T and G."""

    def __init__(self, config: L2MConfig) -> None:
        super().__init__()
        self.config = config
        count, dim = len(config.attributes), config.style_dim
        self.encoder = StyleEncoder(config)
        self.decomposer = CodeMaps(count, dim, config.hidden, config.layers)
        self.transformer = CodeMaps(2 * count, dim, config.hidden, config.layers)
        for one in self.transformer.maps:  # the two sides begin apart, whatever becomes of s_re
            nn.init.normal_(one[-1].bias)
        self.generator = UNetGenerator(config) if config.trunk == "unet" else Generator(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> L2MNetworks:
        return cls(L2MConfig.read(config))

    def describe(self) -> dict[str, Any]:
        """The configuration as plain data, with the system's name."""
        return {"system": "l2m_gan", **asdict(self.config)}

    def style(self, images: Float[Tensor, "b 3 s s"], attribute: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """s = E(x) under each face's attribute, a number of the configuration's."""
        return chosen(self.encoder(images), attribute)

    def codes(self, style: Float[Tensor, "b d"], attribute: Int[Tensor, " b"], side: Int[Tensor, " b"],
              degree: float | Float[Tensor, " b"] = 1.0) -> Codes:
        """s split and moved to ``side`` (1: the face has the attribute). ``degree`` goes along the way there: s̃ = s_un + s_re +
        degree · (s̃_re − s_re), so 0 is the style of the face itself and 1 the method's s̃ = s_un + s̃_re."""
        unrelated = self.decomposer(style, attribute)
        related = style - unrelated
        new_related = self.transformer(related, 2 * attribute + side)
        degree = degree[:, None] if isinstance(degree, Tensor) else degree
        return Codes(style, unrelated, related, new_related, unrelated + related + degree * (new_related - related))

    def paint(self, images: Float[Tensor, "b 3 s s"], own: Float[Tensor, "b d"],
              style: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 s s"]:
        """Faces of style ``own`` in ``style``."""
        return self.generator(images, style - own if self.config.trunk == "unet" else style)

    def forward(self, images: Float[Tensor, "b 3 s s"], attribute: Int[Tensor, " b"], side: Int[Tensor, " b"],
                degree: float | Float[Tensor, " b"] = 1.0) -> tuple[Tensor, Codes]:
        """(the edited faces G(x, s̃), the codes)."""
        codes = self.codes(self.style(images, attribute), attribute, side, degree)
        return self.paint(images, codes.style, codes.edited), codes


class Discriminator(nn.Module):
    """D: faces [b,3,s,s] → a logit for each side of each attribute, [b,2k], above 0 where a face is real and on that side."""

    def __init__(self, attributes: int, size: int, widths: tuple[int, ...], fold: int = 1) -> None:
        super().__init__()
        self.fold = fold
        self.stem = nn.Conv2d(3 * fold**2, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Down(a, b, norm=False) for a, b in zip(widths, widths[1:], strict=False)))
        side = max(1, size // fold >> (len(widths) - 1))
        self.last = nn.Conv2d(widths[-1], widths[-1], min(4, side))
        self.heads = nn.Conv2d(widths[-1], 2 * attributes, 1)
        he_initialised(self)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b k2"]:
        x = F.leaky_relu(self.blocks(self.stem(F.pixel_unshuffle(images, self.fold))), SLOPE)
        return self.heads(F.leaky_relu(self.last(x), SLOPE)).mean((2, 3))
