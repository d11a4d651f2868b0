"""Scores: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import OUTPUT_FOLDER, Bank, Device, Weights, pairs
from facemug_lib.commands.output import say
from facemug_lib.errors import FacemugError

EVERY_PART = "all"


def evaluate(
    count: Annotated[int, typer.Option(min=2, help="Faces of each test set.")] = 200,
    out: Annotated[Path, typer.Option(help="Folder of tables, results.json, contact sheet and cache.", **OUTPUT_FOLDER)] = Path(
        "data/runs/evaluation"),
    photos: Annotated[list[Path] | None, typer.Option(help="A folder of photographs as a test set; repeatable.", exists=True,
                                                      file_okay=False)] = None,
    no_prior: Annotated[bool, typer.Option("--no-prior", help="Leave out the faces sampled from the prior.")] = False,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    family: Annotated[list[str] | None, typer.Option(help="irregular, centre, hair, face or foreground; all.")] = None,
    part: Annotated[list[str] | None, typer.Option(
        help="completion, paper, guidance, subsets, warping, incremental, sharpness or all; completion.")] = None,
    images: Annotated[list[Path] | None, typer.Option(help="Somebody's results, to be scored too; repeatable.", exists=True,
                                                      file_okay=False)] = None,
    export: Annotated[Path | None, typer.Option(help="Only write the test pictures and masks there.", **OUTPUT_FOLDER)] = None,
    weights: Weights = None,
    bank: Bank = None,
    refine: Annotated[int, typer.Option(min=0, help="Score FACEMUG with so many refinement steps as well.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that share the CPU, 3 GB each; one for each "
                                                "core.")] = None,
    limit: Annotated[list[str] | None, typer.Option(metavar="NAME=FACES|all", help="Faces that a slow judge, method or part "
                                                    "gets: vgg, facenet, optimisation, saved, simple, paper, guidance, subsets, "
                                                    "warping, incremental, sharpness; repeatable.")] = None,
    device: Device = "auto",
) -> None:
    """Score weights on fixed test sets, beside baselines and floors.

    Everything measured is kept: the same command goes on where it was stopped, and measures only what has changed.
    The completion part compares one pass with every baseline on every mask family; the other parts ask whether guidance is
    obeyed, and are measured with --part all.
    With --export, somebody else's method gets the same holes; its results are scored with --images.

    Example: facemug evaluate --count 200 --photos portraits --out data/runs/evaluation
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation import parallel, request
    from facemug_lib.evaluation.evaluate import PARTS, write
    from facemug_lib.evaluation.evaluate import evaluate as measure
    from facemug_lib.evaluation.export import export_cases
    from facemug_lib.evaluation.protocols import FAMILIES
    from facemug_lib.figures import contact_sheet
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import require_writable_folder
    from facemug_lib.store import Store

    plan = request.limited_plan(count, pairs(limit or [], "--limit"))
    request.check_names("mask family", family or (), FAMILIES)
    request.check_names("part", part or (), [*PARTS, EVERY_PART])
    parts = PARTS if EVERY_PART in (part or ()) else tuple(part or ()) or ("completion",)
    families, photos, images = family or FAMILIES, photos or [], images or []
    if no_prior and not photos:
        raise FacemugError("nothing to evaluate: leave out --no-prior, or name a folder with --photos")
    request.check_folders(photos, images, no_prior)
    require_writable_folder(out if export is None else export)
    target = resolve_device(device)
    editor = Editor.load(target, weights, bank=bank)
    store = Store(out / "cache")
    test_sets = request.test_sets(editor, count, photos, no_prior, aligned, store, say)
    if export is not None:
        export_cases(test_sets, families, count, export)
        print(f"test pictures and masks of {sum(len(one) for one in test_sets)} faces: {export}")
        return
    methods = request.methods(editor, images, refine)
    out.mkdir(parents=True, exist_ok=True)
    workers = parallel.usual_workers(target) if workers is None else workers
    if workers > 1 and "completion" in parts:
        parallel.fill_in_parallel(workers, editor, test_sets, images, out, plan, families, weights, bank, refine)
    evaluation = measure(editor, test_sets, methods, store, plan, families, parts,
                         [] if aligned else request.photographs(photos, plan.photographs(parts)), say)
    written = write(evaluation, out)
    if any("pictures" in one.arrays for one in evaluation.measured):
        written.append(out / "contact_sheet.png")
        save_figure(contact_sheet.draw(evaluation.test_sets, evaluation.measured), written[-1], 130)
    print((out / "tables.md").read_text(encoding="utf-8"))
    for path in written:
        print(path)
