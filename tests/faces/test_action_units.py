"""Action units from landmarks: the frontal view, each axis against its formula spelt out, and a real smile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from facemug_lib.errors import FacemugError
from facemug_lib.faces import action_units as au
from facemug_lib.faces import landmarks as lm


def front_view() -> np.ndarray:
    """A face without an expression, [106, 2] in mm: the generic one, and features about where they lie."""
    p = np.zeros((106, 2))
    for index, (x, y, _) in lm.FACE_106.items():
        p[index] = x, y
    brow = np.array([(46, -14), (40, -20), (30, -22), (20, -21), (11, -17), (11, -13), (20, -15), (30, -16), (40, -15)], float)
    p[list(lm.RIGHT_BROW)], p[list(lm.LEFT_BROW)] = brow, brow * (-1, 1)
    for eye, x in ((lm.LEFT_EYE, (-36, -31, -26)), (lm.RIGHT_EYE, (26, 31, 36))):
        p[list(eye["upper"])] = np.stack((x, (-5.0, -6, -5)), 1)
        p[list(eye["lower"])] = np.stack((x, (2.0, 3, 2)), 1)
    p[list(lm.MOUTH_OUTER["corners"])] = (-25, 66), (25, 66)
    p[list(lm.MOUTH_OUTER["upper"])] = (-14, 63), (-6, 61), (0, 62), (6, 61), (14, 63)
    p[list(lm.MOUTH_OUTER["lower"])] = (-16, 72), (-9, 76), (0, 77), (9, 76), (16, 72)
    p[list(lm.MOUTH_INNER["corners"])] = (-21, 66), (21, 66)
    p[list(lm.MOUTH_INNER["upper"])] = (-13, 66), (0, 66), (13, 66)
    p[list(lm.MOUTH_INNER["lower"])] = (-13, 67), (0, 67), (13, 67)
    p[[78, 84]] = (-14, 44), (14, 44)
    p[0] = 0, 110
    return p


def seen(p: np.ndarray, yaw: float = 0, pitch: float = 0, roll: float = 0, scale: float = 1.7) -> np.ndarray:
    """The picture [106, 2] in pixels of frontal points [106, 2] in mm, from a turned head."""
    y, x, z = np.radians([yaw, pitch, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    deep = np.concatenate((p, au.DEPTHS[:, None]), 1)
    return (deep @ (rz @ ry @ rx).T)[:, :2] * scale + [300, 200]


@pytest.mark.parametrize("pose", [(0, 0, 0), (25, 0, 0), (0, -18, 0), (-20, 12, 40)])
def test_the_frontal_view_takes_the_pose_away(pose):
    p = front_view()
    front, found = au.frontal(seen(p, *pose))
    assert found == pytest.approx(pose, abs=1e-6)
    assert front == pytest.approx(p, abs=1e-6)


def test_other_points_are_refused():
    with pytest.raises(ValueError, match="106"):
        au.frontal(np.zeros((68, 2)))


def test_each_axis_is_its_formula():
    """Written out with numbers of points, as the docstrings say."""
    p = front_view() + np.random.default_rng(0).normal(0, 0.7, (106, 2))
    x, y = p.T

    def mean(values, *points):
        return sum(values[point] for point in points) / len(points)

    left, right = x[39] - x[35], x[93] - x[89]
    naive = {
        "inner_brow": mean(y, 39, 89) - mean(y, 50, 46, 102, 97),
        "outer_brow": mean(y, 35, 93) - mean(y, 43, 48, 44, 49, 45, 101, 105, 100, 104, 99),
        "lid_opening": ((mean(y, 36, 33, 37) - mean(y, 41, 40, 42)) / left
                        + (mean(y, 90, 87, 91) - mean(y, 95, 94, 96)) / right) / 2,
        "lower_lid": ((mean(y, 35, 39) - mean(y, 36, 33, 37)) / left + (mean(y, 89, 93) - mean(y, 90, 87, 91)) / right) / 2,
        "nose_wings": mean(y, 39, 89) - mean(y, 77, 78, 83, 84),
        "upper_lip": y[80] - mean(y, 63, 71, 67),
        "lip_corners": (x[61] - x[52]) / 2 - mean(y, 52, 61),
        "lip_gap": min(mean(y, 54, 60, 57) - mean(y, 66, 62, 70), 6),
        "jaw_drop": y[53] - y[80],
    }
    assert {name: axis.measure(p) for name, axis in au.AXES.items()} == pytest.approx(naive)
    assert tuple(naive) == au.AXIS_NAMES


def test_a_reading_subtracts_pose_and_scales_each_side():
    p = front_view()
    for pose in ((0.0, 0.0), (15.0, -9.0)):
        readings = au.axis_readings(seen(p, *pose))
        for name, axis in au.AXES.items():
            moved = axis.measure(p) - axis.neutral - axis.pitch * pose[1] - axis.pitch2 * pose[1] ** 2 - axis.yaw2 * pose[0] ** 2
            wanted = moved / (axis.up if moved > 0 or axis.down is None else axis.down)
            assert readings[name] == pytest.approx(min(max(wanted, -1.5), 1.5), abs=1e-6), name


@pytest.mark.parametrize(("unit", "points", "shift"), [
    ("au01", (50, 46, 102, 97), (0, -4)), ("au04", (50, 46, 102, 97), (0, 4)), ("au02", (43, 48, 44, 101, 105, 100), (0, -4)),
    ("au05", (41, 40, 42, 95, 94, 96), (0, -2)), ("au45", (41, 40, 42, 95, 94, 96), (0, 4)),
    ("au07", (36, 33, 37, 90, 87, 91), (0, -1)), ("au09", (78, 84), (0, -4)), ("au10", (63, 71, 67), (0, -3)),
    ("au12", (52, 61), (0, -6)), ("au15", (52, 61), (0, 6)), ("au25", (54, 60, 57), (0, 4)), ("au26", (53,), (0, 8)),
])
def test_the_muscle_raises_its_own_unit(unit, points, shift):
    p = front_view()
    before = au.axis_readings(seen(p))
    p[list(points)] += shift
    after = au.axis_readings(seen(p))
    own = au.ACTION_UNITS[unit]
    assert own.sign * (after[own.axis] - before[own.axis]) > 0.1
    assert au.intensities(after)[unit] >= au.intensities(before)[unit]


def test_intensities_are_the_sides_of_an_axis():
    readings = dict.fromkeys(au.AXIS_NAMES, 0.0) | {"lip_corners": 0.6, "lid_opening": -1.2}
    found = au.intensities(readings)
    assert (found["au12"], found["au15"], found["au45"], found["au05"]) == (0.6, 0, 1, 0)
    assert {unit.number for unit in au.ACTION_UNITS.values()} | set(au.LEFT_OUT) == {1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 25,
                                                                                    26, 45}


def test_strengths_go_along_the_axes():
    vector = au.along_axes({"au12": 0.5, "au04": 1.0, "au25": -0.25})
    wanted = {"lip_corners": 0.5, "inner_brow": -1.0, "lip_gap": -0.25}
    assert dict(zip(au.AXIS_NAMES, vector.tolist(), strict=True)) == dict.fromkeys(au.AXIS_NAMES, 0.0) | wanted
    with pytest.raises(FacemugError, match="no action unit 'au06': choose from au01"):
        au.along_axes({"au06": 1.0})


def test_a_smile_is_read_off_a_photograph():
    """The astronaut smiles with parted lips and opens her eyes; her mirror image does too."""
    crop = np.ascontiguousarray(data.astronaut()[31:195, 143:307])  # about as an aligned face lies in its picture
    image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1
    reader = au.UnitReader()
    readings = reader(torch.cat((image, image.flip(-1))))
    found = au.intensities(dict(zip(au.AXIS_NAMES, readings[0].tolist(), strict=True)))
    assert found["au12"] > 0.3 and found["au25"] > 0.5 and found["au15"] == 0 and found["au45"] < 0.3
    assert readings[1].numpy() == pytest.approx(readings[0].numpy(), abs=0.25)
