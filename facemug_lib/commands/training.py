"""Training: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemug_lib.commands.options import (
    OUTPUT_FOLDER,
    Bank,
    Device,
    Overrides,
    Profile,
    Seed,
    pairs,
)
from facemug_lib.commands.output import say

if TYPE_CHECKING:
    from facemug_lib.training.loop import TrainResult


def train(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="head, expert, encoder, warping, generator or text; or one of "
                                         "the sibling systems, which `facemug doctor` lists.")],
    profile: Annotated[Profile, typer.Option(help="Preset of sizes, durations and loss weights.")] = Profile.smoke,
    images: Annotated[int | None, typer.Option(min=1, help="Stop when this many images have been seen.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop, with a checkpoint, after this many minutes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder instead of one under data/runs.", **OUTPUT_FOLDER)] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces sampled on the fly, or a folder.")] = "prior",
    settings: Overrides = None,
    bank: Bank = None,
    seed: Seed = 0,
    device: Device = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size instead of the profile's.")] = None,
    init: Annotated[str, typer.Option(metavar="scratch|shipped|FOLDER", help="Weights the networks start from.")] = "scratch",
    install: Annotated[bool, typer.Option("--install", help="Copy the resulting weights to data/weights.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
) -> None:
    """Train one stage or system; the same command again resumes.

    Example: facemug train encoder --profile smoke --images 400 --out data/runs/try
    Example: facemug train l2m_gan --profile laptop --set real=portraits
    """
    import json

    from facemug_lib.systems import any_stage
    from facemug_lib.training.run import plan_run, start_run

    given = {"images": images, "batch": batch, "bank": None if bank is None else str(bank.resolve())}
    overrides = pairs(settings or [], "--set") | {name: value for name, value in given.items() if value is not None}
    wanted = dict(data=data, seed=seed, init=init, device=device, out=out)
    chosen = any_stage(stage)
    if dry_run:
        plan = plan_run(chosen, profile.value, overrides, **wanted)
        print(json.dumps(plan.config | {"device": str(plan.device), "out": str(plan.folder)}, indent=2))
        return
    started = start_run(chosen, profile.value, overrides, **wanted)
    result = started.train(minutes, report=say)
    if os.environ.get("RANK", "0") == "0":  # set by torchrun: one of several processes speaks for all
        _tell(result, minutes, started.settings.images, install)


def _tell(result: TrainResult, minutes: float | None, images: int, install: bool) -> None:
    """Say what a run of ``images`` images has left, and install its weights where that was asked for."""
    _tell_weights(result.weights, install)
    if not result.is_finished:
        print(f"stopped after {minutes:g} minutes at {result.images_seen:,} of {images:,} images: the same command resumes")


def _tell_weights(weights: Mapping[str, Path], install: bool) -> None:
    from facemug_lib.training.run import install_weights

    for name, path in weights.items():
        print(f"{name}: {path} ({path.stat().st_size / 2**20:.1f} MiB)")
        if install:
            print(f"installed as {install_weights(path)}")


def average(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="encoder, warping or generator.")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders that began from one another, or shipped.")],
    out: Annotated[Path, typer.Option(help="Folder of the mean's weights.", **OUTPUT_FOLDER)],
    share: Annotated[list[float] | None, typer.Option(help="Share of each run in the mean, in their order; equal.")] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces that normalisation is measured on.")] = "prior",
    images: Annotated[int, typer.Option(min=0, help="How many of them; 0 = keep the runs' statistics.")] = 640,
    seed: Seed = 0,
    device: Device = "auto",
    install: Annotated[bool, typer.Option("--install", help="Copy the mean to data/weights.")] = False,
) -> None:
    """Average the networks of several runs into one, and score it.

    Runs that began from one another lie around a better network; its batch normalisation is measured anew.

    Example: facemug average encoder shipped data/runs/longer --share 1 --share 2 --data faces --out data/runs/mean
    """
    from facemug_lib.training.averaging import average_runs

    mean = average_runs(stage, runs, share or (), data=data, images=images, out=out, seed=seed, device=device)
    print(", ".join(f"{name} {value:.4g}" for name, value in mean.scores.items()))
    _tell_weights(mean.weights, install)
