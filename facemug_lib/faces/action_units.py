"""Facial action units (AUs) read from geometry: 106 landmarks, seen from the front, compared with neutral proportions.

The Facial Action Coding System (FACS; Ekman and Friesen 1978) describes a face by which muscles are at work and how strongly.
Networks that read AUs were trained on faces coded by hand. Here a unit is a distance between landmarks: less than FACS means by
it, but it is exactly what it says.

1. A camera is fitted to the points that no expression moves (eye corners, nose). It takes away roll, size and place, and, with a
   generic face's depths, most of yaw and pitch: :func:`frontal`, in millimetres of a generic adult face.
2. Each *axis* is one distance or ratio of frontal points. A muscle moves along it one way and often another one the opposite way:
   the lip corners are pulled up by AU 12 and down by AU 15.
3. What yaw and pitch still do to it is subtracted, then it is scaled: 0 is the median of faces without an expression, 1 a strong
   one, −1 a strong one of the opposite unit (:data:`AXES`). An AU's *intensity*, 0 … 1, is its side of the axis.

A single picture cannot tell a person's proportions from an expression: low brows read as some AU 4. The *difference* of two
readings of one person has no such part, so it is what editing uses.

Correlation of each axis with what the expert reads, on 276 sampled faces and on 100 portraits; what one standard deviation of
three calibrated directions adds to it (36 faces); and how alike a photograph and its mirror image read (1 = equal). Measured once
by ``scripts/measure_action_units.py``:

| axis | units | sampled: smile, mouth, eyes | portraits: smile, mouth, eyes | directions: smile, mouth, eyes | mirror |
|---|---|---|---|---|---|
| inner_brow | 1, −4 | 0.18, 0.27, 0.33 | 0.19, 0.21, 0.57 | 0.07, 0.13, 0.27 | 0.98 |
| outer_brow | 2 | 0.19, 0.29, 0.37 | 0.10, 0.19, 0.66 | 0.01, 0.08, 0.15 | 0.99 |
| lid_opening | 5, −45 | −0.41, −0.31, 0.65 | −0.17, −0.07, 0.64 | 0.01, 0.03, 0.40 | 0.91 |
| lower_lid | 7 | 0.57, 0.49, −0.66 | 0.28, 0.17, −0.55 | 0.07, 0.02, −0.23 | 0.93 |
| nose_wings | 9 | 0.54, 0.54, −0.13 | 0.40, 0.41, 0.06 | 0.15, 0.06, −0.16 | 0.98 |
| upper_lip | 10 | 0.67, 0.74, −0.18 | 0.42, 0.49, −0.08 | 0.15, 0.12, −0.09 | 0.96 |
| lip_corners | 12, −15 | 0.70, 0.65, −0.42 | 0.68, 0.58, −0.17 | 0.24, 0.08, −0.31 | 0.98 |
| lip_gap | 25 | 0.78, 0.87, −0.39 | 0.57, 0.70, −0.36 | 0.33, 0.31, 0.07 | 0.97 |
| jaw_drop | 26 | 0.70, 0.81, −0.28 | 0.55, 0.68, −0.07 | 0.30, 0.31, 0.14 | 0.98 |

The brows have no reading of the expert's. Against hand-made label maps of 220 photographs (how far the brows' pixels lie above
the eyes') inner_brow correlates 0.78 and outer_brow 0.85. Nothing independent confirms AU 9 and AU 10: they rise with a smile, as
they do in people. :data:`LEFT_OUT` names the units that these points cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.landmarks import (
    FACE_106,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH_INNER,
    MOUTH_OUTER,
    RIGHT_BROW,
    RIGHT_EYE,
    FaceAnalyzer,
    HeadPose,
    fit_camera,
)
from facemug_lib.pictures import to_pixels

CHIN = 0
NOSE_BASE = 80
LIP_TOP = 71
STILL = tuple(index for index in FACE_106 if index != LIP_TOP)
"""The points that the camera is fitted to: those of the generic face without the upper lip."""


def _depths() -> np.ndarray:
    """Depth in millimetres of each landmark on a generic face (towards the camera; the inner eye corners lie at 0)."""
    z = np.zeros(106)
    for brow in (LEFT_BROW, RIGHT_BROW):
        z[list(brow)] = (-4, 2, 8, 12, 13, 13, 12, 8, 2)
    for eye in (LEFT_EYE, RIGHT_EYE):
        z[list(eye["upper"])] = z[list(eye["lower"])] = 2
    for ring in (MOUTH_OUTER, MOUTH_INNER):
        z[list(ring["corners"])] = -2
        z[list(ring["upper"])] = (6, 12, 13, 12, 6) if len(ring["upper"]) == 5 else (6, 12, 6)
        z[list(ring["lower"])] = (5, 10, 11, 10, 5) if len(ring["lower"]) == 5 else (5, 10, 5)
    z[list(JAW)] = -30
    z[CHIN] = 5
    for index, (_, _, depth) in FACE_106.items():
        z[index] = depth
    return z


DEPTHS = _depths()


def frontal(points: np.ndarray) -> tuple[np.ndarray, HeadPose]:
    """Landmarks [106, 2] as they would be seen from the front, in millimetres of the generic face (x to the image's right, y
    down, 0 between the inner eye corners), and the pose that was taken away. Raises ``ValueError`` for another number of
    points."""
    points = np.asarray(points, dtype=np.float64)
    if points.shape != (106, 2):
        raise ValueError(f"action units want landmarks of shape [106, 2], got {list(points.shape)}")
    camera = fit_camera(np.array([FACE_106[index] for index in STILL], dtype=np.float64), points[list(STILL)])
    rows = camera.scale * camera.rotation[:2]
    return np.linalg.solve(rows[:, :2], (points - camera.offset - DEPTHS[:, None] * rows[:, 2]).T).T, camera.pose


# -- one distance or ratio an axis -------------------------------------------------------------------------------------------
# p is [106, 2], frontal; X and Y are its coordinates. Both sides of the face are averaged.

_INNER_BROW = (50, 46, 102, 97)
_OUTER_BROW = (43, 48, 44, 49, 45, 101, 105, 100, 104, 99)


def _height(p: np.ndarray, above: Sequence[int], below: Sequence[int]) -> float:
    """How far the mean of ``above`` lies above the mean of ``below``, in mm."""
    return float(p[list(below), 1].mean() - p[list(above), 1].mean())


def _over_eyes(p: np.ndarray, height: Callable[[Mapping[str, tuple[int, ...]]], float]) -> float:
    """A height at each eye over that eye's width, averaged over the two."""
    shares = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        start, end = eye["corners"]
        shares.append(height(eye) / max(p[end, 0] - p[start, 0], 1e-6))
    return float(np.mean(shares))


def inner_brow(p: np.ndarray) -> float:
    """Y(inner eye corners) − Y(inner brow ends), mm: AU 1 raises it, AU 4 lowers it."""
    return _height(p, _INNER_BROW, (39, 89))


def outer_brow(p: np.ndarray) -> float:
    """Y(outer eye corners) − Y(outer half of the brows), mm: AU 2 raises it."""
    return _height(p, _OUTER_BROW, (35, 93))


def lid_opening(p: np.ndarray) -> float:
    """Distance of the lids over the eye's width: AU 5 widens it, AU 45 closes it."""
    return _over_eyes(p, lambda eye: _height(p, eye["upper"], eye["lower"]))


def lower_lid(p: np.ndarray) -> float:
    """Height of the lower lid over the eye's corners, over the eye's width: AU 7 (and AU 6, the cheek's) raises it."""
    return _over_eyes(p, lambda eye: _height(p, eye["lower"], eye["corners"]))


def nose_wings(p: np.ndarray) -> float:
    """−(Y(wings of the nose) − Y(inner eye corners)), mm: AU 9 raises them."""
    return -_height(p, (39, 89), (77, 78, 83, 84))


def upper_lip(p: np.ndarray) -> float:
    """−(Y(top of the upper lip) − Y(base of the nose)), mm: AU 10 raises it."""
    return -_height(p, (NOSE_BASE,), (63, LIP_TOP, 67))


def lip_corners(p: np.ndarray) -> float:
    """½ (X(right corner) − X(left corner)) − Y(corners), mm: AU 12 pulls the corners up and apart, AU 15 pulls them down."""
    left, right = MOUTH_OUTER["corners"]
    return float(p[right, 0] - p[left, 0]) / 2 - float(p[[left, right], 1].mean())


def lip_gap(p: np.ndarray) -> float:
    """min(distance of the lips' inner edges, 6), mm: AU 25 parts them. How far they go is AU 26's."""
    return min(_height(p, MOUTH_INNER["upper"], MOUTH_INNER["lower"]), 6.0)


def jaw_drop(p: np.ndarray) -> float:
    """Y(bottom of the lower lip) − Y(base of the nose), mm: AU 26 drops it. The chin's own point slides along the outline."""
    return _height(p, (NOSE_BASE,), (53,))


# -- the scale of each axis -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """How a measure becomes a reading: (m − neutral − pitch·p − pitch2·p² − yaw2·y²) / up, or / down below 0, for p and y in
    degrees.

    ``measure``: of frontal points. ``neutral``: median of the faces without an expression. ``up``, ``down``: from there to the
    98th and the 2nd percentile of all faces; no unit goes down where ``down`` is None, and readings there are scaled by ``up``.
    """

    measure: Callable[[np.ndarray], float]
    neutral: float
    up: float
    down: float | None
    pitch: float
    pitch2: float
    yaw2: float


# Measured on 276 sampled faces (truncation 0.8), 225 photographs and 100 portraits; "without an expression" are the 132 of them
# that the expert calls neither smiling nor open-mouthed. Eyes count as shut at an opening of 0.10.
AXES = {
    "inner_brow": Axis(inner_brow, 14.0, 7.7, 4.5, 0.0056, 0.00036, -0.00012),
    "outer_brow": Axis(outer_brow, 15.9, 6.5, None, -0.0579, 0.00099, 0.00057),
    "lid_opening": Axis(lid_opening, 0.281, 0.041, 0.181, -0.00091, 0.000052, -0.000007),
    "lower_lid": Axis(lower_lid, -0.0816, 0.0526, None, -0.00336, -0.000017, -0.000006),
    "nose_wings": Axis(nose_wings, -40.46, 4.97, None, 0.1461, -0.0005, -0.0004),
    "upper_lip": Axis(upper_lip, -13.74, 4.92, None, -0.1656, 0.0065, -0.00052),
    "lip_corners": Axis(lip_corners, -39.9, 17.5, 6.9, -0.3323, 0.00407, -0.00276),
    "lip_gap": Axis(lip_gap, 0.79, 5.2, None, -0.0479, 0.00135, -0.00013),
    "jaw_drop": Axis(jaw_drop, 30.84, 14.1, None, 0.203, -0.00281, -0.00062),
}
AXIS_NAMES = tuple(AXES)
LOWEST, HIGHEST = -1.5, 1.5  # of a reading: what lies beyond is a landmark gone astray


@dataclass(frozen=True)
class ActionUnit:
    """A unit of FACS: its number, its name, the axis it moves, and which way (1 or −1)."""

    number: int
    name: str
    axis: str
    sign: int = 1


ACTION_UNITS = {f"au{unit.number:02d}": unit for unit in (
    ActionUnit(1, "inner brow raiser", "inner_brow"),
    ActionUnit(2, "outer brow raiser", "outer_brow"),
    ActionUnit(4, "brow lowerer", "inner_brow", -1),
    ActionUnit(5, "upper lid raiser", "lid_opening"),
    ActionUnit(7, "lid tightener", "lower_lid"),
    ActionUnit(9, "nose wrinkler", "nose_wings"),
    ActionUnit(10, "upper lip raiser", "upper_lip"),
    ActionUnit(12, "lip corner puller", "lip_corners"),
    ActionUnit(15, "lip corner depressor", "lip_corners", -1),
    ActionUnit(25, "lips part", "lip_gap"),
    ActionUnit(26, "jaw drop", "jaw_drop"),
    ActionUnit(45, "blink", "lid_opening", -1),
)}
LEFT_OUT = {
    6: "cheek raiser: no landmark lies on the cheeks; what it does to the lower lid is in AU 7",
    17: "chin raiser: the distance of lip and chin followed age (correlation 0.66) and not the smile (0.06) on sampled faces",
    20: "lip stretcher: on sampled faces the mouth's width is 0.91 correlated with AU 12's reading",
}
"""Units that the landmarks cannot tell, and why: number → reason."""


def axis_readings(points: np.ndarray) -> dict[str, float]:
    """Axis → signed reading of landmarks [106, 2] in any image's pixels, from −1.5 to 1.5."""
    p, pose = frontal(points)
    readings = {}
    for name, axis in AXES.items():
        still = axis.neutral + axis.pitch * pose.pitch + axis.pitch2 * pose.pitch**2 + axis.yaw2 * pose.yaw**2
        moved = axis.measure(p) - still
        scale = axis.up if moved >= 0 or axis.down is None else axis.down
        readings[name] = float(np.clip(moved / scale, LOWEST, HIGHEST))
    return readings


def intensities(readings: Mapping[str, float]) -> dict[str, float]:
    """Unit → intensity in 0 … 1, of the readings of the axes."""
    return {name: float(np.clip(unit.sign * readings[unit.axis], 0, 1)) for name, unit in ACTION_UNITS.items()}


def along_axes(strengths: Mapping[str, float]) -> np.ndarray:
    """Strengths of units by name (``{"au12": 1.0}``) as a vector along :data:`AXIS_NAMES`; two units of one axis add up.

    Raises :class:`FacemugError` for a name that is no unit's.
    """
    vector = np.zeros(len(AXES), np.float32)
    for name, strength in strengths.items():
        if name not in ACTION_UNITS:
            raise FacemugError(f"no action unit {name!r}: choose from {', '.join(ACTION_UNITS)}")
        unit = ACTION_UNITS[name]
        vector[AXIS_NAMES.index(unit.axis)] += unit.sign * strength
    return vector


class UnitReader:
    """Reads the axes of aligned faces. The landmark network is loaded when it is first used, and shared by all that is read."""

    def __init__(self, analyzer: FaceAnalyzer | None = None) -> None:
        self.analyzer = analyzer or FaceAnalyzer(threads=1)

    def __call__(self, images: Tensor) -> Tensor:
        """Signed readings [b,n] along :data:`AXIS_NAMES`, on the CPU, of aligned faces [b,3,s,s] in [-1,1]."""
        pixels = to_pixels(images).permute(0, 2, 3, 1).contiguous().numpy()
        rows = [list(axis_readings(self.analyzer.aligned_landmarks(one)).values()) for one in pixels]
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, len(AXES))
