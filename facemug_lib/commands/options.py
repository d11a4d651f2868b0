"""Options that several subcommands of ``facemug`` share."""

from __future__ import annotations

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


class Frame(StrEnum):
    """The coordinates guidance images are drawn in."""

    photo = "photo"
    aligned = "aligned"


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; an explicit one never falls back.")]
INPUT = {"exists": True, "dir_okay": False, "readable": True}
Bank = Annotated[Path | None, typer.Option(
    help="A StyleGAN2 checkpoint (g_ema.pt) in place of the default face prior; its own weights must be given too.", **INPUT)]
Seed = Annotated[int, typer.Option(callback=lambda seed: check_seed(seed, "--seed"),
                                   help="Seed of all randomness, from 0 to 2^63 - 1.")]
Psi = Annotated[float, typer.Option(min=0.0, max=2.0, help="Truncation: 0 is the mean face, 1 the full variety.")]
Size = Annotated[int, typer.Option(min=64, max=1024, help="Side of the images, in pixels.")]
Face = Annotated[int | None, typer.Option(min=0, help="Which face, counted from 0, left to right; needed if there are several.")]
ExemplarFace = Annotated[int | None, typer.Option(min=0, help="Which face of the exemplar, counted in the same way.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A value by name; repeatable.")]


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
