"""Editing a photograph: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemug_lib.commands.options import (
    INPUT,
    OUTPUT,
    Bank,
    Device,
    Encoder,
    ExemplarFace,
    Face,
    GuidanceFrame,
    LikeFace,
    PoseMethod,
    Seed,
    Weights,
    Workers,
    numbers,
    tell_skipped,
)
from facemug_lib.commands.output import say
from facemug_lib.commands.starting import import_torch
from facemug_lib.editing.edit import PICTURES, Edit
from facemug_lib.editing.schedule import AUTO, described
from facemug_lib.errors import FacemugError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.result import EditResult
    from facemug_lib.systems import SystemEditor


def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    out: Annotated[Path, typer.Option(
        help="The edited photograph, at full size, with the colour profile, resolution, date and author of the input; with its "
        "place (GPS) only in the same file format; without its thumbnail.", **OUTPUT)],
    mask: Annotated[Path | None, typer.Option(
        help="White = edit; black or transparent = keep. Or the photograph with the part to edit erased to transparent. Only a "
        "--system does without.", **INPUT)] = None,
    sketch: Annotated[Path | None, typer.Option(
        help="Dark strokes on white paper, white ones on black, or any on a transparent layer. Spots rubbed out of paper are "
        "paper.", **INPUT)] = None,
    semantics: Annotated[Path | None, typer.Option(
        help="Label map: indices 0-18 with 255 = unlabelled, or palette colours, in which black is background and white or "
        "transparent unlabelled. No JPEG.", **INPUT)] = None,
    colour: Annotated[Path | None, typer.Option(
        "--colour", "--color", help="Colours wanted inside the mask, on black or white paper (that colour is then unpainted; the "
        "picture's border tells which) or on a transparent layer (black and white are then colours).", **INPUT)] = None,
    exemplar: Annotated[Path | None, typer.Option(help="Another photograph whose features are wanted.", **INPUT)] = None,
    attribute: Annotated[list[str] | None, typer.Option(
        metavar="NAME=STRENGTH", help="Change an attribute, by standard deviations; repeatable. `facemug directions list` names "
        "them. Of a --system, one of its own: 1 is its whole edit.")] = None,
    system: Annotated[str | None, typer.Option(metavar="NAME", help="A sibling system makes the edit, of the whole face if there "
                                               "is no mask. `facemug doctor` lists them.")] = None,
    like: Annotated[Path | None, typer.Option(help="A photograph whose expression is wanted, of a --system that reads faces "
                                              "(relative_au).", **INPUT)] = None,
    like_face: LikeFace = None,
    directions: Annotated[Path | None, typer.Option(help="A file of further attributes, from `facemug directions new` or `text`.",
                                                    **INPUT)] = None,
    text: Annotated[str | None, typer.Option(help="How the face shall look: \"an old man\", \"blond hair\".")] = None,
    text_source: Annotated[str, typer.Option(
        "--text-from", help="What it is now, as far as the text changes it.")] = Edit.text_source,
    text_steps: Annotated[int, typer.Option(min=1, help="Most steps in which the text is followed.")] = Edit.text_steps,
    text_model: Annotated[str, typer.Option(metavar="small|ARCHITECTURE:WEIGHTS", help="The shipped text–image model, or one of "
                                            "open_clip's with a published name or a file of weights.")] = Edit.text_model,
    refine: Annotated[str, typer.Option(metavar="auto|STEPS|SCHEDULE", help="Steps of latent optimisation, 0 is feed-forward "
                                        f"only; auto is short for the schedule {AUTO} (steps on pictures of so many pixels).",
                                        )] = str(Edit.refine),
    size: Annotated[str, typer.Option(metavar="auto|256|512|1024", help="Side in pixels of the square around the face that is "
                                      "painted; auto is as large as the photo shows it.")] = Edit.size,
    grain: Annotated[bool, typer.Option("--grain/--no-grain", help="Above 256 px, the photo's own noise over what is painted, "
                                        "where the photo has more of it.")] = Edit.grain,
    seed: Seed = Edit.seed,
    variety: Annotated[float, typer.Option(min=0, max=1, help="How far the seed, and not the rest of the photo, decides what is "
                                           "new: 0.5 gives another face with each.")] = Edit.variety,
    face: Face = None,
    exemplar_face: ExemplarFace = None,
    guidance_frame: Annotated[GuidanceFrame, typer.Option(help="Coordinates of mask and guidance images.")] = GuidanceFrame.photo,
    influence: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Weight of a modality; repeatable.")] = None,
    script_out: Annotated[Path | None, typer.Option(help="Record the edit in this .json file; the steps that are in it already "
                                                    "are made first.", **OUTPUT)] = None,
    weights: Weights = None,
    bank: Bank = None,
    encoder: Encoder = None,
    device: Device = "auto",
) -> None:
    """Edit the face of a photograph inside a mask.

    Every pixel outside the mask stays as it was, bit for bit.

    Example: facemug edit photo.jpg --mask mask.png --sketch strokes.png --refine 100 --out edited.png
    Example: facemug edit photo.jpg --mask mask.png --attribute smile=2 --attribute age=-1 --refine 40 --out edited.png
    Example: facemug edit photo.jpg --mask hair.png --text "blond hair" --text-from "black hair" --refine 40 --out edited.png
    Example: facemug edit photo.jpg --system l2m_gan --attribute smile=1 --out edited.png
    Example: facemug edit photo.jpg --system relative_au --like other.jpg --out edited.png
    """
    if like is None and like_face is not None:
        raise FacemugError(f"--like-face {like_face} picks a face of no photograph: give one (--like)")
    if like is not None and system is None:
        raise FacemugError("--like takes an expression, which only a system can: add --system relative_au")
    wanted = Edit(photo, mask, sketch, semantics, colour, exemplar, numbers(attribute or [], "--attribute", "smile=1.5"),
                  numbers(influence or [], "--influence", "sketch=0.5"), refine, seed, str(guidance_frame), text, text_source,
                  text_steps, text_model, exemplar_face, system, variety, int(size) if size.isdecimal() else size, grain)
    _edit(wanted, face, out, script_out, dict(device=device, weights=weights, directions=directions, bank=bank, encoder=encoder),
          None if like is None else (like, like_face))


def _edit(edit: Edit, face: int | None, out: Path, script_out: Path | None, networks: Mapping[str, Any],
          like: tuple[Path, int | None] | None = None) -> None:
    """Make ``edit``, whose pictures are files, on face ``face`` of its photo, and write the photo at its full size.

    ``networks`` are arguments of :meth:`Editor.load`. ``script_out`` records the edit, after the steps that are there already.
    ``like``: a photograph, and which of its faces, whose expression the edit's system takes over.
    """
    import_torch()
    from facemug_lib.commands.targets import check_transparency, picture_target
    from facemug_lib.editing.editor import Editor
    from facemug_lib.faces.alignment import open_face
    from facemug_lib.faces.photos import write_image

    out = picture_target(out, edit.face, [*(getattr(edit, name) for name in PICTURES), None if like is None else like[0]])
    if script_out is not None:
        from facemug_lib.editing.script.script_file import ScriptFile, require_script_file  # slow to import

        require_script_file(script_out)  # before the networks are loaded
    aligned = open_face(edit.face, face=face)
    check_transparency(out, aligned.photo)
    editor = _editor_of(edit, script_out is None, networks)
    script = ScriptFile.start(script_out, editor, aligned) if script_out is not None else None
    aligned = aligned if script is None else script.replayed.face
    if like is not None:
        system = editor.system(edit.system) if isinstance(editor, Editor) else editor
        edit = replace(edit, attributes=system.strengths_like(aligned, *like) | (edit.attributes or {}))
    result = editor.edit_many([replace(edit, face=aligned)])[0]
    edited = result.paste_back()
    write_image(out, edited, like=aligned.photo)
    if script is not None:
        script.keep(edit, editor.hashes_of(edit.system))
    _tell_edit(edit, result, edited, out, editor.device)
    if script is not None:
        print(f"step {len(script.script.steps)} of the script: {script_out}")


def _editor_of(edit: Edit, is_alone: bool, networks: Mapping[str, Any]) -> Editor | SystemEditor:
    """What makes the edit: the editor, which also knows how to make the earlier steps of a script; or, where there is none
    (``is_alone``), just the system that the edit names."""
    from facemug_lib.editing.editor import Editor
    from facemug_lib.systems import Systems, load

    weights, device = networks["weights"], networks["device"]
    if edit.system is None:
        return Editor.load(**networks).with_systems(Systems(device=device))
    if is_alone:
        return load(edit.system, weights, device)
    return Editor.load(**{**networks, "weights": None}).with_systems(Systems(weights, device))


def _tell_edit(edit: Edit, result: EditResult, edited: np.ndarray, out: Path, device: torch.device) -> None:
    """Say what was asked for, what it cost, and how many pixels it changed."""
    from facemug_lib.commands.targets import is_compressed

    changed = edited != result.face.original
    changed = int((changed if changed.ndim == 2 else changed.any(axis=2)).sum())
    guidance = [name for name in PICTURES if name != "mask" and getattr(edit, name) is not None]
    guidance += [f"{name} {strength:+g}" for name, strength in (edit.attributes or {}).items()]
    guidance += [repr(edit.text)] if edit.text else []
    steps = f", {described(edit.refine)}" if edit.refine else ""
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in result.timings.items())
    how = f" by {edit.system}" if edit.system else f"{steps}, seed {edit.seed}"
    print(f"edited {edit.face.name} with {' and '.join(guidance) if guidance else 'no guidance'}{how}")
    if result.followed is not None:
        along = ", ".join(f"{name} {strength:+.1f}" for name, strength in result.followed.strengths.items())
        print(f"text followed {f'along {along}, then ' if along else ''}for {result.followed.steps} steps, agreement "
              f"{result.followed.agreement:.2f} (1 is all)")
    print(f"{result.seconds:.1f} s on {device} ({parts}), painted at {result.size} px")
    place = "square around the face" if edit.mask is None else "mask"
    pixels = f"{changed:,} of {result.face.photo.width * result.face.photo.height:,} pixels changed"
    if is_compressed(out):
        print(f"{pixels} by the edit, all inside the {place}; JPEG then changes all of them a little, .png would not: {out}")
    else:
        print(f"{pixels}, all inside the {place}: {out}")
    for remark in result.remarks:
        print(f"note: {remark}")


def pose(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The turned face, aligned, 256 px; with --mask the photograph, at full size. What the "
                                      "input says of itself goes on as with `edit`.", **OUTPUT)],
    like: Annotated[Path | None, typer.Option(help="Take the pose from this photograph's face.", **INPUT)] = None,
    like_face: LikeFace = None,
    frontal: Annotated[bool, typer.Option("--frontal", help="Turn it to the front.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Turn it as its mirror image is.")] = False,
    yaw: Annotated[float | None, typer.Option(metavar="DEGREES", help="Turn it to this yaw; above 0: to the picture's "
                                              "right.")] = None,
    pitch: Annotated[float | None, typer.Option(metavar="DEGREES", help="And to this pitch; above 0: up.")] = None,
    method: Annotated[PoseMethod, typer.Option(help="warping: the paper's network. direction: along yaw and pitch until the "
                                               "measured angles fit. both: one after the other.")] = PoseMethod.direction,
    mask: Annotated[Path | None, typer.Option(help="White = may change, the rest of the photograph stays; as with `edit`.",
                                              **INPUT)] = None,
    refine: Annotated[int, typer.Option(min=0, help="Steps that fit the codes to the photograph before they are turned.")] = 0,
    face: Face = None,
    weights: Weights = None,
    bank: Bank = None,
    encoder: Encoder = None,
    device: Device = "auto",
) -> None:
    """Turn a face, and print how it looks before and after.

    Exactly one of --like, --frontal, --mirror, or --yaw and --pitch says where to.

    Example: facemug pose photo.jpg --like other.jpg --refine 40 --out turned.png
    Example: facemug pose photo.jpg --yaw -20 --refine 40 --out turned.png
    """
    import_torch()
    from facemug_lib.commands.targets import check_transparency, is_compressed, picture_target
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.latent.pose import Aim, check_method, turn
    from facemug_lib.faces.alignment import open_face
    from facemug_lib.faces.photos import write_image

    method = str(method)
    aim = Aim(like, frontal, mirror, yaw, pitch, like_face)
    check_method(method, aim)
    out = picture_target(out, photo, (like, mask))
    aligned = open_face(photo, face=face)
    if mask is not None:
        check_transparency(out, aligned.photo)
    editor = Editor.load(device, weights, bank=bank, encoder=encoder)
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


def replay(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A .json file that `edit --script-out` wrote.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write, or a folder. What the input says of itself goes on as with "
                                      "`edit`.", **OUTPUT)],
    photo: Annotated[list[Path] | None, typer.Option(
        help="The photograph to edit, or others, or a folder; repeatable. A script of a sampled face needs none.",
        exists=True)] = None,
    upto: Annotated[int | None, typer.Option(min=1, help="Only the steps up to this one, counted from 1.")] = None,
    without: Annotated[list[int] | None, typer.Option(min=1, help="Leave this step out; repeatable.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(
        metavar="NAME=STRENGTH", help="Another strength for an attribute that the script changes; repeatable.")] = None,
    face: Face = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    directions: Annotated[Path | None, typer.Option(help="A file of further attributes that the script names.", **INPUT)] = None,
    weights: Weights = None,
    bank: Bank = None,
    encoder: Encoder = None,
    workers: Workers = 1,
    device: Device = "auto",
) -> None:
    """Make the edits of a script again.

    On the script's own photograph, with the same weights and device, every pixel is the same. On another one, what was drawn
    is carried over by the alignment of the two faces. Of several photographs, those that cannot be edited are named and
    skipped; the exit status is then 3.

    Example: facemug replay edit.json --photo photo.jpg --out again.png
    Example: facemug replay edit.json --photo holiday --workers 2 --out edited
    """
    import_torch()
    from facemug_lib.commands.many_photos import Replays, outcomes, require_shareable
    from facemug_lib.commands.targets import picture_targets
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.script.edit_script import EditScript
    from facemug_lib.editing.script.script_file import with_changes
    from facemug_lib.faces.photos import pictures_in

    steps = EditScript.read(script)
    photos = [found for path in photo or [] for found in (pictures_in(path) if path.is_dir() else [path])]
    if not photos and steps.photo.sample is None:
        raise FacemugError(f"{script} was made on a photograph: name one with --photo, its own or another")
    steps = with_changes(steps, without or (), numbers(attribute or [], "--attribute", "smile=1.5") or {})
    sources: list[Path | None] = [*photos] or [None]
    targets = picture_targets(out, [source or script for source in sources], [script])
    place = resolve_device(device)
    require_shareable(place, workers)
    networks = {"device": place, "weights": weights, "directions": directions, "bank": bank, "encoder": encoder}
    work = Replays(steps, script.parent, networks, upto, face, aligned)
    jobs = list(zip(sources, targets, strict=True))
    refusals: list[str] = []
    for (source, _), outcome in zip(jobs, outcomes(work.start, jobs, workers), strict=True):
        if len(sources) > 1 and isinstance(outcome.error, FacemugError):
            refusals.append(str(outcome.error))
            say(f"skipped: {'the sampled face' if source is None else source.name}: {outcome.error}")
            continue
        for line in outcome.get():
            say(line)
    if len(refusals) == len(sources):
        raise FacemugError(f"none of {len(sources)} photos could be edited, the first: {refusals[0]}")
    tell_skipped(len(refusals))
