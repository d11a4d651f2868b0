from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch

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
    first = session.apply(step(20, "left"))
    second = session.apply(step(150, "right"))
    assert [moment.parent for moment in session.moments] == [None, 0, 1] and session.current is second
    assert [moment.name for moment in session.moments] == ["photo", "left", "right"]
    changed = (session.photo != before).any(axis=2)
    assert changed[60:120, 20:70].any() and changed[60:120, 150:200].any()
    allowed = np.zeros((256, 256), bool)
    allowed[60:120, 20:70] = allowed[60:120, 150:200] = True
    assert not changed[~allowed].any()
    assert not np.array_equal(first.face.original, before)


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
        assert torch.equal(again.face.image, session.current.face.image)


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
