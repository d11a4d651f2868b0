"""What this machine has of what FACEMUG needs: one table for people, or JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

GIB = 1024**3
FREE_DISK_NEEDED = 1.0  # GiB, for downloads on their way and a run's files


@dataclass(frozen=True)
class Check:
    """One line of the report. ``status`` is ``"ok"``, ``"note"`` (works, with a remark) or ``"broken"``."""

    name: str
    status: str
    text: str
    details: dict[str, Any]


def diagnose() -> list[Check]:
    """Look at interpreter, packages, device, memory, disk, assets, shipped weights and notebook kernel; changes nothing."""
    checks = (_python, _packages, _torch, _memory, _disk, _assets, _weights, _systems, _kernel)
    return [_guarded(check) for check in checks]


def report_text(checks: list[Check]) -> str:
    """The checks as aligned lines, with the verdict last."""
    width = max(len(check.name) for check in checks)
    lines = [f"{check.status:6s}  {check.name:{width}s}  {check.text}" for check in checks]
    broken = [check.name for check in checks if check.status == "broken"]
    return "\n".join([*lines, f"broken: {', '.join(broken)}" if broken else "everything needed is here"])


def report_json(checks: list[Check]) -> str:
    """The checks as one JSON object: ``ok`` and, by name, status, text and details."""
    ok = all(check.status != "broken" for check in checks)
    return json.dumps({"ok": ok, "checks": {check.name: asdict(check) for check in checks}}, indent=2)


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a broken installation is what is being looked for: it must not stop the report
        reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        return Check(check.__name__.strip("_"), "broken", reason, {})


def _python() -> Check:
    version = platform.python_version()
    status = "ok" if sys.version_info >= (3, 11) else "broken"
    text = f"{version} at {sys.executable}" + ("" if status == "ok" else ": 3.11 or newer is needed")
    return Check("python", status, text, {"version": version, "executable": sys.executable, "platform": platform.platform()})


def _packages() -> Check:
    from packaging.requirements import Requirement

    required = [Requirement(line) for line in metadata.requires("facemug_lib") or []]
    required = [item for item in required if item.marker is None or item.marker.evaluate({"extra": ""})]
    versions, wrong = {}, []
    for item in required:
        try:
            versions[item.name] = metadata.version(item.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{item.name} is not installed")
            continue
        if not item.specifier.contains(versions[item.name], prereleases=True):
            wrong.append(f"{item.name} {versions[item.name]} is not {item.specifier}")
    text = "; ".join(wrong) + ": run `make setup`" if wrong else f"{len(required)} required packages are installed"
    return Check("packages", "broken" if wrong else "ok", text, versions)


def _torch() -> Check:
    import torch

    from facemug_lib.devices import resolve_device

    device = resolve_device("auto")
    probe = torch.ones(8, 8, device=device)
    working = float((probe @ probe).sum()) == 512.0
    details: dict[str, Any] = {"version": torch.__version__, "device": str(device), "threads": torch.get_num_threads()}
    text = f"{torch.__version__} on {device}"
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        details |= {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / GIB, 1), "cuda": torch.version.cuda}
        text += f" ({properties.name}, {details['gpu_memory_gib']} GiB)"
    else:
        text += f" ({details['threads']} threads; no CUDA GPU seen)"
    return Check("torch", "ok" if working else "broken", text if working else f"{text}: a matrix product is wrong", details)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total / GIB, memory.available / GIB
    details = {"total_gib": round(total, 1), "available_gib": round(free, 1), "cpu_count": os.cpu_count()}
    text = f"{free:.1f} of {total:.1f} GiB free, {os.cpu_count()} CPU cores"
    if free < 2.0:
        return Check("memory", "note", f"{text}: less than 2 GiB free, close other programs before editing or training", details)
    return Check("memory", "ok", text, details)


def _disk() -> Check:
    from facemug_lib.assets import cache_dir
    from facemug_lib.files import CLONE

    places = {"cache": cache_dir(), "clone": CLONE}
    free = {name: round(shutil.disk_usage(_existing(path)).free / GIB, 1) for name, path in places.items()}
    short = [name for name, gib in free.items() if gib < FREE_DISK_NEEDED]
    text = ", ".join(f"{gib} GiB free for the {name}" for name, gib in free.items())
    if short:
        text += f": at least {FREE_DISK_NEEDED:g} GiB is needed"
    return Check("disk", "broken" if short else "ok", text, {f"{name}_free_gib": gib for name, gib in free.items()})


def _assets() -> Check:
    from facemug_lib.assets import ASSETS, AssetError, cache_dir, verify

    present = {name: asset.cached for name, asset in ASSETS.items()}
    details = {"cache": str(cache_dir()), "present": present}
    folder = _existing(cache_dir())
    if not os.access(folder, os.W_OK) and not all(present.values()):
        return Check("assets", "broken", f"the cache {cache_dir()} cannot be written: set FACEMUG_CACHE to another", details)
    damaged = []
    for name in filter(present.get, present):
        try:
            verify(ASSETS[name])
        except AssetError as error:
            damaged.append(str(error))
    if damaged:
        return Check("assets", "broken", "; ".join(damaged), details)
    text = f"{sum(present.values())} of {len(present)} in {cache_dir()}, each as it was stored"
    missing = [name for name, here in present.items() if not here and not ASSETS[name].optional]
    if missing:
        return Check("assets", "note", f"{text}; {', '.join(missing)} will be fetched when first needed", details)
    return Check("assets", "ok", text, details)


def _weights() -> Check:
    from facemug_lib.errors import FacemugError
    from facemug_lib.weights import read_weights, weights_dir

    seen: dict[str, Any] = {}
    wrong = []
    for path in sorted(weights_dir().glob("*.safetensors")):
        try:
            seen[path.stem] = read_weights(path)[2].get("images_seen")
        except FacemugError as error:
            wrong.append(str(error))
    details = {"folder": str(weights_dir()), "images_seen": seen}
    if wrong:
        return Check("weights", "broken", "; ".join(wrong), details)
    if not seen:
        return Check("weights", "broken", f"none in {weights_dir()}: restore data/weights from git", details)
    images = ", ".join(f"{name} ({'?' if count is None else format(count, ',')} images)" for name, count in seen.items())
    return Check("weights", "ok", images, details)


def _systems() -> Check:
    from facemug_lib.systems import images_seen

    seen = images_seen()
    told = [f"{name} (no weights yet: facemug train {name})" if images is None else f"{name} ({images:,} images)"
            for name, images in seen.items()]
    return Check("systems", "ok", ", ".join(told) or "none", {"images_seen": seen})


def _kernel() -> Check:
    import ipykernel

    return Check("kernel", "ok", f"ipykernel {ipykernel.__version__}; notebooks run with this interpreter",
                 {"ipykernel": ipykernel.__version__, "executable": sys.executable})


def _existing(path: Path) -> Path:
    """``path`` or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
