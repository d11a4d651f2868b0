"""The networks of PSAM (personalised spatial-aware affine modulation, IEEE TMM 2022).

Modulation tensors Γ and B of the full size of the picture say for every pixel and channel how features F are scaled and shifted.
They come from the face *and* the attributes that are asked for (personalised), and keep their place (spatial-aware):

    F = joint([image branch(x), attribute branch(c)]),   Γ, B = heads(trunk(F)),   x̂ = tanh(conv(Γ ⊙ F + B)).

The authors' code normalises every one of these layers by instance. In the three layers before the trunk that hides how much of
something there is: half the light and half the strength look the same as the whole. The compact network, whose labels are
strengths, leaves it out there (``front_norm``); the paper's keeps it. Its trunk is the U-Net that other systems share
(:mod:`facemug_lib.systems.common.unet`), whose condition each task makes of its labels, and whose last step up is the head of B.
It is told by how much the labels are to change instead of what they are to be (``relative``), so that it need not read the face's
own; it paints how far each value goes towards black or white (``residual``), so that what is not to change need not be learned;
and it tells its branches where they are (``places``).

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
from facemug_lib.systems.common.unet import ConditionedUNet, compact_widths, initialise, towards

CONDITIONS = 32  # numbers that a task makes of its labels for the U-Net

Mode = Literal["add", "concat", "attention", "no_b"]
Gate = Literal["sigmoid", "relu"]


@dataclass(frozen=True)
class PsamConfig:
    """Shape of the generator. ``tasks`` and ``attributes`` go together: an attribute branch per task, a map per attribute."""

    tasks: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]
    size: int = 128  # side of the pictures that it is trained on
    width: int = 16  # channels of the branches, of F, of Γ and of B
    trunk: Literal["unet", "residual"] = "unet"  # the shared U-Net, or two halvings and residual blocks as the paper's
    blocks: int = 4  # residual blocks of the trunk
    image_kernel: int = 7
    branch_kernel: int = 3
    mode: Mode = "add"  # how F, Γ and B meet: Γ⊙F + B; [Γ⊙F, B]; Γ⊙F + (1−Γ)⊙B; Γ⊙F
    plane: bool = False  # Γ has one channel, shared by all of F
    gate: Gate = "sigmoid"  # what ends Γ's head
    front_norm: bool = False  # instance normalisation before the trunk too
    places: bool = True  # attribute branches also see where in the picture they are: aligned faces have their parts in one place
    residual: bool = True  # G paints how far each value goes towards white or black; the paper's paints the whole face
    relative: bool = True  # labels say by how much they are to change, in [-1,1]; the paper's say what they are to be, in [0,1]

    def __post_init__(self) -> None:
        if len(self.tasks) != len(self.attributes) or not self.tasks:
            raise FacemugError(f"PSAM has {len(self.tasks)} tasks and attributes for {len(self.attributes)}: give each its own")
        if self.mode not in get_args(Mode) or self.gate not in get_args(Gate):
            raise FacemugError(f"PSAM has no mode {self.mode!r} with gate {self.gate!r}: modes are {', '.join(get_args(Mode))}, "
                               f"gates {', '.join(get_args(Gate))}")

    @classmethod
    def paper(cls, **changes: Any) -> PsamConfig:
        """Widths and kernels of the authors' code."""
        return cls(**{"width": 64, "trunk": "residual", "blocks": 6, "branch_kernel": 7, "front_norm": True, "places": False,
                      "residual": False, "relative": False} | changes)


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


class ResidualTrunk(nn.Module):
    """The paper's: two halvings, residual blocks, one step up. F [b,w,h,w'] → [b,2w,h/2,w'/2], h and w' multiples of 4."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, 2 * width, 4, 2), _conv(2 * width, 4 * width, 4, 2),
                                    *(_Residual(4 * width) for _ in range(blocks)), *_up(4 * width, 2 * width),
                                    nn.ReLU(inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class PsamGenerator(nn.Module):
    """G: image [b,3,h,w] in [-1,1] and labels [b,n] of a task → :class:`Modulated`.

    h and w are multiples of 16, or of 4 with the paper's trunk. What the labels say: :meth:`asked`.
    """

    def __init__(self, config: PsamConfig) -> None:
        super().__init__()
        self.config, w, norm = config, config.width, config.front_norm
        self.image_branch = _conv(3, w, config.image_kernel, norm=norm)
        tasks = dict(zip(config.tasks, map(len, config.attributes), strict=True))
        self.attribute_branches = nn.ModuleDict({task: _conv(count + 2 * config.places, w, config.branch_kernel, norm=norm)
                                                 for task, count in tasks.items()})
        self.joint = _conv(2 * w, w, 3, norm=norm)
        if config.trunk == "unet":
            widths = compact_widths(w)
            self.trunk: nn.Module = ConditionedUNet(widths, CONDITIONS, scales=True)
            initialise(self.trunk)
            self.attribute_codes = nn.ModuleDict({task: nn.Linear(count, CONDITIONS, bias=False)
                                                  for task, count in tasks.items()})
            for code in self.attribute_codes.values():
                nn.init.normal_(code.weight, 0.0, CONDITIONS**-0.5)  # together as strong as one number of 1
            hidden = 2 * widths[1]
        else:
            self.trunk, hidden = ResidualTrunk(w, config.blocks), 2 * w
        gate = nn.Sigmoid() if config.gate == "sigmoid" else nn.ReLU(inplace=True)
        self.gamma = nn.Sequential(*_up(hidden, 1 if config.plane else w), gate)
        self.beta = None
        if config.mode != "no_b" and config.trunk == "residual":
            self.beta = nn.Sequential(*_up(hidden, w), nn.ReLU(inplace=True))
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

    def asked(self, own: Tensor, wanted: Tensor) -> Tensor:
        """The labels [b,n] that make of faces with labels ``own`` [b,n] those with labels ``wanted`` [b,n], all in [0,1]."""
        return wanted - own if self.config.relative else wanted

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

    def _tensors(self, image: Tensor, features: Tensor, labels: Tensor, task: str) -> tuple[Tensor, Tensor]:
        """Γ and B, of full size."""
        if self.config.trunk == "residual":
            hidden = self.trunk(features)
            return self.gamma(hidden), torch.zeros_like(features) if self.beta is None else self.beta(hidden)
        code = self.attribute_codes[task](labels.to(image.dtype))
        hidden = self.trunk.halfway(image, code)
        no_b = self.config.mode == "no_b"
        return self.gamma(hidden), torch.zeros_like(features) if no_b else self.trunk.up_full(hidden, code)

    def forward(self, image: Tensor, labels: Tensor, task: str) -> Modulated:
        features = self.features(image, labels, task)
        gamma, beta = self._tensors(image, features, labels, task)
        scaled = gamma * features
        match self.config.mode:
            case "concat":
                modulated = self.merge(torch.cat((scaled, beta), dim=1))
            case "attention":
                modulated = scaled + (1 - gamma) * beta
            case _:
                modulated = scaled + beta
        with torch.autocast(image.device.type, enabled=False):  # bf16 would leave 256 steps of brightness, and paint bands
            made = self.exit(modulated.float()).tanh()
            made = towards(image, made) if self.config.residual else made
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
