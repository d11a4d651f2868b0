"""Training: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    Bank,
    Device,
    Profile,
    Seed,
    Settings,
    pairs,
)


def train(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="head, expert, encoder, warping, generator or text.")],
    profile: Annotated[Profile, typer.Option(help="Preset of sizes, durations and loss weights.")] = Profile.smoke,
    images: Annotated[int | None, typer.Option(min=1, help="Stop when this many images have been seen.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop, with a checkpoint, after this many minutes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder instead of one under data/runs.")] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces sampled on the fly, or a folder.")] = "prior",
    settings: Settings = None,
    bank: Bank = None,
    seed: Seed = 0,
    device: Device = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size instead of the profile's.")] = None,
    init: Annotated[str, typer.Option(metavar="scratch|shipped|FOLDER", help="Weights the networks start from.")] = "scratch",
    install: Annotated[bool, typer.Option("--install", help="Copy the resulting weights to data/weights.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
) -> None:
    """Train one stage; the same command again resumes.

    Example: facemug train encoder --profile smoke --images 400 --out data/runs/try
    """
    from facemug_lib.commands.bodies.train import train_command

    train_command(stage=stage, profile=profile.value, images=images, minutes=minutes, out=out, data=data, dry_run=dry_run,
                  set_overrides=pairs(settings or [], "--set"), seed=seed, device=device, batch=batch, init=init,
                  install=install, bank=bank)


def average(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="encoder, warping or generator.")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders that began from one another, or shipped.")],
    out: Annotated[Path, typer.Option(help="Folder of the mean's weights.")],
    share: Annotated[list[float] | None, typer.Option(help="Share of each run in the mean, in their order; equal.")] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces that normalisation is measured on.")] = "prior",
    images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 640,
    seed: Seed = 0,
    device: Device = "auto",
    install: Annotated[bool, typer.Option("--install", help="Copy the mean to data/weights.")] = False,
) -> None:
    """Average the networks of several runs into one, and score it.

    Runs that began from one another lie around a better network; its batch normalisation is measured anew.

    Example: facemug average encoder shipped data/runs/longer --share 1 --share 2 --data faces --out data/runs/mean
    """
    from facemug_lib.training.averaging import average_command

    average_command(stage, runs, share or (), data=data, images=images, out=out, seed=seed, device=device, install=install)
