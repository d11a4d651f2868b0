"""A picture's record: beside it and inside it, true after a run, and untrue as soon as one thing that it depends on changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import code_keys
from facemug_lib.evaluation.code_keys import PACKAGE
from facemug_lib.figures import provenance
from facemug_lib.figures.provenance import changes, make_record, publish, read_record, sidecar, source_facts

PARAMETERS = {"profile": "smoke", "seed": 3, "photo": "/home/somebody/me.jpg", "sizes": [1, "C:\\faces\\a.png"]}


SOURCE = "import facemug_lib as fm\nfrom facemug_lib.modalities import masks\nfm.FacePrior"


def notebook(source: str = SOURCE) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# words"), nbformat.v4.new_code_cell("seed = 3", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(source)])


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "expert.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(folder))
    return folder / "expert.safetensors"


@pytest.fixture
def record(weights: Path) -> provenance.Record:
    notes = [{"device": "CPU"}, {"weights": "expert.safetensors", "sha256": provenance.file_hash(weights)},
             {"weights": "other/mine.safetensors", "sha256": "0"}]
    return make_record("01_tiny", "smoke", {"seed": 3}, PARAMETERS, source_facts(notebook()), notes, 1.25)


@pytest.fixture
def picture(tmp_path: Path, record: provenance.Record) -> Path:
    made = tmp_path / "made.png"
    Image.radial_gradient("L").save(made, dpi=(90, 90))
    return publish(made, tmp_path / "figures" / "deep" / "fig.png", record)


def test_the_record_stands_beside_the_picture_and_in_it(picture: Path) -> None:
    beside = json.loads(sidecar(picture).read_text())
    with Image.open(picture) as image:
        assert image.tobytes() == Image.radial_gradient("L").tobytes() and round(image.info["dpi"][0]) == 90
    assert read_record(picture) == beside
    sidecar(picture).unlink()
    assert read_record(picture) == beside  # from inside
    assert beside["seed"] == 3 and beside["device"] == "CPU" and beside["seconds"] == 1.2
    assert "faces.prior" in beside["code"] and "modalities.masks" in beside["code"] and "widgets.painter" not in beside["code"]
    assert beside["parameters"] | {"profile": "smoke"} == {
        "profile": "smoke", "seed": 3, "photo": "…/me.jpg", "sizes": [1, "…/a.png"]}


def test_a_picture_that_has_just_been_made_is_fresh(picture: Path, record: provenance.Record) -> None:
    assert changes(picture, read_record(picture), source_facts(notebook()), PARAMETERS) == []


@pytest.mark.parametrize(("source", "fresh"), [
    ("import facemug_lib as fm\n\n# a comment\nfrom facemug_lib.modalities import masks\nfm.FacePrior", True),
    ("import facemug_lib as fm\nfrom facemug_lib.modalities import masks\nfm.FacePrior.load", False)])
def test_words_of_a_notebook_do_not_count_and_its_code_does(picture: Path, source: str, fresh: bool) -> None:
    found = changes(picture, read_record(picture), source_facts(notebook(source)), PARAMETERS)
    assert found == ([] if fresh else ["the code of 01_tiny"])


def test_every_change_is_named(picture: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, known = source_facts(notebook()), read_record(picture)
    assert changes(picture, known, now, PARAMETERS | {"seed": 4}) == ["parameter seed: 3 → 4"]
    assert changes(picture, known, now | {"packages": now["packages"] | {"numpy": "99"}}, PARAMETERS)[0].endswith("→ 99")
    weights.write_bytes(b"others")
    assert changes(picture, known, now, PARAMETERS) == ["weights expert.safetensors"]
    weights.unlink()
    assert changes(picture, known, now, PARAMETERS) == ["weights expert.safetensors are missing"]
    weights.write_bytes(b"weights")
    Image.new("L", (256, 256)).save(picture)
    assert changes(picture, known, now, PARAMETERS) == ["the picture is not the one of its record"]


def test_one_changed_file_of_the_library_is_named_and_others_do_not_count(picture: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "*.js", "*.css")))
    for file, found in (("widgets/painter.py", []), ("faces/prior.py", ["the library's faces.prior"])):
        with (copy / file).open("a") as out:
            out.write("\nadded = 1\n")
        for function in (code_keys.imported, code_keys.modules_of, code_keys._code):
            function.cache_clear()
        assert changes(picture, read_record(picture), source_facts(notebook(), copy), PARAMETERS) == found


def test_a_jpeg_is_made_of_a_png_and_what_is_no_picture_is_refused(tmp_path: Path, record: provenance.Record) -> None:
    made = tmp_path / "made.png"
    Image.radial_gradient("L").convert("RGBA").save(made)
    target = publish(made, tmp_path / "sheet.jpg", record)
    with Image.open(target) as image:
        assert (image.format, image.size) == ("JPEG", (256, 256))
    assert changes(target, read_record(target), source_facts(notebook()), PARAMETERS) == []
    before = target.read_bytes()
    made.write_bytes(b"half a picture")
    with pytest.raises(FacemugError, match=r"made.png is no readable picture"):
        publish(made, target, record)
    assert target.read_bytes() == before
    sidecar(target).write_text("{")
    assert read_record(target) is None
