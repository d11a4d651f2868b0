"""IR-SE-50, the trunk of the e4e and pSp encoders: improved residual bottlenecks with squeeze-and-excitation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

STEM = 64
BOTTLENECKS = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels and how many; the first of each row halves the map
TAPS = (6, 20, 23)  # block indices whose outputs are c1, c2, c3
REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Channel gates from the pooled features. [b,c,h,w] → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels // REDUCTION, 1, bias=False), nn.ReLU(),
            nn.Conv2d(channels // REDUCTION, channels, 1, bias=False), nn.Sigmoid(),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.gate(x)


class Bottleneck(nn.Module):
    """BN, 3×3, PReLU, strided 3×3, BN, squeeze-excite, beside a subsampled or 1×1 skip."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inner), nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.PReLU(outer),
            nn.Conv2d(outer, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), SqueezeExcite(outer),
        )
        self.skip: nn.Module
        if inner == outer:
            self.skip = nn.MaxPool2d(1, stride)
        else:
            self.skip = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Float[Tensor, "b inner h w"]) -> Float[Tensor, "b outer _ _"]:
        return self.residual(x) + self.skip(x)


class IrSe50(nn.Module):
    """[b,c,s,s] → c1 (128 channels, s/4), c2 (256, s/8), c3 (512, s/16)."""

    channels = (128, 256, 512)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.PReLU(STEM))
        self.blocks = nn.ModuleList()
        inner = STEM
        for outer, count in BOTTLENECKS:
            for index in range(count):
                self.blocks.append(Bottleneck(inner, outer, 2 if index == 0 else 1))
                inner = outer

    def forward(self, x: Float[Tensor, "b c s s"]) -> list[Float[Tensor, "b _ _ _"]]:
        x = self.stem(x)
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                levels.append(x)
        return levels
