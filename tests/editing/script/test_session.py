from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from bytes_held import bytes_held

from facemug_lib.editing.script.edit_script import EditScript, Replayer, SampleRecord, Step, embedded
from facemug_lib.editing.script.session import Session
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face


def step(left: int, name: str = "") -> Step:
    mask = np.zeros((256, 256), np.uint8)
    mask[60:120, left : left + 50] = 255
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask).save(buffer, "PNG")
    return Step(name=name, mask=embedded(buffer.getvalue()), guidance_frame="aligned")


@pytest.fixture
def session(editor, face) -> Session:
    return Session(editor, open_face(face, aligned=True))


def test_edits_follow_each_other_and_change_their_mask_alone(session: Session) -> None:
    before = session.photo.copy()
    session.apply(step(20, "left"))
    second = session.apply(step(150, "right"))
    assert [moment.parent for moment in session.moments] == [None, 0, 1] and session.current is second
    assert [moment.name for moment in session.moments] == ["photo", "left", "right"]
    changed = (session.photo != before).any(axis=2)
    assert changed[60:120, 20:70].any() and changed[60:120, 150:200].any()
    allowed = np.zeros((256, 256), bool)
    allowed[60:120, 20:70] = allowed[60:120, 150:200] = True
    assert not changed[~allowed].any()
    middle = session.face_of(1).original
    assert not np.array_equal(middle, before) and np.array_equal(middle[:, 150:], before[:, 150:])


def test_going_back_begins_a_branch(session: Session) -> None:
    session.apply(step(20))
    session.apply(step(100))
    session.go(1)
    third = session.apply(step(150))
    assert third.parent == 1 and len(third.script.steps) == 2
    session.go(0)
    session.apply(step(30))
    session.apply(step(40))
    assert session.branches() == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, 5: 2}
    for wrong in (-1, 6):
        with pytest.raises(FacemugError, match="history has 0 … 5"):
            session.go(wrong)


def test_every_picture_is_what_its_script_makes(session: Session, editor) -> None:
    session.apply(step(20))
    session.apply(step(100))
    session.go(1)
    session.apply(step(150))
    for number in range(4):
        session.go(number)
        again = session.script.replay(editor)
        assert np.array_equal(again.photo, session.photo)
        assert torch.equal(again.face.image, session.face.image)


def test_an_edit_that_fails_leaves_all_as_it_was(session: Session) -> None:
    session.apply(step(20))
    with pytest.raises(FacemugError, match="no attribute is called"):
        session.apply(step(60).model_copy(update={"attributes": {"wisdom": 1.0}}))

    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        session.apply(step(60).model_copy(update={"refine": 3}), stop)
    assert len(session.moments) == 2 and session.current.number == 1
    assert session.apply(step(60)).number == 2


def test_a_sampled_face_needs_no_file(editor, tmp_path) -> None:
    session = Session(editor, SampleRecord(seed=7))
    session.apply(step(20).model_copy(update={"attributes": {"smile": 2.0}}))
    path = session.script.write(tmp_path / "edit.json")
    again = Replayer.of(editor, None).replay(EditScript.read(path))
    assert again.notes == [] and np.array_equal(again.photo, session.photo)


def test_every_picture_can_be_reached_from_every_other(session: Session) -> None:
    """Two branches of three: each picture is kept as what it changed of the one before, and none is lost by that."""
    shown = {0: session.photo.copy()}
    for start in (0, 1, 4):
        session.go(start if start in shown else 0)
        for left in (20, 90):
            made = session.apply(step(left + 9 * start))
            shown[made.number] = session.photo.copy()
    for number in (6, 1, 5, 2, 0, 4, 3, 6, 0, 1):
        assert np.array_equal(session.face_of(number).original, shown[number])
        session.go(number)
        assert np.array_equal(session.photo, shown[number]) and session.current.number == number


def test_a_long_sitting_holds_what_edits_changed_and_no_more(session: Session, editor) -> None:
    """A result's tensors are 10 MB, a photo of a camera 100 MB: an edit may leave neither."""
    session.apply(step(20))
    before = bytes_held(session, without=[editor])
    for number in range(4):
        session.apply(step(20 + 15 * number))
    assert (bytes_held(session, without=[editor]) - before) / 4 < 60 * 50 * 3 + 2000  # the pixels and the script


def test_replayed_steps_are_kept_small(editor, face, session: Session) -> None:
    for number in range(2):
        session.apply(step(20 + 15 * number))
    script, replayer = session.script.script, Replayer.of(editor, session.first)
    before = bytes_held(replayer, without=[editor])
    whole = replayer.replay(script)
    per_step = (bytes_held(replayer, without=[editor]) - before) / 2
    assert per_step < 1.1 * (3 * 4 + 1) * 256 * 256  # the picture and its mask
    again = replayer.replay(script)
    assert again.results == whole.results and np.array_equal(again.photo, session.photo)
    assert torch.equal(again.face.image, session.face.image)
