"""``facemug directions``: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import INPUT, Bank, Device, tell_skipped
from facemug_lib.editing.edit import Edit

directions = typer.Typer(no_args_is_help=True, help="List, fit and measure attributes.\n\nThey are latent directions: what "
                         "`facemug edit --attribute` moves codes by.\n\nExample: facemug directions list")


@directions.command("list")
def directions_list(
    file: Annotated[Path | None, typer.Argument(help="A file of directions instead of the shipped one.", **INPUT)] = None,
) -> None:
    """Show the attributes that can be edited, and what one unit of each is.

    Example: facemug directions list
    """
    from facemug_lib.commands.bodies.directions import list_command

    list_command(file)


@directions.command("fit")
def directions_fit(
    data: Annotated[Path, typer.Option(help="Faces with codes, from `facemug synthesize`.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    faces: Annotated[int | None, typer.Option(min=100, help="Only so many of the faces.")] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Fit and calibrate a direction for everything that the expert reads from faces.

    Example: facemug directions fit --data data/runs/faces --out data/weights/directions.safetensors
    """
    from facemug_lib.commands.bodies.directions import fit_command

    fit_command(data=data, out=out, faces=faces, device=device, bank=bank)


@directions.command("new")
def directions_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the attribute is to be called.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write, or to add the direction to.")],
    positive: Annotated[Path | None, typer.Option(help="Photographs that have it.", exists=True, file_okay=False)] = None,
    negative: Annotated[Path | None, typer.Option(help="Photographs that lack it.", exists=True, file_okay=False)] = None,
    labels: Annotated[Path | None, typer.Option(help="Or a CSV file with the columns file and label.", **INPUT)] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Fit a new direction to two folders of photographs, or to a table of labels.

    Photographs without a face are named and skipped; the exit status is then 3.

    Example: facemug directions new freckles --positive with --negative without --out freckles.safetensors
    """
    from facemug_lib.commands.bodies.directions import new_command

    tell_skipped(new_command(name, out, positive, negative, labels, aligned, weights, device, bank))


@directions.command("text")
def directions_text(
    target: Annotated[str, typer.Argument(metavar="TEXT", help="How faces shall look.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write, or to add the direction to.")],
    source: Annotated[str, typer.Option("--text-from", help="What they are otherwise.")] = Edit.text_source,
    name: Annotated[str | None, typer.Option(help="What the attribute is to be called; the text.")] = None,
    faces: Annotated[int, typer.Option(min=100, help="Sampled faces that are compared with the text.")] = 600,
    leave: Annotated[list[str] | None, typer.Option(help="An attribute that it must not touch; repeatable.")] = None,
    directions: Annotated[Path | None, typer.Option(help="The file of those attributes instead of the shipped one.",
                                                    **INPUT)] = None,
    text_model: Annotated[str, typer.Option(
        metavar="small|ARCHITECTURE:WEIGHTS", help="As for `facemug edit`.")] = Edit.text_model,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Find the direction in which faces come to look like a text.

    Example: facemug directions text "blond hair" --text-from "black hair" --leave gender --out words.safetensors
    """
    from facemug_lib.commands.bodies.directions import text_command

    text_command(target, out, source, name, faces, leave or (), text_model, device, bank, directions)


@directions.command("measure")
def directions_measure(
    out: Annotated[Path, typer.Option(help="Folder of the tables and pictures.")],
    file: Annotated[Path | None, typer.Option(help="A file of directions instead of the shipped one.", **INPUT)] = None,
    count: Annotated[int, typer.Option(min=2, help="Unseen faces.")] = 500,
    masked: Annotated[int, typer.Option(min=0, help="Faces edited under a mask by smile, age and gender; 0 for none.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Measure what one unit of each direction does to every attribute, and to who the person is.

    Everything measured is kept: the same command goes on where it was stopped.

    Example: facemug directions measure --count 100 --out data/runs/directions
    """
    from facemug_lib.commands.bodies.directions import measure_command

    measure_command(out=out, file=file, count=count, masked=masked, weights=weights, device=device, bank=bank)
