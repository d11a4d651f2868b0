"""A stored result is found only by the code that made it: every file that an import leads to, and no other."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from facemug_lib.evaluation import code_keys, incremental, judging
from facemug_lib.evaluation.code_keys import PACKAGE, code_of, reached
from facemug_lib.evaluation.methods import facemug, inversion, optimisation, simple
from facemug_lib.evaluation.methods.facemug import Facemug
from facemug_lib.evaluation.methods.simple import MeanColour

FACEMUG = facemug.__name__
DECIDES = ("models/aggregation.py", "models/style_fusion.py", "models/layers.py", "models/generator.py",
           "models/style_encoder.py", "models/latent_warping.py", "editing/inputs.py", "editing/drawing.py",
           "editing/networks.py", "editing/editor.py", "editing/latent/directions.py", "editing/fill/blending.py",
           "editing/fill/toning.py", "editing/fill/recolouring.py", "editing/fill/refine.py", "modalities/conditions.py",
           "faces/prior.py")
"""Files that an edit goes through."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's source at another place, to be changed."""
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "*.js", "*.css")))


def changed(package: Path, file: str, line: str) -> dict[str, str]:
    """The keys of the methods' code once ``line`` stands at the end of ``file``."""
    path = package / file
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{line}\n", encoding="utf-8")
    for function in (code_keys.imported, code_keys.modules_of, code_keys._code):
        function.cache_clear()
    keys = {one.__name__: code_of(one.__name__, package=package) for one in (facemug, inversion, optimisation, simple, judging)}
    path.write_text(text, encoding="utf-8")
    return keys


def test_whatever_decides_an_edit_changes_its_key(copy: Path) -> None:
    before = changed(copy, "widgets/painter.py", "added = 1")
    assert before == {name: code_of(name) for name in before}  # no method imports a widget, and a copy is as good
    assert len(set(before.values())) == len(before)
    for file in DECIDES:
        assert changed(copy, file, "added = 1")[FACEMUG] != before[FACEMUG], file
    assert changed(copy, "faces/prior.py", "added = 1")[optimisation.__name__] != before[optimisation.__name__]
    editor = changed(copy, "models/aggregation.py", "added = 1")
    assert editor[simple.__name__] == before[simple.__name__] and editor[judging.__name__] == before[judging.__name__]


def test_words_do_not_change_a_key(copy: Path) -> None:
    before = changed(copy, "models/aggregation.py", "")
    assert changed(copy, "models/aggregation.py", "# a comment") == before
    assert changed(copy, "models/aggregation.py", '"""A sentence under the last line."""') == before
    assert changed(copy, "models/aggregation.py", "added = 'a value'") != before


def test_every_method_is_stored_under_the_code_of_its_file(editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facemug, "code_of", lambda name: f"code of {name}")
    monkeypatch.setattr(simple, "code_of", lambda name: f"code of {name}")
    assert Facemug(editor).describe()["code"] == f"code of {FACEMUG}"
    assert MeanColour().describe()["code"] == f"code of {simple.__name__}"


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    (package / "inner").mkdir(parents=True)
    files = {"__init__": "from toy import unused", "unused": "", "inner/__init__": "", "inner/last": "x = 1",
             "first": "from __future__ import annotations\ndef late():\n    from toy import second",
             "second": "import json\nfrom toy.inner import last\nif TYPE_CHECKING:\n    from toy import unused"}
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    assert reached("toy.first", package=package) == {"toy.first", "toy.second", "toy.inner.last"}
    assert code_of("json", package=package) != code_of("pathlib", package=package)  # somebody else's: its own file


def test_the_edits_of_protocols_depend_on_the_editor_and_on_their_own_file() -> None:
    assert {incremental.__name__, "facemug_lib.editing.editor", "facemug_lib.evaluation.guided"} <= reached(incremental.__name__)
    assert "facemug_lib.editing.editor" not in reached(judging.__name__) | reached(simple.__name__)


def test_no_file_of_the_package_imports_by_a_name_made_up_at_run_time() -> None:
    """That would be an arrow that no reading of import statements sees; the package's own ``__init__`` is lazy and knows it."""
    found = []
    for name, path in code_keys.modules_of().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
                found.append(name)
    assert set(found) == {f"{PACKAGE.name}.{name}" for name in code_keys.OPEN_ROOMS}


def test_who_reads_a_whole_room_depends_on_all_of_it() -> None:
    for name, room in code_keys.OPEN_ROOMS.items():
        files = {one for one in code_keys.modules_of() if one.startswith(f"{PACKAGE.name}.{room}.")}
        assert len(files) > 4 and files <= reached(f"{PACKAGE.name}.{name}")
