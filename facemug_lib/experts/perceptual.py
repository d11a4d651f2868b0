"""LPIPS, the learned perceptual distance (Zhang et al. 2018, version 0.1), without any download of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.assets import load_asset
from facemug_lib.errors import FacemugError

# torchvision's `features`: output channels of a convolution, "pool", and "tap" after the ReLU whose output is compared.
_VGG16 = (64, 64, "tap", "pool", 128, 128, "tap", "pool", 256, 256, 256, "tap", "pool", 512, 512, 512, "tap", "pool",
          512, 512, 512, "tap")
_ALEXNET = ((64, 11, 4, 2), "tap", "pool", (192, 5, 1, 2), "tap", "pool", (384, 3, 1, 1), "tap", (256, 3, 1, 1), "tap",
            (256, 3, 1, 1), "tap")
# ImageNet's statistics, for inputs in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPS = 1e-10


class Lpips(nn.Module):
    """Perceptual distance between images a and b, both [b,3,h,w] in **[-1,1]**: one number per pair, [b].

    Backbone ``"vgg"`` (the one to train with) or ``"alex"`` (faster, closer to human judgement). Its weights are the
    project's pinned assets, the linear layers are those inside the ``lpips`` package. Frozen; gradients reach both images.
    At least 32 pixels a side.
    """

    def __init__(self, net: Literal["vgg", "alex"] = "vgg") -> None:
        super().__init__()
        if net not in ("vgg", "alex"):
            raise FacemugError(f"LPIPS has no backbone {net!r}: use vgg or alex")
        self.features, self.taps, channels = _backbone(net)
        backbone = load_asset(f"lpips_{net}")
        self.features.load_state_dict({name.removeprefix("features."): value for name, value in backbone.items()
                                       if name.startswith("features.")})
        self.heads = nn.ParameterList(_linear_heads(net))
        if [head.shape[1] for head in self.heads] != channels:
            raise FacemugError(f"the installed lpips package holds other {net} heads than version 0.1.4: reinstall it")
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def embed(self, image: Tensor) -> list[Tensor]:
        """Unit-normalised features of one image, to compare it with many by :meth:`distance`."""
        x = (image - self.shift) / self.scale
        levels = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                norm = x.square().sum(1, keepdim=True).sqrt()
                levels.append(x / (norm + _EPS))
        return levels

    def distance(self, first: list[Tensor], second: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """Distance [b] between features from :meth:`embed`; with ``weight`` [b,1,h,w], a weighted mean over the picture."""
        total = 0
        for a, b, head in zip(first, second, self.heads, strict=True):
            apart = ((a - b).square() * head).sum(1)
            if weight is None:
                total = total + apart.mean((1, 2))
                continue
            here = F.adaptive_avg_pool2d(weight, a.shape[2:])
            here = here / here.sum((2, 3), keepdim=True).clamp_min(1e-12)
            total = total + (apart[:, None] * here).sum((1, 2, 3))
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distance(self.embed(a), self.embed(b))


def _backbone(net: str) -> tuple[nn.Sequential, frozenset[int], list[int]]:
    """The convolutions with torchvision's indices, the indices to tap, and the channels there."""
    layers: list[nn.Module] = []
    taps, channels, width = [], [], 3
    for item in _VGG16 if net == "vgg" else _ALEXNET:
        if item == "tap":
            taps.append(len(layers) - 1)
            channels.append(width)
        elif item == "pool":
            layers.append(nn.MaxPool2d(2, 2) if net == "vgg" else nn.MaxPool2d(3, 2))
        else:
            outer, kernel, stride, padding = item if isinstance(item, tuple) else (item, 3, 1, 1)
            layers += [nn.Conv2d(width, outer, kernel, stride, padding), nn.ReLU()]
            width = outer
    return nn.Sequential(*layers), frozenset(taps), channels


def _linear_heads(net: str) -> list[nn.Parameter]:
    """The five 1×1 layers [1,c,1,1] from the file that the ``lpips`` package brings; the package itself is not imported."""
    spec = find_spec("lpips")
    path = Path(spec.origin).parent / "weights" / "v0.1" / f"{net}.pth" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FacemugError("the linear layers of LPIPS are missing: pip install lpips==0.1.4")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return [nn.Parameter(tensors[f"lin{level}.model.1.weight"]) for level in range(5)]
