"""What is set beside the painter's layers: the size that is painted, other systems, and where a pass can be stopped."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib import systems
from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript, Replayer
from facemug_lib.editing.script.saved_session import Settings
from facemug_lib.faces.alignment import AlignedFace, crop_photo, open_face
from facemug_lib.faces.photos import Photo
from facemug_lib.weights import save_weights
from facemug_lib.widgets.painter import Painter
from facemug_lib.widgets.worker import Turn

FURTHER = Path(__file__).parent.parent / "kit" / "further_systems"


def paint(painter: Painter, layer: str = "mask", value: int = 255) -> None:
    painter._receive(painter, {"kind": "stroke", "layer": layer, "box": [60, 70, 50, 40]}, [memoryview(bytes([value]) * 2000)])


def say(painter: Painter, kind: str, **content) -> None:
    painter._receive(painter, {"kind": kind, **content}, [])
    assert painter.wait(60)


def shown(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)))


@pytest.fixture
def large() -> AlignedFace:
    """A photo that shows the square around the face in 512 px."""
    draw = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
    photo = Photo(np.asarray(PIL.Image.fromarray(draw).resize((512, 512), PIL.Image.Resampling.BICUBIC)), "large.png")
    matrix = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]])
    return AlignedFace(crop_photo(photo, matrix, FACE_SIZE), photo, matrix)


def test_an_edit_is_painted_shown_and_kept_at_its_size(editor: Editor, large: AlignedFace, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    painter = Painter(editor, large)
    assert painter.size == "auto" and painter.shown_size == 512
    assert np.array_equal(shown(painter.picture), large.photo.pixels) and painter.original == painter.picture
    for size, note in (("auto", " at 512 px"), (256, "")):
        paint(painter)
        painter.size = size
        say(painter, "edit")
        assert painter.error == "" and painter.note.startswith("edited in ") and painter.note.endswith(f" s{note}")
    fine, coarse = painter.script.script.steps
    assert (fine.size, coarse.size) == ("auto", 256)
    assert np.array_equal(shown(painter.picture), painter.photo)  # pixel for pixel what is saved
    again = painter.script.replay(editor)
    assert np.array_equal(again.photo, painter.photo)
    assert np.array_equal(Replayer.of(editor, large).replay(painter.script.script.dropped(2)).photo,
                          painter.session.face_of(1).original)
    say(painter, "revise")
    assert painter.size == 256
    say(painter, "go", number=1)
    # What is taken away: the script, and code that makes the same pixels.
    painter.save(str(tmp_path / "edit.json"))
    assert [step.size for step in EditScript.read(tmp_path / "edit.json").steps] == ["auto"]
    monkeypatch.setattr("facemug_lib.Editor.load", lambda *given, **more: editor)
    monkeypatch.setattr(Replayer, "of", classmethod(lambda cls, editor, photo: cls(editor, large, Path())))
    monkeypatch.chdir(tmp_path)
    exec(painter.code(), {})
    assert np.array_equal(np.asarray(PIL.Image.open("edited.png")), painter.photo)
    assert Settings(text="a smile").size == 256  # a session from before there were sizes goes on as it was


def test_variations_are_looked_at_small_and_taken_at_their_size(editor: Editor, large: AlignedFace) -> None:
    painter = Painter(editor, large)
    paint(painter)
    say(painter, "vary", more=False)
    assert painter.error == "" and len(painter.variations) == 4
    say(painter, "take", number=1)
    assert painter.script.script.steps[0].size == "auto" and painter.note.endswith(" at 512 px")


@pytest.fixture
def sixth(editor: Editor, face: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Painter:
    """A painter where one further system has weights, and no other has any."""
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(FURTHER)])
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path))
    config = {"system": "sixth", "attributes": ["smile", "age"]}
    save_weights(tmp_path / "sixth.safetensors", {"colours": torch.tensor([[0.3, 0, 0], [0, 0.3, 0]])}, config=config, card={})
    return Painter(editor, open_face(face, aligned=True))


def test_another_system_edits_under_the_mask(sixth: Painter, editor: Editor, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    painter, before = sixth, sixth.photo.astype(int)
    assert painter.choices["systems"] == ["sixth"] and painter.system == "" and painter.system_offer == {}
    painter.attributes, painter.text = {"smile": 2.0}, "an old person"  # FACEMUG's own, which a system knows nothing of
    painter.system = "sixth"
    assert list(painter.system_offer) == ["smile", "age"] and painter.system_offer["smile"]["high"] == 2
    paint(painter)
    say(painter, "edit")
    assert "nothing to change" in painter.error and painter.current == 0
    painter.system_attributes = {"smile": 0.5, "age": 0.0}
    say(painter, "edit")
    assert painter.error == "" and painter.history[1]["name"] == "sixth: smile +0.5"
    changed = painter.photo.astype(int) - before
    assert changed[75:105, 65:105].any() and not changed[:, :60].any() and not changed[110:].any()
    assert painter.system == "sixth" and painter.system_attributes == {}
    assert painter.attributes == {"smile": 2.0} and painter.text == "an old person"
    (step,) = painter.script.script.steps
    assert step.system == "sixth" and step.attributes == {"smile": 0.5} and step.text is None
    assert np.array_equal(painter.script.replay(painter.editor).photo, painter.photo)
    # Its code makes the same pixels; of a photo that the code has to name.
    PIL.Image.fromarray(before.astype(np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.setattr("facemug_lib.Editor.load", lambda *given, **more: editor)
    monkeypatch.setattr(Replayer, "of", classmethod(lambda cls, editor, photo: cls(editor, painter.session.first, Path())))
    monkeypatch.chdir(tmp_path)
    exec(painter.code(), {})
    assert np.array_equal(np.asarray(PIL.Image.open("edited.png")), painter.photo)
    say(painter, "undo")
    assert painter.current == 0 and painter.system_attributes == {"smile": 0.5, "age": 0.0} and painter.layers.is_painted("mask")
    for kind, content in (("sketch", 255), ("semantics", 13)):
        paint(painter, kind, content)
    say(painter, "edit")
    assert "sixth knows attributes and no sketch" in painter.error and painter.current == 0
    say(painter, "vary", more=False)
    assert "one picture of an edit" in painter.error
    painter.system_attributes = {"smile": 7.0}
    say(painter, "clear", layers=["sketch", "semantics"])
    say(painter, "edit")
    assert "takes -2 to 2" in painter.error
    painter.system = "seventh"
    assert "no system is called 'seventh'" in painter.error and painter.system == ""
    say(painter, "go", number=1)
    say(painter, "revise")
    assert (painter.system, painter.system_attributes) == ("sixth", {"smile": 0.5, "age": 0.0})
    painter.system = painter.text = ""
    say(painter, "edit")
    assert painter.error == "" and painter.script.script.steps[0].system is None


def test_one_pass_is_stopped_before_its_next_part(sixth: Painter, large: AlignedFace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is not begun, and everything stays as it was."""
    def parts(painter: Painter, stop_at: int | None) -> int:
        """Edit, and cancel at part ``stop_at``; how many parts were begun."""
        begun, plain = [0], Turn.check

        def counted(turn: Turn) -> None:
            begun[0] += 1
            if begun[0] == stop_at:
                painter.cancel()
            plain(turn)

        with monkeypatch.context() as patch:
            patch.setattr(Turn, "check", counted)
            say(painter, "edit")
        return begun[0]

    painter = Painter(sixth.editor, large)
    for one, least in ((painter, 60), (sixth, 4)):  # in one's own networks each layer is a part
        if one is sixth:
            one.system, one.system_attributes = "sixth", {"smile": 0.5}
        paint(one)
        every = parts(one, None)
        assert one.current == 1 and every >= least
        say(one, "undo")
        picture, layers, settings = one.picture, one.layers.packed(), one._settings()
        for stop_at in {*range(1, every, every // 8 + 1), every}:
            assert parts(one, stop_at) == stop_at
            assert one.note.startswith("cancelled") and one.error == "" and len(one.history) == 2 and one.current == 0
            assert one.picture == picture and one.layers.packed() == layers and one._settings() == settings


def test_a_photo_that_is_being_opened_is_given_up(sixth: Painter, large: AlignedFace) -> None:
    painter, go_on, begun = sixth, threading.Event(), threading.Event()

    def read() -> AlignedFace:
        begun.set()
        go_on.wait(30)
        return large

    painter._open("opening the photo", read, is_known=False)
    assert begun.wait(30)
    painter.cancel()
    go_on.set()
    assert painter.wait(30) and painter.note.startswith("cancelled") and painter.photo.shape == (256, 256, 3)
