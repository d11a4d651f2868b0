"""A face prior, judges and an editor small enough for tests; real classes otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.fill.refine import Experts
from facemug_lib.editing.latent.directions import constant
from facemug_lib.experts.perceptual import Lpips
from facemug_lib.faces.code_space import CODE_DIM, CodeSpace
from facemug_lib.models.aggregation import AggregationConfig
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping
from facemug_lib.models.style_encoder import StyleEncoder


class TinyPrior(CodeSpace):
    """A smooth picture that depends linearly on the codes; the interface of the real bank with few channels."""

    feature_channels = {4: 8, 8: 8, 16: 8, 32: 8, 64: 8, 128: 8}
    code_layers = {4: (0,)} | {8 * 2**i: tuple(range(1 + 3 * i, 4 + 3 * i)) for i in range(5)}

    def __init__(self) -> None:
        super().__init__(num_codes=17)
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("paint", torch.randn(17 * CODE_DIM, 3 * 8 * 8, generator=draw) * 0.02)

    def map(self, z: Tensor) -> Tensor:
        return 0.5 * z

    def synthesize(self, codes: Tensor, size: int = 256) -> Tensor:
        coarse = (codes.flatten(1) @ self.paint).view(-1, 3, 8, 8)
        return F.interpolate(coarse, (size, size), mode="bilinear")

    def forward(self, codes: Tensor, size: int = 256) -> tuple[Tensor, Mapping[int, Tensor]]:
        image = self.synthesize(codes, size)
        return image, {r: F.adaptive_avg_pool2d(image[:, :1], r).expand(-1, 8, -1, -1) for r in self.feature_channels}


class TinyLpips(nn.Module):
    """Squared differences of the picture and of a coarse copy, behind LPIPS's interface."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ParameterList([nn.Parameter(torch.full((1, 3, 1, 1), 1 / 3), requires_grad=False) for _ in range(2)])

    def embed(self, image: Tensor) -> list[Tensor]:
        return [image, F.avg_pool2d(image, 8)]

    distance = Lpips.distance


class TinyParser(nn.Module):
    """Bright is class 1, dark class 17, behind the expert's interface."""

    def forward(self, image: Tensor) -> object:
        class Output:
            semantics = torch.zeros(len(image), 19, *image.shape[2:]) - 4
        light = image.mean(1)
        planes = list(Output.semantics.unbind(1))
        planes[1], planes[17] = 4 * light, -4 * light
        Output.semantics = torch.stack(planes, 1)
        return Output


def tiny_editor() -> Editor:
    torch.manual_seed(0)
    prior = TinyPrior()
    config = replace(GeneratorConfig.compact(feature_channels=prior.feature_channels, code_layers=prior.code_layers),
                     widths=(8,) * 7, global_dim=16, bottleneck=8, style_rank=8,
                     aggregation=AggregationConfig(width=4, hidden=4, score_hidden=2))
    networks = [StyleEncoder(mean_w=prior.mean_w), LatentWarping(), RefinementGenerator(config)]
    for network in networks:
        network.eval().requires_grad_(False)
    judges = Experts(TinyLpips(), TinyParser(), lambda image: F.normalize(F.adaptive_avg_pool2d(image, 4).flatten(1), dim=1))
    return Editor(prior, *networks, experts=lambda parser, identity, perceptual: judges)


def steerable_editor() -> Editor:
    """The tiny editor with two directions that visibly move its picture."""
    plain = tiny_editor()
    light = constant("light", -plain.prior.paint.mean(1).view(17, 512).sum(0), "factor")
    other = constant("smile", torch.randn(512, generator=torch.Generator().manual_seed(4)), "factor").restricted("upper")
    return plain.with_directions({"light": light.scaled(0.05 / float(light.vector[0].norm()), "tests"),
                                  "smile": other.scaled(0.02, "tests")})
