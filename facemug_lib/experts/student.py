"""The expert: one compact network that parses a face and reads its attributes.

It was distilled from larger public networks on faces sampled from the prior, so nobody needs those networks to use it.
Everything is differentiable with respect to the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.experts.trunk import CompactTrunk
from facemug_lib.modalities.semantics import NUM_CLASSES
from facemug_lib.weights import load_module


class Attribute(NamedTuple):
    """How one attribute is measured: its unit, whether the network emits a logit, and its sign under mirroring."""

    unit: str
    logit: bool = False
    odd: bool = False  # changes its sign when the face is mirrored


ATTRIBUTES: dict[str, Attribute] = {
    "age": Attribute("years"),
    "gender": Attribute("logit, above 0: male", logit=True),
    "smile": Attribute("logit, above 0: smiling", logit=True),
    "mouth_open": Attribute("gap between the lips over the mouth's width"),
    "eyes_open": Attribute("gap between the lids over the eye's width"),
    "yaw": Attribute("degrees, above 0: turned to the image's right", odd=True),
    "pitch": Attribute("degrees, above 0: looking up"),
    "glasses": Attribute("logit, above 0: wears glasses", logit=True),
    "hair_lightness": Attribute("mean luminance of the hair, 0 black … 1 white"),
    "hair_length": Attribute("share of the image that is hair lying lower than the mouth, in percent"),
}


class ExpertOutput(NamedTuple):
    """semantics: logits [b,19,h,w] at the input's size, CelebAMask-HQ order; attributes: name -> [b] in its own unit."""

    semantics: Tensor
    attributes: dict[str, Tensor]


@dataclass(frozen=True)
class ExpertConfig:
    """Widths of the expert.

    working_size: side in pixels to which every input is resized; width: channels of the decoder; head_width: channels of the
    attribute branch; hidden: units between it and the attributes.
    """

    working_size: int = 192
    width: int = 96
    head_width: int = 192
    hidden: int = 160


class _Refine(nn.Module):
    """Residual depthwise-separable 5×5 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False), nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ExpertStudent(nn.Module):
    """Parser and attribute reader for aligned faces.

    ``forward`` takes images [b,3,h,w] in [-1,1], RGB, FFHQ-aligned, of any size (resized to ``working_size``). A compact
    ImageNet trunk feeds a top-down pyramid that ends at a quarter of the resolution (19 logits), and a branch that keeps where
    things are: on aligned faces, position is information.
    """

    def __init__(self, config: ExpertConfig | None = None) -> None:
        super().__init__()
        self.config = config or ExpertConfig()
        width, head = self.config.width, self.config.head_width
        self.trunk = CompactTrunk(stages=5)
        _, fine, middle, coarse = self.trunk.channels
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in (coarse, middle, fine))
        self.context = nn.Conv2d(coarse, width, 1)
        self.refine = nn.ModuleList(nn.Sequential(_Refine(width), _Refine(width)) for _ in range(3))
        self.classify = nn.Conv2d(width, NUM_CLASSES, 1)
        self.branch = nn.Sequential(
            nn.Conv2d(coarse, coarse, 5, stride=2, padding=2, groups=coarse, bias=False), nn.Conv2d(coarse, head, 1, bias=False),
            nn.BatchNorm2d(head), nn.ReLU(inplace=True), _Refine(head), _Refine(head),
        )
        self.place = nn.Conv2d(head, 16, 1)
        self.read = nn.Sequential(nn.Linear(head + 16 * 64, self.config.hidden), nn.ReLU(inplace=True),
                                  nn.Linear(self.config.hidden, len(ATTRIBUTES)))
        self.register_buffer("attribute_mean", torch.zeros(len(ATTRIBUTES)))
        self.register_buffer("attribute_std", torch.ones(len(ATTRIBUTES)))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ExpertStudent:
        return cls(ExpertConfig(**config))

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> ExpertStudent:
        """The shipped expert, frozen, in evaluation mode."""
        return load_module("expert", cls.from_config, device)

    def describe(self) -> dict[str, Any]:
        """The configuration as plain data, for :func:`facemug_lib.weights.save_weights`."""
        return asdict(self.config)

    def set_attribute_scale(self, mean: Tensor, std: Tensor) -> None:
        """Fix the offset and scale [10] of the non-logit attributes, so that the network predicts standardised numbers."""
        logits = torch.tensor([attribute.logit for attribute in ATTRIBUTES.values()])
        self.attribute_mean.copy_(torch.where(logits, torch.zeros_like(mean), mean))
        self.attribute_std.copy_(torch.where(logits, torch.ones_like(std), std))

    def forward(self, image: Tensor) -> ExpertOutput:
        coarse_logits, raw = self.raw(image)
        semantics = F.interpolate(coarse_logits, image.shape[-2:], mode="bilinear", align_corners=False)
        values = raw * self.attribute_std + self.attribute_mean
        return ExpertOutput(semantics, dict(zip(ATTRIBUTES, values.unbind(1), strict=True)))

    def raw(self, image: Tensor, working_size: int | None = None) -> tuple[Tensor, Tensor]:
        """What the losses of the distillation see: logits [b,19,s/4,s/4] and standardised attributes [b,10].

        ``working_size`` s other than the configured one is for training alone: half the side costs a quarter.
        """
        side = working_size or self.config.working_size
        size = (side, side)
        if image.shape[-2:] != size:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        levels = self.trunk(image)
        coarse = levels[-1]
        x: Tensor | None = None
        for lateral, refine, level in zip(self.lateral, self.refine, reversed(levels[1:]), strict=True):
            here = lateral(level)
            if x is None:
                x = here + self.context(level.mean((2, 3), keepdim=True))
            else:
                x = here + F.interpolate(x, here.shape[-2:], mode="bilinear", align_corners=False)
            x = refine(x)
        return self.classify(x), self.read(what_and_where(self.branch(coarse), self.place))

    def parse(self, image: Tensor) -> Tensor:
        """Label map, long [b,h,w], of images [b,3,h,w]; no gradients."""
        with torch.no_grad():
            return self(image).semantics.argmax(1)

    def attributes(self, image: Tensor) -> dict[str, Tensor]:
        """Attributes alone, name -> [b]; see :data:`ATTRIBUTES` for the units."""
        return self(image).attributes


def what_and_where(features: Tensor, place: nn.Module) -> Tensor:
    """The mean of ``features`` [b,c,h,w], and what ``place`` (16 channels) sees in each of 8×8 cells: [b, c + 16·64]."""
    return torch.cat((features.mean((2, 3)), F.adaptive_avg_pool2d(place(features), 8).flatten(1)), 1)
