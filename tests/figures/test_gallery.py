"""Edits that nobody chose: every kind gets its turn, the same faces whatever the count, and known pixels stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from facemug_lib.commands.figures import gallery as gallery_command
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import protocols
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.figures import gallery
from facemug_lib.figures.gallery import KINDS, kind_of


def test_every_kind_has_its_turn() -> None:
    kinds = [kind_of(index) for index in range(36)]
    assert {kinds.count(kind) for kind in KINDS} == {6}
    for kind in KINDS:  # and does not always meet the same size of irregular hole
        assert {index % 3 for index, one in enumerate(kinds) if one == kind} == {0, 1, 2}


def test_edits_are_those_of_a_longer_sheet(faces: TestSet, tiny) -> None:
    editor = tiny.tiny_editor()
    short, long = gallery.data(editor, faces, 4), gallery.data(editor, faces, 8)
    assert [one.index for one in long] == list(range(8))
    for mine, theirs in zip(short, long, strict=False):
        assert mine.kind == theirs.kind
        torch.testing.assert_close(mine.made["one pass"], theirs.made["one pass"], atol=1e-5, rtol=0)
    for one in long:
        hole = faces.cases(one.kind.family, [one.index]).masks > 0.5
        assert torch.equal(one.asked[~hole.expand_as(one.face)], one.face[~hole.expand_as(one.face)])
        assert torch.equal(one.made["one pass"][~hole.expand_as(one.face)], one.face[~hole.expand_as(one.face)])
        if one.kind.guidance:
            assert not torch.equal(one.asked, one.face)
    figure = gallery.draw(long)
    assert len(figure.axes) == 4 * 2 * 3


def test_refined_edits_stand_beside(faces: TestSet, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tiny.tiny_editor()
    steps = []
    make = editor.edit_many
    monkeypatch.setattr(editor, "edit_many", lambda plan, refine=0, **more: (steps.append(refine), make(plan))[1])
    (first,) = gallery.data(editor, faces, 1, refine=7)
    assert list(first.made) == ["one pass", "+ 7 steps"] and steps == [0, 7]


def test_the_command_writes_a_picture(faces: TestSet, tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facemug_lib.experts.student import ExpertStudent

    editor = tiny.tiny_editor()
    monkeypatch.setattr(Editor, "load", lambda device, weights, bank: editor)
    monkeypatch.setattr(ExpertStudent, "load", lambda device: None)
    monkeypatch.setattr(protocols, "prior_set", lambda prior, expert, count, tell: faces)
    for name, form in (("sheet.png", "PNG"), ("sheet.jpg", "JPEG")):
        gallery_command(tmp_path / "new" / name, count=3)
        picture = Image.open(tmp_path / "new" / name)
        assert picture.width > 300 and picture.format == form
    with pytest.raises(FacemugError, match=r"cannot write sheet.gif: the name must end in .png or .jpg"):
        gallery_command(tmp_path / "other" / "sheet.gif", count=3)
    assert not (tmp_path / "other").exists()
    with pytest.raises(FacemugError, match="ask for 1 … 15"):
        gallery.data(editor, faces, 16)
