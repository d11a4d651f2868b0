from __future__ import annotations

import os
from pathlib import Path

import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.files import (
    distinct_names,
    files_in,
    replacing,
    require_no_input_overwritten,
    require_writable_file,
    require_writable_folder,
)


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    target, link = put(tmp_path / "far" / "real.txt", "old"), tmp_path / "link.txt"
    link.symlink_to(target)
    (tmp_path / "chain.txt").symlink_to(link)
    (tmp_path / "new.txt").symlink_to(tmp_path / "far" / "not there yet.txt")
    for name, written in (("link.txt", target), ("chain.txt", target), ("new.txt", tmp_path / "far" / "not there yet.txt")):
        with replacing(tmp_path / name) as temporary:
            assert temporary.parent == tmp_path / "far"  # on one disk, so that the change is one step
            temporary.write_text(name)
        assert (tmp_path / name).is_symlink() and written.read_text() == name
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["not there yet.txt", "real.txt"]


def test_what_cannot_be_written_is_said_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "file.png", "mine")
    for path, message in ((tmp_path, "it is a folder"), (tmp_path / "none" / "a.png", "no folder .*none"),
                          (file / "a.png", r"no folder .*file\.png")):
        with pytest.raises(FacemugError, match=message):
            require_writable_file(path)
    for path in (file, file / "deep" / "er"):
        with pytest.raises(FacemugError, match=r"file\.png is a file: name a folder"):
            require_writable_folder(path)
    require_writable_file(file)
    require_writable_folder(tmp_path / "new" / "er")
    monkeypatch.setattr("facemug_lib.files.os.replace", lambda *given: pytest.fail("replaced a file"))
    require_writable_file(file)
    assert file.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["file.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FacemugError, match="cannot write .*Permission denied"):
        require_writable_file(tmp_path / "a.png")
    with pytest.raises(FacemugError, match="cannot write into .*Permission denied"):
        require_writable_folder(tmp_path / "new")
    tmp_path.chmod(0o700)


def test_no_input_is_overwritten_by_whatever_name(tmp_path: Path) -> None:
    photo, link = put(tmp_path / "photo.png"), tmp_path / "link.png"
    link.symlink_to(photo)
    for target in (photo, link, tmp_path / "x" / ".." / "photo.png"):
        with pytest.raises(FacemugError, match="would overwrite an input: name another"):
            require_no_input_overwritten([tmp_path / "new.png", target], [None, photo])
    require_no_input_overwritten([tmp_path / "new.png"], [None, photo])


def test_hidden_files_are_nobodys_pictures(tmp_path: Path) -> None:
    for name in ("b.png", "A.JPG", "sub/c.png", "._b.png", ".DS_Store", "sub/._c.png", ".thumbnails/d.png", "notes.txt"):
        put(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in files_in(tmp_path, (".png", ".jpg"))] == ["A.JPG", "b.png", "c.png"]
    assert [path.name for path in files_in(tmp_path, (".png",), deep=False)] == ["b.png"]
    hidden = put(tmp_path / ".mine" / "e.png").parent  # asked for by name
    assert [path.name for path in files_in(hidden, (".png",))] == ["e.png"]


@pytest.mark.parametrize(("paths", "names"), [
    (["x/a.jpg", "y/b.png"], ["a.png", "b.png"]), (["a.jpg", "a.png"], ["a.jpg.png", "a.png.png"]),
    (["x/a.jpg", "y/a.jpg", "b.jpg"], ["x_a.jpg.png", "y_a.jpg.png", "b.png"]),
    (["1/x/a.jpg", "2/x/a.jpg"], ["1_x_a.jpg.png", "2_x_a.jpg.png"]), (["a.JPG", "A.jpg"], None),
    (["a.jpg", "a.png", "x/a.jpg.tif"], ["f_a.jpg.png", "a.png.png", "a.jpg.tif.png"]), ([], []),
])
def test_no_two_names_are_the_same(paths: list[str], names: list[str] | None, tmp_path: Path) -> None:
    given = [tmp_path / "f" / path for path in paths]
    if names is not None:
        assert distinct_names(given, ".png") == names
        return
    with pytest.raises(FacemugError, match="written to one file"):  # two files on one disk, one on another
        distinct_names(given, ".png")


def test_a_picture_given_twice_is_said(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match=r"a\.png is given twice: name each picture once"):
        distinct_names([tmp_path / "a.png", tmp_path / "a.png"], ".png")
