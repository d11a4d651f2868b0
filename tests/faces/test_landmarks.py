"""Detection, landmarks and head geometry."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from facemug_lib.faces import landmarks as lm
from facemug_lib.faces.warping import transform_points


@pytest.fixture(scope="module")
def analyzer() -> lm.FaceAnalyzer:
    return lm.FaceAnalyzer(threads=1)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


@pytest.fixture(scope="module")
def points(analyzer, astronaut) -> np.ndarray:
    return analyzer.landmarks(astronaut, analyzer.detect(astronaut)[0])


def test_finds_the_one_face_where_it_is(analyzer, astronaut):
    (face,) = analyzer.detect(astronaut)
    assert face.box == pytest.approx([180, 61, 270, 178], abs=6)
    assert face.points5 == pytest.approx(np.array([[204, 102], [247, 104], [224, 129], [202, 140], [245, 141]]), abs=6)


def test_same_image_same_result(analyzer, astronaut, points):
    again = lm.FaceAnalyzer(threads=1)
    assert np.array_equal(again.landmarks(astronaut, again.detect(astronaut)[0]), points)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("part", [(slice(None), slice(None)), (slice(0, 256), slice(96, 352)), (slice(66, 186), slice(172, 278))])
def test_turned_photos(analyzer, astronaut, part, turns):
    """In its last two parts the detector sees a face upside down as well, with another score and in another place."""
    photo = np.ascontiguousarray(astronaut[part])
    (upright,) = analyzer.detect(photo)
    x, y = analyzer.landmarks(photo, upright).T
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    (face,) = analyzer.detect(turned)
    right, bottom = photo.shape[1] - 1, photo.shape[0] - 1
    expected = {1: (y, right - x), 2: (right - x, bottom - y), 3: (bottom - y, x)}[turns]
    assert face.score == upright.score
    assert analyzer.landmarks(turned, face) == pytest.approx(np.stack(expected, axis=1), abs=0.05)


def test_each_face_has_its_own_way_up(analyzer, astronaut):
    head = astronaut[40:200, 145:305]
    side = head.shape[0]
    photo = np.concatenate([head, head[::-1, ::-1]], axis=1)
    left, right = sorted(analyzer.detect(photo), key=lambda face: face.box[0])
    assert left.points5[:2, 1].mean() < left.points5[3:, 1].mean() and right.points5[:2, 1].mean() > right.points5[3:, 1].mean()
    standing, turned = analyzer.landmarks(photo, left), analyzer.landmarks(photo, right)
    assert turned == pytest.approx(np.array([2 * side - 1, side - 1]) - standing, abs=2)


@pytest.mark.parametrize("angle", [45, 135, 225, 315])
def test_slanting_photos(analyzer, astronaut, points, angle):
    turn = cv2.getRotationMatrix2D((224, 120), angle, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 300))
    (face,) = analyzer.detect(turned)
    assert analyzer.landmarks(turned, face) == pytest.approx(transform_points(turn, points), abs=4)


def test_an_upright_picture_is_not_turned(analyzer, astronaut, monkeypatch):
    """Aligned faces are known to stand: nothing is asked of them, and generated ones keep their measured angles."""
    monkeypatch.setattr(analyzer, "_lean", lambda *given: pytest.fail("asked which way up"))
    (face,) = analyzer.detect(astronaut, is_upright=True)
    assert face.points5[0] == pytest.approx([204, 102], abs=6) and analyzer.pose(astronaut) is not None


def test_face_that_fills_the_frame(analyzer, astronaut):
    tight = np.ascontiguousarray(astronaut[66:186, 172:278])
    faces = analyzer.detect(tight)
    assert len(faces) == 1
    assert faces[0].box + np.array([172, 66, 172, 66]) == pytest.approx([180, 61, 270, 178], abs=12)


def test_no_face(analyzer):
    assert analyzer.detect(data.brick()[..., None].repeat(3, axis=2)) == []


@pytest.mark.parametrize("digits", [1, 6])  # with one digit many scores are equal
def test_of_overlapping_boxes_the_best_is_kept(digits):
    from torchvision.ops import nms  # the reference, too slow to import for the program itself

    draw = np.random.default_rng(digits)
    for count in (1, 7, 60):
        corner, size = draw.uniform(0, 60, (count, 2)), draw.uniform(1, 60, (count, 2))
        boxes, scores = np.concatenate([corner, corner + size], axis=1), draw.uniform(0, 1, count).round(digits)
        boxes[:2, 2:] = boxes[:2, :2]  # boxes without an area
        expected = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores).float(), lm.NMS_IOU).tolist()
        assert lm.best_of_overlapping(boxes, scores, lm.NMS_IOU) == expected


def test_index_groups(points):
    """Each group lies where its name says, on a face that looks into the camera with open eyes and mouth."""
    left, right = lm.eye_centres(points)
    assert left == pytest.approx([204, 102], abs=3) and right == pytest.approx([247, 104], abs=3)
    for ring in (lm.LEFT_EYE, lm.RIGHT_EYE, lm.MOUTH_OUTER, lm.MOUTH_INNER):
        start, end = points[list(ring["corners"])]
        upper, lower = points[list(ring["upper"])], points[list(ring["lower"])]
        assert (upper[:, 1] < lower[:, 1]).all()
        assert (np.diff(upper[:, 0]) > 0).all() and (np.diff(lower[:, 0]) > 0).all()
        assert start[0] < upper[0, 0] and upper[-1, 0] < end[0]
    jaw = points[list(lm.JAW)]
    assert jaw[:, 1].argmax() == len(jaw) // 2 and jaw[0, 0] < left[0] and jaw[-1, 0] > right[0]
    assert points[list(lm.LEFT_BROW)].mean(axis=0)[1] < left[1] - 5 and points[list(lm.RIGHT_BROW)].mean(axis=0)[0] > right[0] - 8
    rings = (lm.LEFT_EYE, lm.RIGHT_EYE, lm.MOUTH_OUTER, lm.MOUTH_INNER)
    covered = [*lm.JAW, *lm.LEFT_BROW, *lm.RIGHT_BROW, lm.NOSE_TIP]
    covered += [index for ring in rings for part in ring.values() for index in part]
    assert len(covered) == len(set(covered))


def test_openness(points):
    assert all(0.2 < ratio < 0.4 for ratio in lm.eye_openness(points))
    assert 0.05 < lm.mouth_openness(points) < 0.3
    shut = points.copy()
    for ring in (lm.LEFT_EYE, lm.RIGHT_EYE, lm.MOUTH_INNER):
        shut[list(ring["upper"])] = shut[list(ring["lower"])]
    assert lm.eye_openness(shut) == (0, 0) and lm.mouth_openness(shut) == 0


def _project(model: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    y, p, r = np.radians([yaw, pitch, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (model @ (rz @ ry @ rx).T)[:, :2] * 1.7 + [300, 200]


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, -20, 0), (0, 0, 50), (-25, 15, -10)])
def test_head_pose_recovers_angles(angles):
    five = _project(np.array(lm._FACE_5, float), *angles)
    assert lm.head_pose(five) == pytest.approx(angles, abs=1e-6)
    many = np.zeros((106, 2))
    many[list(lm.FACE_106)] = _project(np.array(list(lm.FACE_106.values()), float), *angles)
    assert lm.head_pose(many) == pytest.approx(angles, abs=1e-6)


def test_head_pose_signs(points):
    pose = lm.head_pose(points)
    assert abs(pose.yaw) < 8 and abs(pose.roll - 3) < 3
    turned = points.copy()
    turned[lm.NOSE_TIP, 0] += 6  # the nose moves to the image's right: the head turns there
    assert lm.head_pose(turned).yaw > pose.yaw + 3
    raised = points.copy()
    raised[lm.NOSE_TIP, 1] -= 6
    assert lm.head_pose(raised).pitch > pose.pitch + 3
    with pytest.raises(ValueError, match="106"):
        lm.head_pose(np.zeros((68, 2)))
