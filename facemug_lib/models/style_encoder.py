"""Style encoder E_s (FACEMUG §II-A1 and §II-F1; the e4e encoder of stage 1): 26 channels of conditions to W+ codes.

A convolutional trunk gives a pyramid of features; a top-down path joins them; one head per code reads the level whose
resolution suits what that code controls. The first code w_0 is repeated and the others add deltas: w_i = w_0 + Δ_i.

Taught in `notebooks/03_style_encoder.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.experts.trunk import CompactTrunk
from facemug_lib.faces.code_space import code_groups
from facemug_lib.modalities.conditions import INPUT_CHANNELS
from facemug_lib.models.config import read_config
from facemug_lib.models.ir_se50 import IrSe50
from facemug_lib.models.layers import SLOPE, EqualLinear, leaky

Trunk = Literal["compact", "ir_se50"]
POOLED = 4  # side of the map that a compact head flattens
INPUT_SIZES = (128, 256)
STRIDES = (16, 8, 4)  # of the three levels that the heads read
UNTRAINED_STD = 0.01  # spread of the codes around the mean before training


@dataclass(frozen=True)
class StyleEncoderConfig:
    """Shape of E_s."""

    num_codes: int = 17  # t, codes of W+
    coarse_codes: int = 4  # codes below this index read the coarse level (1/16 of the input) …
    middle_codes: int = 10  # … those below this one the middle level (1/8), the rest the fine level (1/4)
    code_dim: int = 512
    in_channels: int = INPUT_CHANNELS
    trunk: Trunk = "compact"
    width: int = 128  # channels of the pyramid's top-down path
    squeeze: int = 48  # compact heads: channels that are flattened at 4²
    hidden: int = 224  # compact heads: length of a level's shared vector
    rank: int = 48  # compact heads: inner width of each code's own map
    active_deltas: int | None = None  # how many Δ are switched on at the start; None = all
    input_size: int = 256  # side at which the trunk looks: larger conditions are averaged down to it first [px]

    def __post_init__(self) -> None:
        if self.input_size not in INPUT_SIZES:
            raise FacemugError(f"the style encoder looks at {' or '.join(map(str, INPUT_SIZES))} px, not at {self.input_size}")
        if not 0 < self.coarse_codes < self.middle_codes < self.num_codes:
            raise FacemugError(f"code groups end at {self.coarse_codes}, {self.middle_codes}, {self.num_codes}: "
                               "these must rise strictly")

    @classmethod
    def compact(cls, num_codes: int = 17, active_deltas: int | None = None) -> StyleEncoderConfig:
        """The shipped one: EfficientNet-Lite0 trunk and shared low-rank heads."""
        coarse, middle = code_groups(num_codes)["middle"]
        return cls(num_codes=num_codes, coarse_codes=coarse, middle_codes=middle, active_deltas=active_deltas)

    @classmethod
    def paper(cls, num_codes: int = 17, active_deltas: int | None = None) -> StyleEncoderConfig:
        """IR-SE-50 trunk and one full gradual style block per code."""
        coarse, middle = code_groups(num_codes)["middle"]
        return cls(num_codes=num_codes, coarse_codes=coarse, middle_codes=middle, trunk="ir_se50", width=512,
                   active_deltas=active_deltas)


class CompactHeads(nn.Module):
    """Light heads: three levels → codes' offsets [b,t,dim].

    Separable strided convolutions reduce each level to 4². What is left is flattened and mapped to one vector of length
    ``hidden``, which all codes of the level share. Each code then has two thin matrices of its own: hidden → rank → dim.
    """

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__()
        c = config
        self.counts = (c.coarse_codes, c.middle_codes - c.coarse_codes, c.num_codes - c.middle_codes)
        self.levels = nn.ModuleList()
        for stride in STRIDES:
            steps = int(math.log2(c.input_size // stride // POOLED))  # down to 4²: 2, 3, 4 halvings at 256 px
            layers: list[nn.Module] = []
            for _ in range(steps):
                layers += [nn.Conv2d(c.width, c.width, 3, 2, 1, groups=c.width), nn.Conv2d(c.width, c.width, 1)]
                layers += [nn.LeakyReLU(SLOPE)]
            layers += [nn.Conv2d(c.width, c.squeeze, 1), nn.AdaptiveAvgPool2d(POOLED), nn.Flatten()]
            layers += [nn.Linear(c.squeeze * POOLED**2, c.hidden), nn.LeakyReLU(SLOPE)]
            self.levels.append(nn.Sequential(*layers))
        self.down = nn.Parameter(torch.randn(c.num_codes, c.hidden, c.rank) * math.sqrt(2.0 / c.hidden))
        self.up = nn.Parameter(torch.randn(c.num_codes, c.rank, c.code_dim) * (UNTRAINED_STD / math.sqrt(c.rank)))
        self.base = nn.Linear(c.hidden, c.code_dim)  # w_0 is part of every code (w_i = w_0 + Δ_i): it also has a full matrix
        nn.init.normal_(self.base.weight, std=UNTRAINED_STD / math.sqrt(c.hidden))
        nn.init.zeros_(self.base.bias)
        self.bias = nn.Parameter(torch.zeros(c.num_codes - 1, c.code_dim))

    def forward(self, pyramid: list[Float[Tensor, "b width _ _"]]) -> Float[Tensor, "b t dim"]:
        vectors = [level(x) for level, x in zip(self.levels, pyramid, strict=True)]
        shared = torch.cat([v[:, None].expand(-1, n, -1) for v, n in zip(vectors, self.counts, strict=True)], dim=1)
        inner = leaky(torch.einsum("bth,thr->btr", shared, self.down))
        codes = torch.einsum("btr,trd->btd", inner, self.up)
        return codes + torch.cat((self.base(vectors[0])[:, None], self.bias.to(codes.dtype).expand(len(codes), -1, -1)), dim=1)


class GradualStyleBlock(nn.Module):
    """3×3 stride-2 convolutions down to one pixel, then a linear layer. [b,c,s,s] → [b,dim]."""

    def __init__(self, width: int, steps: int, code_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(steps):
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.LeakyReLU()]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = EqualLinear(width, code_dim)
        nn.init.normal_(self.linear.weight, std=UNTRAINED_STD)

    def forward(self, x: Float[Tensor, "b c s s"]) -> Float[Tensor, "b dim"]:
        return self.linear(self.convolutions(x))


class GradualHeads(nn.Module):
    """The paper's heads: one :class:`GradualStyleBlock` per code. Three levels → codes' offsets [b,t,dim]."""

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__()
        c = config
        self.level = [0 if i < c.coarse_codes else 1 if i < c.middle_codes else 2 for i in range(c.num_codes)]
        steps = [int(math.log2(c.input_size // stride)) for stride in STRIDES]  # down to one pixel: 4, 5, 6 halvings at 256 px
        self.heads = nn.ModuleList(GradualStyleBlock(c.width, steps[level], c.code_dim) for level in self.level)

    def forward(self, pyramid: list[Float[Tensor, "b width _ _"]]) -> Float[Tensor, "b t dim"]:
        return torch.stack([head(pyramid[level]) for head, level in zip(self.heads, self.level, strict=True)], dim=1)


class StyleEncoder(nn.Module):
    """E_s: [b,26,256,256] → codes [b,t,512], near ``mean_w`` before training.

    ``mean_w`` [512] is the prior's mean code, a buffer that travels with the weights. Other square sizes that 32 divides work;
    what is larger than the configuration's ``input_size`` is averaged down to it.
    """

    def __init__(self, config: StyleEncoderConfig | None = None, mean_w: Float[Tensor, " dim"] | None = None) -> None:
        super().__init__()
        self.config = c = config or StyleEncoderConfig.compact()
        if c.trunk == "compact":
            self.trunk = CompactTrunk(stages=6, in_channels=c.in_channels)
            taps = self.trunk.channels[1:]  # 1/4, 1/8, 1/16, 1/32
            self.heads: nn.Module = CompactHeads(c)
        elif c.trunk == "ir_se50":
            self.trunk = IrSe50(c.in_channels)
            taps = self.trunk.channels  # 1/4, 1/8, 1/16
            self.heads = GradualHeads(c)
        else:
            raise FacemugError(f"encoder trunk {c.trunk!r} is unknown: choose compact or ir_se50")
        # The coarsest map of IR-SE-50 is as wide as the pyramid and enters it as it is, as in e4e.
        self.lateral = nn.ModuleList(
            nn.Identity() if channels == c.width and channels == taps[-1] else nn.Conv2d(channels, c.width, 1)
            for channels in taps
        )
        self.register_buffer("mean_w", torch.zeros(c.code_dim) if mean_w is None else mean_w.detach().clone().float())
        self.register_buffer("delta_gate", torch.zeros(c.num_codes - 1, 1))
        self.set_active_deltas(c.active_deltas)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StyleEncoder:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(StyleEncoderConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def init_from_imagenet(self) -> StyleEncoder:
        """Fill the compact trunk with ImageNet weights (asset ``efficientnet_lite0``); returns itself.

        The image channels get the ImageNet filters; sketch, semantics and colour start at zero.
        """
        if self.config.trunk != "compact":
            raise FacemugError("only the compact trunk has ImageNet weights: ir_se50 starts from random ones")
        self.trunk.load_imagenet()
        return self

    def init_from_expert(self, trunk: CompactTrunk) -> StyleEncoder:
        """Take the first stages of the compact trunk from a shorter one that has learned faces, the expert's; returns itself.

        The stages it lacks stay as they are; sketch, semantics and colour start at zero.
        """
        if self.config.trunk != "compact":
            raise FacemugError("only the compact trunk starts from the expert's: ir_se50 starts from random weights")
        learned = trunk.state_dict()
        for name, value in self.trunk.state_dict().items():
            if name == "stem.0.weight":
                value.zero_()
                value[:, : learned[name].shape[1]] = learned[name]
            elif name in learned:
                value.copy_(learned[name])
        return self

    @property
    def active_deltas(self) -> int:
        """How many Δ are switched on."""
        return int(self.delta_gate.sum())

    def set_active_deltas(self, count: int | None) -> None:
        """Switch on the first ``count`` deltas, Δ_1 … Δ_count, and the others off; None = all t − 1.

        Heads that are off still run and get zero gradients, so the graph never changes.
        """
        total = self.config.num_codes - 1
        count = total if count is None else count
        if not 0 <= count <= total:
            raise FacemugError(f"{count} active deltas: choose 0 … {total}")
        self.delta_gate.copy_((torch.arange(total, device=self.delta_gate.device) < count)[:, None])

    @overload
    def forward(self, x: Float[Tensor, "b 26 h w"], return_deltas: Literal[False] = False) -> Float[Tensor, "b t dim"]: ...
    @overload
    def forward(self, x: Float[Tensor, "b 26 h w"],
                return_deltas: Literal[True]) -> tuple[Float[Tensor, "b t dim"], Float[Tensor, "b t-1 dim"]]: ...

    def forward(self, x: Float[Tensor, "b 26 h w"], return_deltas: bool = False,
                ) -> Float[Tensor, "b t dim"] | tuple[Float[Tensor, "b t dim"], Float[Tensor, "b t-1 dim"]]:
        """Codes [b,t,512], and with ``return_deltas`` the gated Δ [b,t−1,512] too."""
        if x.ndim != 4 or x.shape[1] != self.config.in_channels or x.shape[2] % 32 or x.shape[3] % 32:
            raise FacemugError(f"the style encoder takes [b, {self.config.in_channels}, h, w] with sides divisible by 32, "
                               f"not {tuple(x.shape)}")
        if x.shape[-1] > self.config.input_size:
            x = F.interpolate(x, size=(self.config.input_size, self.config.input_size), mode="area")
        levels = self.trunk(x)[-len(self.lateral) :]  # fine to coarse
        joined = self.lateral[-1](levels[-1])
        pyramid = [joined]
        for lateral, level in zip(list(self.lateral)[-2::-1], levels[-2::-1], strict=True):
            skip = lateral(level)
            joined = F.interpolate(joined, size=skip.shape[2:], mode="bilinear", align_corners=False) + skip
            pyramid.append(joined)
        offsets = self.heads(pyramid[-3:])  # 1/16, 1/8, 1/4
        base = self.mean_w + offsets[:, :1]  # w_0
        deltas = offsets[:, 1:] * self.delta_gate
        codes = torch.cat((base, base + deltas), dim=1)
        return (codes, deltas) if return_deltas else codes
