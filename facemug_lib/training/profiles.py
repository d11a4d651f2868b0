"""What every stage can be told, in one typed table: meaning, default, basis, and what each profile changes.

The paper's text lost its formulas' numbers. ``basis`` says where a value comes from:

* ``paper``: stated in the FACEMUG paper;
* ``e4e``, ``EXE-GAN``, ``StyleGAN2``: published code of the authors' encoder trainer, of their previous system, of the parent;
* ``ours``: chosen here.

:func:`numbers_table` prints it all as rows.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facemug_lib.errors import FacemugError

PROFILES = ("smoke", "laptop", "paper")
STAGES = ("head", "expert", "encoder", "warping", "generator", "text")


def knob(default: Any, meaning: str, basis: str = "ours", **limits: Any) -> Any:
    """A setting with its meaning, its basis and its limits."""
    return Field(default, description=meaning, json_schema_extra={"basis": basis}, **limits)


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
    bank: str | None = knob(None, "a StyleGAN2 checkpoint that takes the place of the default prior")


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


class HeadSettings(StageSettings):
    """Stage 0: the prior's picture heads for 64, 128 and 256 px."""

    lr: float = knob(1e-3, "Adam's learning rate; larger ones undo the closed-form start", gt=0)
    warmup: int = knob(200, "images over which the learning rates rise from 0", ge=0)
    lpips_weight: float = knob(0.2, "weight of LPIPS-VGG beside L1", ge=0)
    crop: int = knob(48, "side of the training crops, in feature pixels", ge=8, le=128)
    crops_per_batch: int = knob(4, "updates on each rendered batch", ge=1)
    fit_faces: int = knob(32, "faces of the closed-form fit that precedes training; 0 = none", ge=0)


class ExpertSettings(PhotographSettings):
    """The expert student: face parsing and attributes."""

    teachers: Literal["public", "start"] = knob(
        "public", "who says what a face without labels shows: the public networks, or the weights that the run starts from")
    small_share: float = knob(0.5, "first share of the run that looks at smaller pictures, which are quicker", ge=0, le=1)
    psi_low: float = knob(0.5, "smallest truncation of sampled faces", ge=0, le=1)


class EncoderSettings(GuidedSettings, RebuildingSettings):
    """Stage 1: the style encoder E_s (Algorithm 1)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    trunk_start: Literal["expert", "imagenet"] = knob(
        "expert", "what a fresh compact trunk starts from: the face parser's trunk as far as it goes, or ImageNet weights alone")
    input_size: int | None = knob(
        None, "side at which the encoder looks at its input, 128 or 256; none = that of the weights it starts from, else 256",
        ge=128, le=256, multiple_of=128)
    lr: float = knob(1e-3, "Adam's learning rate (e4e: Ranger, 1e-4)", gt=0)
    clip_norm: float | None = knob(5.0, "largest gradient norm per optimizer", gt=0)
    scheme: Literal["algorithm1", "dominant"] = knob(
        "algorithm1", "modalities dropped each by its own draw, or one of them always shown as in e4e", "paper")
    drop: float = knob(0.5, "probability that a modality is absent", "e4e", ge=0, le=1)
    exemplar_share: float = knob(0.15, "share of faces shown whole, as exemplars are", ge=0, le=1)
    regions_share: float = knob(0.5, "share of present guidance that shows the hole or the whole face, not a random region",
                                ge=0, le=1)
    l2_weight: float = knob(1.0, "weight of the squared pixel error", "e4e", ge=0)
    lpips_weight: float = knob(0.8, "weight of LPIPS", "e4e", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("alex", "network of LPIPS", "e4e")
    identity_weight: float = knob(0.5, "weight of the identity loss", "e4e", ge=0)
    latent_weight: float = knob(0.1, "weight of the latent discriminator's loss", "e4e", ge=0)
    latent_lr: float = knob(2e-5, "Adam's learning rate of the latent discriminator", "e4e", gt=0)
    delta_weight: float = knob(2e-4, "weight of the code offsets' norm", "e4e", ge=0)
    spread_weight: float = knob(
        0.0, "weight of the squared distance of photographs' codes from the mean of their codes, in units of std(w)²", ge=0)
    frozen_norm: bool = knob(False, "batch normalisation keeps the statistics that it starts with, for small batches")
    progressive_start: int = knob(0, "images before the first code offset is learned (e4e: 160,000)", ge=0)
    progressive_every: int = knob(0, "images between unlocked offsets; 0 = all at once (e4e: 16,000)", ge=0)
    r1_gamma: float = knob(10.0, "R1 weight of the latent discriminator", "e4e", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "e4e", ge=1)


class WarpingSettings(RebuildingSettings):
    """Stage 2: the latent warping network T (Algorithm 2)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    encoder: str = knob("shipped", "the frozen style encoder: shipped, or a weights file")
    lr: float = knob(5e-4, "Adam's learning rate (FFCLIP: 5e-4)", gt=0)
    clip_norm: float | None = knob(5.0, "largest gradient norm (FFCLIP: 5)", gt=0)
    identity_weight: float = knob(1.0, "weight of the identity loss", "paper", ge=0)
    lpips_weight: float = knob(1.0, "weight of LPIPS-VGG", "paper", ge=0)
    attribute_weight: float = knob(0.1, "weight of the attribute loss", "paper", ge=0)
    code_weight: float = knob(0.0, "weight of the regression on exactly known codes, in units of std(w)²", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("vgg", "network of LPIPS", "paper")
    scale_range: float = knob(0.25, "bilinear scaling by 2^±this", ge=0, le=2)
    translation: float = knob(0.125, "largest shift, as a share of the side", "DiffAugment", ge=0, le=0.5)
    brightness: float = knob(0.5, "brightness ± half the full range", "DiffAugment", ge=0)
    saturation: float = knob(1.0, "saturation × (1 ± this)", "DiffAugment", ge=0)
    contrast: float = knob(0.5, "contrast × (1 ± this)", "DiffAugment", ge=0)
    masked_share: float = knob(0.5, "probability that a region of the target is masked", ge=0, le=1)


class GeneratorSettings(GuidedSettings):
    """Stage 3: aggregation, refinement auto-encoder and discriminator (Algorithm 3)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    fusion: Literal["fusion", "addition", "gated"] = knob("fusion", "style fusion block, or ablation B or C", "paper")
    use_bank: bool = knob(True, "feed the bank's features to the decoder; false = ablation E", "paper")
    attribute: Literal["diverse", "plain"] = knob("diverse", "attribute loss with interpolated codes (Eq. 20–21), or ablation D",
                                                  "paper")
    encoder: str = knob("shipped", "the frozen style encoder: shipped, or a weights file")
    lr: float = knob(2e-3, "Adam's learning rate, with betas 0 and 0.99", "StyleGAN2", gt=0)
    adversarial_weight: float = knob(1.0, "weight of the non-saturating adversarial loss", "paper", ge=0)
    identity_weight: float = knob(0.1, "weight of the identity loss", "EXE-GAN", ge=0)
    lpips_weight: float = knob(0.5, "weight of LPIPS-VGG", "EXE-GAN", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("vgg", "network of LPIPS", "paper")
    attribute_weight: float = knob(0.1, "weight of the attribute loss", "EXE-GAN", ge=0)
    pixel_weight: float = knob(0.5, "weight of L1 inside the hole, own exemplars only", ge=0)
    r1_gamma: float = knob(10.0, "R1 weight", "StyleGAN2", ge=0)
    r1_every: int = knob(16, "steps between R1 penalties", "StyleGAN2", ge=1)
    foreign_share: float = knob(0.8, "probability that a step's exemplars are other faces", "EXE-GAN", ge=0, le=1)
    drop: float = knob(0.5, "probability that a guidance is absent", "e4e", ge=0, le=1)
    regions_share: float = knob(0.5, "share of present guidance that shows the hole or the whole face, not a random region",
                                ge=0, le=1)
    full_mask_share: float = knob(0.05, "share of faces masked completely (generation without a photo)", ge=0, le=1)
    projected_share: float = knob(0.5, "own exemplars: probability that the codes come from the conditions instead", ge=0, le=1)
    code_noise: float = knob(0.0, "largest noise on the codes, in standard deviations of w; drawn for each face", ge=0)
    expert_loss_every: int = knob(1, "steps between identity, LPIPS and attribute losses", ge=1)


class TextSettings(StageSettings):
    """The small text–image model."""

    batch: int = knob(32, "images of one step, over all processes", ge=2)
    weight_decay: float = knob(0.05, "AdamW's weight decay", ge=0)
    trunk_rate: float = knob(
        0.3, "learning rate of the trunk, which starts from the expert's, over the others; 0 = frozen, and each face "
        "is looked at only once if photographed_share is 0 too", ge=0)
    claims: int = knob(5, "most statements of a training caption", ge=1)
    photographed_share: float = knob(0.3, "share of faces whose exposure, colour, softness and noise are varied", ge=0, le=1)


_SETTINGS: dict[str, type[StageSettings]] = {
    "head": HeadSettings, "expert": ExpertSettings, "encoder": EncoderSettings, "warping": WarpingSettings,
    "generator": GeneratorSettings, "text": TextSettings,
}

_TICKS = {"stats_every": 8, "checkpoint_every": 256, "grid_every": 256, "evaluate_count": 2}
_LAPTOP_TICKS = {"stats_every": 500, "checkpoint_every": 2_000, "grid_every": 2_000, "evaluate_count": 32}
_PAPER_TICKS = {"stats_every": 10_000, "checkpoint_every": 200_000, "grid_every": 100_000, "evaluate_count": 256}

# smoke: seconds on two CPU cores. laptop: an evening on a CPU, minutes on a GPU. paper: hours on a GPU.
_PROFILES: dict[str, dict[str, dict[str, Any]]] = {
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


def settings(stage: str, profile: str = "laptop", overrides: dict[str, Any] | None = None) -> Any:
    """The settings of ``stage`` under ``profile`` with ``overrides`` (values, or texts as given to ``--set``).

    Raises :class:`FacemugError` for unknown names and for values of the wrong type or out of range.
    """
    if stage not in _SETTINGS:
        raise FacemugError(f"unknown stage {stage!r}: use one of {', '.join(STAGES)}")
    if profile not in _PROFILES:
        raise FacemugError(f"unknown profile {profile!r}: use one of {', '.join(PROFILES)}")
    kind = _SETTINGS[stage]
    values = dict(_PROFILES[profile][stage])
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


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """``["lr=1e-4", "batch=8"]`` → names and texts, for :func:`settings`."""
    pairs = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise FacemugError(f"--set {assignment} is not name=value: write for example --set lr=1e-4")
        pairs[name.strip()] = value.strip()
    return pairs


def config_hash(config: dict[str, Any]) -> str:
    """Eight hex digits of a configuration, without what may change between calls of one run: its length and its reporting."""
    free = {"images", "stats_every", "checkpoint_every", "grid_every", "evaluate_every", "evaluate_count"}
    kept = {name: value for name, value in config.items() if name not in free and (name, value) != ("bank", None)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def numbers_table(stage: str) -> list[dict[str, Any]]:
    """One row per setting of ``stage``: name, value in each profile, meaning, basis."""
    made = {profile: settings(stage, profile) for profile in PROFILES}
    return [
        {"name": name, **{profile: getattr(made[profile], name) for profile in PROFILES}, "meaning": field.description,
         "basis": field.json_schema_extra["basis"]}
        for name, field in _SETTINGS[stage].model_fields.items()
    ]
