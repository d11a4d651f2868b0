"""The code that a result depends on, as a part of the key that the result is stored under.

What a file makes depends on what it imports. So :func:`code_of` follows the import statements from a file down, and no list has
to be kept by hand: a file that decides a picture cannot be left out, and one that is not imported does not count.

Comments, docstrings and layout do not count. The editor alone reaches some fifty files, and a thousand faces take hours to
measure: a mended sentence in one of the fifty must not cost that.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from facemug_lib import HOMES

PACKAGE = Path(__file__).resolve().parent.parent
OPEN_ROOMS = {"systems.common.registry": "systems"}
"""Files that import whatever is in a room, by the names of its files: file → room."""


def code_of(*modules: str, package: Path = PACKAGE) -> str:
    """SHA-256 of the code of ``modules`` (full names) and of all modules of this package that they import, directly or not.

    A module of somebody else's counts with its own file alone. ``package``: the folder of the package.
    """
    digest = hashlib.sha256()
    for name in sorted(reached(*modules, package=package)):
        digest.update(f"{name}\n{_code(_file(name, package))}\n".encode())
    return digest.hexdigest()


def hashes_of(*modules: str, package: Path = PACKAGE) -> dict[str, str]:
    """The same for each module by itself: full name → the first 12 hexadecimal digits of its SHA-256, sorted by name."""
    return {name: hash_of_code(_code(_file(name, package)))[:12] for name in sorted(reached(*modules, package=package))}


def hash_of_code(source: str) -> str:
    """SHA-256 of Python source without its comments, docstrings and layout."""
    return hashlib.sha256(_without_words(source).encode()).hexdigest()


def reached(*modules: str, package: Path = PACKAGE) -> set[str]:
    """``modules`` and all modules of the package that they import, directly or through others."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imported(_file(name, package), package)
            room = OPEN_ROOMS.get(name.removeprefix(f"{package.name}."))
            waiting += [module for module in modules_of(package) if room and module.startswith(f"{package.name}.{room}.")]
    return found


@cache
def imported(path: Path, package: Path = PACKAGE) -> dict[str, int]:
    """Modules of the package that a file imports, anywhere in it, each with its line.

    What only type checkers read does not count. Nor do the ``__init__`` of folders above a module, which hold a docstring, and
    that of the package, which imports nothing until asked.
    """
    return imports_in(ast.parse(path.read_text(encoding="utf-8")), package)


def imports_in(tree: ast.Module, package: Path = PACKAGE) -> dict[str, int]:
    """The same for code that is parsed already, such as a notebook's.

    Names that the package itself offers (``facemug_lib.Editor``) count as the module that they live in.
    """
    unread = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
              for statement in block.body for node in ast.walk(statement)}
    known = modules_of(package)
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inner]
        for name in names:
            if name in known and id(node) not in unread:
                found.setdefault(name, node.lineno)
    return found | {name: line for name, line in _offered(tree, package).items() if name in known and name not in found}


def _offered(tree: ast.Module, package: Path) -> dict[str, int]:
    """Modules behind the names that the code takes from the package itself, each with its line."""
    aliases = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
               if alias.name == package.name}
    taken = [(node.attr, node.lineno) for node in ast.walk(tree)
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases]
    taken += [(alias.name, node.lineno) for node in ast.walk(tree)
              if isinstance(node, ast.ImportFrom) and node.module == package.name for alias in node.names]
    return {f"{package.name}.{HOMES[name]}": line for name, line in taken if name in HOMES}


@cache
def modules_of(package: Path = PACKAGE) -> dict[str, Path]:
    """Full name → file of every module of the package; its own ``__init__`` is none of them."""
    files = {".".join((package.name, *path.relative_to(package).with_suffix("").parts)): path for path in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items() if name != f"{package.name}.__init__"}


def _file(name: str, package: Path) -> Path:
    known = modules_of(package)
    return known[name] if name in known else Path(find_spec(name).origin)


@cache
def _code(path: Path) -> str:
    """The code of a file without its comments, docstrings and layout."""
    return _without_words(path.read_text(encoding="utf-8"))


def _without_words(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is a text alone: a docstring, or the sentence under a constant."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
