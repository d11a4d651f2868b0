"""The floors of the house: CONTRIBUTING.md says which room is on which, and imports only go down."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from facemug_lib.evaluation.code_keys import imported, modules_of

ROOT = Path(__file__).resolve().parent.parent


def floors() -> dict[str, int]:
    """Room → floor, from the table of CONTRIBUTING.md."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def room(module: str) -> str:
    """The room of a module given by its full name."""
    return module.split(".")[1]


def graph() -> dict[str, dict[str, int]]:
    return {name: imported(path) for name, path in modules_of().items()}


def upward(edges: dict[str, dict[str, int]], floor: dict[str, int]) -> list[str]:
    return [f"{name}, line {line}: imports {other}" for name, others in edges.items() for other, line in others.items()
            if floor[room(other)] > floor[room(name)]]


def circle(edges: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_table_names_every_room_once() -> None:
    table = re.findall(r"^\| \d+ \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for rooms in table for name in re.findall(r"`(\w+)`", rooms)]
    assert sorted(named) == sorted({room(name) for name in modules_of()})


def test_nothing_imports_from_above() -> None:
    assert not upward(graph(), floors())


def test_rooms_of_one_floor_form_no_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        rooms.setdefault(room(name), set()).update(room(other) for other in others if room(other) != room(name))
    assert not circle(rooms)


def test_files_form_no_circle() -> None:
    assert not circle({name: set(others) for name, others in graph().items()})


@pytest.mark.parametrize(("line", "complaint"), [
    ("from facemug_lib.editing.editor import Editor", "editing.editor"), ("from facemug_lib import editing", "editing"),
    ("import facemug_lib.widgets.painter", "widgets.painter"),
    ("def late():\n    from facemug_lib.editing import editor", "editing.editor"),
])
def test_an_arrow_upward_is_seen(line: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "prior.py").write_text(line)
    edges = {"facemug_lib.faces.prior": imported(tmp_path / "prior.py")}
    (said,) = upward(edges, floors())
    assert said.startswith("facemug_lib.faces.prior, line ") and said.endswith(f"imports facemug_lib.{complaint}")
    assert circle({"faces": {"experts"}, "experts": {"faces"}})
