"""Several seeds of one edit, of which one is taken."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.faces.alignment import open_face
from facemug_lib.widgets import variations
from facemug_lib.widgets.painter import Painter


@pytest.fixture
def painter(editor, face) -> Painter:
    return Painter(editor, open_face(face, aligned=True))


def paint(painter: Painter, layer: str = "mask", left: int = 60) -> None:
    painter._receive(painter, {"kind": "stroke", "layer": layer, "box": [left, 70, 50, 40]}, [memoryview(b"\xff" * 2000)])


def say(painter: Painter, kind: str, **content) -> None:
    painter._receive(painter, {"kind": kind, **content}, [])
    assert painter.wait(60)


def pixels(variation: dict) -> np.ndarray:
    png = base64.b64decode(variation["picture"].partition(",")[2])
    return np.asarray(PIL.Image.open(io.BytesIO(png))).astype(int)


def test_the_one_that_is_clicked_becomes_the_edit(painter: Painter, editor) -> None:
    painter.seed = 7
    paint(painter)
    say(painter, "vary", more=False)
    assert painter.error == "" and painter.current == 0 and len(painter.history) == 1 and painter.layers.is_painted("mask")
    assert [one["seed"] for one in painter.variations] == [7, 8, 9, 10] and "a click takes one" in painter.note
    shown = [pixels(one) for one in painter.variations]
    assert all(np.abs(shown[0] - other).max() > 8 for other in shown[1:])
    say(painter, "take", number=2)
    assert painter.error == "" and painter.current == 1 and painter.variations == [] and painter.seed == 9
    made = np.asarray(PIL.Image.open(io.BytesIO(painter.picture))).astype(int)
    near = [np.abs(made - one)[70:110, 60:110].mean() for one in shown]
    assert near[2] < 1 < min(near[0], near[1], near[3])  # pasted into the photo, its seam is softer
    # It is the edit: in the script, in the code, in undo, and when it is changed.
    assert painter.script.script.steps[0].seed == 9 and painter.script.script.steps[0].variety == 0.5
    assert np.array_equal(painter.script.replay(editor).photo, painter.photo)
    say(painter, "undo")
    assert painter.current == 0 and painter.seed == 7 and [one["seed"] for one in painter.variations] == [7, 8, 9, 10]
    say(painter, "redo")
    assert painter.current == 1 and painter.seed == 9 and painter.variations == []
    say(painter, "revise")
    assert painter.current == 0 and (painter.seed, painter.variety) == (9, 0.5)
    say(painter, "edit")
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(painter.picture))).astype(int), made)


def test_they_are_shown_while_what_they_are_of_is_painted_and_set(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(painter)
    say(painter, "vary", more=False)
    say(painter, "vary", more=True)
    assert [one["seed"] for one in painter.variations] == [*range(8)]
    paint(painter, left=120)
    assert painter.variations == []
    say(painter, "take", number=0)
    assert "there is no variation 0" in painter.error and len(painter.history) == 1
    say(painter, "undo")
    assert len(painter.variations) == 8
    painter.attributes = {"smile": 1.0}
    assert painter.variations == []
    say(painter, "vary", more=True)  # of another edit there are no first four
    assert [one["seed"] for one in painter.variations] == [0, 1, 2, 3]
    painter.seed = 11  # the die: of the same edit
    assert len(painter.variations) == 4
    painter.variety = 1.0  # of another edit
    assert painter.variations == []
    painter.variety = 0.0
    monkeypatch.setattr(variations, "MOST", 6)
    say(painter, "vary", more=True)
    assert [one["seed"] for one in painter.variations] == [*range(2, 8)]
    say(painter, "take", number=6)
    assert "there is no variation 6" in painter.error
    say(painter, "dismiss")
    assert painter.variations == []
    say(painter, "vary", more=False)
    assert [one["seed"] for one in painter.variations] == [11, 12, 13, 14]


def test_a_cancel_leaves_all_as_it_was(painter: Painter) -> None:
    paint(painter)
    say(painter, "vary", more=False)
    painter.refine = 400
    painter._receive(painter, {"kind": "vary", "more": False}, [])
    while painter.share == 0:
        assert painter.busy == "trying 4 seeds" and painter.error == ""
    painter._receive(painter, {"kind": "take", "number": 0}, [])
    assert "being made" in painter.error
    say(painter, "cancel")
    assert painter.note.startswith("cancelled") and painter.variations == [] and painter.layers.is_painted("mask")
    painter.refine = 0
    assert len(painter.variations) == 4
    # One pass asks nobody: a cancel that comes in the middle of it counts at its end.
    try_out = painter.session.try_out
    painter.session.try_out = lambda *given: (painter.cancel(), try_out(*given))[1]
    say(painter, "vary", more=True)
    assert painter.note.startswith("cancelled") and len(painter.variations) == 4


def test_without_a_mask_there_is_nothing_to_vary(painter: Painter) -> None:
    say(painter, "vary", more=False)
    assert "no mask is painted" in painter.error and painter.variations == []


def test_where_the_seed_decides_nothing_it_is_said(editor) -> None:
    painter = Painter(editor, seed=3)  # a sampled face is altered from the codes that made it
    paint(painter)
    painter.attributes = {"smile": 1.0}
    say(painter, "vary", more=False)
    assert "the seed decides nothing" in painter.note and len(painter.variations) == 4


def test_another_photo_has_none(painter: Painter, face: torch.Tensor) -> None:
    paint(painter)
    say(painter, "vary", more=False)
    painter.open_photo(open_face(face.flip(3), aligned=True))
    assert painter.wait(60) and painter.variations == [] and painter.error == ""
