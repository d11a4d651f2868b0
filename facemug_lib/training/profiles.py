"""What the stages share of their settings, and what each profile changes: typed, every number with its meaning and its basis.

A stage's own settings are a class beside the stage, in its file.

The paper's text lost its formulas' numbers. ``basis`` says where a value comes from:

* ``paper``: stated in the FACEMUG paper;
* ``e4e``, ``EXE-GAN``, ``StyleGAN2``: published code of the authors' encoder trainer, of their previous system, of the parent;
* ``ours``: chosen here.

:func:`facemug_lib.training.stages.numbers_table` prints it all as rows.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facemug_lib.errors import FacemugError

PROFILES = ("smoke", "laptop", "paper")
STAGES = ("head", "expert", "encoder", "warping", "generator", "text")


def knob(default: Any, meaning: str, basis: str = "ours", *, is_later: bool = False, **limits: Any) -> Any:
    """A setting with its meaning (and unit), its basis and its limits.

    ``is_later``: it came when runs existed already, and its default does what was done before it.
    """
    return Field(default, description=meaning, json_schema_extra={"basis": basis, "is_later": is_later}, **limits)


class StageSettings(BaseModel):
    """Settings common to all stages. Durations are in images."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    images: int = knob(100_000, "length of the run", ge=1)
    batch: int = knob(16, "images of one step, over all processes", ge=1)
    lr: float = knob(1e-3, "Adam's learning rate", gt=0)
    warmup: int = knob(0, "images over which the learning rates rise from 0", ge=0)
    decay: int = knob(0, "last images over which they fall to 0", ge=0)
    clip_norm: float | None = knob(None, "largest gradient norm per optimizer", gt=0)
    ema_halflife: int = knob(10_000, "half-life of the averaged networks in images", "StyleGAN2", ge=1)
    ema_rampup: float | None = knob(0.05, "the half-life is at most this share of the images seen", "StyleGAN2", gt=0)
    psi_low: float = knob(0.7, "smallest truncation of sampled faces", ge=0, le=1)
    psi_high: float = knob(1.0, "largest truncation of sampled faces", ge=0, le=1)
    mixing: float = knob(0.5, "share of sampled faces with two styles mixed", "StyleGAN2", ge=0, le=1)
    stats_every: int = knob(1_000, "images between lines of stats.jsonl", ge=1)
    checkpoint_every: int = knob(10_000, "images between resume states", ge=1)
    grid_every: int = knob(10_000, "images between sample grids", ge=1)
    evaluate_every: int | None = knob(None, "images between evaluations; none = at the end only", ge=1)
    evaluate_count: int = knob(64, "unseen faces of one evaluation", ge=1)
    precision: Literal["auto", "bf16", "fp32"] = knob("auto", "auto = bf16 autocast on CUDA, fp32 on the CPU")
    compile_modules: bool = knob(False, "torch.compile the trained networks")
    bank: str | None = knob(None, "a StyleGAN2 checkpoint that takes the place of the default prior", is_later=True)

    def deciding(self) -> dict[str, Any]:
        """The settings that name a run. Later ones at their default are left out, so that older runs keep their name."""
        fields = type(self).model_fields
        return {name: value for name, value in self.model_dump().items()
                if not (fields[name].json_schema_extra["is_later"] and value == fields[name].default)}


class PhotographSettings(StageSettings):
    """Settings common to the stages that photographs can take part in."""

    real: str | None = knob(None, "a folder of aligned photographs that take part; none = sampled faces alone")
    real_share: float = knob(0.125, "share of photographs among the faces", gt=0, lt=1)


class GuidedSettings(PhotographSettings):
    """Settings common to the stages that see guidance."""

    coarse_share: float = knob(0.3, "share of faces whose label map looks drawn by hand; their colours follow it", ge=0, le=1)
    sketch_detail: float = knob(0.3, "sketches have 1 ± this times the usual lines, drawn for each step", ge=0, le=0.9)
    real_shift: float = knob(0.03, "photographs move by at most this share of their side", ge=0, le=0.5)
    real_zoom: float = knob(0.05, "their size changes by 2^±this at most", ge=0, le=1)
    real_turn: float = knob(4.0, "they turn by at most so many degrees", ge=0, le=45)
    real_photographed: float = knob(0.3, "share of them whose exposure, colour, softness and noise are varied", ge=0, le=1)


class RebuildingSettings(StageSettings):
    """Settings common to the stages whose codes the prior turns into pictures for image losses."""

    code_weight: float = knob(1.0, "weight of the regression on exactly known codes, in units of std(w)²", ge=0)
    image_loss_every: int = knob(1, "steps between image losses, which need the prior", ge=1)
    image_loss_faces: int | None = knob(None, "faces of a batch that get image losses; none = all", ge=1)
    half_prior: bool = knob(False, "the frozen prior paints in bf16 on a CPU too, where that is faster (AVX512-BF16, AMX)")
    image_loss_size: int | None = knob(
        None, "side of the pictures that image losses compare, none = full; 64 is the fastest and does not see the finest codes",
        ge=64, le=256)


AnySettings = TypeVar("AnySettings", bound=StageSettings)

_TICKS = {"stats_every": 8, "checkpoint_every": 256, "grid_every": 256, "evaluate_count": 2}
_LAPTOP_TICKS = {"stats_every": 500, "checkpoint_every": 2_000, "grid_every": 2_000, "evaluate_count": 32}
_PAPER_TICKS = {"stats_every": 10_000, "checkpoint_every": 200_000, "grid_every": 100_000, "evaluate_count": 256}

# smoke: seconds on two CPU cores. laptop: an evening on a CPU, minutes on a GPU. paper: hours on a GPU.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "head": _TICKS | {"images": 8, "batch": 2, "lr": 2e-4, "warmup": 4, "fit_faces": 4, "crops_per_batch": 2},
        "expert": _TICKS | {"images": 64, "batch": 8},
        "encoder": _TICKS | {"images": 24, "batch": 8, "warmup": 16, "image_loss_every": 3,
                            "image_loss_faces": 2, "ema_halflife": 100},
        "warping": _TICKS | {"images": 8, "batch": 4, "lpips_net": "alex", "ema_halflife": 50},
        "generator": _TICKS | {"images": 8, "batch": 4, "lpips_net": "alex", "expert_loss_every": 2, "ema_halflife": 50},
        "text": _TICKS | {"images": 32, "batch": 8, "ema_halflife": 50, "evaluate_count": 8},
    },
    "laptop": {
        "head": _LAPTOP_TICKS | {"images": 2_000, "batch": 4},
        "expert": _LAPTOP_TICKS | {"images": 40_000, "batch": 16},
        "encoder": _LAPTOP_TICKS | {"images": 40_000, "batch": 8, "input_size": 128, "warmup": 500, "decay": 10_000,
                                    "image_loss_every": 4, "image_loss_faces": 4, "image_loss_size": 64, "ema_halflife": 1_000},
        "warping": _LAPTOP_TICKS | {"images": 10_000, "batch": 8, "decay": 4_000, "ema_halflife": 1_000, "lpips_net": "alex",
                                    "code_weight": 1.0, "image_loss_every": 4, "image_loss_faces": 4, "image_loss_size": 64},
        "generator": _LAPTOP_TICKS | {"images": 20_000, "batch": 8, "lpips_net": "alex", "expert_loss_every": 2,
                                      "ema_halflife": 2_000},
        "text": _LAPTOP_TICKS | {"images": 30_000, "warmup": 500, "decay": 10_000, "ema_halflife": 1_000, "evaluate_count": 64},
    },
    "paper": {
        "head": _PAPER_TICKS | {"images": 200_000, "batch": 32, "decay": 50_000},
        "expert": _PAPER_TICKS | {"images": 1_000_000, "batch": 128, "decay": 200_000},
        "encoder": _PAPER_TICKS | {"images": 1_600_000, "batch": 64, "warmup": 10_000, "decay": 400_000,
                                   "image_loss_every": 2, "image_loss_faces": 32},
        "warping": _PAPER_TICKS | {"images": 400_000, "batch": 32, "decay": 100_000},
        "generator": _PAPER_TICKS | {"images": 6_400_000, "batch": 32, "lr": 2e-3},
        "text": _PAPER_TICKS | {"images": 2_000_000, "batch": 256, "warmup": 20_000, "decay": 500_000},
    },
}


def resolve(kind: type[AnySettings], stage: str, profile: str, overrides: Mapping[str, Any] | None = None,
            presets: Mapping[str, Mapping[str, Any]] | None = None) -> AnySettings:
    """The settings ``kind`` of ``stage`` under ``profile`` with ``overrides`` (values, or texts as given to ``--set``).

    ``presets``: profile → values, of a stage whose presets stand in its own file; else those of :data:`PRESETS`. Raises
    :class:`FacemugError` for unknown names and for values of the wrong type or out of range.
    """
    if profile not in PROFILES:
        raise FacemugError(f"unknown profile {profile!r}: use one of {', '.join(PROFILES)}")
    values = dict(PRESETS[profile][stage] if presets is None else presets[profile])
    for name, value in (overrides or {}).items():
        if name not in kind.model_fields:
            near = difflib.get_close_matches(name, kind.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(kind.model_fields)}"
            raise FacemugError(f"stage {stage} has no setting {name!r}: {hint}")
        values[name] = None if value in ("none", "None") else value
    try:
        made = kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise FacemugError(f"setting {first['loc'][0]} of stage {stage} is {first['input']!r}: {first['msg'].lower()}") from error
    if made.psi_low > made.psi_high:
        raise FacemugError(f"psi_low {made.psi_low:g} is above psi_high {made.psi_high:g}: swap them")
    return made


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hex digits of a configuration, without what may change between calls of one run: its length and its reporting."""
    free = {"images", "stats_every", "checkpoint_every", "grid_every", "evaluate_every", "evaluate_count"}
    kept = {name: value for name, value in config.items() if name not in free}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
