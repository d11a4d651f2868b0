"""How `facemug edit --script-out` records a script, and what `facemug replay` does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemug_lib.commands.bodies.targets import check_transparency, picture_targets
from facemug_lib.devices import resolve_device
from facemug_lib.editing.edit import Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import (
    EditScript,
    Replayed,
    Replayer,
    Step,
    pixels_hash,
)
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, open_face
from facemug_lib.faces.photos import pictures_in, read_photo, write_image
from facemug_lib.files import replacing, require_writable_file


@dataclass(eq=False)
class Recording:
    """A script on its way: the steps so far have been made again on the photo, and one more is to come."""

    path: Path
    script: EditScript
    replayed: Replayed

    @classmethod
    def start(cls, path: Path, editor: Editor, face: AlignedFace) -> Recording:
        """A new script, or an existing one for the same photo, whose steps are made first."""
        if path.suffix != ".json":
            raise FacemugError(f"--script-out {path}: the name must end in .json")
        require_writable_file(path)
        if not path.is_file():
            return cls(path, EditScript.begun(editor, face), Replayed(face, [], []))
        script = EditScript.read(path)
        if script.photo.sha256 != pixels_hash(face.photo):
            raise FacemugError(f"{path} belongs to another photo: give the photo that it was begun with, or another --script-out")
        return cls(path, script, Replayer.of(editor, face, path.parent).replay(script))

    def keep(self, edit: Edit, pictures: Mapping[str, Path]) -> Path:
        """Add the step of an edit with these pictures, copied beside the script, and write it."""
        number = len(self.script.steps) + 1
        names = {}
        for name, source in pictures.items():
            names[name] = f"{self.path.stem}_step{number}_{name}{source.suffix.lower()}"
            with replacing(self.path.parent / names[name]) as temporary:
                shutil.copyfile(source, temporary)
        self.script = self.script.added(Step.of_edit(edit, names))
        return self.script.write(self.path)


def replay_command(script: Path, photos: Sequence[Path], out: Path, upto: int | None = None, without: Sequence[int] = (),
                   strengths: Mapping[str, float] | None = None, face: int | None = None, aligned: bool = False,
                   weights: Path | None = None, device: str = "auto", directions: Path | None = None,
                   bank: Path | None = None) -> int:
    """Make a script's edits again, on its own photo or on others; without any, on the face that it says how to sample.

    Of several photos, those that cannot be edited are named and skipped. Returns their number."""
    steps = EditScript.read(script)
    if not photos and steps.photo.sample is None:
        raise FacemugError(f"{script} was made on a photograph: name one with --photo, its own or another")
    for number in without:
        steps = steps.changed(number, enabled=False)
    if strengths:
        steps = _with_strengths(steps, strengths)
    sources: list[Path | None] = [*photos] or [None]
    targets = picture_targets(out, [photo or script for photo in sources], [script])
    editor = Editor.load(resolve_device(device), weights, directions, bank)
    refusals: list[str] = []
    for photo, target in zip(sources, targets, strict=True):
        where = "the sampled face" if photo is None else photo.name
        try:
            found = _replayed(editor, steps, photo, target, script.parent, upto, face, aligned)
        except FacemugError as error:
            if len(sources) == 1:
                raise
            refusals.append(str(error))
            print(f"skipped: {where}: {error}", flush=True)
            continue
        for note in found.notes:
            print(f"note: {note}")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, found.photo, like=found.face.photo)
        print(f"{len(found.results)} of {len(steps.steps)} steps replayed on {where}: {target}", flush=True)
    if len(refusals) == len(sources):
        raise FacemugError(f"none of {len(sources)} photos could be edited, the first: {refusals[0]}")
    return len(refusals)


def _replayed(editor: Editor, script: EditScript, photo: Path | None, target: Path, folder: Path, upto: int | None,
              face: int | None, aligned: bool) -> Replayed:
    """The script on one photo, or on the face that it says how to sample."""
    opened = None
    if photo is not None:
        # A sampled face in its own PNG is aligned and recognised by its pixels.
        opened = open_face(photo, face=face, aligned=aligned or _is_sampled(photo, script))
        check_transparency(target, opened.photo)
    return Replayer.of(editor, opened, folder).replay(script, upto)


def _is_sampled(photo: Path, script: EditScript) -> bool:
    """Whether a file holds the sampled face that a script was made on."""
    return script.photo.sample is not None and pixels_hash(read_photo(photo)) == script.photo.sha256


def _with_strengths(script: EditScript, strengths: Mapping[str, float]) -> EditScript:
    """The script with other strengths of attributes, wherever it uses them."""
    for name, strength in strengths.items():
        users = [number for number, step in enumerate(script.steps, start=1) if name in step.attributes]
        if not users:
            raise FacemugError(f"no step of the script changes {name}: drop --attribute {name}")
        for number in users:
            script = script.changed(number, attributes=script.steps[number - 1].attributes | {name: strength})
    return script


def photos_in(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the pictures in them."""
    return [found for path in paths for found in (pictures_in(path) if path.is_dir() else [path])]
