"""An edit script in a file: edits are added to it one by one, and its steps are changed before they are made again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemug_lib.editing.edit import PICTURES, Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript, Replayed, Replayer, Step, pixels_hash
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.faces.photos import read_photo
from facemug_lib.files import replacing, require_writable_file


@dataclass(eq=False)
class ScriptFile:
    """A script that grows: the steps so far have been made again on the photo, and one more is to come."""

    path: Path
    script: EditScript
    replayed: Replayed

    @classmethod
    def start(cls, path: Path, editor: Editor, face: AlignedFace) -> ScriptFile:
        """A new script, or an existing one for the same photo, whose steps are made first."""
        require_script_file(path)
        if not path.is_file():
            return cls(path, EditScript.begun(editor, face), Replayed(face, [], []))
        script = EditScript.read(path)
        if script.photo.sha256 != pixels_hash(face.photo):
            raise FacemugError(f"{path} belongs to another photo: give the photo that it was begun with, or another --script-out")
        return cls(path, script, Replayer.of(editor, face, path.parent).replay(script))

    def keep(self, edit: Edit, weights: Mapping[str, str] | None = None) -> Path:
        """Add the step of an edit, its pictures (files) copied beside the script, and write it; ``weights`` as in
        :meth:`EditScript.added`."""
        number = len(self.script.steps) + 1
        names = {}
        for name in PICTURES:
            source = getattr(edit, name)
            if source is None:
                continue
            names[name] = f"{self.path.stem}_step{number}_{name}{source.suffix.lower()}"
            with replacing(self.path.parent / names[name]) as temporary:
                shutil.copyfile(source, temporary)
        self.script = self.script.added(Step.of_edit(edit, names), weights)
        return self.script.write(self.path)


def require_script_file(path: Path) -> None:
    """Raise :class:`FacemugError` where no script can be written."""
    if path.suffix != ".json":
        raise FacemugError(f"--script-out {path}: the name must end in .json")
    require_writable_file(path)


def with_changes(script: EditScript, without: Sequence[int], strengths: Mapping[str, float]) -> EditScript:
    """The script without the steps of these numbers, counted from 1, and with other strengths of attributes wherever it has them.

    Raises :class:`FacemugError` for a step that is not there, and for an attribute that no step changes.
    """
    for number in without:
        script = script.changed(number, enabled=False)
    for name, strength in strengths.items():
        users = [number for number, step in enumerate(script.steps, start=1) if name in step.attributes]
        if not users:
            raise FacemugError(f"no step of the script changes {name}: drop --attribute {name}")
        for number in users:
            script = script.changed(number, attributes=script.steps[number - 1].attributes | {name: strength})
    return script


def is_sampled(photo: Path, script: EditScript) -> bool:
    """Whether a file holds the sampled face that a script was made on."""
    return script.photo.sample is not None and pixels_hash(read_photo(photo)) == script.photo.sha256
