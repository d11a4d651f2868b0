"""``facemug train``: one stage, from its settings to weights in a run folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.files import CLONE, replacing
from facemug_lib.seeds import check_seed
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.loop import TrainResult, train
from facemug_lib.training.profiles import config_hash, settings
from facemug_lib.training.stages import build_source, build_stage
from facemug_lib.weights import weights_dir

LOOP_SETTINGS = ("images", "batch", "warmup", "decay", "clip_norm", "ema_halflife", "ema_rampup", "stats_every",
                 "checkpoint_every", "grid_every", "evaluate_every", "evaluate_count", "precision", "compile_modules")


def runs_dir() -> Path:
    """``data/runs`` of the clone."""
    return CLONE / "data" / "runs"


def train_command(
    stage: str,
    profile: str = "smoke",
    images: int | None = None,
    minutes: float | None = None,
    out: Path | None = None,
    data: str = "prior",
    dry_run: bool = False,
    set_overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    batch: int | None = None,
    init: str = "scratch",
    install: bool = False,
) -> TrainResult | None:
    """Train ``stage``; the same call again resumes.

    ``init`` is where its networks start: ``"scratch"``, ``"shipped"`` (data/weights) or a folder. ``install`` copies the
    resulting weights to data/weights. Without ``out`` the run folder is named by stage and configuration. ``dry_run`` prints the
    resolved configuration as JSON and returns None.
    """
    seed, overrides = check_seed(seed), dict(set_overrides or {})
    overrides |= {name: value for name, value in (("images", images), ("batch", batch)) if value is not None}
    chosen = settings(stage, profile, overrides)
    target = _device_of_this_process(device)
    identity = {"stage": stage, "data": data if data == "prior" else str(Path(data).resolve()), "seed": seed, "init": init}
    config = identity | {"profile": profile, "settings": chosen.model_dump()}
    config["hash"] = config_hash(identity | config["settings"])
    folder = Path(out) if out is not None else runs_dir() / f"{stage}-{config['hash']}"
    if dry_run:
        print(json.dumps(config | {"device": str(target), "out": str(folder)}, indent=2))
        return None
    _refuse_other_run(folder, config)

    made = build_stage(stage, chosen, target, init, seed, is_resumed=newest_checkpoint(folder) is not None)
    source = build_source(data, made, chosen, target)
    is_main = os.environ.get("RANK", "0") == "0"
    command = ["facemug", "train", stage, "--profile", profile, "--data", data, "--seed", str(seed), "--init", init]
    for name, value in overrides.items():
        command += ["--set", f"{name}={value}"]
    loop_settings = {name: getattr(chosen, name) for name in LOOP_SETTINGS}
    result = train(made, source, folder, minutes=minutes, seed=seed, device=target, config=config, command=shlex.join(command),
                   report=_print_at_once if is_main else _discard, **loop_settings)
    if is_main:
        for name, path in result.weights.items():
            print(f"{name}: {path} ({path.stat().st_size / 2**20:.1f} MiB)")
            if install:
                print(f"installed as {install_weights(path)}")
        if not result.is_finished:
            print(f"stopped after {minutes:g} minutes at {result.images_seen:,} of {chosen.images:,} images: "
                  "the same command resumes")
    return result


def _device_of_this_process(device: str) -> torch.device:
    resolved = resolve_device(device)
    if resolved.type == "cuda" and resolved.index is None and "LOCAL_RANK" in os.environ:  # set by torchrun
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return resolved


def _refuse_other_run(folder: Path, config: Mapping[str, Any]) -> None:
    """A run folder belongs to one configuration; resuming another's state in it would be a silent mixture."""
    path = folder / "config.json"
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise FacemugError(f"{path} is not readable ({error}): use another --out, or delete that folder") from error
    if before.get("hash") == config["hash"]:
        return
    old, new = ({**one, **one.get("settings", {})} for one in (before, dict(config)))
    changed = [f"{name} {old[name]} → {new[name]}" for name in new
               if name in old and old[name] != new[name] and name not in ("settings", "hash", "profile", "images")]
    raise FacemugError(f"{folder} holds a run with other settings ({', '.join(changed[:4]) or 'another version'}): "
                       "use another --out, or delete that folder")


def install_weights(path: Path) -> Path:
    """Copy a weights file to data/weights, whole or not at all; returns where it is then."""
    target = weights_dir() / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        shutil.copyfile(path, temporary)
    return target


def _print_at_once(line: str) -> None:
    print(line, flush=True)


def _discard(line: str) -> None:
    """Other processes than the first say nothing."""
