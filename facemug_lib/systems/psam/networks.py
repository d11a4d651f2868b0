"""The networks of PSAM (personalised spatial-aware affine modulation, IEEE TMM 2022).

Modulation tensors Γ and B of the full size of the picture say for every pixel and channel how features F are scaled and shifted.
They come from the face *and* the attributes that are asked for (personalised), and keep their place (spatial-aware):

    F = joint([image branch(x), attribute branch(c)]),   Γ, B = heads(trunk(F)),   x̂ = tanh(conv(Γ ⊙ F + B)).

The authors' code normalises every one of these layers by instance. In the three layers before the trunk that hides how much of
something there is: half the light and half the strength look the same as the whole. The compact network, whose labels are
strengths, leaves it out there (``front_norm``); the paper's keeps it. It also adds its picture to the face (``residual``), so
that what is not to change need not be learned, and tells its branches where they are (``places``): x̂ = x +
2·tanh(0.2·conv(…)), clipped.

Taught in `notebooks/12_psam.ipynb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config
from facemug_lib.systems.common.places import places_of

EXIT_GAIN = 0.2
"""Of a residual network's last convolution: a step of Adam moves its hundreds of weights together, the picture by their sum."""

Mode = Literal["add", "concat", "attention", "no_b"]
Gate = Literal["sigmoid", "relu"]


@dataclass(frozen=True)
class PsamConfig:
    """Shape of the generator. ``tasks`` and ``attributes`` go together: an attribute branch per task, a map per attribute."""

    tasks: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]
    size: int = 128  # side of the pictures that it is trained on
    width: int = 24  # channels of the branches, of F, of Γ and of B
    blocks: int = 4  # residual blocks of the trunk
    image_kernel: int = 7
    branch_kernel: int = 3
    mode: Mode = "add"  # how F, Γ and B meet: Γ⊙F + B; [Γ⊙F, B]; Γ⊙F + (1−Γ)⊙B; Γ⊙F
    plane: bool = False  # Γ has one channel, shared by all of F
    gate: Gate = "sigmoid"  # what ends Γ's head
    front_norm: bool = False  # instance normalisation before the trunk too
    places: bool = True  # attribute branches also see where in the picture they are: aligned faces have their parts in one place
    residual: bool = True  # x̂ = x + 2·tanh(0.2·conv(…)): G paints what changes; the paper's paints the whole face

    def __post_init__(self) -> None:
        if len(self.tasks) != len(self.attributes) or not self.tasks:
            raise FacemugError(f"PSAM has {len(self.tasks)} tasks and attributes for {len(self.attributes)}: give each its own")
        if self.mode not in get_args(Mode) or self.gate not in get_args(Gate):
            raise FacemugError(f"PSAM has no mode {self.mode!r} with gate {self.gate!r}: modes are {', '.join(get_args(Mode))}, "
                               f"gates {', '.join(get_args(Gate))}")

    @classmethod
    def paper(cls, **changes: Any) -> PsamConfig:
        """Widths and kernels of the authors' code."""
        return cls(**{"width": 64, "blocks": 6, "branch_kernel": 7, "front_norm": True, "places": False,
                      "residual": False} | changes)


class Modulated(NamedTuple):
    """What the generator makes: image [b,3,h,w] in [-1,1], Γ [b,c or 1,h,w], B [b,c,h,w] (zeros without B)."""

    image: Tensor
    gamma: Tensor
    beta: Tensor


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, norm: bool = True) -> nn.Sequential:
    """Convolution, instance normalisation, ReLU; "same" size for stride 1, half of it for kernel 4 and stride 2."""
    layers = [nn.Conv2d(inner, outer, kernel, stride, (kernel - 1) // 2, bias=not norm)]
    return nn.Sequential(*layers, *([nn.InstanceNorm2d(outer, affine=True)] if norm else []), nn.ReLU(inplace=True))


def _up(inner: int, outer: int) -> list[nn.Module]:
    """Transposed convolution to twice the size, instance normalisation."""
    return [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.InstanceNorm2d(outer, affine=True)]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_conv(width, width, 3), nn.Conv2d(width, width, 3, padding=1, bias=False),
                                    nn.InstanceNorm2d(width, affine=True))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PsamGenerator(nn.Module):
    """G: image [b,3,h,w] in [-1,1], h and w multiples of 4, and labels [b,n] of a task in [0,1] → :class:`Modulated`."""

    def __init__(self, config: PsamConfig) -> None:
        super().__init__()
        self.config, w, norm = config, config.width, config.front_norm
        self.image_branch = _conv(3, w, config.image_kernel, norm=norm)
        self.attribute_branches = nn.ModuleDict({
            task: _conv(len(names) + 2 * config.places, w, config.branch_kernel, norm=norm)
            for task, names in zip(config.tasks, config.attributes, strict=True)})
        self.joint = _conv(2 * w, w, 3, norm=norm)
        self.trunk = nn.Sequential(_conv(w, 2 * w, 4, 2), _conv(2 * w, 4 * w, 4, 2),
                                   *(_Residual(4 * w) for _ in range(config.blocks)), *_up(4 * w, 2 * w), nn.ReLU(inplace=True))
        gate = nn.Sigmoid() if config.gate == "sigmoid" else nn.ReLU(inplace=True)
        self.gamma = nn.Sequential(*_up(2 * w, 1 if config.plane else w), gate)
        self.beta = None if config.mode == "no_b" else nn.Sequential(*_up(2 * w, w), nn.ReLU(inplace=True))
        self.merge = _conv(2 * w, w, 3) if config.mode == "concat" else None
        self.exit = nn.Conv2d(w, 3, config.image_kernel, padding=config.image_kernel // 2)
        if config.residual:  # at first, nothing is changed
            nn.init.zeros_(self.exit.weight)
            nn.init.zeros_(self.exit.bias)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PsamGenerator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(PsamConfig, {name: value for name, value in config.items() if name != "system"}))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def attributes_of(self, task: str) -> tuple[str, ...]:
        """Names of a task's labels, in their order. Raises :class:`FacemugError` for a task that this network has not."""
        if task not in self.config.tasks:
            raise FacemugError(f"this PSAM was not trained for {task!r}: it has {', '.join(self.config.tasks)}")
        return self.config.attributes[self.config.tasks.index(task)]

    def features(self, image: Tensor, labels: Tensor, task: str) -> Tensor:
        """F [b,c,h,w]: what the face and the attributes say together, before it is modulated."""
        names = self.attributes_of(task)
        if labels.shape != (len(image), len(names)):
            raise FacemugError(f"labels of {task} have shape {tuple(labels.shape)}: [{len(image)}, {len(names)}] is needed, for "
                               f"{', '.join(names)}")
        maps = labels.to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        if self.config.places:
            maps = torch.cat((maps, places_of(image)), dim=1)
        return self.joint(torch.cat((self.image_branch(image), self.attribute_branches[task](maps)), dim=1))

    def forward(self, image: Tensor, labels: Tensor, task: str) -> Modulated:
        features = self.features(image, labels, task)
        hidden = self.trunk(features)
        gamma = self.gamma(hidden)
        beta = torch.zeros_like(features) if self.beta is None else self.beta(hidden)
        scaled = gamma * features
        match self.config.mode:
            case "concat":
                modulated = self.merge(torch.cat((scaled, beta), dim=1))
            case "attention":
                modulated = scaled + (1 - gamma) * beta
            case _:
                modulated = scaled + beta
        with torch.autocast(image.device.type, enabled=False):  # bf16 would leave 256 steps of brightness, and paint bands
            made = self.exit(modulated.float())
            made = (image + 2 * (EXIT_GAIN * made).tanh()).clamp(-1, 1) if self.config.residual else made.tanh()
        return Modulated(made, gamma, beta)


@dataclass(frozen=True)
class PsamDiscriminatorConfig:
    """Shape of D: a patch discriminator whose last map also says, by a head per task, which attributes it sees."""

    tasks: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]
    size: int = 128
    width: int = 16
    layers: int = 5
    most: int = 128  # channels at most

    @classmethod
    def paper(cls, **changes: Any) -> PsamDiscriminatorConfig:
        """StarGAN's, which the authors' code takes: 64 channels, doubled by each of six layers."""
        return cls(**{"width": 64, "layers": 6, "most": 2048} | changes)


class PsamDiscriminator(nn.Module):
    """D: image [b,3,s,s] and a task → (scores of its patches [b,1,p,p], class logits [b,n]); p = s / 2^layers."""

    def __init__(self, config: PsamDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [min(config.width * 2**i, config.most) for i in range(config.layers)]
        layers = []
        for inner, outer in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.patches = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        last = config.size // 2**config.layers
        if last < 1:
            raise FacemugError(f"pictures of {config.size} px cannot be halved {config.layers} times: use fewer layers")
        self.class_heads = nn.ModuleDict({task: nn.Conv2d(widths[-1], len(names), last, bias=False)
                                          for task, names in zip(config.tasks, config.attributes, strict=True)})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PsamDiscriminator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(PsamDiscriminatorConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, image: Tensor, task: str) -> tuple[Tensor, Tensor]:
        if image.shape[2:] != (self.config.size, self.config.size):
            raise FacemugError(f"this discriminator takes pictures of {self.config.size} px, not {tuple(image.shape[2:])}")
        hidden = self.trunk(image)
        return self.patches(hidden), self.class_heads[task](hidden).flatten(1)
