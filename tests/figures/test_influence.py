"""Contradictory guidance: who is asked for what, with which influence, and that the winner is measured as such."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from stubs import StubJudges

from facemug_lib.commands.figures import influence as influence_command
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import judges, metrics, protocols
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.figures import influence
from facemug_lib.figures.influence import INFLUENCE_SETTINGS
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.modalities.sketch import pencil_sketch
from facemug_lib.pictures import as_8_bit
from facemug_lib.progress import silent


class Obedient:
    """An editor that fills the hole from whichever face has the larger influence: that of the sketch, or else that of the map."""

    prior, device = None, torch.device("cpu")

    def __init__(self, faces: TestSet) -> None:
        self.faces, self.asked = faces, []

    def edit_many(self, edits: list[Edit], influence: dict[str, float], refine: int, **_: object) -> list[SimpleNamespace]:
        self.asked.append((edits, influence, refine))
        light = torch.full((1, 3, 256, 256), 0.5)
        results = []
        for place, edit in enumerate(edits):
            if influence["sketch"] > influence["semantics"]:
                fill = self.faces.images([place ^ 1])
            else:
                fill = torch.where(edit.semantics[:, None] == SEMANTIC_CLASSES.index("skin"), light, -light)
            conditions = Conditions.build(edit.mask, edit.face, sketch=edit.sketch, semantics=edit.semantics)
            results.append(SimpleNamespace(image=torch.where(edit.mask > 0.5, fill, edit.face), conditions=conditions))
        return results


@pytest.fixture
def obedient(faces: TestSet, monkeypatch: pytest.MonkeyPatch) -> Obedient:
    editor = Obedient(faces)
    monkeypatch.setattr(Editor, "load", lambda device, weights, bank: editor)
    monkeypatch.setattr(judges, "Judges", lambda device: StubJudges())
    monkeypatch.setattr(ExpertStudent, "load", lambda device: None)
    monkeypatch.setattr(protocols, "prior_set", lambda prior, expert, count, tell: faces)
    return editor


def test_two_other_faces_are_asked_for_under_every_setting(obedient: Obedient, faces: TestSet) -> None:
    found = influence.data(obedient, StubJudges(), faces, 3, refine=5)
    assert [(influence, refine) for _, influence, refine in obedient.asked] == [
        (influence, refine) for refine in (0, 5) for influence in INFLUENCE_SETTINGS.values()]
    assert torch.equal(found.sketch, pencil_sketch(faces.images([1, 0, 3])))
    assert torch.equal(found.labels, faces.labels[[2, 3, 0]].long())
    for edits, _, _ in obedient.asked:
        assert all(torch.equal(edit.sketch, found.sketch[place:place + 1]) for place, edit in enumerate(edits))
        assert all(torch.equal(edit.semantics, found.labels[place:place + 1]) for place, edit in enumerate(edits))
    assert {way for way, _ in found.scores} == {"one pass", "+ 5 steps"}


def test_whoever_wins_scores(obedient: Obedient, faces: TestSet) -> None:
    means = influence.data(obedient, StubJudges(), faces, 3, refine=0).means()
    assert set(means) == {("one pass", setting) for setting in INFLUENCE_SETTINGS}
    drawn, mapped = means["one pass", "sketch 2, map 0.25"], means["one pass", "sketch 0.25, map 2"]
    assert drawn["sketch"] > 2 * mapped["sketch"] and mapped["semantics"] > 0.9 > drawn["semantics"]


def test_a_longer_measurement_begins_with_the_shorter_one(obedient: Obedient, faces: TestSet) -> None:
    found = influence.data(obedient, StubJudges(), faces, 6, refine=0)
    assert [len(edits) for edits, _, _ in obedient.asked] == [4] * 5 + [2] * 5 and len(found.faces) == 6
    few = influence.data(obedient, StubJudges(), faces, 2, refine=0)
    for key, scores in few.scores.items():
        assert torch.equal(scores["sketch"], found.scores[key]["sketch"][:2])


def test_real_edits_are_those_of_the_setting_and_scored_as_they_are(reading_editor, faces: TestSet) -> None:
    found = influence.data(reading_editor, StubJudges(), faces, 1, refine=1)
    cases = faces.cases("face", [0])
    edit = Edit(cases.images, cases.masks, seed=0, guidance_frame="aligned", sketch=found.sketch, semantics=found.labels)
    for steps, way in ((0, "one pass"), (1, "+ 1 steps")):
        for setting, weights in INFLUENCE_SETTINGS.items():
            (alone,) = reading_editor.edit_many([edit], influence=weights, refine=steps, progress=silent)
            made = as_8_bit(alone.image)
            assert (found.pictures[way, setting] - made).abs().max() <= 1.01 / 127.5  # one grey level
            score = metrics.sketch_agreement(found.pictures[way, setting], found.sketch, cases.masks)
            assert torch.equal(found.scores[way, setting]["sketch"], score)
    alone = [found.pictures["one pass", setting] for setting in ("sketch alone", "map alone")]
    assert (alone[0] - alone[1]).abs().max() > 4 / 127.5  # what is left out is not obeyed


def test_the_command_writes_a_figure_and_a_table(obedient: Obedient, tmp_path: Path, capsys) -> None:
    influence_command(tmp_path / "influence.png", count=3, refine=2)
    assert Image.open(tmp_path / "influence.png").width > 600
    rows = list(csv.DictReader((tmp_path / "influence.csv").open()))
    assert len(rows) == 4 * 2 * 5 and [row["face"] for row in rows[-10:]] == ["mean"] * 10
    own = [float(row["sketch_f1"]) for row in rows[:3]]
    assert float(rows[-10]["sketch_f1"]) == pytest.approx(sum(own) / 3, abs=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["influence.csv", "influence.png"]
    assert "3 faces, sketch against semantic map" in capsys.readouterr().out


def test_texts_of_the_figure_do_not_overlap(obedient: Obedient, faces: TestSet) -> None:
    figure = influence.draw(influence.data(obedient, StubJudges(), faces, 2, refine=3))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in (*figure.texts, *(text for axis in figure.axes for text in axis.texts))]
    boxes = [box for box in boxes if box.width] + [axis.get_window_extent() for axis in figure.axes]
    assert len(figure.axes) == 4 * 7
    for place, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[place + 1:])


def test_bad_input_gets_one_line_and_leaves_nothing(obedient: Obedient, faces: TestSet, tmp_path: Path) -> None:
    for out, message in (("influence.gif", "the name must end in .png or .jpg"), ("none/influence.png", "no folder .*none")):
        with pytest.raises(FacemugError, match=message):
            influence_command(tmp_path / out)
    for count in (0, 13):  # the toys are 15, and fours are needed
        with pytest.raises(FacemugError, match=f"{count} faces of a set of 15"):
            influence.data(obedient, StubJudges(), faces, count)
    assert not list(tmp_path.iterdir()) and not obedient.asked
