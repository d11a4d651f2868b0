from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
from skimage import data

from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import shared_analyzer
from facemug_lib.faces.folders import align_folder


def test_align_folder(tmp_path: Path) -> None:
    astronaut, analyzer = data.astronaut(), shared_analyzer()
    (tmp_path / "in" / "sub").mkdir(parents=True)
    PIL.Image.fromarray(astronaut).save(tmp_path / "in" / "a.png")
    PIL.Image.fromarray(astronaut).save(tmp_path / "in" / "sub" / "b.bmp")
    (tmp_path / "in" / "broken.jpg").write_text("no")
    report = align_folder(tmp_path / "in", tmp_path / "in" / "out", size=64, analyzer=analyzer)
    assert [p.relative_to(tmp_path / "in" / "out").as_posix() for p in report.written] == ["a.png", "sub/b.png"]
    assert PIL.Image.open(report.written[1]).size == (64, 64)
    assert [(p.name, "not an image" in why) for p, why in report.skipped] == [("broken.jpg", True)]
    again = align_folder(tmp_path / "in", tmp_path / "in" / "out", size=64, analyzer=analyzer)
    assert again.written == report.written
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FacemugError, match="no photo"):
        align_folder(empty, tmp_path / "elsewhere")
    with pytest.raises(FacemugError, match="a.png would overwrite an input"):
        align_folder(tmp_path / "in" / "a.png", tmp_path / "in", size=64, analyzer=analyzer)
