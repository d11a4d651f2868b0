"""Where the editor's networks are, and the experts that it asks now and then."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from facemug_lib.editing.fill.refine import Experts
from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.models.generator import RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping
from facemug_lib.models.style_encoder import StyleEncoder
from facemug_lib.weights import load_module, weights_path

STAGE_OF = {"prior_heads": "head", "style_encoder": "encoder", "latent_warping": "warping", "generator": "generator",
          "expert": "expert", "text_image": "text"}
"""Which training stage makes which weights."""


def weights_files(folder: Path | str | None) -> dict[str, Path]:
    """Name → file of all weights: the shipped ones, those of a run's folder instead where it has them."""
    files = {name: weights_path(name) for name in STAGE_OF}
    if folder is None:
        return files
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FacemugError(f"{folder} is not a folder: --weights takes a folder of .safetensors files, such as a run folder")
    own = {name: path for name in STAGE_OF
           for path in (folder / f"{name}.safetensors", folder / "weights" / f"{name}.safetensors") if path.is_file()}
    if not own:
        raise FacemugError(f"{folder} holds none of {', '.join(f'{name}.safetensors' for name in STAGE_OF)}: name a run folder")
    return files | own


def require(files: Mapping[str, Path], name: str) -> Path:
    """The file of that name. Raises :class:`FacemugError` where it does not exist."""
    if not files[name].is_file():
        raise FacemugError(f"no weights {files[name]}: restore data/weights from git, or train them with "
                           f"`facemug train {STAGE_OF[name]} --install`")
    return files[name]


OTHER_BANK = 0.05  # distance of two mean codes, in units of the norm of std(w), from which on two banks differ


def check_fits(prior: CodeSpace, encoder: StyleEncoder, warping: LatentWarping, generator: RefinementGenerator,
               files: Mapping[str, Path]) -> None:
    """Raise :class:`FacemugError` where weights were trained with another bank than ``prior``.

    Besides the shapes, the mean code tells one bank from another: the encoder's weights carry that of the bank they were trained
    with.
    """
    remedy = "give the bank's own weights (--weights RUN), or train some with `facemug train --bank`"
    for name, network in (("style_encoder", encoder), ("latent_warping", warping), ("generator", generator)):
        if network.config.num_codes != prior.num_codes:
            raise FacemugError(f"{files[name]} was trained with a bank of {network.config.num_codes} codes, and this one has "
                               f"{prior.num_codes}: {remedy}")
    for resolution, channels in zip(generator.config.resolutions, generator.config.bank_channels, strict=True):
        if generator.config.use_bank and channels != prior.feature_channels.get(resolution, 0):
            raise FacemugError(f"{files['generator']} was trained with a bank of {channels} channels at {resolution} px, and "
                               f"this one has {prior.feature_channels.get(resolution, 0)}: {remedy}")
    if float((encoder.mean_w - prior.mean_w).norm() / prior.std_w.norm()) > OTHER_BANK:
        raise FacemugError(f"{files['style_encoder']} was trained with another bank, whose mean face is another one: {remedy}")


class ExpertLoader:
    """Loads each of the :class:`Experts` when it is first asked for, and keeps it."""

    def __init__(self, files: Mapping[str, Path], device: torch.device) -> None:
        self.files, self.device = files, device

    def __call__(self, parser: bool, identity: bool, perceptual: bool) -> Experts:
        return Experts(self._perceptual if perceptual else None, self._parser if parser else None,
                       self._identity if identity else None)

    @cached_property
    def _perceptual(self) -> nn.Module:
        from facemug_lib.experts.perceptual import Lpips

        return Lpips("vgg").to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)

    @cached_property
    def _parser(self) -> nn.Module:
        from facemug_lib.experts.student import ExpertStudent

        return load_module(require(self.files, "expert"), ExpertStudent.from_config, self.device)

    @cached_property
    def _identity(self) -> nn.Module:
        from facemug_lib.experts.identity import ArcFace

        return ArcFace().to(self.device).eval().requires_grad_(False)
