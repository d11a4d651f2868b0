"""The subcommands that measure, and the sheets that show what was measured: see :mod:`facemug_lib.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import INPUT, Device, Face, Seed, pairs


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
    from facemug_lib.figures.gallery import gallery_command

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
    from facemug_lib.evaluation.prompts import prompts_command

    prompts_command(out, count, refine, text_steps, text_model, device=device)


def subsets(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    mask: Annotated[Path, typer.Option(help="White = edit.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG); the numbers go beside it (CSV).")],
    sketch: Annotated[Path | None, typer.Option(help="Dark strokes on white.", **INPUT)] = None,
    semantics: Annotated[Path | None, typer.Option(help="Label map: indices 0-18 or palette colours.", **INPUT)] = None,
    colour: Annotated[Path | None, typer.Option("--colour", "--color", help="Colours wanted.", **INPUT)] = None,
    exemplar: Annotated[Path | None, typer.Option(help="Another photograph whose features are wanted.", **INPUT)] = None,
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
    from facemug_lib.figures.subset_grid import subsets_command

    given = {"sketch": sketch, "semantics": semantics, "colour": colour, "exemplar": exemplar}
    subsets_command(photo=photo, mask=mask, out=out, given=given, refine=refine, seed=seed, face=face, weights=weights,
                    device=device)


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
    from facemug_lib.figures.influence import influence_command

    influence_command(out=out, count=count, refine=refine, weights=weights, device=device)


def bench(
    out: Annotated[Path | None, typer.Option(help="Also write the numbers to this JSON file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repetitions.")] = False,
    widgets: Annotated[bool, typer.Option("--widgets", help="Measure instead how soon the Explorer's pictures appear in a "
                                                            "browser (playwright and a Chromium).")] = False,
) -> None:
    """Measure speed and peak memory on this machine.

    Example: facemug bench --quick --out bench.json
    """
    from facemug_lib.commands.bodies.bench import bench_command

    bench_command(out=out, quick=quick, widgets=widgets)
