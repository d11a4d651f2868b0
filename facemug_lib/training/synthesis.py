"""A training set of faces from the prior: each face with the code that made it, and every modality read from it.

No label is made by hand: the code is known exactly, and sketch, label map, colours and hole follow from the picture.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from facemug_lib.devices import BATCH, batches, resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.bank import load_bank
from facemug_lib.faces.sampling import faces_of_seeds
from facemug_lib.files import file_hash, replacing, require_writable_folder
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import PALETTE
from facemug_lib.modalities.sketch import pencil_sketch
from facemug_lib.pictures import grey_pixels, pixels_of
from facemug_lib.progress import Tell, untold
from facemug_lib.seeds import check_seed
from facemug_lib.weights import write_tensors

FOLDERS = ("img_path", "edge_root", "semantic_root", "color_root", "masks")


def synthesize(count: int, out: Path, seed: int = 0, psi: float = 0.7, size: int = 256, device: str = "auto",
               tell: Tell = untold, bank: Path | None = None) -> int:
    """Write a data set: faces, their codes, and the modalities of each. Returns how many of the faces are new.

    ``<out>/img_path/<number>.png`` with ``edge_root``, ``semantic_root`` (class indices) and ``color_root`` beside it, as the
    options of the published e4e trainer name them, ``masks`` (a free-form hole for each), and ``img_path/codes.safetensors``
    (tensor ``codes`` [n,t,512] in the order of the files). Files appear whole or not at all. The same call continues where it was
    stopped. ``bank`` is a StyleGAN2 checkpoint in place of the default prior. Raises :class:`FacemugError` for a folder that
    holds faces of another seed, truncation, size or bank.
    """
    check_seed(seed, "--seed", count)
    target = resolve_device(device)
    require_writable_folder(out)
    prior, expert = load_bank(bank, target), ExpertStudent.load(target)
    out.mkdir(parents=True, exist_ok=True)
    named = {} if bank is None else {"bank": file_hash(bank)}  # by its content: a file of the same name may be another bank
    _same_configuration(out / "dataset.json", {"seed": seed, "psi": psi, "size": size} | named)
    palette = [value for colour in PALETTE for value in colour]
    folders = {name: out / name for name in FOLDERS}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    started, made_now = time.perf_counter(), 0
    codes = []
    for numbers in batches(count):
        seeds = [seed + number for number in numbers]
        paths = {name: [folder / f"{number:06d}.png" for number in numbers] for name, folder in folders.items()}
        if all(path.is_file() for files in paths.values() for path in files):
            codes.append(prior.broadcast(prior.w_of_seeds(seeds, psi)).cpu())
            continue
        code, images = faces_of_seeds(prior, seeds, psi, size)
        for number, pictures in zip(numbers, _pictures(images, seeds, expert), strict=True):
            for name, pixels in pictures.items():
                _write_png(folders[name] / f"{number:06d}.png", pixels, palette if name == "semantic_root" else None)
        codes.append(code.cpu())
        made_now += len(numbers)
        if numbers.start and numbers.start % (8 * BATCH) == 0:
            rate = made_now / (time.perf_counter() - started)
            tell(f"{numbers.stop} of {count} faces, {rate:.1f} a second")
    write_tensors(out / "img_path" / "codes.safetensors", {"codes": torch.cat(codes).contiguous()})
    return made_now


def _pictures(images: Tensor, seeds: Sequence[int], expert: ExpertStudent) -> Iterator[dict[str, np.ndarray]]:
    """What is written of each face, by folder."""
    labels = torch.cat([expert.parse(image) for image in images.split(1)])
    sketches, colours = pencil_sketch(images), region_mean(images, labels)
    for index, seed in enumerate(seeds):
        hole = free_form(1, *images.shape[2:], torch.Generator().manual_seed(seed))
        yield {"img_path": pixels_of(images[index]), "edge_root": grey_pixels(1 - sketches[index, 0]),
               "masks": grey_pixels(hole[0, 0]), "color_root": pixels_of(colours[index]),
               "semantic_root": labels[index].to(torch.uint8).cpu().numpy()}


def _write_png(path: Path, pixels: np.ndarray, palette: list[int] | None = None) -> None:
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(palette + [0] * (765 - len(palette)) + [255] * 3)
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")


def _same_configuration(path: Path, configuration: Mapping[str, float | str]) -> None:
    if path.is_file():
        before = json.loads(path.read_text())
        if before != configuration:
            raise FacemugError(f"{path.parent} holds faces made with {before}, not {dict(configuration)}: use another folder")
        return
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(configuration) + "\n")
