"""Sampling, aligning and synthesising faces: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    INPUT,
    OUTPUT,
    OUTPUT_FOLDER,
    Bank,
    Device,
    Face,
    Psi,
    Seed,
    Size,
    Workers,
    tell_skipped,
)
from facemug_lib.commands.output import say
from facemug_lib.commands.starting import import_torch
from facemug_lib.errors import FacemugError
from facemug_lib.workers import WorkerError


def sample(
    out: Annotated[Path, typer.Option(help="A file for a grid of all, or a folder for one file each.", **OUTPUT)],
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
    import_torch()
    import torch

    from facemug_lib.commands.targets import checked_file
    from facemug_lib.devices import batches, resolve_device
    from facemug_lib.faces.bank import load_bank
    from facemug_lib.faces.photos import write_image
    from facemug_lib.faces.sampling import faces_of_seeds
    from facemug_lib.files import require_writable_folder
    from facemug_lib.pictures import square_grid
    from facemug_lib.seeds import check_seed

    check_seed(seed, "--seed", count)
    is_file = bool(out.suffix) and not out.is_dir()
    if is_file:
        checked_file(out)
    else:
        require_writable_folder(out)
    prior = load_bank(bank, resolve_device(device))
    faces = []
    for places in batches(count):
        seeds = range(seed + places.start, seed + places.stop)
        made = faces_of_seeds(prior, seeds, psi, size)[1]
        if is_file:
            faces.append(made)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for number, image in zip(seeds, made, strict=True):
                write_image(out / f"seed{number:06d}.png", image[None])
    if is_file:
        write_image(out, square_grid(torch.cat(faces)))
    seeds = f"seed {seed}" if count == 1 else f"seeds {seed} to {seed + count - 1}"
    print(f"{count} face{'s' if count > 1 else ''} of {size} px, {seeds}, psi {psi:g}: {out}")


def align(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photographs.", **INPUT)],
    out: Annotated[Path, typer.Option(help="Folder for the aligned faces.", **OUTPUT_FOLDER)],
    face: Face = None,
    size: Size = 256,
    workers: Workers = 1,
) -> None:
    """Find, align and crop faces, as FFHQ does.

    Photographs that cannot be aligned are named and skipped; the exit status is then 3.

    Example: facemug align holiday/*.jpg --out aligned
    """
    import_torch()
    from facemug_lib.commands.many_photos import Alignments, outcomes
    from facemug_lib.files import distinct_names, require_no_input_overwritten, require_writable_folder

    require_writable_folder(out)
    targets = [out / name for name in distinct_names(photos, ".png")]
    require_no_input_overwritten(targets, photos)
    jobs, refusals = list(zip(photos, targets, strict=True)), []
    for photo, outcome in zip(photos, outcomes(Alignments(size, face).start, jobs, workers), strict=True):
        if isinstance(outcome.error, WorkerError):  # which does not know the photo
            refusals.append(f"{photo.name}: {outcome.error}")
        elif isinstance(outcome.error, FacemugError):
            refusals.append(str(outcome.error))
        else:
            outcome.get()
    done = len(photos) - len(refusals)
    if not done:
        several = f"none of {len(photos)} photos could be aligned: " if len(photos) > 1 else ""
        raise FacemugError(f"{several}{refusals[0]}")
    for refusal in refusals:
        print(f"skipped: {refusal}")
    print(f"{done} of {len(photos)} photos aligned to {size} px: {out}")
    tell_skipped(len(refusals))


def synthesize(
    count: Annotated[int, typer.Option(min=1, help="How many faces.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.", **OUTPUT_FOLDER)],
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
    from facemug_lib.training.synthesis import synthesize as make

    made = make(count, out, seed, psi, size, device, say, bank)
    print(f"{count} faces of {size} px with codes, sketches, label maps, colours and masks, {made} of them new: {out}")
    print(f"train on them with: facemug train encoder --data {out}{f' --bank {bank}' if bank else ''}")
