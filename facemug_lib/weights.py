"""The weights this project trained and ships: fp16 safetensors with their configuration in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.files import file_hash, replacing, weights_dir
from facemug_lib.recording import is_run, note

Module = TypeVar("Module", bound=nn.Module)
HEADER_KEY = "facemug"


def weights_path(name: str) -> Path:
    """Where the weights called ``name`` (``"style_encoder"``, ``"expert"``, …) are or would be."""
    return weights_dir() / f"{name}.safetensors"


def save_weights(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write ``tensors`` to ``path`` atomically, floats as ``dtype``, with ``config`` and ``card`` in the header.

    ``config`` is what rebuilds the network; ``card`` is what the model card says of it (``images_seen``,
    ``command``, scores).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous().clone()
        for key, value in tensors.items()
    }
    header = {HEADER_KEY: json.dumps({"config": dict(config), "card": dict(card)}, sort_keys=True)}
    return write_tensors(path, packed, header)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file, whole or not at all. Raises :class:`FacemugError` where the disk is full or fails."""
    try:
        with replacing(path) as temporary:
            save_file(dict(tensors), temporary, metadata=None if header is None else dict(header))
    except SafetensorError as error:  # which is no OSError
        raise FacemugError(f"cannot write {path}: {error}") from error
    return path


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Read ``path``: (tensors as fp32, config, card). Raises :class:`FacemugError` on a missing or foreign file."""
    path = Path(path)
    if not path.is_file():
        raise FacemugError(f"no weights at {path}: train that stage with `facemug train`, or restore data/weights from git")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a safetensors handle is no dict
    except SafetensorError as error:
        raise FacemugError(
            f"{path} is not a readable safetensors file ({error}): restore it from git or train it again"
        ) from error
    if HEADER_KEY not in metadata:
        raise FacemugError(f"{path} carries no facemug header: it was not written by this project")
    if is_run():  # the pictures of this run depend on the file
        note(weights=path.name if path.parent.resolve() == weights_dir().resolve() else f"other/{path.name}",
             sha256=file_hash(path))
    header = json.loads(metadata[HEADER_KEY])
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    return tensors, header["config"], header["card"]


def load_module(
    name_or_path: str | Path, build: Callable[[dict[str, Any]], Module], device: torch.device | str = "cpu"
) -> Module:
    """Rebuild a network from its weights file: ``build(config)``, then a strict ``load_state_dict``; eval, frozen."""
    is_name = isinstance(name_or_path, str) and not name_or_path.endswith(".safetensors")
    path = weights_path(name_or_path) if is_name else Path(name_or_path)
    tensors, config, _ = read_weights(path)
    module = build(config)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise FacemugError(f"{path} does not fit the network its header describes: {str(error).splitlines()[0]}") from error
    return module.to(device).eval().requires_grad_(False)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all that a weights file would hold, by name, as it is in memory: whichever file it came from.

    What a network works out when it is loaded (the prior's mean code, say) does not count: its last bits are the processor's.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
