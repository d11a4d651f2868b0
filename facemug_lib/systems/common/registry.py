"""The systems by name. Whatever stands in the room beside ``common`` is one: adding a file adds a system."""

from __future__ import annotations

import difflib
import pkgutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.systems.common.contract import System
from facemug_lib.weights import read_weights, weights_path

if TYPE_CHECKING:  # training is imported where it is used: whoever edits needs none of it
    from facemug_lib.training.run import PlannedRun, Run

ROOM = __name__.removesuffix(".common.registry")


def names() -> tuple[str, ...]:
    """The systems that there are, by the names of their files."""
    room = sys.modules.get(ROOM) or import_module(ROOM)
    return tuple(sorted(one.name for one in pkgutil.iter_modules(room.__path__) if one.name != "common"))


def system_class(name: str) -> type[System]:
    """The class of the system called ``name``. Its file is imported only now."""
    if name not in names():
        raise FacemugError(f"no system is called {name!r}: choose from {', '.join(names()) or 'none, there are no files yet'}")
    return import_module(f"{ROOM}.{name}").SYSTEM


def load_system(name: str, weights: Path | str | None = None, device: Any = "auto") -> System:
    """The trained system called ``name``: of the shipped weights, of a weights file, or of a run's folder.

    Raises :class:`FacemugError` for an unknown name, and for weights that are missing, of another system or of another width.
    """
    return system_class(name).load(weights_file(name, weights), resolve_device(device))


def weights_file(name: str, weights: Path | str | None = None) -> Path:
    """Where the weights of system ``name`` are, or would be: ``weights`` is a file or a run's folder, None the shipped ones."""
    if weights is None:
        return weights_path(name)
    path = Path(weights).expanduser()
    if not path.is_dir():
        return path
    inside = path / "weights" / f"{name}.safetensors"
    return inside if inside.is_file() else path / f"{name}.safetensors"


def images_seen() -> dict[str, int | None]:
    """System → images that its shipped weights have learned from; None where there are no weights yet."""
    files = {name: weights_path(name) for name in names()}
    return {name: read_weights(path)[2].get("images_seen", 0) if path.is_file() else None for name, path in files.items()}


def any_stage(name: str) -> str | type[Any]:
    """What :mod:`facemug_lib.training` takes for the stage called ``name``: one of its own, or a system's."""
    from facemug_lib.training.profiles import STAGES

    if name in STAGES:
        return name
    if name in names():
        return system_class(name).stage
    every = (*STAGES, *names())
    near = difflib.get_close_matches(name, every, n=1)
    raise FacemugError(f"unknown stage {name!r}: " + (f"did you mean {near[0]}?" if near else f"use one of {', '.join(every)}"))


def start_run(name: str, profile: str = "smoke", overrides: Mapping[str, Any] | None = None, **options: Any) -> Run:
    """The training run of a system, the same as `facemug train NAME`; see :func:`facemug_lib.training.run.start_run`."""
    from facemug_lib.training import run as runs

    return runs.start_run(any_stage(name), profile, overrides, **options)


def plan_run(name: str, profile: str = "smoke", overrides: Mapping[str, Any] | None = None, **options: Any) -> PlannedRun:
    """The run that :func:`start_run` would start, without building anything."""
    from facemug_lib.training import run as runs

    return runs.plan_run(any_stage(name), profile, overrides, **options)
