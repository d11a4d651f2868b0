"""The floors of the house: CONTRIBUTING.md says which room is on which, and imports only go down."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "facemug_lib"


def floors() -> dict[str, int]:
    """Room → floor, from the table of CONTRIBUTING.md."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def modules() -> dict[str, Path]:
    """Module → its file, below the package: ``editing.editor``; the package's own ``__init__`` imports nothing when imported."""
    found = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items() if name != "__init__"}


def imported(path: Path, known: dict[str, Path]) -> dict[str, int]:
    """Modules of the package that a file imports, wherever in it, with the line; what only type checkers read does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
              for statement in block.body for node in ast.walk(statement)}
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "facemug_lib":
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("facemug_lib.") in known else node.module for name in inner]
        for name in names:
            if (module := name.removeprefix("facemug_lib.")) in known:
                found.setdefault(module, node.lineno)
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def graph() -> dict[str, dict[str, int]]:
    known = modules()
    return {name: imported(path, known) for name, path in known.items()}


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
    assert sorted(named) == sorted({room(name) for name in modules()})


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
    edges = {"faces.prior": imported(tmp_path / "prior.py", modules())}
    (said,) = upward(edges, floors())
    assert said.startswith("faces.prior, line ") and said.endswith(f"imports {complaint}")
    assert circle({"faces": {"experts"}, "experts": {"faces"}})
