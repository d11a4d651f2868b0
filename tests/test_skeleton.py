"""The frame of the project: files that must agree with each other, and limits of what git holds."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WEIGHTS_LIMIT = 40 * 1024**2  # bytes, data/weights together
TREE_LIMIT = 60 * 1024**2  # bytes, all that git holds
NOTEBOOK_LIMIT = 100 * 1024  # bytes, one notebook without outputs
IMPORT_NAMES = {"pillow": "PIL", "opencv-python-headless": "cv2", "scikit-learn": "sklearn", "scikit-image": "skimage",
                "open_clip_torch": "open_clip", "pyyaml": "yaml", "ipython": "IPython"}


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git clone")
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(extra: str | None = None) -> list[Requirement]:
    return [Requirement(line) for line in (PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"])]


def test_the_conda_environment_installs_this_package_and_nothing_else() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    python = next(item.partition("=")[2] for item in conda if item.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    assert [item.partition("=")[0] for item in conda] == ["python", "pip"], "packages belong in pyproject.toml"
    assert pip == ["-e .[dev]"]


def test_the_lock_pins_everything_that_is_required() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line) for line in lines), "names and exact versions only"
    pins = {canonical(line.partition("==")[0]): line.partition("==")[2] for line in lines}
    for requirement in (*requirements(), *requirements("dev")):
        name = canonical(requirement.name)
        assert name in pins, f"{name} is required but not pinned"
        assert requirement.specifier.contains(pins[name]), f"{name} is pinned to {pins[name]}, outside pyproject.toml"


def test_every_imported_package_is_declared() -> None:
    runtime = {IMPORT_NAMES.get(item.name, item.name) for item in requirements()}
    development = runtime | {IMPORT_NAMES.get(item.name, item.name) for item in requirements("dev")}
    runtime.add("playwright")  # for measuring and testing the widgets; who lacks it is told so in one line
    ours = {"facemug_lib", "tests", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    undeclared = set()
    for folder, declared in (("facemug_lib", runtime), ("tests", development)):
        for path in (ROOT / folder).rglob("*.py"):
            for module in imported_modules(path):
                if module not in declared | set(sys.stdlib_module_names) | ours:
                    undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert not undeclared


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_notebooks_carry_no_outputs() -> None:
    wrong = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for index, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell.get("outputs") or cell.get("execution_count") is not None:
                wrong.append(f"{path.name}, cell {index}: run `nbstripout {path.name}`")
    assert not wrong


def test_git_holds_no_more_than_it_should() -> None:
    files = tracked()
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in files}
    weights = sum(size for path, size in sizes.items() if path.parts[:2] == ("data", "weights"))
    assert weights <= WEIGHTS_LIMIT
    assert sum(sizes.values()) <= TREE_LIMIT
    assert not [path for path, size in sizes.items() if path.suffix == ".ipynb" and size > NOTEBOOK_LIMIT]
    assert not [path for path in sizes if path.parts[:2] in (("data", "runs"), ("data", "cache")) or path.parts[0] == ".venv"]


def test_make_offers_its_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("setup", "demo", "test", "browser", "lab", "app", "bench", "clean"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text()
