"""Ways to turn a face, side by side; the turning itself is tested in tests/editing."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.editing.latent.pose import Aim
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import head_pose
from facemug_lib.evaluation.head_pose import Way, compare, rows
from facemug_lib.faces.landmarks import HeadPose
from facemug_lib.figures import turned_faces


class Result:
    """What of a turn the tables and sheets read."""

    def __init__(self, after: HeadPose | None, identity: float) -> None:
        self.before, self.wanted, self.after, self.identity = HeadPose(0, 0, 0), HeadPose(20, -5, 0), after, identity
        self.raw = torch.zeros(1, 3, 32, 32)


class LightOrDark:
    """Dark pictures are one person, light ones another."""

    def facenet(self, pictures: torch.Tensor) -> torch.Tensor:
        light = pictures.mean((1, 2, 3)) > 0.5
        return torch.stack([light, ~light], dim=1).float()


@pytest.fixture
def turned(monkeypatch):
    answers = {"warping": [Result(HeadPose(2, 0, 0), 0.9), Result(HeadPose(4, 0, 0), 0.7)],
               "direction": [Result(HeadPose(19, -5, 0), 0.4), Result(None, 0.2)]}

    def turn(editor, face, aim, *, method, refine, progress):
        assert aim.like is not None and refine in (0, 4)
        return answers[method][int(face.mean())]

    monkeypatch.setattr(head_pose, "turn", turn)
    faces = [torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)]
    return compare(None, faces, [Aim(like=face) for face in faces], [Way("warping"), Way("direction", 4)])


def test_rows_are_means_of_what_was_measured(turned) -> None:
    untouched, warped, direction = rows(turned, LightOrDark())
    assert untouched == {"way": "untouched", "yaw off": 20, "pitch off": 5}
    assert warped == pytest.approx({"way": "warping", "yaw off": 17, "pitch off": 5, "arcface": 0.8, "facenet": 0.5, "lost": 0})
    assert direction == pytest.approx({"way": "direction, 4 steps", "yaw off": 1, "pitch off": 0, "arcface": 0.3, "facenet": 0.5,
                                       "lost": 1})
    assert "facenet" not in rows(turned)[1]


def test_a_sheet_has_a_column_per_face_with_numbers_below(turned) -> None:
    figure = turned_faces.draw(turned)
    said = [axis.get_xlabel() for axis in figure.axes]
    assert said == ["+0°, +0°"] * 2 + ["+20°, -5°"] * 2 + ["+2°, +0°, id 0.90", "+4°, +0°, id 0.70", "+19°, -5°, id 0.40",
                                                           "no face seen, id 0.20"]


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(FacemugError, match="1 faces, 0 aims and 1 ways"):
        compare(None, [torch.zeros(1, 3, 32, 32)], [], [Way("warping")])
