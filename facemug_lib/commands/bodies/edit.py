"""What `facemug edit`, `pose`, `sample`, `align` and `synthesize` do. The options are declared in :mod:`facemug_lib.commands`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from facemug_lib.commands.bodies.targets import check_transparency, checked_file, is_compressed, picture_target
from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import write_image
from facemug_lib.files import distinct_names, replacing, require_writable_folder
from facemug_lib.pictures import grey_pixels, pixels_of, square_grid
from facemug_lib.seeds import check_seed
from facemug_lib.weights import write_tensors

CHUNK = 8  # faces made at a time


def edit_command(photo: Path, mask: Path, out: Path, sketch: Path | None = None, semantics: Path | None = None,
                 colour: Path | None = None, exemplar: Path | None = None, refine: int = 0, seed: int = 0,
                 face: int | None = None, guidance_frame: str = "photo", attributes: Mapping[str, float] | None = None,
                 influence: Mapping[str, float] | None = None, weights: Path | None = None,
                 device: str = "auto", script_out: Path | None = None, text: str | None = None, text_source: str = "a person",
                 text_steps: int = 16, text_model: str = "small", directions: Path | None = None,
                 exemplar_face: int | None = None) -> None:
    """Edit one photo and write it at its full size; ``script_out`` records the edit, after the steps that are there already."""
    from facemug_lib.commands.bodies.scripts import Recording
    from facemug_lib.editing.editor import Editor
    from facemug_lib.faces.alignment import open_face

    out = picture_target(out, photo, (mask, sketch, semantics, colour, exemplar))
    aligned = open_face(photo, face=face)
    check_transparency(out, aligned.photo)
    editor = Editor.load(device, weights, directions)
    recording = Recording.start(script_out, editor, aligned) if script_out is not None else None
    aligned = aligned if recording is None else recording.replayed.face
    result = editor.edit(aligned, mask, sketch=sketch, semantics=semantics, colour=colour, exemplar=exemplar,
                         attributes=attributes, influence=influence, refine=refine, seed=seed, guidance_frame=guidance_frame,
                         text=text, text_source=text_source, text_steps=text_steps, text_model=text_model,
                         exemplar_face=exemplar_face)
    edited = result.paste_back()
    changed = edited != aligned.original
    changed = int((changed if changed.ndim == 2 else changed.any(axis=2)).sum())
    write_image(out, edited, like=aligned.photo)
    drawn = {"sketch": sketch, "semantics": semantics, "colour": colour, "exemplar": exemplar}
    if recording is not None:
        recording.keep({"mask": mask} | drawn, attributes=dict(attributes or {}), influence=dict(influence or {}), refine=refine,
                       seed=seed, guidance_frame=guidance_frame, text=text or "", text_source=text_source,
                       text_steps=text_steps, text_model=text_model, exemplar_face=exemplar_face)
    guidance = [name for name, path in drawn.items() if path is not None]
    guidance += [f"{name} {strength:+g}" for name, strength in (attributes or {}).items()]
    guidance += [repr(text)] if text else []
    steps = f", {refine} refinement steps" if refine else ""
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in result.timings.items())
    print(f"edited {photo.name} with {' and '.join(guidance) if guidance else 'no guidance'}{steps}, seed {seed}")
    if result.followed is not None:
        print(f"text followed for {len(result.followed.losses) - 1} steps, agreement {result.followed.agreement:.2f} (1 is all)")
    print(f"{result.seconds:.1f} s on {editor.device} ({parts})")
    pixels = f"{changed:,} of {aligned.photo.width * aligned.photo.height:,} pixels changed"
    if is_compressed(out):
        print(f"{pixels} by the edit, all inside the mask; JPEG then changes all of them a little, .png would not: {out}")
    else:
        print(f"{pixels}, all inside the mask: {out}")
    for remark in result.remarks:
        print(f"note: {remark}")
    if recording is not None:
        print(f"step {len(recording.script.steps)} of the script: {script_out}")


def pose_command(photo: Path, out: Path, like: Path | None = None, frontal: bool = False, mirror: bool = False,
                 yaw: float | None = None, pitch: float | None = None, method: str = "direction", mask: Path | None = None,
                 refine: int = 0, face: int | None = None, weights: Path | None = None, device: str = "auto",
                 like_face: int | None = None) -> None:
    """Turn a face, and write its aligned picture or, with a mask, the photo at its full size."""
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.latent.pose import Aim, check_method, turn
    from facemug_lib.faces.alignment import open_face

    aim = Aim(like, frontal, mirror, yaw, pitch, like_face)
    check_method(method, aim)
    out = picture_target(out, photo, (like, mask))
    aligned = open_face(photo, face=face)
    if mask is not None:
        check_transparency(out, aligned.photo)
    editor = Editor.load(device, weights)
    result = turn(editor, aligned, aim, method=method, refine=refine, mask=mask)
    if mask is None:
        write_image(out, result.image, like=aligned.photo)
    else:
        write_image(out, result.paste_back(), like=aligned.photo)
    for remark in result.remarks:
        print(f"note: {remark}")
    units = ", ".join(f"{name} {strength:+.1f}" for name, strength in result.strengths.items())
    print(f"turned {photo.name} {aim} by {method}{f' ({units} units)' if units else ''}, {refine} refinement steps")
    print(f"{'degrees':>14s}  {'yaw':>5s}  {'pitch':>5s}")
    for name, pose in (("photo", result.before), ("asked for", result.wanted), ("turned", result.after)):
        angles = "no face is seen" if pose is None else f"{pose.yaw:+5.1f}  {pose.pitch:+5.1f}"
        print(f"{name:>14s}  {angles}")
    print(f"identity {result.identity:.2f} to the photo, {result.likeness_identity:.2f} before the turn; "
          f"{result.seconds:.1f} s on {editor.device}")
    changed = "changed inside the mask, and by JPEG a little everywhere" if is_compressed(out) else "changed inside the mask only"
    print(f"{'the aligned face, 256 px' if mask is None else f'the photo, {changed}'}: {out}")


def sample_command(out: Path, seed: int = 0, count: int = 1, psi: float = 0.7, size: int = 256, device: str = "auto") -> None:
    """Sample faces into one picture (a grid if several), or into a folder as ``seed<N>.png``."""
    from facemug_lib.faces.prior import FacePrior

    check_seed(seed, "--seed", count)
    is_file = bool(out.suffix) and not out.is_dir()
    if is_file:
        checked_file(out)
    else:
        require_writable_folder(out)
    prior = FacePrior.load(resolve_device(device))
    faces = []
    for first in range(seed, seed + count, CHUNK):
        seeds = range(first, min(first + CHUNK, seed + count))
        made = _faces_of_seeds(prior, seeds, psi, size)[1]
        if is_file:
            faces.append(made)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for number, image in zip(seeds, made, strict=True):
                write_image(out / f"seed{number:06d}.png", image[None])
    if is_file:
        write_image(out, square_grid(torch.cat(faces)))
    seeds = f"seed {seed}" if count == 1 else f"seeds {seed} to {seed + count - 1}"
    print(f"{count} face{'s' if count > 1 else ''} of {size} px, {seeds}, psi {psi:g}: {out}")


def align_command(photos: Sequence[Path], out: Path, face: int | None = None, size: int = 256) -> int:
    """Align every photo; those that cannot be are named, and make the command fail only if none could. Returns their number."""
    from facemug_lib.faces.alignment import open_face

    require_writable_folder(out)
    targets = [out / name for name in distinct_names(photos, ".png")]
    inputs = {photo.resolve() for photo in photos}
    for target in targets:
        if target.resolve() in inputs:
            raise FacemugError(f"aligning would overwrite {target}: give another output folder")
    done, refusals = 0, []
    for photo, target in zip(photos, targets, strict=True):
        try:
            aligned = open_face(photo, face=face, size=size)
        except FacemugError as error:
            refusals.append(str(error))
            continue
        out.mkdir(parents=True, exist_ok=True)
        write_image(target, aligned.image, like=aligned.photo)
        done += 1
    if not done:
        several = f"none of {len(photos)} photos could be aligned: " if len(photos) > 1 else ""
        raise FacemugError(f"{several}{refusals[0]}")
    for refusal in refusals:
        print(f"skipped: {refusal}")
    print(f"{done} of {len(photos)} photos aligned to {size} px: {out}")
    return len(refusals)


def synthesize_command(count: int, out: Path, seed: int = 0, psi: float = 0.7, size: int = 256,
                       device: str = "auto") -> None:
    """Write a data set: faces, their codes, and the modalities of each.

    ``<out>/img_path/<number>.png`` with ``edge_root``, ``semantic_root`` (class indices) and ``color_root`` beside it, as the
    options of the published e4e trainer name them, ``masks`` (a free-form hole for each), and ``img_path/codes.safetensors``
    (tensor ``codes`` [n,t,512] in the order of the files). Files appear
    whole or not at all. The same command continues where it was stopped; another configuration is refused.
    """
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.faces.prior import FacePrior
    from facemug_lib.modalities.colour import region_mean
    from facemug_lib.modalities.masks import free_form
    from facemug_lib.modalities.semantics import PALETTE
    from facemug_lib.modalities.sketch import pencil_sketch

    check_seed(seed, "--seed", count)
    target = resolve_device(device)
    require_writable_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    _same_configuration(out / "dataset.json", {"seed": seed, "psi": psi, "size": size})
    prior, expert = FacePrior.load(target), ExpertStudent.load(target)
    palette = [value for colour in PALETTE for value in colour]
    folders = {name: out / name for name in ("img_path", "edge_root", "semantic_root", "color_root", "masks")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    started, made_now = time.perf_counter(), 0
    codes = []
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        seeds = [seed + number for number in numbers]
        paths = {name: [folder / f"{number:06d}.png" for number in numbers] for name, folder in folders.items()}
        if all(path.is_file() for files in paths.values() for path in files):
            codes.append(prior.broadcast(prior.w_of_seeds(seeds, psi)).cpu())
            continue
        code, images = _faces_of_seeds(prior, seeds, psi, size)
        labels = torch.cat([expert.parse(image) for image in images.split(1)])
        sketches, colours = pencil_sketch(images), region_mean(images, labels)
        for index, number in enumerate(numbers):
            hole = free_form(1, size, size, torch.Generator().manual_seed(seeds[index]))
            pictures = {"img_path": pixels_of(images[index]), "edge_root": grey_pixels(1 - sketches[index, 0]),
                        "masks": grey_pixels(hole[0, 0]), "color_root": pixels_of(colours[index]),
                        "semantic_root": labels[index].to(torch.uint8).cpu().numpy()}
            for name, pixels in pictures.items():
                _write_png(folders[name] / f"{number:06d}.png", pixels, palette if name == "semantic_root" else None)
        codes.append(code.cpu())
        made_now += len(numbers)
        if first // CHUNK % 8 == 0 and first:
            rate = made_now / (time.perf_counter() - started)
            print(f"{first + len(numbers)} of {count} faces, {rate:.1f} a second", flush=True)
    _write_codes(out / "img_path" / "codes.safetensors", torch.cat(codes).contiguous())
    print(f"{count} faces of {size} px with codes, sketches, label maps, colours and masks, {made_now} of them new: {out}")
    print(f"train on them with: facemug train encoder --data {out}")


# -- helpers --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _faces_of_seeds(prior: torch.nn.Module, seeds: Sequence[int], psi: float, size: int) -> tuple[Tensor, Tensor]:
    """(codes [b,t,512], faces [b,3,size,size]), made one by one: a seed's face is the same whatever it is made together with."""
    codes = prior.broadcast(prior.w_of_seeds(seeds, psi))
    return codes, torch.cat([prior.synthesize(code, size).float().clamp(-1, 1) for code in codes.split(1)])


def _write_png(path: Path, pixels: np.ndarray, palette: list[int] | None = None) -> None:
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(palette + [0] * (765 - len(palette)) + [255] * 3)
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")


def _write_codes(path: Path, codes: Tensor) -> None:
    write_tensors(path, {"codes": codes})


def _same_configuration(path: Path, configuration: Mapping[str, float]) -> None:
    if path.is_file():
        before = json.loads(path.read_text())
        if before != configuration:
            raise FacemugError(f"{path.parent} holds faces made with {before}, not {dict(configuration)}: use another folder")
        return
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(configuration) + "\n")
