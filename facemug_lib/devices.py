"""Which device a computation runs on."""

from __future__ import annotations

import torch

from facemug_lib.errors import FacemugError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device name into a ``torch.device``.

    ``"auto"`` takes CUDA when there is one, otherwise the CPU. An explicit device never falls back: asking for
    CUDA where there is none raises :class:`FacemugError`.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise FacemugError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise FacemugError(f"device {device!r} was asked for but PyTorch sees no CUDA GPU: use --device cpu or auto")
    return resolved
