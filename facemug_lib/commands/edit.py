"""Editing a photograph: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import (
    INPUT,
    Bank,
    Device,
    ExemplarFace,
    Face,
    Frame,
    PoseMethod,
    Seed,
    numbers,
    tell_skipped,
)
from facemug_lib.editing.edit import Edit


def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    mask: Annotated[Path, typer.Option(
        help="White = edit; black or transparent = keep. Or the photograph with the part to edit erased to transparent.",
        **INPUT)],
    out: Annotated[Path, typer.Option(
        help="The edited photograph, at full size, with the colour profile, resolution, date and author of the input; with its "
        "place (GPS) only in the same file format; without its thumbnail.")],
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
        "them.")] = None,
    directions: Annotated[Path | None, typer.Option(help="A file of further attributes, from `facemug directions new` or `text`.",
                                                    **INPUT)] = None,
    text: Annotated[str | None, typer.Option(help="How the face shall look: \"an old man\", \"blond hair\".")] = None,
    text_source: Annotated[str, typer.Option(
        "--text-from", help="What it is now, as far as the text changes it.")] = Edit.text_source,
    text_steps: Annotated[int, typer.Option(min=1, help="Most steps in which the text is followed.")] = Edit.text_steps,
    text_model: Annotated[str, typer.Option(metavar="small|ARCHITECTURE:WEIGHTS", help="The shipped text–image model, or one of "
                                            "open_clip's with a published name or a file of weights.")] = Edit.text_model,
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation; 0 is feed-forward only.")] = Edit.refine,
    seed: Seed = Edit.seed,
    face: Face = None,
    exemplar_face: ExemplarFace = None,
    guidance_frame: Annotated[Frame, typer.Option(help="Coordinates of mask and guidance images.")] = Frame.photo,
    influence: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Weight of a modality; repeatable.")] = None,
    script_out: Annotated[Path | None, typer.Option(help="Record the edit in this .json file; the steps that are in it already "
                                                    "are made first.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Edit the face of a photograph inside a mask.

    Every pixel outside the mask stays as it was, bit for bit.

    Example: facemug edit photo.jpg --mask mask.png --sketch strokes.png --refine 100 --out edited.png
    Example: facemug edit photo.jpg --mask mask.png --attribute smile=2 --attribute age=-1 --refine 40 --out edited.png
    Example: facemug edit photo.jpg --mask hair.png --text "blond hair" --text-from "black hair" --refine 40 --out edited.png
    """
    from facemug_lib.commands.bodies.edit import edit_command

    wanted = Edit(photo, mask, sketch, semantics, colour, exemplar, numbers(attribute or [], "--attribute", "smile=1.5"),
                  numbers(influence or [], "--influence", "sketch=0.5"), refine, seed, guidance_frame.value, text, text_source,
                  text_steps, text_model, exemplar_face)
    edit_command(wanted, out, face, script_out, weights, device, directions, bank)


def pose(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The turned face, aligned, 256 px; with --mask the photograph, at full size. What the "
                                      "input says of itself goes on as with `edit`.")],
    like: Annotated[Path | None, typer.Option(help="Take the pose from this photograph's face.", **INPUT)] = None,
    like_face: Annotated[int | None, typer.Option(min=0, help="Which face of that photograph, counted from 0, left to "
                                                  "right.")] = None,
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
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Turn a face, and print how it looks before and after.

    Exactly one of --like, --frontal, --mirror, or --yaw and --pitch says where to.

    Example: facemug pose photo.jpg --like other.jpg --refine 40 --out turned.png
    Example: facemug pose photo.jpg --yaw -20 --refine 40 --out turned.png
    """
    from facemug_lib.commands.bodies.edit import pose_command

    pose_command(photo=photo, out=out, like=like, frontal=frontal, mirror=mirror, yaw=yaw, pitch=pitch, method=method.value,
                 mask=mask, refine=refine, face=face, weights=weights, device=device, like_face=like_face, bank=bank)


def replay(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A .json file that `edit --script-out` wrote.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write, or a folder. What the input says of itself goes on as with "
                                      "`edit`.")],
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
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    bank: Bank = None,
    device: Device = "auto",
) -> None:
    """Make the edits of a script again.

    On the script's own photograph, with the same weights and device, every pixel is the same. On another one, what was drawn
    is carried over by the alignment of the two faces. Of several photographs, those that cannot be edited are named and
    skipped; the exit status is then 3.

    Example: facemug replay edit.json --photo photo.jpg --out again.png
    """
    from facemug_lib.commands.bodies.scripts import photos_in, replay_command

    tell_skipped(replay_command(script, photos_in(photo or []), out, upto, without or (),
                                numbers(attribute or [], "--attribute", "smile=1.5"), face, aligned, weights, device, directions,
                                bank))
