"""Sheets and figures: see :mod:`facemug_lib.commands.program`."""

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
    ExemplarFace,
    Face,
    Seed,
    Weights,
)
from facemug_lib.commands.output import say
from facemug_lib.editing.edit import Edit


def gallery(
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG).", **OUTPUT)],
    count: Annotated[int, typer.Option(min=1, max=200, help="How many edits.")] = 24,
    photos: Annotated[Path | None, typer.Option(help="Edit the faces of this folder, not sampled ones.", exists=True,
                                                file_okay=False)] = None,
    refine: Annotated[int, typer.Option(min=0, help="Also show each edit after so many refinement steps.")] = 0,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Make a sheet of edits that nobody chose.

    The first faces of the test set, each with the kind of edit that is its turn.

    Example: facemug gallery --out figures/gallery/uncurated.png --refine 40
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.protocols import folder_set, prior_set, require_pictures
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.figures import gallery as sheet
    from facemug_lib.figures.plotting import save_figure

    _check_figure(out, may_make=True)
    if photos is not None:
        require_pictures(photos)
    target = resolve_device(device)
    editor, expert = Editor.load(target, weights, bank=bank), ExpertStudent.load(target)
    faces = max(2, count + count % 2)  # in pairs, so that the last one's partner does not depend on the count
    test_set = (prior_set(editor.prior, expert, faces, tell=print) if photos is None
                else folder_set(photos, expert, faces, device=target, tell=print))
    figure = sheet.draw(sheet.data(editor, test_set, count, refine, print))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, out, 90)
    print(out)


def prompts(
    out: Annotated[Path, typer.Option(help="Folder of the table and the pictures.", **OUTPUT_FOLDER)],
    count: Annotated[int, typer.Option(min=1, help="Unseen faces that every prompt edits.")] = 2,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation before the text is followed.")] = 0,
    text_steps: Annotated[int, typer.Option(min=1, help="Most steps in which a text is followed.")] = Edit.text_steps,
    text_model: Annotated[str, typer.Option(
        metavar="small|ARCHITECTURE:WEIGHTS", help="As for `facemug edit`.")] = Edit.text_model,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Try 20 prompts on unseen faces and let the expert judge them.

    Each is followed everywhere and under a mask.

    Example: facemug prompts --count 4 --out data/runs/prompts
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.evaluation.protocols import prior_set
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.figures import prompts as sheet
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing, require_writable_folder

    require_writable_folder(out)
    target = resolve_device(device)
    editor, expert, judges = Editor.load(target, weights, bank=bank), ExpertStudent.load(target), Judges(target)
    faces = prior_set(editor.prior, expert, count + count % 2, tell=say)
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "prompts.csv", out / "prompts.png"]

    def keep(table: str) -> None:
        with replacing(written[0]) as temporary:
            temporary.write_text(table, encoding="utf-8")

    made = sheet.data(editor, expert, judges, faces, count, refine, text_steps, text_model, tell=say, keep=keep)
    save_figure(sheet.draw(made), written[1], sheet.DPI)
    rows = sheet.rows(made)
    print(rows.round(2).to_string(index=False))
    print(f"moved the right way: {(rows['change'] > 0).mean():.0%}; by half a standard deviation or more: "
          f"{(rows['change'] >= 0.5).mean():.0%}")
    for path in written:
        print(path)


def subsets(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    mask: Annotated[Path, typer.Option(help="White = edit.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG); the numbers go beside it (CSV).", **OUTPUT)],
    sketch: Annotated[Path | None, typer.Option(help="Dark strokes on white.", **INPUT)] = None,
    semantics: Annotated[Path | None, typer.Option(help="Label map: indices 0-18 or palette colours.", **INPUT)] = None,
    colour: Annotated[Path | None, typer.Option("--colour", "--color", help="Colours wanted.", **INPUT)] = None,
    exemplar: Annotated[Path | None, typer.Option(help="Another photograph whose features are wanted.", **INPUT)] = None,
    exemplar_face: ExemplarFace = None,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation; 0 is feed-forward only.")] = 0,
    seed: Seed = 0,
    face: Face = None,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Edit one photograph with all 32 subsets of modalities.

    Guidance that is not given is read from the photograph's own face; the exemplar is then its mirror image. Every picture is
    compared with the photograph.

    Example: facemug subsets photo.jpg --mask mask.png --out subsets.png
    """
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.faces.alignment import open_face
    from facemug_lib.figures import subset_grid
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing, require_no_input_overwritten

    guidance = {"sketch": sketch, "semantics": semantics, "colour": colour, "exemplar": exemplar}
    given = {name: path for name, path in guidance.items() if path is not None}
    table = out.with_suffix(".csv")
    _check_figure(out)
    require_no_input_overwritten((out, table), (photo, mask, *given.values()))
    aligned = open_face(photo, face=face)
    editor = Editor.load(device, weights, bank=bank)
    grid = subset_grid.data(editor, Judges(editor.device), aligned, mask, given, refine, seed, print, exemplar_face)
    with replacing(table) as temporary:
        temporary.write_text(subset_grid.table(grid), encoding="utf-8", errors="backslashreplace")
        save_figure(subset_grid.draw(grid), out, subset_grid.DPI)
    print(f"32 subsets on {photo.name}, {grid.how}: {out}, {table}")


def influence(
    out: Annotated[Path, typer.Option(help="The picture to write (PNG or JPEG); the numbers go beside it (CSV).", **OUTPUT)],
    count: Annotated[int, typer.Option(min=1, max=200, help="How many faces are measured; the first two are shown.")] = 4,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation beside the feed-forward pass.")] = 24,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Let a sketch and a label map contradict each other.

    The sketch is of one face, the map of another, the hole in a third. Influence moves from one to the other; shown and measured
    is how well each was obeyed, in one pass and after refining.

    Example: facemug influence --out figures/gallery/influence.png
    """
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.evaluation.protocols import prior_set
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.figures import influence as contradiction
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing

    _check_figure(out)
    editor = Editor.load(device, weights, bank=bank)
    test_set = prior_set(editor.prior, ExpertStudent.load(editor.device), 4 * -(-count // 4), tell=print)
    found = contradiction.data(editor, Judges(editor.device), test_set, count, refine, print)
    table = out.with_suffix(".csv")
    with replacing(table) as temporary:
        temporary.write_text(contradiction.table(found), encoding="utf-8", errors="backslashreplace")
        save_figure(contradiction.draw(found), out, contradiction.DPI)
    print(f"{count} faces, sketch against semantic map: {out}, {table}")


def _check_figure(out: Path, may_make: bool = False) -> None:
    """Refuse a bad name or place before the work; ``may_make``: the folder need not be there yet."""
    from facemug_lib.figures.plotting import figure_format
    from facemug_lib.files import require_writable_file, require_writable_folder

    figure_format(out)
    if may_make and not out.parent.exists():
        require_writable_folder(out.parent)
    else:
        require_writable_file(out)
