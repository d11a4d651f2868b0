"""What a notebook leaves behind: its numbers (:func:`record`) and its pictures (:func:`figure_path`)."""

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

    ``FACEMUG_FIGURES`` names another folder. The folder is made when missing; a run lists the figure in its result.
    """
    if Path(name).name != name or not Path(name).suffix:
        raise FacemugError(f"figure name {name!r}: give a file name with its extension and no folder, such as fig_masks.png")
    folder = Path(os.environ.get(FIGURES_VARIABLE) or CLONE / "figures").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _update_record("figures", {name: str(folder / name)})
    return folder / name


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
