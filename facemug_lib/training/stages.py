"""From a stage and a profile to its settings, its networks and its faces.

A stage of this room is called by its name. One of another room, a system's say, is given as its class, which has the members of
:class:`facemug_lib.training.stage.StageClass`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import DEFAULT_CODES
from facemug_lib.faces.dataset import FaceFolder, FaceSource, MixedFaces, PriorFaces
from facemug_lib.seeds import check_seed
from facemug_lib.training.profiles import PROFILES, STAGES, StageSettings, resolve
from facemug_lib.training.stage import Stage


def stage_class(name: str | type[Any]) -> Any:
    """The class of the stage called ``name``, or ``name`` itself where it is a class.

    Its module is imported only now: each brings its own experts along.
    """
    if isinstance(name, type):
        return name
    match name:
        case "head":
            from facemug_lib.training.stage_head import HeadStage as Chosen
        case "expert":
            from facemug_lib.training.stage_expert import ExpertStage as Chosen
        case "encoder":
            from facemug_lib.training.stage_encoder import EncoderStage as Chosen
        case "warping":
            from facemug_lib.training.stage_warping import WarpingStage as Chosen
        case "generator":
            from facemug_lib.training.stage_generator import GeneratorStage as Chosen
        case "text":
            from facemug_lib.training.stage_text import TextStage as Chosen
        case _:
            raise FacemugError(f"unknown stage {name!r}: use one of {', '.join(STAGES)}")
    return Chosen


def settings(stage: str | type[Any], profile: str = "laptop", overrides: Mapping[str, Any] | None = None) -> Any:
    """The settings of ``stage`` under ``profile`` with ``overrides`` (values, or texts as given to ``--set``).

    Raises :class:`FacemugError` for unknown names and for values of the wrong type or out of range.
    """
    chosen = stage_class(stage)
    return resolve(chosen.settings_class, chosen.name, profile, overrides, getattr(chosen, "presets", None))


def numbers_table(stage: str | type[Any]) -> list[dict[str, Any]]:
    """One row per setting of ``stage``: name, value in each profile, meaning, basis."""
    made = {profile: settings(stage, profile) for profile in PROFILES}
    return [
        {"name": name, **{profile: getattr(made[profile], name) for profile in PROFILES}, "meaning": field.description,
         "basis": field.json_schema_extra["basis"]}
        for name, field in stage_class(stage).settings_class.model_fields.items()
    ]


def build_stage(name: str | type[Any], settings: Any, device: torch.device | str, init: str = "scratch", seed: int = 0,
                is_resumed: bool = False) -> Stage:
    """The stage ``name`` with its networks initialised from ``seed`` and ``init`` (see :mod:`.start`).

    ``is_resumed`` skips preparations whose result a resume state will replace.
    """
    torch.manual_seed(check_seed(seed))  # layers draw their first weights from the global generator
    stage = stage_class(name).build(settings, torch.device(device), init)
    if name == "head" and init == "scratch" and not is_resumed:
        stage.fit()
    return stage


def build_source(data: str, stage: Stage, settings: StageSettings, device: torch.device | str) -> FaceSource:
    """``data`` is ``"prior"`` or a folder of images, optionally with codes; ``settings.real`` mixes photographs in.

    A stage with a method ``source(data, device)`` brings its own faces.
    """
    if hasattr(stage, "source"):
        return stage.source(data, torch.device(device))
    from facemug_lib.faces.bank import load_bank

    prior = getattr(stage, "prior", None)
    if data != "prior":
        source: FaceSource = FaceFolder(Path(data), device, num_codes=prior.num_codes if prior else DEFAULT_CODES)
    else:
        prior = prior or load_bank(settings.bank, device)
        source = PriorFaces(prior, (settings.psi_low, settings.psi_high), settings.mixing, render=stage.image_source != "codes",
                            half=getattr(settings, "half_prior", False) or settings.precision == "bf16"
                            or settings.precision == "auto" and torch.device(device).type == "cuda")
    photographs = getattr(settings, "real", None)
    if photographs is None:
        return source
    return MixedFaces(source, FaceFolder(Path(photographs), device), settings.real_share)
