"""Resume state: any nested dict of tensors and plain values, as JSON and safetensors shards, written all or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.weights import write_tensors

FOLDER = re.compile(r"resume-(\d{12})")
MANIFEST = "state.json"


def save_checkpoint(run_folder: Path, images_seen: int, state: Mapping[str, Any], *, keep: int = 2,
                    max_shard_mib: float = 15.0) -> Path:
    """Write ``state`` to ``run_folder/resume-<images seen>/`` atomically and delete all but the newest ``keep`` ones.

    Tensors keep their dtype and are cut into files of at most ``max_shard_mib``, however large a single one is.
    Nothing is pickled.
    """
    target = run_folder / f"resume-{images_seen:012d}"
    temporary = run_folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _write(temporary, state, int(max_shard_mib * 2**20))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for _, old in _checkpoints(run_folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    for leftover in run_folder.glob(".resume-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return target


def _write(folder: Path, state: Mapping[str, Any], limit: int) -> None:
    """``state`` as a new ``folder``, its tensors in files of at most ``limit`` bytes."""
    folder.mkdir(parents=True)
    tensors: list[Tensor] = []
    tree = _pack(state, tensors)
    entries: list[dict[str, Any]] = []
    shard: dict[str, Tensor] = {}
    filled = shards = 0

    def flush() -> None:
        nonlocal shard, filled, shards
        if shard:
            write_tensors(folder / f"shard-{shards:03d}.safetensors", shard)
            shards += 1
        shard, filled = {}, 0

    for number, tensor in enumerate(tensors):
        flat = tensor.detach().to("cpu").contiguous().flatten()
        pieces = []
        for piece in flat.split(max(1, limit // max(1, flat.element_size()))):
            size = piece.numel() * piece.element_size()
            if filled + size > limit:
                flush()
            name = f"{number}.{len(pieces)}"
            shard[name] = piece.clone()
            pieces.append([shards, name])
            filled += size
        entries.append({"shape": list(tensor.shape), "pieces": pieces})
    flush()
    (folder / MANIFEST).write_text(json.dumps({"tree": tree, "tensors": entries, "shards": shards}))


def newest_checkpoint(run_folder: Path) -> tuple[int, dict[str, Any]] | None:
    """(images seen, state on the CPU) of the newest complete checkpoint; None when there is none."""
    for images_seen, folder in reversed(_checkpoints(run_folder)):
        try:
            return images_seen, _read(folder)
        except (OSError, ValueError, KeyError, SafetensorError):
            continue  # a copy that was cut short: an older complete one may follow
    return None


def _checkpoints(run_folder: Path) -> list[tuple[int, Path]]:
    if not run_folder.is_dir():
        return []
    found = [(FOLDER.fullmatch(path.name), path) for path in run_folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in found if match)


def _read(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / MANIFEST).read_text())
    shards = [load_file(folder / f"shard-{number:03d}.safetensors") for number in range(manifest["shards"])]
    tensors = [torch.cat([shards[shard][name] for shard, name in entry["pieces"]]).reshape(entry["shape"])
               for entry in manifest["tensors"]]
    return _unpack(manifest["tree"], tensors)


def _pack(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Mapping):
        return {"items": [[key, _pack(item, tensors)] for key, item in value.items()]}  # JSON keys would turn 0 into "0"
    if isinstance(value, (list, tuple)):
        return [_pack(item, tensors) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise FacemugError(f"a checkpoint cannot hold a {type(value).__name__}: give tensors, numbers, strings, lists and dicts")


def _unpack(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]] if "tensor" in value else {key: _unpack(item, tensors) for key, item in value["items"]}
    return value
