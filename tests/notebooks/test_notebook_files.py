"""What every notebook of the suite must be, without running any."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

from facemug_lib.commands.notebook_parameters import PROFILES, TAG, read_parameters, resolve_parameters
from facemug_lib.commands.runner import list_notebooks
from facemug_lib.files import CLONE

NOTEBOOKS = list_notebooks()
LARGEST = 60_000  # bytes
LONGEST_FUNCTION = 15  # lines; anything longer belongs to the library
TRAINING = {"02_face_prior": "head", "03_style_encoder": "encoder", "04_latent_warping": "warping",
            "05_multimodal_generator": "generator"}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")


def test_the_suite_is_complete_and_numbered():
    stems = [path.stem for path in NOTEBOOKS]
    assert stems[:6] == ["00_quickstart", "01_data_synthesis", *TRAINING]
    assert {"09_evaluation", "90_expert_distillation"} <= set(stems)
    assert len({stem[:2] for stem in stems}) == len(stems)


@every_notebook
def test_it_opens_with_purpose_library_cost_and_limits(path: Path):
    opening = read(path).cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith(f"# {path.stem[:2]} · ")
    for heading in ("**Purpose.**", "**Library.**", "**Limits.**"):
        assert heading in opening.source, heading
    for profile in PROFILES:
        row = re.search(rf"^\| `{profile}` \|.*\|$", opening.source, re.MULTILINE)
        assert row, f"no cost of profile {profile}"
        assert re.search(r"\d[\d.,–]* ?(s|min|h|days?|GB)\b|hours|minutes|days", row[0]), row[0]


@every_notebook
def test_the_library_it_names_exists(path: Path):
    named = re.findall(r"`(facemug_lib/[\w/.]*)`", read(path).cells[0].source)
    assert named
    assert not [name for name in named if not (CLONE / name).exists()]


@every_notebook
def test_parameters_are_documented_and_known_to_every_profile(path: Path):
    notebook = read(path)
    (cell,) = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    parameters = read_parameters(notebook, path.name)
    lines = cell.source.splitlines()
    assert len(lines) == len(parameters)
    for line in lines:
        assert re.fullmatch(r"\w+: .+ = .+  # .{8,}", line), line
    for profile in PROFILES:
        assert resolve_parameters(notebook, path.name, profile, {})["profile"] == profile


@every_notebook
def test_what_it_imports_is_there(path: Path):
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facemug_lib"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), alias.name


@every_notebook
def test_every_parameter_is_used(path: Path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    rest = "\n".join(cell.source for cell in code if TAG not in cell.metadata.get("tags", []))
    used = {node.id for node in ast.walk(ast.parse(rest)) if isinstance(node, ast.Name)}
    assert set(read_parameters(notebook, path.name)) - {"profile"} <= used


@every_notebook
def test_it_is_small_clean_and_carries_ids(path: Path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    assert notebook.nbformat == 4 and notebook.nbformat_minor >= 5
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}


@every_notebook
def test_it_defines_no_class_and_no_long_function(path: Path):
    for node in ast.walk(ast.parse(code_of(path))):
        assert not isinstance(node, ast.ClassDef), f"class {getattr(node, 'name', '')}"
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"function {node.name}"


@every_notebook
def test_it_records_numbers_and_saves_pictures(path: Path):
    code = code_of(path)
    calls = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    called = {function.id for function in calls if isinstance(function, ast.Name)}
    assert {"record", "figure_path"} <= called
    names = re.findall(r'figure_path\("([^"]+)"\)', code)
    assert names and all(name.startswith(f"fig{path.stem[:2]}_") for name in names)


SAME = {"allclose", "equal", "isclose", "array_equal"}
"""Functions that say whether two values are the same."""


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def assigned(tree: ast.Module) -> list[tuple[ast.expr, set[str]]]:
    """Every expression that names are given a value by, in an assignment or a loop, and those names."""
    found = [(node.value, set().union(*map(names_in, node.targets))) for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    return found + [(node.iter, names_in(node.target)) for node in ast.walk(tree) if isinstance(node, ast.For)]


def from_library(tree: ast.Module) -> set[str]:
    """Names that the library has a part in: imported from it, or given a value by an expression that has such a name in it."""
    found = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
             for alias in node.names if (getattr(node, "module", None) or alias.name).startswith("facemug_lib")}
    while True:
        given = {name for value, targets in assigned(tree) if names_in(value) & found for name in targets}
        if given <= found:
            return found
        found |= given


def naive_checks(code: str) -> list[str]:
    """The asserts in which a value made by hand, called ``naive…``, is compared with what the library makes of the same."""
    tree = ast.parse(code)
    library, found = from_library(tree), []
    made = set().union(*(targets for _, targets in assigned(tree)))
    for check in (node for node in ast.walk(tree) if isinstance(node, ast.Assert)):
        compares = any(isinstance(node, ast.Compare)
                       or isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAME
                       for node in ast.walk(check.test))
        used = names_in(check.test)
        by_hand = {name for name in used & made if name.startswith(("naive", "by_hand"))}
        if compares and by_hand and (used - by_hand) & library:
            found.append(ast.unparse(check))
    return found


@every_notebook
def test_it_writes_something_out_by_hand_and_the_library_agrees(path: Path):
    assert naive_checks(code_of(path))


@pytest.mark.parametrize(("line", "counts"), [
    ("naive = x * 2\nassert torch.allclose(naive, losses.twice(x))", True),
    ("naive = x * 2\ny = losses.twice(x)\nassert abs(naive - y.mean()) < 1e-6", True),
    ("assert True", False), ("assert image.shape == (1, 3)", False),
    ("naive = x * 2\nassert naive.shape == (1, 3)", False),  # compared with nothing of the library's
    ("naive = x * 2\nassert losses.twice(naive)", False),  # compared with nothing at all
    ("assert torch.equal(losses.twice(x), losses.twice(x))", False),  # nothing is by hand
])
def test_only_a_comparison_of_ones_own_with_the_librarys_counts(line: str, counts: bool):
    assert bool(naive_checks(f"from facemug_lib.training import losses\n{line}")) is counts


@every_notebook
def test_links_lead_somewhere_and_no_path_is_absolute(path: Path):
    notebook = read(path)
    text = "\n".join(cell.source for cell in notebook.cells)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("https://") or (path.parent / target).is_file(), target
    assert not re.search(r"['\"(\s](/(home|root|tmp|work|Users)/|[A-Z]:\\\\)", text)


@pytest.mark.parametrize(("name", "stage"), TRAINING.items())
def test_training_notebooks_repeat_the_numbers_the_paper_lost(name: str, stage: str):
    code = code_of(CLONE / "notebooks" / f"{name}.ipynb")
    assert f'lost_numbers("{stage}", profile)' in code
    assert f'start_run("{stage}", profile' in code
    assert "run.train()" in code


@every_notebook
def test_it_asks_something_and_can_say_that_the_answer_is_wrong(path: Path):
    exercises = [cell.source for cell in read(path).cells if cell.cell_type == "code" and "# your answer" in cell.source]
    assert exercises
    for source in exercises:
        checks = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
        assert any(check.msg is not None for check in checks), source


@pytest.mark.parametrize(("path", "following"), zip(NOTEBOOKS, [*NOTEBOOKS[1:], CLONE / "README.md"], strict=True),
                         ids=[path.stem for path in NOTEBOOKS])
def test_it_leads_to_the_next_one(path: Path, following: Path):
    closing = read(path).cells[-1]
    assert closing.cell_type == "markdown"
    *_, target = re.findall(r"\]\(([^)#]+)\)", closing.source)
    assert (path.parent / target).resolve() == following
