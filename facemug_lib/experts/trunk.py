"""EfficientNet-Lite0's feature stages: the compact ImageNet trunk that our trained networks start from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.assets import load_asset


class TrunkStage(NamedTuple):
    """One run of inverted-residual blocks."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM = 32
EFFICIENTNET_LITE0 = (
    TrunkStage(1, 3, 1, 1, 16), TrunkStage(2, 3, 2, 6, 24), TrunkStage(2, 5, 2, 6, 40), TrunkStage(3, 3, 2, 6, 80),
    TrunkStage(3, 5, 1, 6, 112), TrunkStage(4, 5, 2, 6, 192), TrunkStage(1, 3, 1, 6, 320),
)
BATCH_NORM_EPS = 1e-3


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, on which the published weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(x, self.weight, None, stride, (pads[2], pads[0]), groups=self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, None, stride, groups=self.groups)


def _unit(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [_SameConv(inner, outer, kernel, stride, groups=groups, bias=False),
                               nn.BatchNorm2d(outer, eps=BATCH_NORM_EPS)]
    if activation:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise k×k, project 1×1, with a skip where shapes allow (no squeeze-excite in Lite)."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inner * expand
        self.expand = _unit(inner, hidden, 1) if expand != 1 else nn.Identity()
        self.depthwise = _unit(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _unit(hidden, outer, 1, activation=False)
        self.skip = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class CompactTrunk(nn.Module):
    """EfficientNet-Lite0 without its classifier: images [b,c,h,w] in [-1,1] to a pyramid of features.

    ``forward`` returns one map per resolution, finest first: 16 channels at 1/2, 24 at 1/4, 40 at 1/8, 112 at 1/16
    and, with ``stages=7``, 320 at 1/32 (``channels`` lists them). ``in_channels`` other than 3 keeps the ImageNet
    filters for the first three channels and starts the others at zero.
    """

    def __init__(self, stages: int = 5, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = _unit(in_channels, STEM, 3, 2)
        self.stages = nn.ModuleList()
        width = STEM
        for stage in EFFICIENTNET_LITE0[:stages]:
            blocks = []
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(width, stage.channels, stage.kernel, stride, stage.expand))
                width = stage.channels
            self.stages.append(nn.Sequential(*blocks))
        # A level ends where the next stage halves the map, or where the trunk ends.
        self.taps = tuple(i for i in range(stages) if i + 1 == stages or EFFICIENTNET_LITE0[i + 1].stride == 2)
        self.channels = tuple(EFFICIENTNET_LITE0[i].channels for i in self.taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        levels = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                levels.append(x)
        return levels

    def load_imagenet(self) -> CompactTrunk:
        """Fill with the pinned ImageNet weights (asset ``efficientnet_lite0``); returns itself."""
        published = load_asset("efficientnet_lite0")
        own = self.state_dict()
        for name, value in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            source = published[_published_name(name)].to(value.dtype)
            if name == "stem.0.weight":
                value.zero_()
                value[:, :3] = source[:, : value.shape[1]]
            else:
                value.copy_(source)
        return self


def _published_name(name: str) -> str:
    """Our ``stages.1.0.expand.1.weight`` is the release's ``_blocks.1._bn0.weight``."""
    if name.startswith("stem."):
        _, layer, leaf = name.split(".")
        return f"{'_conv_stem' if layer == '0' else '_bn0'}.{leaf}"
    _, stage, block, part, layer, leaf = name.split(".")
    index = sum(s.blocks for s in EFFICIENTNET_LITE0[: int(stage)]) + int(block)
    layers = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}
    return f"_blocks.{index}.{layers[part][int(layer)]}.{leaf}"
