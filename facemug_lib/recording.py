"""What a notebook leaves behind: its numbers (:func:`record`) and its pictures (:func:`figure_path`).

The library itself adds what a run has depended on (:func:`note`), so that a picture can say how it was made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemug_lib.errors import FacemugError
from facemug_lib.files import CLONE, replacing

RESULT_VARIABLE = "FACEMUG_RESULT"
FIGURES_VARIABLE = "FACEMUG_FIGURES"


def record(**values: Any) -> None:
    """Keep numbers of this run, by name: finite numbers, texts, booleans, and lists and dicts of them.

    NumPy and torch scalars and arrays are converted. Recording a name again replaces it. Outside a run the values are
    only printed. Raises :class:`FacemugError` on a value that JSON cannot hold, NaN and infinity included.
    """
    plain = {name: _plain(name, value) for name, value in values.items()}
    print("  ".join(f"{name} = {format(value, '.4g') if isinstance(value, float) else value}" for name, value in plain.items()))
    _update_record("metrics", plain)


def figure_path(name: str) -> Path:
    """Where the figure ``name`` (such as ``"fig_masks.png"``) is to be saved: the clone's ``figures`` folder.

    ``FACEMUG_FIGURES`` names another folder, which is made when missing. In a run it is one of the run's own: the figure comes
    to the figures' folder, with a record of how it was made, when the whole notebook has succeeded.
    """
    if Path(name).name != name or not Path(name).suffix:
        raise FacemugError(f"figure name {name!r}: give a file name with its extension and no folder, such as fig_masks.png")
    folder = figures_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _update_record("figures", {name: str(folder / name)})
    return folder / name


def figures_folder() -> Path:
    """The folder of figures: ``FACEMUG_FIGURES``, or ``figures`` of the clone."""
    return Path(os.environ.get(FIGURES_VARIABLE) or CLONE / "figures").resolve()


def note(**facts: str) -> None:
    """Keep facts that this run depends on, such as a device or the hash of a file that was read. Outside a run nothing happens.

    One short line is appended at once, so that processes of one run do not lose each other's.
    """
    if is_run():
        with open(_notes(Path(os.environ[RESULT_VARIABLE])), "a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def is_run() -> bool:
    """Whether this process belongs to a notebook's run, whose facts are kept."""
    return bool(os.environ.get(RESULT_VARIABLE))


def notes_of(record_path: Path) -> list[dict[str, str]]:
    """What :func:`note` has kept for the run that recorded to ``record_path``, in order."""
    path = _notes(record_path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _notes(record_path: Path) -> Path:
    return record_path.with_suffix(".notes")


def _plain(name: str, value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        value = value.tolist()
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise FacemugError(f"record: {name} = {value} is not finite: a result must be a finite number") from error
    except TypeError as error:
        raise FacemugError(f"record: {name} is a {type(value).__name__}: give numbers, texts, lists or dicts") from error


def _update_record(section: str, values: Mapping[str, Any]) -> None:
    target = os.environ.get(RESULT_VARIABLE)
    if not target:
        return
    path = Path(target)
    content = json.loads(path.read_text()) if path.exists() else {"metrics": {}, "figures": {}}
    content[section].update(values)
    write_json(path, content)


def write_json(path: Path, content: Any) -> None:
    """``content`` as an indented JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
