"""Which facial feature bank is used: the default prior, or a StyleGAN2 of the user's own (FACEMUG §II-A5)."""

from __future__ import annotations

from pathlib import Path

import torch

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.faces.prior import FacePrior
from facemug_lib.faces.stylegan2 import StyleGAN2Prior


def load_bank(path: Path | str | None = None, device: torch.device | str = "cpu", heads: bool = True) -> CodeSpace:
    """The default prior, or the StyleGAN2 checkpoint ``path`` (`--bank g_ema.pt`); frozen, in evaluation mode, on ``device``.

    ``heads=False`` leaves out the default prior's learned picture heads; a StyleGAN2 paints without any. Raises
    :class:`FacemugError` for a checkpoint that cannot be read, or whose pictures have fewer than 256 px.
    """
    if path is None:
        return FacePrior.load(device, heads=heads)
    bank = StyleGAN2Prior.load(Path(path).expanduser(), device)
    if bank.native_size < bank.image_size:
        raise FacemugError(f"{path} paints {bank.native_size} px: a bank of {bank.image_size} px or more is needed")
    return bank
