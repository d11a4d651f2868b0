"""A training run: the same one from a notebook and from the shell.

A run is named by its stage and by a hash of everything that decides its result. :func:`start_run` turns a stage, a profile and
some changed settings into that run, whoever asks, so a run that a notebook began goes on with ``facemug train``, and the other
way round.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceSource, require_faces
from facemug_lib.files import CLONE, replacing, require_writable_folder
from facemug_lib.seeds import check_seed
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.loop import TrainResult, train
from facemug_lib.training.profiles import StageSettings, config_hash
from facemug_lib.training.stage import Stage
from facemug_lib.training.stages import build_source, build_stage, settings, stage_class
from facemug_lib.weights import weights_dir


def runs_dir() -> Path:
    """``data/runs`` of the clone."""
    return CLONE / "data" / "runs"


@dataclass(frozen=True)
class PlannedRun:
    """Which run is meant; nothing of it is built yet."""

    settings: StageSettings  # the profile's, with the changes
    config: dict[str, Any]  # what config.json of the run folder says, its hash included
    folder: Path
    device: torch.device
    command: str  # the same run from the shell


@dataclass(frozen=True)
class Run:
    """A run that is ready to train, or to be trained on."""

    plan: PlannedRun
    stage: Stage
    source: FaceSource

    @property
    def settings(self) -> StageSettings:
        """The settings of its stage."""
        return self.plan.settings

    @property
    def folder(self) -> Path:
        """Where its config.json, stats.jsonl, pictures, resume states and weights are."""
        return self.plan.folder

    def train(self, minutes: float | None = None, report: Callable[[str], None] = print) -> TrainResult:
        """Train to the length that the settings name, or for ``minutes``; from the newest resume state if there is one.

        ``report`` gets one line per tick of the statistics. Several processes train together when torchrun starts them.
        """
        plan = self.plan
        return train(self.stage, self.source, plan.folder, plan.settings, minutes=minutes, seed=plan.config["seed"],
                     device=plan.device, config=plan.config, command=plan.command, report=report)


def plan_run(stage: str | type[Any], profile: str = "smoke", overrides: Mapping[str, Any] | None = None, *, data: str = "prior",
             seed: int = 0, init: str = "scratch", device: str | torch.device = "auto",
             out: Path | str | None = None) -> PlannedRun:
    """The run that :func:`start_run` would start, without building anything.

    Raises :class:`FacemugError` for an unknown stage, profile, setting or device, and for a value out of range.
    """
    seed = check_seed(seed)
    changes = {name: value for name, value in (overrides or {}).items() if value is not None}
    chosen, name = settings(stage, profile, changes), stage_class(stage).name
    identity = {"stage": name, "data": data if data == "prior" else str(Path(data).resolve()), "seed": seed, "init": init}
    config = identity | {"profile": profile, "settings": chosen.model_dump()}
    config["hash"] = config_hash(identity | chosen.deciding())
    command = ["facemug", "train", name, "--profile", profile, "--data", data, "--seed", str(seed), "--init", init]
    for setting, value in changes.items():
        command += ["--set", f"{setting}={value}"]
    folder = Path(out) if out is not None else runs_dir() / f"{name}-{config['hash']}"
    return PlannedRun(chosen, config, folder, _device_of_this_process(device), shlex.join(command))


def start_run(stage: str | type[Any], profile: str = "smoke", overrides: Mapping[str, Any] | None = None, *, data: str = "prior",
              seed: int = 0, init: str = "scratch", device: str | torch.device = "auto", out: Path | str | None = None,
              from_the_start: bool = False) -> Run:
    """The run of ``stage`` under ``profile`` with some settings changed: its networks and faces, ready for :meth:`Run.train`.

    ``stage``: the name of a stage of :mod:`.stages`, or a class with the members of :class:`.stage.StageClass`; a system's run is
    started by :func:`facemug_lib.systems.start_run`, which knows its class by its name.
    ``overrides``: setting → value, or its text as given to ``--set``; None keeps the profile's, the text ``"none"`` switches a
    setting off. ``data``: ``"prior"`` or a folder of faces. ``init``: where the networks begin, ``"scratch"``, ``"shipped"``
    (data/weights) or a folder. ``out``: the run's folder instead of ``data/runs/<stage>-<hash>``. ``from_the_start`` also makes
    preparations whose result a resume state will replace, for whoever looks at the untrained networks first.

    Equal arguments mean the same run, and it resumes; ``images`` and the settings of reporting may change meanwhile. Raises
    :class:`FacemugError` for settings that do not exist, for folders without faces, and where the folder holds a run with other
    settings.
    """
    plan = plan_run(stage, profile, overrides, data=data, seed=seed, init=init, device=device, out=out)
    _refuse_other_run(plan.folder, plan.config)
    for folder in (None if data == "prior" else data, getattr(plan.settings, "real", None)):
        if folder is not None:
            require_faces(folder)  # before any network is read, which takes seconds
    require_writable_folder(plan.folder)
    is_resumed = newest_checkpoint(plan.folder) is not None and not from_the_start
    made = build_stage(stage, plan.settings, plan.device, init, seed, is_resumed=is_resumed)
    return Run(plan, made, build_source(data, made, plan.settings, plan.device))


def _device_of_this_process(device: str | torch.device) -> torch.device:
    resolved = resolve_device(device)
    if resolved.type == "cuda" and resolved.index is None and "LOCAL_RANK" in os.environ:  # set by torchrun
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return resolved


def _refuse_other_run(folder: Path, config: Mapping[str, Any]) -> None:
    """A run folder belongs to one configuration: resuming another's state in it would mix two runs without a word."""
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
