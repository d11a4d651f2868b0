"""The painter's session in a file: saved on its own, offered again, and nothing of the photo in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import psutil
import pytest

from facemug_lib.editing.script import saved_session
from facemug_lib.faces.alignment import open_face
from facemug_lib.widgets import keeping
from facemug_lib.widgets.painter import Painter


@pytest.fixture(autouse=True)
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel with a window, and a folder of sessions, each of which was saved by a process that is no longer there."""
    folder = tmp_path / "state" / "sessions"
    monkeypatch.setenv("FACEMUG_SESSIONS", str(folder))
    monkeypatch.setenv("FACEMUG_WIDGETS", "live")
    monkeypatch.setattr(keeping, "PAUSE", 0.05)
    monkeypatch.setattr(saved_session, "this_process", lambda: (2**22 + 1, 0.0))
    return folder


@pytest.fixture
def aligned(face):
    return open_face(face, aligned=True)


def paint(painter: Painter, layer: str = "mask", left: int = 60, value: int = 255) -> None:
    painter._receive(painter, {"kind": "stroke", "layer": layer, "box": [left, 70, 50, 40]}, [memoryview(bytes([value]) * 2000)])


def say(painter: Painter, kind: str, **content) -> None:
    painter._receive(painter, {"kind": kind, **content}, [])
    assert painter.wait(60)


def crashed(painter: Painter) -> None:
    """Save what there is and hear nothing more of it."""
    painter.save_now()
    painter._autosave.is_off = True


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_after_a_crash_everything_is_made_again(editor, aligned, sessions: Path) -> None:
    first = Painter(editor, aligned)
    assert first.saved == {}
    for left, smile in ((60, 0.0), (120, 1.0)):
        paint(first, left=left)
        first.attributes, first.seed, first.variety = {"smile": smile}, left, 0.25
        say(first, "edit")
    say(first, "go", number=1)
    paint(first, left=20)
    say(first, "edit")  # a branch
    say(first, "go", number=2)
    paint(first, "semantics", value=13)
    first.text = "an old person"
    assert first.error == ""
    crashed(first)

    again = Painter(editor, aligned)
    assert again.saved["can_go_on"] and again.saved["text"].startswith("3 edits of the tensor, saved on ")
    say(again, "go_on", file=again.saved["file"])
    assert again.error == "" and again.saved == {} and again.note == "everything is as it was"
    assert again.current == 2 and again.picture == first.picture and np.array_equal(again.photo, first.photo)
    plain = [{name: value for name, value in one.items() if name != "thumbnail"} for one in again.history]
    assert plain == [{name: value for name, value in one.items() if name != "thumbnail"} for one in first.history]
    assert again.text == "an old person" and again.layers.packed() == first.layers.packed()
    assert again.script.script.steps == first.script.script.steps
    say(again, "revise")
    assert again.current == 1 and again.attributes == {"smile": 1.0} and (again.seed, again.variety) == (120, 0.25)
    assert again.layers["mask"][:, 120:170].any() and not again.layers["mask"][:, :120].any()
    assert len([*sessions.iterdir()]) == 1  # its own, in place of the one that it went on with


def test_it_is_private_and_holds_no_pixel_of_the_photo(editor, sessions: Path) -> None:
    marked = np.random.default_rng(3).integers(0, 256, (256, 256, 3), np.uint8)
    painter = Painter(editor, open_face(marked, aligned=True))
    paint(painter)
    say(painter, "edit")
    painter.save_now()
    (path,) = sessions.iterdir()
    if os.name == "posix":
        assert stat.S_IMODE(sessions.stat().st_mode) == 0o700
    with zipfile.ZipFile(path) as file:
        assert sorted(file.namelist()) == ["about.json", "session.json"]
        texts = b"".join(map(file.read, file.namelist()))
    assert len(texts) < 10_000 < 0.1 * marked.nbytes  # noise cannot be packed: nothing of it is there


def test_what_is_painted_is_saved_in_time_and_before_an_edit(editor, aligned, sessions: Path) -> None:
    painter = Painter(editor, aligned)
    paint(painter)
    until(lambda: sessions.is_dir() and any(sessions.glob("*.zip")))
    (path,) = sessions.glob("*.zip")
    say(painter, "undo")
    until(lambda: not path.exists())  # there is nothing to go on with
    painter._autosave.is_off = False
    seen = []
    apply = painter.session.apply
    painter.session.apply = lambda *given: (seen.append(saved_session.known(sessions)[0]), apply(*given))[1]
    paint(painter)
    say(painter, "edit")
    assert seen[0][0][1].edits == 0 and painter.error == ""


def test_a_damaged_file_is_one_line_and_passed_over(editor, aligned, sessions: Path) -> None:
    first = Painter(editor, aligned)
    paint(first)
    crashed(first)
    (good,) = sessions.iterdir()
    data = good.read_bytes()
    (sessions / "half.zip").write_bytes(data[: len(data) // 2])
    (sessions / "none.zip").write_bytes(b"")
    again = Painter(editor, aligned)
    assert again.saved["file"] == good.name and again.error == ""
    assert "zip cannot be read" in again.note and "\n" not in again.note
    # A file that is damaged where nobody has looked yet.
    with zipfile.ZipFile(good) as file:
        about = file.read("about.json")
    for text in (b"{}", b'{"made": [], "current": 3, "layers": {}, "settings": {}}', b'{"made": [], "current": 0, "layers": '
                 b'{"mask": "AAAA"}, "settings": {}}', b"\xff"):
        with zipfile.ZipFile(good, "w") as file:
            file.writestr("about.json", about)
            file.writestr("session.json", text)
        other = Painter(editor, aligned)
        say(other, "go_on", file=good.name)
        assert "the saved session" in other.error and "\n" not in other.error and other.saved == {}
        paint(other)
        assert other.error == "" and other.layers.is_painted("mask")
        say(other, "undo")
        crashed(other)
    say(other, "go_on", file="../../else.zip")
    assert "no longer there" in other.error


def test_sessions_are_bounded_and_can_be_removed(editor, aligned, sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        painter = Painter(editor, aligned)
        paint(painter, left=10 + number)
        crashed(painter)
    again = Painter(editor, aligned)
    newest = again.saved["file"]
    assert again.saved["text"].startswith("what was painted")
    say(again, "discard", file=newest)
    assert not (sessions / newest).exists() and again.saved["file"] != newest and again.error == ""
    passed = again.saved["file"]
    say(again, "later", file=passed)
    assert (sessions / passed).exists() and again.saved["file"] not in ("", passed)
    old = next(path for path in sessions.iterdir() if path.name != passed)
    os.utime(old, (0, time.time() - 86400 * (saved_session.DAYS + 1)))
    monkeypatch.setattr(saved_session, "KEPT", 2)
    paint(again)
    again.save_now()
    left = {path.name for path in sessions.iterdir()}
    assert len(left) == 2 and again._kept_as in left and old.name not in left
    monkeypatch.setattr(saved_session, "LARGEST", 1000)
    paint(again, left=100)
    again.save_now()
    assert "is no longer saved on its own: press Save" in again.error and {path.name for path in sessions.iterdir()} == left


def test_only_what_can_be_gone_on_with_is_offered(editor, aligned, face, sessions: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.png"
    pixels = ((face[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    PIL.Image.fromarray(pixels).save(path)
    first = Painter(editor, open_face(path, aligned=True))
    first._is_known = True
    paint(first)
    say(first, "edit")
    crashed(first)
    assert Painter(editor, open_face(face.flip(3), aligned=True)).saved == {}  # of another photo
    # Begun without a photo: the file is there, and can be opened.
    unasked = Painter(editor, seed=5)
    assert unasked.saved["can_go_on"] and unasked.saved["text"].startswith("1 edit of me.png")
    say(unasked, "go_on", file=unasked.saved["file"])
    assert unasked.error == "" and unasked.picture == first.picture
    crashed(unasked)
    path.rename(tmp_path / "elsewhere.png")
    unasked = Painter(editor, seed=5)
    assert not unasked.saved["can_go_on"] and unasked.saved["name"] == "me.png"
    unasked.open_photo(open_face(tmp_path / "elsewhere.png", aligned=True))
    assert unasked.wait(60) and unasked.saved["can_go_on"]
    # What another kernel is working on is not offered; nor is anything saved where nobody wants it.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as command:
        other = psutil.Process(command.pid)
        monkeypatch.setattr(saved_session, "this_process", lambda: (other.pid, other.create_time()))
        unasked.discard(unasked.saved["file"])
        paint(unasked)
        crashed(unasked)
        assert len([*sessions.iterdir()]) == 1 and Painter(editor, aligned).saved == {}
        other.kill()  # and not yet asked for by who started it
        ends = time.monotonic() + 30
        while other.status() != psutil.STATUS_ZOMBIE and time.monotonic() < ends:
            time.sleep(0.01)
        assert Painter(editor, aligned).saved["can_go_on"]
    monkeypatch.setenv("FACEMUG_SESSIONS", "off")
    silent = Painter(editor, aligned)
    paint(silent)
    silent.save_now()
    assert len([*sessions.iterdir()]) == 1


def test_going_on_can_be_cancelled(editor, aligned) -> None:
    first = Painter(editor, aligned)
    for left in (60, 120):
        paint(first, left=left)
        say(first, "edit")
    crashed(first)
    again = Painter(editor, aligned)
    apply = type(again.session).apply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(again.session), "apply", lambda *given: (again.cancel(), apply(*given))[1])
        say(again, "go_on", file=again.saved["file"])
    assert again.note.startswith("cancelled") and again.current == 0 and again.saved != {} and again.error == ""
    say(again, "go_on", file=again.saved["file"])
    assert again.current == 2


def test_a_painter_that_is_gone_ends_its_thread_and_a_full_disk_is_one_line(editor, aligned, sessions: Path) -> None:
    sessions.parent.mkdir()
    sessions.write_text("a file where the folder should be")
    painter = Painter(editor, aligned)
    paint(painter)
    painter.save_now()
    until(lambda: painter.error != "")  # the thread may have been quicker
    assert "cannot be saved on its own" in painter.error and "FACEMUG_SESSIONS" in painter.error
    sessions.unlink()
    class Shown:
        def save(self) -> None:
            """Nothing changes that would have to be saved."""

    shown = Shown()
    saver = keeping.Autosave(shown.save, shown.save)
    saver.touch()
    assert saver._thread.is_alive()
    del shown
    saver._thread.join(20)
    assert not saver._thread.is_alive()
