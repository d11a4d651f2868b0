"""A sixth system in one file, as CONTRIBUTING describes it: it learns which colour an attribute tints a face with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from system_fakes import TINTS, fake_maker
from torch import Tensor, nn

from facemug_lib.pictures import picture_grid
from facemug_lib.systems.common.contract import SystemAttribute, load_networks
from facemug_lib.systems.common.faces import SystemFaces, SystemSettings
from facemug_lib.systems.common.scores import pair_scores
from facemug_lib.training.profiles import knob
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.start import start

MADE_UP = {name: SystemAttribute(f"1 tints as {name} does, -1 the other way", -2, 2, name) for name in TINTS}


class SixthSettings(SystemSettings):
    """The sixth system."""

    weight: float = knob(1.0, "weight of the L1 to the pair", gt=0)


class Tint(nn.Module):
    """x → x + Σ strength · colour of its attribute."""

    def __init__(self, attributes: tuple[str, ...]) -> None:
        super().__init__()
        self.config = {"system": "sixth", "attributes": list(attributes)}
        self.colours = nn.Parameter(torch.zeros(len(attributes), 3))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tint:
        return cls(tuple(config["attributes"]))

    def forward(self, images: Tensor, strengths: Tensor) -> Tensor:
        return images + (strengths @ self.colours)[..., None, None]


class SixthStage:
    """The sixth system's stage."""

    name, settings_class, ema, image_source = "sixth", SixthSettings, ("sixth",), "faces"
    presets = {"smoke": {"images": 64, "batch": 8, "size": 64, "pool": 16, "attributes": "smile,age", "stats_every": 32,
                         "lr": 0.05, "ema_halflife": 8, "evaluate_count": 4},
               "laptop": {"images": 2_000, "attributes": "smile,age"}, "paper": {"images": 20_000, "attributes": "smile,age"}}

    def __init__(self, settings: SixthSettings, tint: Tint) -> None:
        self.settings, self.modules = settings, {"sixth": tint}

    @classmethod
    def build(cls, settings: SixthSettings, device: torch.device, init: str = "scratch") -> SixthStage:
        tint = Tint(settings.attribute_names)
        start(tint, "sixth", init)
        return cls(settings, tint.to(device))

    def source(self, data: str, device: torch.device) -> SystemFaces:
        return SystemFaces(fake_maker(self.settings.size), self.settings.attribute_names, self.settings.pool)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"sixth": torch.optim.Adam(self.modules["sixth"].parameters(), lr=self.settings.lr)}

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        edited = self.modules["sixth"](batch.images, batch.extra["strength"])
        loss = self.settings.weight * (edited - batch.extra["pair"]).abs().mean()
        context.update("sixth", loss)
        return {"l1": loss.detach()}

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        faces = self.source("prior", torch.device("cpu"))
        scores: dict[str, float] = {}
        for name in self.settings.attribute_names:
            unseen = faces.unseen(name, count)
            scores |= pair_scores(modules["sixth"](unseen.images, unseen.extra["strength"]), unseen, name, faces.maker)
        return scores

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        images = self.source("prior", torch.device("cpu")).unseen("smile", 4).images
        strengths = torch.eye(len(self.settings.attribute_names))[:1].expand(4, -1)
        return picture_grid([images, modules["sixth"](images, strengths)])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        return {"sixth": (modules["sixth"].state_dict(), modules["sixth"].config)}


class Sixth:
    """The trained sixth system."""

    name, title, stage, all_attributes, size = "sixth", "A toy", SixthStage, MADE_UP, 64

    def __init__(self, networks: Tint) -> None:
        self.networks = networks
        self.attributes = {name: MADE_UP[name] for name in networks.config["attributes"]}

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Sixth:
        return cls(load_networks("sixth", path, Tint.from_config, device))

    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        row = torch.tensor([[strengths.get(name, 0.0) for name in self.attributes]], device=images.device)
        return self.networks(images, row.expand(len(images), -1))


SYSTEM = Sixth
