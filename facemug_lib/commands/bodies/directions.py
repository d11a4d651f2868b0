"""What `facemug directions fit`, `new`, `text`, `list` and `measure` do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.devices import resolve_device
from facemug_lib.editing.edit import Edit
from facemug_lib.editing.latent import direction_fit
from facemug_lib.editing.latent.directions import Direction, ReadTraits, load_directions, save_directions
from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import pictures_in
from facemug_lib.files import require_writable_file, require_writable_folder

CALIBRATION_SEED = 13_000_000
CALIBRATION_FACES = 24
TEXT_SEED, TEXT_PSI = 14_000_000, 0.8  # of the faces that text directions are fitted to
CHUNK = 8


def fit_command(data: Path, out: Path, faces: int | None = None, device: str = "auto",
                bank: Path | None = None) -> None:
    """Fit, calibrate and write a direction for every trait, from the faces and codes of a `facemug synthesize` folder."""
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.experts.traits import traits
    from facemug_lib.faces.bank import load_bank
    from facemug_lib.faces.dataset import FaceFolder, read_square

    _check_target(out)
    target = resolve_device(device)
    prior = load_bank(bank, target)
    source = FaceFolder(data, target, num_codes=prior.num_codes, split="all")
    if not source.has_codes:
        raise FacemugError(f"{data} holds faces without their codes: make some with `facemug synthesize`")
    expert = ExpertStudent.load(target)
    count = len(source) if faces is None else min(faces, len(source))
    pieces, codes = [], []
    for start in range(0, count, CHUNK):
        files = source.files[start : min(start + CHUNK, count)]  # in their own order: that of their seeds
        pieces.append(traits(expert, torch.stack([read_square(path, 256) for path in files]).to(target) / 127.5 - 1))
        codes.append(source.codes[start : start + len(files)].mean(1))
        if start // CHUNK % 40 == 39:
            print(f"{start + CHUNK} of {count} faces read", flush=True)
    samples = direction_fit.Samples(torch.cat(codes).cpu(), {name: torch.cat([one[name] for one in pieces]).cpu()
                                                             for name in pieces[0]})
    seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + CALIBRATION_FACES)
    base = prior.broadcast(prior.w_of_seeds(seeds))
    found = direction_fit.supervised(prior, samples, base, lambda images: traits(expert, images),
                                     lambda line: print(line, flush=True))
    made_with = data / "dataset.json"
    settings = json.loads(made_with.read_text()) if made_with.is_file() else None
    read = None if settings is None else ReadTraits(settings["seed"], settings["psi"], samples.traits)
    save_directions(out, found, {"faces": count}, read)
    print(f"{len(found)} directions from {count} faces: {out}")


def new_command(name: str, out: Path, positive: Path | None = None, negative: Path | None = None, labels: Path | None = None,
                aligned: bool = False, weights: Path | None = None, device: str = "auto", bank: Path | None = None) -> int:
    """Fit one direction to photographs: of two folders, or of a CSV file with the columns ``file`` and ``label``. Returns how
    many were skipped."""
    from facemug_lib.editing.editor import Editor

    _check_target(out)
    if (labels is None) == (positive is None and negative is None) or (positive is None) != (negative is None):
        raise FacemugError("name two folders with --positive and --negative, or one table with --labels")
    files, scores = _labelled(labels) if labels is not None else _two_folders(positive, negative)
    editor = Editor.load(resolve_device(device), weights, bank=bank)
    codes, kept = codes_of_photos(editor, files, aligned, print)
    direction = direction_fit.from_codes(name, codes, torch.tensor([scores[place] for place in kept]))
    _add(out, direction, {"photographs": len(kept)})
    print(f"{name}: {len(kept)} photographs, {direction.about['accuracy']:.0%} of held-out ones on the right side; 1 unit is "
          f"{direction.unit}: {out}")
    return len(files) - len(kept)


def text_command(target: str, out: Path, source: str, name: str | None = None, faces: int = 600, leave: Sequence[str] = (),
                 model: str = Edit.text_model, device: str = "auto", bank: Path | None = None,
                 directions: Path | None = None) -> None:
    """Fit one direction to a text and add it to a file."""
    from facemug_lib.experts.text_image import load_text_image
    from facemug_lib.faces.bank import load_bank

    _check_target(out)
    known = load_directions(directions)
    unknown = [one for one in leave if one not in known]
    if unknown:
        raise FacemugError(f"--leave {unknown[0]}: choose from {', '.join(known)}")
    where = resolve_device(device)
    words = load_text_image(model, where)
    words.embed_texts([target, source])  # says at once what it does not know
    prior = load_bank(bank, where)
    seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + CALIBRATION_FACES)
    fitted = prior.w_of_seeds(range(TEXT_SEED, TEXT_SEED + faces), TEXT_PSI)
    direction = direction_fit.from_text(prior, words, target, source, fitted, prior.broadcast(prior.w_of_seeds(seeds)), name,
                                        [known[one] for one in leave])
    _add(out, direction, {"faces": faces})
    print(f"{direction.name}: {faces} faces, {direction.about['accuracy']:.0%} of held-out ones on the right side: {out}")


def _add(path: Path, direction: Direction, card: Mapping[str, int]) -> None:
    """Write a direction into a file of others, instead of one of the same name."""
    previous = list(load_directions(path).values()) if path.is_file() else []
    save_directions(path, [*(one for one in previous if one.name != direction.name), direction], card)


def list_command(path: Path | None = None) -> None:
    """Print the directions of a file, or the shipped ones."""
    for one in load_directions(path).values():
        print(f"{one.name:16} {one.family:10} 1 unit = {one.unit}")


def measure_command(out: Path, file: Path | None = None, count: int = 500, masked: int = 0, weights: Path | None = None,
                    device: str = "auto", bank: Path | None = None) -> None:
    """Write effects.csv, entanglement.png, sweeps.png and, with ``masked`` faces, masked.csv to ``out``."""
    import pandas

    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.latent.directions import load_read_traits
    from facemug_lib.evaluation.attributes import MASKED, PSI, SEED, effects, masked_effect
    from facemug_lib.evaluation.code_keys import code_of
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.evaluation.protocols import prior_set
    from facemug_lib.evaluation.store import Store
    from facemug_lib.experts import student
    from facemug_lib.experts import traits as traits_module
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.figures import entanglement, sweeps
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing
    from facemug_lib.weights import weights_hash

    target = resolve_device(device)
    require_writable_folder(out)
    known = list(load_directions(file).values())
    editor = Editor.load(target, weights, file if bank is not None else None, bank)
    expert, judges, store = ExpertStudent.load(target), Judges(target), Store(out / "cache")
    version = {"expert": weights_hash(expert), "code": code_of(student.__name__, traits_module.__name__)}

    def read(images: Tensor) -> dict[str, Tensor]:
        return traits_module.traits(expert, images.to(target))

    def say(line: str) -> None:
        print(line, flush=True)

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
        usual = load_read_traits().traits
        tables["masked.csv"] = pandas.DataFrame([
            masked_effect(editor, faces, name, strength, read, judges.facenet, masked, family, tell=say,
                          middle=float(usual[editor.directions[name].about["trait"]].nanmedian())).row()
            for name, (strength, family) in MASKED.items()])
    for name, table in tables.items():
        with replacing(out / name) as temporary:
            table.to_csv(temporary, index=False)
        print(table.round(2).to_string(index=False))
    for name in (*pictures, *tables):
        print(out / name)


@torch.no_grad()
def codes_of_photos(editor, files: Sequence[Path], aligned: bool = False,
                    tell: Callable[[str], None] = lambda line: None) -> tuple[Tensor, list[int]]:
    """(codes [m,t,512] of the photos that show a face, their places in ``files``), as the style encoder reads them; ``tell`` is
    told of the others."""
    from facemug_lib.faces.alignment import open_face

    codes, kept = [], []
    for place, path in enumerate(files):
        try:
            face = open_face(path, aligned=aligned).image
        except FacemugError as error:
            tell(f"skipped: {error}")
            continue
        codes.append(editor.read(face).cpu())
        kept.append(place)
    if not codes:
        raise FacemugError(f"none of {len(files)} pictures shows a face that could be aligned: give others, or --aligned crops")
    return torch.cat(codes), kept


def _two_folders(positive: Path, negative: Path) -> tuple[list[Path], list[float]]:
    files: list[Path] = []
    scores: list[float] = []
    for folder, score in ((positive, 1.0), (negative, 0.0)):
        found = pictures_in(folder)
        files += found
        scores += [score] * len(found)
    return files, scores


def _labelled(table: Path) -> tuple[list[Path], list[float]]:
    """Files (relative to the table's folder) and numbers of a CSV file."""
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"file", "label"} <= set(reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise FacemugError(f"{table} has the columns {found}: name them file and label")
        files, scores = [], []
        for line, row in enumerate(reader, start=2):
            path = table.parent / (row["file"] or "")
            if not path.is_file():
                raise FacemugError(f"{table}, line {line}: no file {path}; paths are relative to the table")
            try:
                scores.append(float(row["label"]))
            except (TypeError, ValueError) as error:
                raise FacemugError(f"{table}, line {line}: label {row['label']!r} is not a number: use 1 and 0, or scores"
                                   ) from error
            files.append(path)
    if not files:
        raise FacemugError(f"{table} has no rows: write one for each picture")
    return files, scores


def _check_target(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise FacemugError(f"--out {out}: the name must end in .safetensors")
    require_writable_file(out)
