"""What `replay` and `align` do to each of many photographs, in one process or in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from facemug_lib.commands.targets import check_transparency
from facemug_lib.devices import use_one_thread
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.photos import write_image
from facemug_lib.workers import Outcome, in_order, one_by_one

if TYPE_CHECKING:
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.script.edit_script import EditScript

Job = tuple[Path | None, Path]
"""A photograph, None for the face that a script says how to sample, and the file that is made of it."""


def outcomes(start: Callable[[], Callable[[Job], list[str]]], jobs: Sequence[Job], workers: int) -> Iterator[Outcome[list[str]]]:
    """What became of each of ``jobs``, in their order: the lines that say it. A single one needs no process of its own."""
    return one_by_one(start, jobs) if workers == 1 or len(jobs) == 1 else in_order(start, jobs, workers)


def require_shareable(device: torch.device, workers: int) -> None:
    """Raise :class:`FacemugError` where several processes would share a GPU."""
    if workers > 1 and device.type != "cpu":
        raise FacemugError(f"--workers {workers} shares a CPU out, and the device is {device}: leave it out, or use --device cpu")


def _take_a_share() -> None:
    if multiprocessing.parent_process() is not None:
        use_one_thread()


@dataclass(frozen=True)
class Replays:
    """A script, to be made again on photographs. ``networks`` are arguments of :meth:`Editor.load`, the others as in `replay`."""

    script: EditScript
    folder: Path  # of the script's pictures
    networks: Mapping[str, Any]
    upto: int | None = None
    face: int | None = None
    aligned: bool = False

    def start(self) -> Callable[[Job], list[str]]:
        """Load the networks; what is returned edits a photograph, writes the result, and gives the lines that say so."""
        from facemug_lib.editing.editor import Editor
        from facemug_lib.systems import Systems

        _take_a_share()
        editor = Editor.load(**self.networks).with_systems(Systems(device=self.networks["device"]))
        hashes = editor.hashes()
        return lambda job: self._made(editor, hashes, *job)

    def _made(self, editor: Editor, hashes: Mapping[str, str], photo: Path | None, target: Path) -> list[str]:
        from facemug_lib.editing.script.edit_script import Replayer
        from facemug_lib.editing.script.script_file import is_sampled

        opened = None
        if photo is not None:
            # A sampled face in its own PNG is aligned and recognised by its pixels.
            opened = open_face(photo, face=self.face, aligned=self.aligned or is_sampled(photo, self.script))
            check_transparency(target, opened.photo)
        found = Replayer.of(editor, opened, self.folder, hashes=hashes).replay(self.script, self.upto)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, found.photo, like=found.face.photo)
        where = "the sampled face" if photo is None else photo.name
        return [*(f"note: {note}" for note in found.notes),
                f"{len(found.results)} of {len(self.script.steps)} steps replayed on {where}: {target}"]


@dataclass(frozen=True)
class Alignments:
    """Crops of ``size`` pixels, to be made of photographs; ``face`` as in `align`."""

    size: int
    face: int | None = None

    def start(self) -> Callable[[Job], list[str]]:
        """What is returned aligns a photograph and writes the crop; it has nothing to say."""
        _take_a_share()
        return lambda job: self._made(*job)

    def _made(self, photo: Path, target: Path) -> list[str]:
        aligned = open_face(photo, face=self.face, size=self.size)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, aligned.image, like=aligned.photo)
        return []
