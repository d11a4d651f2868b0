"""What directions are fitted to: faces with known codes, photographs with labels; and the file that a new one is added to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.devices import BATCH, batches
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.direction_fit import Samples
from facemug_lib.editing.latent.directions import Direction, ReadTraits, load_directions, save_directions
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import traits
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.code_space import DEFAULT_CODES, CodeSpace
from facemug_lib.faces.dataset import FaceFolder, read_square
from facemug_lib.faces.photos import pictures_in
from facemug_lib.progress import Tell, untold

CALIBRATION_SEED = 13_000_000
CALIBRATION_FACES = 24
TEXT_SEED, TEXT_PSI = 14_000_000, 0.8  # of the faces that text directions are fitted to


def calibration_codes(prior: CodeSpace) -> Tensor:
    """Codes [n,t,512] of the sampled faces on which one unit of a direction is measured."""
    return prior.broadcast(prior.w_of_seeds(range(CALIBRATION_SEED, CALIBRATION_SEED + CALIBRATION_FACES)))


def samples_of_folder(data: Path, expert: ExpertStudent, device: torch.device, faces: int | None = None,
                      tell: Tell = untold, num_codes: int = DEFAULT_CODES) -> Samples:
    """Codes and traits of the faces (or the first ``faces``) in a folder of `facemug synthesize`, in the order of their seeds."""
    source = FaceFolder(data, device, num_codes=num_codes, split="all")
    if not source.has_codes:
        raise FacemugError(f"{data} holds faces without their codes: make some with `facemug synthesize`")
    count = len(source) if faces is None else min(faces, len(source))
    pieces, codes = [], []
    for places in batches(count):
        part = slice(places.start, places.stop)
        files = source.files[part]  # in their own order: that of their seeds
        pieces.append(traits(expert, torch.stack([read_square(path, 256) for path in files]).to(device) / 127.5 - 1))
        codes.append(source.codes[part].mean(1))
        if places.start // BATCH % 40 == 39:
            tell(f"{places.stop} of {count} faces read")
    return Samples(torch.cat(codes).cpu(), {name: torch.cat([one[name] for one in pieces]).cpu() for name in pieces[0]})


def traits_read(data: Path, samples: Samples) -> ReadTraits | None:
    """The traits of the folder's faces, with how they were sampled; None where the folder does not say it."""
    made_with = data / "dataset.json"
    if not made_with.is_file():
        return None
    settings = json.loads(made_with.read_text())
    return ReadTraits(settings["seed"], settings["psi"], samples.traits)


@torch.no_grad()
def codes_of_photos(editor: Editor, files: Sequence[Path], aligned: bool = False,
                    tell: Tell = untold) -> tuple[Tensor, list[int]]:
    """(codes [m,t,512] of the photos that show a face, their places in ``files``), as the style encoder reads them; ``tell`` is
    told of the others."""
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


def two_folders(positive: Path, negative: Path) -> tuple[list[Path], list[float]]:
    """The pictures of both folders, with 1 for those of the first and 0 for those of the second."""
    files: list[Path] = []
    scores: list[float] = []
    for folder, score in ((positive, 1.0), (negative, 0.0)):
        found = pictures_in(folder)
        files += found
        scores += [score] * len(found)
    return files, scores


def labelled(table: Path) -> tuple[list[Path], list[float]]:
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


def add_direction(path: Path, direction: Direction, card: Mapping[str, int]) -> None:
    """Write a direction into a file of others, instead of one of the same name."""
    previous = list(load_directions(path).values()) if path.is_file() else []
    save_directions(path, [*(one for one in previous if one.name != direction.name), direction], card)
