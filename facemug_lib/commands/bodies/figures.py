"""What `facemug gallery`, `prompts`, `subsets` and `influence` do. The options are declared in :mod:`facemug_lib.commands`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas

from facemug_lib.devices import resolve_device
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.text import STEPS
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.prompts import PROMPTS, prompt_effect
from facemug_lib.evaluation.protocols import folder_set, prior_set
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import traits
from facemug_lib.faces.alignment import open_face
from facemug_lib.figures import gallery, influence, subset_grid
from facemug_lib.figures.plotting import figure_format, save_figure, show_rows
from facemug_lib.files import replacing, require_writable_file, require_writable_folder


def gallery_command(count: int, out: Path, photos: Path | None = None, refine: int = 0, weights: Path | None = None,
                    device: str = "auto") -> None:
    """Write the sheet of ``count`` edits of sampled faces, or of the faces in the folder ``photos``, to ``out``."""
    _check_figure(out, may_make=True)
    target = resolve_device(device)
    editor, expert = Editor.load(target, weights), ExpertStudent.load(target)
    faces = max(2, count + count % 2)  # in pairs, so that the last one's partner does not depend on the count
    test_set = (prior_set(editor.prior, expert, faces, tell=print) if photos is None
                else folder_set(photos, expert, faces, device=target, tell=print))
    figure = gallery.draw(gallery.data(editor, test_set, count, refine, print))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, out, 90)
    print(out)


def prompts_command(out: Path, count: int = 2, refine: int = 0, steps: int = STEPS, model: str = "small",
                    device: str = "auto") -> None:
    """Write prompts.csv and prompts.png: every prompt on ``count`` unseen faces, everywhere and under a mask."""
    require_writable_folder(out)
    target = resolve_device(device)
    editor = Editor.load(target)
    expert, judges = ExpertStudent.load(target), Judges(target)

    def say(line: str) -> None:
        print(line, flush=True)

    faces = prior_set(editor.prior, expert, count + count % 2, tell=say)
    indices = range(count)
    out.mkdir(parents=True, exist_ok=True)
    rows, shown = [], {"unedited": faces.images(list(indices))}
    for prompt in PROMPTS:
        deviation = editor.directions[prompt.trait].about["deviation"]
        for is_masked in (False, True):
            effect, pictures = prompt_effect(editor, faces, prompt, lambda images: traits(expert, images.to(target)),
                                             judges.facenet, deviation, indices, is_masked=is_masked, refine=refine, steps=steps,
                                             model=model)
            rows.append(effect.row())
            if is_masked:
                shown[prompt.text] = pictures
            say(f"{prompt.text} ({effect.where}): {prompt.trait} {effect.before:.2f} to {effect.after:.2f}, "
                f"{effect.change.value:+.2f} standard deviations, agreement {effect.agreement:.2f}")
        with replacing(out / "prompts.csv") as temporary:
            pandas.DataFrame(rows).to_csv(temporary, index=False)
    save_figure(show_rows(shown, [f"face {index}" for index in indices], inches=1.1), out / "prompts.png", 100)
    table = pandas.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    print(f"moved the right way: {(table['change'] > 0).mean():.0%}; by half a standard deviation or more: "
          f"{(table['change'] >= 0.5).mean():.0%}")
    for name in ("prompts.csv", "prompts.png"):
        print(out / name)


def subsets_command(photo: Path, mask: Path, out: Path, given: Mapping[str, Path | None] | None = None, refine: int = 0,
                    seed: int = 0, face: int | None = None, weights: Path | None = None, device: str = "auto",
                    exemplar_face: int | None = None) -> None:
    """Write the figure of ``photo`` to ``out`` and its numbers beside it; ``given``: guidance files by name."""
    given = {name: path for name, path in (given or {}).items() if path is not None}
    table = out.with_suffix(".csv")
    _check_figure(out)
    _check_not_an_input((out, table), (photo, mask, *given.values()))
    aligned = open_face(photo, face=face)
    editor = Editor.load(device, weights)
    grid = subset_grid.data(editor, Judges(editor.device), aligned, mask, given, refine, seed, print, exemplar_face)
    with replacing(table) as temporary:
        temporary.write_text(subset_grid.table(grid), encoding="utf-8", errors="backslashreplace")
        save_figure(subset_grid.draw(grid), out, subset_grid.DPI)
    print(f"32 subsets on {photo.name}, {grid.how}: {out}, {table}")


def _check_figure(out: Path, may_make: bool = False) -> None:
    """Refuse a bad name or place before the work; ``may_make``: the folder need not be there yet."""
    figure_format(out)
    if may_make and not out.parent.exists():
        require_writable_folder(out.parent)
    else:
        require_writable_file(out)


def _check_not_an_input(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    for target in targets:
        if target.resolve() in {path.resolve() for path in inputs}:
            raise FacemugError(f"{target} would be overwritten and is an input: give another --out")


def influence_command(out: Path, count: int = 4, refine: int = 24, weights: Path | None = None, device: str = "auto") -> None:
    """Write the figure of sampled faces to ``out`` and the numbers of all ``count`` beside it."""
    _check_figure(out)
    editor = Editor.load(device, weights)
    test_set = prior_set(editor.prior, ExpertStudent.load(editor.device), 4 * -(-count // 4), tell=print)
    found = influence.data(editor, Judges(editor.device), test_set, count, refine, print)
    table = out.with_suffix(".csv")
    with replacing(table) as temporary:
        temporary.write_text(influence.table(found), encoding="utf-8", errors="backslashreplace")
        save_figure(influence.draw(found), out, influence.DPI)
    print(f"{count} faces, sketch against semantic map: {out}, {table}")
