"""Where networks start from: fresh, or weights files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facemug_lib.errors import FacemugError
from facemug_lib.weights import Module, load_module, read_weights, weights_path


def start(module: nn.Module, name: str, init: str = "scratch", optional: bool = False) -> dict[str, Any]:
    """Fill ``module`` in place from the weights called ``name``; returns their card, empty where there are none.

    ``init`` is ``"scratch"`` (leave it fresh), ``"shipped"`` (data/weights) or a folder, such as an earlier run's. A missing
    file is refused unless ``optional``; one of another shape always is.
    """
    if init == "scratch":
        return {}
    path = start_path(name, init)
    if optional and not path.is_file():
        return {}
    tensors, _, card = read_weights(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise FacemugError(f"{path} does not fit the network that these settings describe: use the settings it was trained with, "
                           "or --init scratch") from error
    return card


def start_path(name: str, init: str) -> Path:
    """The weights file that ``init`` (not ``"scratch"``) means for the network called ``name``."""
    return weights_path(name) if init == "shipped" else _in_folder(Path(init), name)


def frozen(name: str, source: str, build: Callable[[dict[str, Any]], Module], device: torch.device | str) -> Module:
    """A network that a later stage needs as it is: ``source`` is ``"shipped"`` or a weights file."""
    return load_module(name if source == "shipped" else Path(source), build, device)


def _in_folder(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise FacemugError(f"--init {folder} is not a folder: use scratch, shipped, or a folder of weights such as a run folder")
    inside = folder / "weights" / f"{name}.safetensors"
    return inside if inside.is_file() else folder / f"{name}.safetensors"
