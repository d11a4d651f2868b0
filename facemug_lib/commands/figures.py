"""Sheets and figures: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    INPUT,
    Device,
    ExemplarFace,
    Face,
    Seed,
)


def gallery(
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG).")],
    count: Annotated[int, typer.Option(min=1, max=200, help="How many edits.")] = 24,
    photos: Annotated[Path | None, typer.Option(help="Edit the faces of this folder, not sampled ones.", exists=True,
                                                file_okay=False)] = None,
    refine: Annotated[int, typer.Option(min=0, help="Also show each edit after so many refinement steps.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Make a sheet of edits that nobody chose.

    The first faces of the test set, each with the kind of edit that is its turn.

    Example: facemug gallery --out figures/gallery/uncurated.png --refine 40
    """
    from facemug_lib.commands.bodies.figures import gallery_command

    gallery_command(count=count, out=out, photos=photos, refine=refine, weights=weights, device=device)


def prompts(
    out: Annotated[Path, typer.Option(help="Folder of the table and the pictures.")],
    count: Annotated[int, typer.Option(min=1, help="Unseen faces that every prompt edits.")] = 2,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation before the text is followed.")] = 0,
    text_steps: Annotated[int, typer.Option(min=1, help="Most steps in which a text is followed.")] = 16,
    text_model: Annotated[str, typer.Option(metavar="small|ARCHITECTURE:WEIGHTS", help="As for `facemug edit`.")] = "small",
    device: Device = "auto",
) -> None:
    """Try 20 prompts on unseen faces and let the expert judge them.

    Each is followed everywhere and under a mask.

    Example: facemug prompts --count 4 --out data/runs/prompts
    """
    from facemug_lib.commands.bodies.figures import prompts_command

    prompts_command(out, count, refine, text_steps, text_model, device=device)


def subsets(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    mask: Annotated[Path, typer.Option(help="White = edit.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG); the numbers go beside it (CSV).")],
    sketch: Annotated[Path | None, typer.Option(help="Dark strokes on white.", **INPUT)] = None,
    semantics: Annotated[Path | None, typer.Option(help="Label map: indices 0-18 or palette colours.", **INPUT)] = None,
    colour: Annotated[Path | None, typer.Option("--colour", "--color", help="Colours wanted.", **INPUT)] = None,
    exemplar: Annotated[Path | None, typer.Option(help="Another photograph whose features are wanted.", **INPUT)] = None,
    exemplar_face: ExemplarFace = None,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation; 0 is feed-forward only.")] = 0,
    seed: Seed = 0,
    face: Face = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Edit one photograph with all 32 subsets of modalities.

    Guidance that is not given is read from the photograph's own face; the exemplar is then its mirror image. Every picture is
    compared with the photograph.

    Example: facemug subsets photo.jpg --mask mask.png --out subsets.png
    """
    from facemug_lib.commands.bodies.figures import subsets_command

    given = {"sketch": sketch, "semantics": semantics, "colour": colour, "exemplar": exemplar}
    subsets_command(photo=photo, mask=mask, out=out, given=given, refine=refine, seed=seed, face=face, weights=weights,
                    device=device, exemplar_face=exemplar_face)


def influence(
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG); the numbers go beside it (CSV).")],
    count: Annotated[int, typer.Option(min=1, max=200, help="How many faces are measured; the first two are shown.")] = 4,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation beside the feed-forward pass.")] = 24,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Let a sketch and a label map contradict each other.

    The sketch is of one face, the map of another, the hole in a third. Influence moves from one to the other; shown and measured
    is how well each was obeyed, in one pass and after refining.

    Example: facemug influence --out figures/gallery/influence.png
    """
    from facemug_lib.commands.bodies.figures import influence_command

    influence_command(out=out, count=count, refine=refine, weights=weights, device=device)
