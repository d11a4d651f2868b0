"""Sampling, aligning and synthesising faces: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    INPUT,
    Bank,
    Device,
    Face,
    Psi,
    Seed,
    Size,
    tell_skipped,
)


def sample(
    out: Annotated[Path, typer.Option(help="A file for a grid of all, or a folder for one file each.")],
    seed: Seed = 0,
    count: Annotated[int, typer.Option(min=1, help="How many faces.")] = 1,
    psi: Psi = 0.7,
    size: Size = 256,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Sample faces of nobody from the prior.

    Example: facemug sample --seed 7 --count 16 --out faces.png
    """
    from facemug_lib.commands.bodies.edit import sample_command

    sample_command(out=out, seed=seed, count=count, psi=psi, size=size, device=device, bank=bank)


def align(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photographs.", **INPUT)],
    out: Annotated[Path, typer.Option(help="Folder for the aligned faces.")],
    face: Face = None,
    size: Size = 256,
) -> None:
    """Find, align and crop faces, as FFHQ does.

    Photographs that cannot be aligned are named and skipped; the exit status is then 3.

    Example: facemug align holiday/*.jpg --out aligned
    """
    from facemug_lib.commands.bodies.edit import align_command

    tell_skipped(align_command(photos=photos, out=out, face=face, size=size))


def synthesize(
    count: Annotated[int, typer.Option(min=1, help="How many faces.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    seed: Seed = 0,
    psi: Psi = 0.7,
    size: Size = 256,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Make a training set of faces from the prior.

    Writes each face, its latent code and its modalities.

    Example: facemug synthesize --count 1000 --out data/runs/faces
    """
    from facemug_lib.commands.bodies.edit import synthesize_command

    synthesize_command(count=count, out=out, seed=seed, psi=psi, size=size, device=device, bank=bank)
