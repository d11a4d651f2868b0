"""What an evaluation is asked for: the test sets, the methods, how many faces each judge gets, and the photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.evaluate import Plan
from facemug_lib.evaluation.methods import default_methods
from facemug_lib.evaluation.methods.folder import Folder
from facemug_lib.evaluation.protocols import TestSet, folder_set, prior_set, require_pictures
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.photos import READABLE
from facemug_lib.files import files_in
from facemug_lib.progress import Tell
from facemug_lib.store import Store


def limited_plan(count: int, limits: Mapping[str, str]) -> Plan:
    """A plan of ``count`` faces, with other numbers ("all" = no limit) for what ``limits`` names."""
    known = [field.name for field in fields(Plan) if field.name != "count"]
    numbers: dict[str, int | None] = {}
    for name, text in limits.items():
        if name not in known:
            raise FacemugError(f"--limit {name}: choose from {', '.join(known)}")
        if text != "all" and not text.isdigit():
            raise FacemugError(f"--limit {name}={text}: give a number of faces, or all")
        numbers[name] = None if text == "all" else int(text)
    return Plan(count, **numbers)


def check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise :class:`FacemugError` for the first name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise FacemugError(f"unknown {what} {name!r}: choose from {', '.join(known)}")


def check_folders(photos: Sequence[Path], images: Sequence[Path], no_prior: bool) -> None:
    """Raise :class:`FacemugError`, before any work, for folders that :func:`test_sets` or :func:`methods` could not use."""
    for folder in photos:
        require_pictures(folder)
    names = [*([] if no_prior else ["prior"]), *(folder.resolve().name for folder in photos)]
    for name in names:
        if names.count(name) > 1:
            raise FacemugError(f"two test sets are called {name!r}: rename one of the folders")
    _results(images)


def _results(images: Sequence[Path]) -> list[Folder]:
    return [Folder(folder, folder.resolve().name) for folder in images]


def methods(editor: Editor, images: Sequence[Path], refine: int) -> list:
    """FACEMUG, with ``refine`` steps as well, the baselines, and somebody else's results in the folders ``images``."""
    return [*default_methods(editor, refine), *_results(images)]


def test_sets(editor: Editor, count: int, photos: Sequence[Path], no_prior: bool, aligned: bool, store: Store,
              tell: Tell) -> list[TestSet]:
    """Faces sampled from the prior, unless ``no_prior``, and those of every folder of photographs.

    The folders are read first: one without faces is refused before anything is sampled, which is kept in ``store``.
    """
    expert = ExpertStudent.load(editor.device)
    sets = [folder_set(folder, expert, count, aligned, editor.device, tell) for folder in photos]
    return sets if no_prior else [prior_set(editor.prior, expert, count, count, store.get, tell), *sets]


def photographs(folders: Sequence[Path], count: int | None = 3) -> list[Path]:
    """The first ``count`` photographs (all, if None) with one clear face, at full size, for the parts that edit whole ones."""
    found: list[Path] = []
    if count == 0:
        return found
    for path in (path for folder in folders for path in files_in(folder, READABLE)):
        try:
            open_face(path)
        except FacemugError:
            continue
        found.append(path)
        if len(found) == count:
            break
    return found
