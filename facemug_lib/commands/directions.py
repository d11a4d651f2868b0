"""``facemug directions``: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemug_lib.commands.options import INPUT, OUTPUT, OUTPUT_FOLDER, Bank, Device, Weights, tell_skipped
from facemug_lib.commands.output import say
from facemug_lib.editing.edit import Edit, check_text
from facemug_lib.errors import FacemugError

if TYPE_CHECKING:
    import torch

directions = typer.Typer(no_args_is_help=True, help="List, fit and measure attributes.\n\nThey are latent directions: what "
                         "`facemug edit --attribute` moves codes by.\n\nExample: facemug directions list")


@directions.command("list")
def directions_list(
    file: Annotated[Path | None, typer.Argument(help="A file of directions instead of the shipped one.", **INPUT)] = None,
) -> None:
    """Show the attributes that can be edited, and what one unit of each is.

    Example: facemug directions list
    """
    from facemug_lib.editing.latent.directions import load_directions

    for one in load_directions(file).values():
        print(f"{one.name:16} {one.family:10} 1 unit = {one.unit}")


@directions.command("fit")
def directions_fit(
    data: Annotated[Path, typer.Option(help="Faces with codes, from `facemug synthesize`.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.", **OUTPUT)],
    faces: Annotated[int | None, typer.Option(min=100, help="Only so many of the faces.")] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Fit and calibrate a direction for everything that the expert reads from faces.

    Example: facemug directions fit --data data/runs/faces --out data/weights/directions.safetensors
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.latent.direction_fit import supervised
    from facemug_lib.editing.latent.direction_sources import calibration_codes, samples_of_folder, traits_read
    from facemug_lib.editing.latent.directions import save_directions
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.experts.traits import traits
    from facemug_lib.faces.bank import load_bank

    _check_target(out)
    target = resolve_device(device)
    prior, expert = load_bank(bank, target), ExpertStudent.load(target)
    samples = samples_of_folder(data, expert, target, faces, say, prior.num_codes)
    found = supervised(prior, samples, calibration_codes(prior), lambda images: traits(expert, images), say)
    count = len(samples.w)
    save_directions(out, found, {"faces": count}, traits_read(data, samples))
    print(f"{len(found)} directions from {count} faces: {out}")


@directions.command("new")
def directions_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the attribute is to be called.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write, or to add the direction to.", **OUTPUT)],
    positive: Annotated[Path | None, typer.Option(help="Photographs that have it.", exists=True, file_okay=False)] = None,
    negative: Annotated[Path | None, typer.Option(help="Photographs that lack it.", exists=True, file_okay=False)] = None,
    labels: Annotated[Path | None, typer.Option(help="Or a CSV file with the columns file and label.", **INPUT)] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Fit a new direction to two folders of photographs, or to a table of labels.

    Photographs without a face are named and skipped; the exit status is then 3.

    Example: facemug directions new freckles --positive with --negative without --out freckles.safetensors
    """
    import torch

    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.latent import direction_sources as sources
    from facemug_lib.editing.latent.direction_fit import from_codes

    _check_target(out)
    if (labels is None) == (positive is None and negative is None) or (positive is None) != (negative is None):
        raise FacemugError("name two folders with --positive and --negative, or one table with --labels")
    files, scores = sources.labelled(labels) if labels is not None else sources.two_folders(positive, negative)
    editor = Editor.load(resolve_device(device), weights, bank=bank)
    codes, kept = sources.codes_of_photos(editor, files, aligned, print)
    direction = from_codes(name, codes, torch.tensor([scores[place] for place in kept]))
    sources.add_direction(out, direction, {"photographs": len(kept)})
    print(f"{name}: {len(kept)} photographs, {direction.about['accuracy']:.0%} of held-out ones on the right side; 1 unit is "
          f"{direction.unit}: {out}")
    tell_skipped(len(files) - len(kept))


@directions.command("import")
def directions_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published .pt or .npy file.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write, or to add the direction to.", **OUTPUT)],
    name: Annotated[str | None, typer.Option(help="What the attribute is to be called; the file's name.")] = None,
) -> None:
    """Take over a direction that others published for StyleGAN2-FFHQ.

    The file holds 512 numbers, or 512 for each of that network's 18 codes. One unit is as long as it was published.

    Example: facemug directions import age.npy --out published.safetensors
    """
    from facemug_lib.editing.latent.direction_sources import add_direction
    from facemug_lib.editing.latent.directions import load_published

    _check_target(out)
    direction = load_published(file, name)
    add_direction(out, direction, {})
    print(f"{direction.name}: {len(direction.vector)} codes, 1 unit is {direction.unit}: {out}")


@directions.command("text")
def directions_text(
    target: Annotated[str, typer.Argument(metavar="TEXT", help="How faces shall look.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write, or to add the direction to.", **OUTPUT)],
    source: Annotated[str, typer.Option("--text-from", help="What they are otherwise.")] = Edit.text_source,
    name: Annotated[str | None, typer.Option(help="What the attribute is to be called; the text.")] = None,
    faces: Annotated[int, typer.Option(min=100, help="Sampled faces that are compared with the text.")] = 600,
    leave: Annotated[list[str] | None, typer.Option(help="A shipped attribute that it must not touch; repeatable.")] = None,
    text_model: Annotated[str, typer.Option(
        metavar="small|ARCHITECTURE:WEIGHTS", help="As for `facemug edit`.")] = Edit.text_model,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Find the direction in which faces come to look like a text.

    Example: facemug directions text "blond hair" --text-from "black hair" --leave gender --out words.safetensors
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.latent import direction_sources as sources
    from facemug_lib.editing.latent.direction_fit import from_text
    from facemug_lib.editing.latent.directions import load_directions
    from facemug_lib.experts.text_image import load_text_image
    from facemug_lib.faces.bank import load_bank

    _check_target(out)
    check_text(target, "how faces shall look")
    check_text(source, "what they are otherwise")
    shipped = load_directions()
    unknown = [one for one in leave or () if one not in shipped]
    if unknown:
        raise FacemugError(f"--leave {unknown[0]}: choose from {', '.join(shipped)}")
    where = resolve_device(device)
    words = load_text_image(text_model, where)
    words.embed_texts([target, source])  # says at once what it does not know
    prior = load_bank(bank, where)
    fitted = prior.w_of_seeds(range(sources.TEXT_SEED, sources.TEXT_SEED + faces), sources.TEXT_PSI)
    direction = from_text(prior, words, target, source, fitted, sources.calibration_codes(prior), name,
                          [shipped[one] for one in leave or ()])
    sources.add_direction(out, direction, {"faces": faces})
    print(f"{direction.name}: {faces} faces, {direction.about['accuracy']:.0%} of held-out ones on the right side: {out}")


@directions.command("measure")
def directions_measure(
    out: Annotated[Path, typer.Option(help="Folder of the tables and pictures.", **OUTPUT_FOLDER)],
    file: Annotated[Path | None, typer.Option(help="A file of directions instead of the shipped one.", **INPUT)] = None,
    count: Annotated[int, typer.Option(min=2, help="Unseen faces.")] = 500,
    masked: Annotated[int, typer.Option(min=0, help="Faces edited under a mask by smile, age and gender; 0 for none.")] = 0,
    weights: Weights = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Measure what one unit of each direction does to every attribute, and to who the person is.

    Everything measured is kept: the same command goes on where it was stopped.

    Example: facemug directions measure --count 100 --out data/runs/directions
    """
    import pandas

    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.latent.directions import load_directions
    from facemug_lib.evaluation.attributes import SEED, effects, masked_effects
    from facemug_lib.evaluation.code_keys import code_of
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.evaluation.protocols import PSI, prior_set
    from facemug_lib.experts import student
    from facemug_lib.experts import traits as traits_module
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.figures import entanglement, sweeps
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing, require_writable_folder
    from facemug_lib.store import Store
    from facemug_lib.weights import weights_hash

    target = resolve_device(device)
    require_writable_folder(out)
    known = list(load_directions(file).values())
    editor = Editor.load(target, weights, file if bank is not None else None, bank)
    expert, judges, store = ExpertStudent.load(target), Judges(target), Store(out / "cache")
    version = {"expert": weights_hash(expert), "code": code_of(student.__name__, traits_module.__name__)}

    def read(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return traits_module.traits(expert, images.to(target))

    found = effects(editor.prior, known, read, judges.facenet, count, keep=store.get, version=version, tell=say)
    names = list(dict.fromkeys([one.direction.about["trait"] for one in found if "trait" in one.direction.about]))
    out.mkdir(parents=True, exist_ok=True)
    face = editor.prior.broadcast(editor.prior.w_of_seeds([SEED], PSI))
    pictures = {"entanglement.png": entanglement.draw(found, names),
                "sweeps.png": sweeps.draw(sweeps.data(editor.prior, known, face))}
    for name, figure in pictures.items():
        save_figure(figure, out / name, 100)
    tables = {"effects.csv": pandas.DataFrame([one.row() for one in found])}
    if masked:
        faces = prior_set(editor.prior, expert, masked + masked % 2, keep=store.get, tell=say)
        tables["masked.csv"] = pandas.DataFrame([
            one.row() for one in masked_effects(editor, faces, read, judges.facenet, masked, say)])
    for name, table in tables.items():
        with replacing(out / name) as temporary:
            table.to_csv(temporary, index=False)
        print(table.round(2).to_string(index=False))
    for name in (*pictures, *tables):
        print(out / name)


def _check_target(out: Path) -> None:
    """Refuse a file of directions that cannot be written, before the work."""
    from facemug_lib.files import require_writable_file

    if out.suffix != ".safetensors":
        raise FacemugError(f"--out {out}: the name must end in .safetensors")
    require_writable_file(out)
