"""Stand-ins for the networks that judge."""

from __future__ import annotations

import torch
from torch import Tensor

from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

COUNT = 15


class StubJudges:
    """Cheap functions of the picture in place of networks, with their shapes."""

    def __init__(self) -> None:
        self.asked = 0

    def inception(self, pictures: Tensor) -> Tensor:
        self.asked += len(pictures)
        return torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)

    def embedded(self, truths: Tensor, net: str = "alex") -> list[Tensor]:
        return [truths]

    def lpips_to(self, embedded: list[Tensor], pictures: Tensor, net: str = "alex") -> Tensor:
        return (pictures - embedded[0]).square().mean((1, 2, 3))

    def lpips(self, pictures: Tensor, truths: Tensor, net: str = "alex") -> Tensor:
        return self.lpips_to([truths], pictures)

    def arcface(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.normalize(torch.nn.functional.adaptive_avg_pool2d(pictures, 8).flatten(1))

    facenet = arcface

    def parse(self, pictures: Tensor) -> Tensor:
        return torch.where(pictures.mean(1) > 0, SEMANTIC_CLASSES.index("skin"), SEMANTIC_CLASSES.index("hair"))

    def pose(self, pictures: Tensor) -> Tensor:
        return pictures.mean((2, 3)) * 90


class Light:
    """A text–image model that knows two words, "bright" and anything else, and sees how bright a picture is."""

    name, code_group = "light", "all"

    def embed_texts(self, texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0] if text == "bright" else [0.0, 1.0] for text in texts])

    def embed_images(self, images: Tensor) -> Tensor:
        light = images.mean((1, 2, 3))
        return torch.nn.functional.normalize(torch.stack((1 + light, 1 - light), dim=1), dim=1)
