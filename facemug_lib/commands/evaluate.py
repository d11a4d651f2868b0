"""Scores: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import Device, pairs


def evaluate(
    count: Annotated[int, typer.Option(min=2, help="Faces of each test set.")] = 200,
    out: Annotated[Path, typer.Option(help="Folder of tables, results.json, contact sheet and cache.")] = Path(
        "data/runs/evaluation"),
    photos: Annotated[list[Path] | None, typer.Option(help="A folder of photographs as a test set; repeatable.", exists=True,
                                                      file_okay=False)] = None,
    no_prior: Annotated[bool, typer.Option("--no-prior", help="Leave out the faces sampled from the prior.")] = False,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    family: Annotated[list[str] | None, typer.Option(help="irregular, centre, hair, face or foreground; all.")] = None,
    part: Annotated[list[str] | None, typer.Option(
        help="completion, paper, guidance, subsets, warping, incremental or all; completion.")] = None,
    images: Annotated[list[Path] | None, typer.Option(help="Somebody's results, to be scored too; repeatable.", exists=True,
                                                      file_okay=False)] = None,
    export: Annotated[Path | None, typer.Option(help="Only write the test pictures and masks there.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    refine: Annotated[int, typer.Option(min=0, help="Score FACEMUG with so many refinement steps as well.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that share the CPU, 3 GB each; one for each "
                                                "core.")] = None,
    limit: Annotated[list[str] | None, typer.Option(metavar="NAME=FACES|all", help="Faces that a slow judge, method or part "
                                                    "gets: vgg, facenet, optimisation, saved, simple, paper, guidance, subsets, "
                                                    "warping, incremental; repeatable.")] = None,
    device: Device = "auto",
) -> None:
    """Score weights on fixed test sets, beside baselines and floors.

    Everything measured is kept: the same command goes on where it was stopped, and measures only what has changed.
    The completion part compares one pass with every baseline on every mask family; the other parts ask whether guidance is
    obeyed, and are measured with --part all.
    With --export, somebody else's method gets the same holes; its results are scored with --images.

    Example: facemug evaluate --count 200 --photos portraits --out data/runs/evaluation
    """
    from facemug_lib.commands.bodies.evaluate import evaluate_command

    evaluate_command(count=count, out=out, photos=photos or (), no_prior=no_prior, aligned=aligned, families=family or (),
                     parts=part or (), images=images or (), export=export, weights=weights, refine=refine,
                     workers=workers, limits=pairs(limit or [], "--limit"), device=device)
