"""From a stage's name and settings to the stage and its faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import DEFAULT_CODES
from facemug_lib.faces.dataset import FaceFolder, FaceSource, MixedFaces, PriorFaces
from facemug_lib.seeds import check_seed
from facemug_lib.training.profiles import STAGES, StageSettings
from facemug_lib.training.stage import Stage

# The stage modules are imported only when asked for: each brings its own experts along.


def build_stage(name: str, settings: Any, device: torch.device | str, init: str = "scratch", seed: int = 0,
                is_resumed: bool = False) -> Stage:
    """The stage called ``name`` with its networks initialised from ``seed`` and ``init`` (see :mod:`.start`).

    ``is_resumed`` skips preparations whose result a resume state will replace.
    """
    device = torch.device(device)
    torch.manual_seed(check_seed(seed))  # layers draw their first weights from the global generator
    match name:
        case "head":
            return _head(settings, device, init, is_resumed)
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
    return Chosen.build(settings, device, init)


def _head(settings: Any, device: torch.device, init: str, is_resumed: bool) -> Stage:
    from facemug_lib.experts.perceptual import Lpips
    from facemug_lib.faces.prior import FacePrior, PictureHeads
    from facemug_lib.training.stage_head import HeadStage
    from facemug_lib.training.start import start

    if settings.bank is not None:
        raise FacemugError("stage head paints the default prior's pictures: a StyleGAN2 paints its own, leave --bank away")
    heads = PictureHeads().to(device)
    start(heads, "prior_heads", init)
    return HeadStage(FacePrior.load(device, heads=False), heads, Lpips("vgg").to(device), lr=settings.lr,
                     lpips_weight=settings.lpips_weight, crop=settings.crop, crops_per_batch=settings.crops_per_batch,
                     fit_faces=0 if is_resumed or init != "scratch" else settings.fit_faces)


def build_source(data: str, stage: Stage, settings: StageSettings, device: torch.device | str) -> FaceSource:
    """``data`` is ``"prior"`` or a folder of images, optionally with codes; ``settings.real`` mixes photographs in."""
    from facemug_lib.faces.bank import load_bank

    prior = getattr(stage, "prior", None)
    if data != "prior":
        num_codes = DEFAULT_CODES if prior is None else prior.num_codes
        source: FaceSource = FaceFolder(Path(data), device, num_codes=num_codes)
    else:
        prior = prior or load_bank(settings.bank, device)
        source = PriorFaces(prior, (settings.psi_low, settings.psi_high), settings.mixing, render=stage.image_source != "codes",
                            half=getattr(settings, "half_prior", False)
                            or settings.precision != "fp32" and torch.device(device).type == "cuda")
    photographs = getattr(settings, "real", None)
    if photographs is None:
        return source
    return MixedFaces(source, FaceFolder(Path(photographs), device), settings.real_share)
