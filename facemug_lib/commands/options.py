"""Options that several subcommands of ``facemug`` share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.errors import FacemugError
from facemug_lib.seeds import check_seed


class Profile(StrEnum):
    """How much a run may cost."""

    smoke = "smoke"
    laptop = "laptop"
    paper = "paper"


class PoseMethod(StrEnum):
    """How a face is turned."""

    warping = "warping"
    direction = "direction"
    both = "both"


class GuidanceFrame(StrEnum):
    """The coordinates guidance images are drawn in."""

    photo = "photo"
    aligned = "aligned"


def output_folder(text: str | Path) -> Path:
    """The folder that an option names.

    Raises :class:`FacemugError` for an empty text, which a shell makes of a variable that is not set.
    """
    if not str(text).strip():
        raise FacemugError("an empty name for the file or folder to write: name one, . is the current folder")
    return Path(text)


def output_path(text: str | Path) -> Path:
    """The file or folder that an option names.

    A slash at the end means a folder, but ``Path`` drops it and would take ``face.png/`` for a file. Raises :class:`FacemugError`
    for such a name where no folder is, and for an empty one.
    """
    path = output_folder(text)
    if str(text).endswith((os.sep, os.altsep or os.sep)) and path.suffix and not path.is_dir():
        raise FacemugError(f"no folder {path}: make it first, or leave out the {os.sep} to write a file")
    return path


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; an explicit one never falls back.")]
INPUT = {"exists": True, "dir_okay": False, "readable": True}
OUTPUT = {"parser": output_path, "metavar": "PATH"}
OUTPUT_FOLDER = {"parser": output_folder, "metavar": "PATH"}
Bank = Annotated[Path | None, typer.Option(
    help="A StyleGAN2 checkpoint (g_ema.pt) in place of the default face prior; its own weights must be given too.", **INPUT)]
Encoder = Annotated[Path | None, typer.Option(
    help="A published e4e encoder (e4e_ffhq_encode.pt), for exemplars and for faces that are only altered.", **INPUT)]
Weights = Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)]
Seed = Annotated[int, typer.Option(callback=lambda seed: check_seed(seed, "--seed"),
                                   help="Seed of all randomness, from 0 to 2^63 - 1.")]
Psi = Annotated[float, typer.Option(min=0.0, max=2.0, help="Truncation: 0 is the mean face, 1 the full variety.")]
Size = Annotated[int, typer.Option(min=64, max=1024, help="Side of the images, in pixels.")]
Face = Annotated[int | None, typer.Option(min=0, help="Which face, counted from 0, left to right; needed if there are several.")]
ExemplarFace = Annotated[int | None, typer.Option(min=0, help="Which face of the exemplar, counted in the same way.")]
LikeFace = Annotated[int | None, typer.Option(min=0, help="Which face of that photograph, counted from 0, left to right.")]
Workers = Annotated[int, typer.Option(min=1, help="Share many photographs out among so many processes of one thread each, which "
                                      "load networks of their own. About as many as there are cores.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A value by name; repeatable.")]


SKIPPED = 3
"""Exit status where the work was done, but for inputs that were named and skipped."""


def tell_skipped(count: int) -> None:
    """End the command with :data:`SKIPPED` if so many of its inputs were left out."""
    if count:
        raise typer.Exit(SKIPPED)


def pairs(items: list[str], option: str) -> dict[str, str]:
    """``name=value`` items as a dictionary of texts; ``option`` is what the user typed before them."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise FacemugError(f"{option} {item}: write it as {option} name=value")
        if name.strip() in found:
            raise FacemugError(f"{option} {item}: {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found


def numbers(items: list[str], option: str, example: str) -> dict[str, float] | None:
    """The same with numbers, None if there are none; ``example`` is shown where a value is no number."""
    try:
        return {name: float(value) for name, value in pairs(items, option).items()} or None
    except ValueError as error:
        raise FacemugError(f"{option} wants a number: {str(error).partition(': ')[2]} is none (try {example})") from error
