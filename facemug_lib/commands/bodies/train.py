"""``facemug train``: start or resume a run, say how it went, install its weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemug_lib.training.loop import TrainResult
from facemug_lib.training.run import install_weights, plan_run, start_run


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
    bank: Path | None = None,
) -> TrainResult | None:
    """Train ``stage``; the same call again resumes. See :func:`facemug_lib.training.run.start_run`.

    ``install`` copies the resulting weights to data/weights. ``dry_run`` prints the resolved configuration as JSON and returns
    None.
    """
    given = {"images": images, "batch": batch, "bank": None if bank is None else str(bank.resolve())}
    overrides = {**(set_overrides or {}), **{name: value for name, value in given.items() if value is not None}}
    run = dict(data=data, seed=seed, init=init, device=device, out=out)
    if dry_run:
        plan = plan_run(stage, profile, overrides, **run)
        print(json.dumps(plan.config | {"device": str(plan.device), "out": str(plan.folder)}, indent=2))
        return None
    started = start_run(stage, profile, overrides, **run)
    result = started.train(minutes, report=_print_at_once)
    if os.environ.get("RANK", "0") == "0":  # set by torchrun: one of several processes speaks for all
        for name, path in result.weights.items():
            print(f"{name}: {path} ({path.stat().st_size / 2**20:.1f} MiB)")
            if install:
                print(f"installed as {install_weights(path)}")
        if not result.is_finished:
            print(f"stopped after {minutes:g} minutes at {result.images_seen:,} of {started.settings.images:,} images: "
                  "the same command resumes")
    return result


def _print_at_once(line: str) -> None:
    print(line, flush=True)
