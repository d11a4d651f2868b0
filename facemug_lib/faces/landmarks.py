"""Face detection, landmarks and head geometry.

Detection is SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021), landmarks are
InsightFace's 106-point net; both run in onnxruntime on the CPU and are decoded here. Coordinates are pixel indices
(x, y) of the image that was passed in. "Left" and "right" in names mean the *image's* sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from facemug_lib.assets import asset_bytes
from facemug_lib.faces.warping import invert, transform_points, warp

if TYPE_CHECKING:
    import onnxruntime

CANVAS = 640  # side of the detector's input, a multiple of its largest stride
STRIDES = (8, 16, 32)
ANCHORS = 2  # per location
NMS_IOU = 0.4
LANDMARK_CROP = 192
LANDMARK_MARGIN = 1.5  # the landmark net was trained on crops this many times as wide as the detector's box
LARGEST_LEAN = np.radians(15)  # of the face in that crop; no upright one of 200 leant by more than 10 degrees

# Whether a face stands is asked on small level crops around it, because the smaller a face is, the less of one the detector sees
# when it is turned. Over 200 faces at four quarter turns each, the right way's score was ahead by 0.09 or more; in the whole
# picture some upside-down faces scored more than upright ones.
STANDING_SIZES = ((80, 96), (120, 128))  # side of the crop and of the detector's canvas
STANDING_MARGIN = 2.0  # the crop is this many times as wide as the detector's box
STANDING_SCORE = 0.1

# Indices of the 106 points, read off numbered pictures. Lids are listed as they face each other, outer corner to inner
# corner on the left eye and inner to outer on the right one.
JAW = (1, 9, 10, 11, 12, 13, 14, 15, 16, 2, 3, 4, 5, 6, 7, 8, 0, 24, 23, 22, 21, 20, 19, 18, 32, 31, 30, 29, 28, 27, 26, 25, 17)
LEFT_EYE = {"corners": (35, 39), "upper": (41, 40, 42), "lower": (36, 33, 37)}
RIGHT_EYE = {"corners": (89, 93), "upper": (95, 94, 96), "lower": (90, 87, 91)}
LEFT_BROW = (43, 48, 49, 51, 50, 46, 47, 45, 44)
RIGHT_BROW = (101, 105, 104, 103, 102, 97, 98, 99, 100)
MOUTH_OUTER = {"corners": (52, 61), "upper": (64, 63, 71, 67, 68), "lower": (55, 56, 53, 59, 58)}
MOUTH_INNER = {"corners": (65, 69), "upper": (66, 62, 70), "lower": (54, 60, 57)}
NOSE_TIP = 86

# A generic adult face in millimetres (x to image right, y down, z towards the camera; origin between the inner eye
# corners): mean anthropometric widths and heights, with depths from a factorisation of landmarks of sampled faces. Jaw
# points are left out because they slide with the silhouette, mouth corners because they move with a smile.
FACE_106 = {
    35: (-45, -1, -8), 39: (-17, 0, 0), 89: (17, 0, 0), 93: (45, -1, -8),
    72: (0, -3, 10), NOSE_TIP: (0, 36, 30), 77: (-19, 40, 11), 83: (19, 40, 11), 80: (0, 46, 18), 71: (0, 62, 13),
}  # fmt: skip
_FACE_5 = ((-31, 0, -4), (31, 0, -4), (0, 36, 30), (-27, 66, -4), (27, 66, -4))

# About where the detector sees aligned faces, as shares of their side (100 portraits: 0.24, 0.17, 0.77, 0.92).
ALIGNED_BOX = (0.227, 0.180, 0.781, 0.883)
ALIGNED_POINTS5 = ((0.371, 0.469), (0.625, 0.469), (0.5, 0.625), (0.379, 0.688), (0.625, 0.688))


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face: ``box`` [4] as x0, y0, x1, y1; ``score`` in 0…1; ``points5`` [5, 2]: left eye, right eye, nose, mouth corners."""

    box: np.ndarray
    score: float
    points5: np.ndarray

    @property
    def area(self) -> float:
        """Area of the box in pixels."""
        return float(np.prod(np.maximum(self.box[2:] - self.box[:2], 0)))


class HeadPose(NamedTuple):
    """Angles in degrees.

    ``yaw`` > 0: the face turns to the image's right. ``pitch`` > 0: it looks up. ``roll`` > 0: it leans clockwise
    in the image. Rotating the image changes ``roll`` alone.
    """

    yaw: float
    pitch: float
    roll: float


class Camera(NamedTuple):
    """A scaled-orthographic camera: a point m (millimetres) of the generic face is seen at scale · rotation[:2] @ m + offset.

    ``rotation`` [3, 3]; ``scale`` in pixels a millimetre; ``offset`` [2] in pixels.
    """

    rotation: np.ndarray
    scale: float
    offset: np.ndarray

    @property
    def pose(self) -> HeadPose:
        """The angles of ``rotation`` = Rz(roll) Ry(yaw) Rx(pitch), with y down and z towards the camera."""
        rotation = self.rotation
        yaw = -np.arcsin(np.clip(rotation[2, 0], -1, 1))
        pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
        roll = np.arctan2(rotation[1, 0], rotation[0, 0])
        return HeadPose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))


class FaceAnalyzer:
    """Faces and their landmarks in 8-bit RGB images; the two networks are loaded when first used.

    ``threads`` are onnxruntime's threads within one operator. The same image gives the same result, bit for bit.
    """

    def __init__(self, threads: int = 2, min_score: float = 0.5) -> None:
        self.threads = threads
        self.min_score = min_score

    @cached_property
    def _detector(self) -> onnxruntime.InferenceSession:
        return self._session("scrfd")

    @cached_property
    def _landmarker(self) -> onnxruntime.InferenceSession:
        return self._session("landmarks106")

    def _session(self, asset: str) -> onnxruntime.InferenceSession:
        import onnxruntime  # a second of import that only real photos need

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(asset_bytes(asset), options, providers=["CPUExecutionProvider"])

    def detect(self, rgb: np.ndarray, *, is_upright: bool = False) -> list[DetectedFace]:
        """All faces of ``rgb`` (uint8 [h, w, 3]), whichever way up, best score first; an empty list where there is none.

        The image is looked at filling the detector's canvas and at half that size with a margin around it, because
        the detector is blind to faces that fill the frame. If neither shows a face, smaller and larger sizes are tried,
        then the image turned by quarter turns.

        The detector also finds faces that lie on their side or stand on their head, but takes chins for foreheads there. So
        a face counts where it stands, leaning at most 60 degrees; one that does not is looked for again in the image turned
        until it should. A portrait turned by quarter turns thus shows the same face, at the same place to a tenth of a pixel.
        ``is_upright`` saves that check where it is known how the image stands, as it is of an aligned face.
        """
        kept: list[DetectedFace] = []
        tried: list[int] = []
        wanted = [0]
        while wanted or (not kept and len(tried) < 4):
            turns = wanted.pop(0) if wanted else next(turns for turns in (1, 3, 2) if turns not in tried)
            tried.append(turns)
            turned = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
            for face in self._detect_once(turned):
                lean = 0.0 if is_upright else np.degrees(self._lean(turned, face))
                if abs(lean) <= 60:
                    kept.append(_turn_back(face, turns, rgb.shape) if turns else face)
                # Between 30 and 60 degrees a face stands in two of the turned images: the better score decides.
                other = (turns + round(lean / (60 if abs(lean) <= 60 else 90))) % 4
                if other not in (*tried, *wanted):
                    wanted.append(other)
        return _without_doubles(kept)

    def _lean(self, rgb: np.ndarray, face: DetectedFace) -> float:
        """How far ``face`` is turned clockwise from standing upright, in radians from -π to π."""
        points = self.landmarks(rgb, face)
        eyes = eye_centres(points)
        down = mouth_corners(points).mean(axis=0) - eyes.mean(axis=0)
        lean = _angle(eyes[1] - eyes[0] + np.array([down[1], -down[0]]))
        # So the landmarks believe. On a face that stands on its head they mostly do too, hence the detector is asked in which
        # of four ways it sees most of a face.
        width = float(np.max(face.box[2:] - face.box[:2])) * STANDING_MARGIN
        scores = np.zeros(4)
        for side, canvas in STANDING_SIZES:
            level = np.clip(np.rint(_level_crop(rgb, face, lean, width, side)[0]), 0, 255).astype(np.uint8)
            for turns in range(4):
                found = self._detect_at(np.ascontiguousarray(np.rot90(level, turns)), 1.0, canvas, STANDING_SCORE)
                middle = [one.score for one in found if (one.box[:2] < side / 2).all() and (one.box[2:] > side / 2).all()]
                scores[turns] += max(middle, default=0.0)
        return _wrapped(lean + np.pi / 2 * int(scores.argmax()))

    def _detect_once(self, rgb: np.ndarray) -> list[DetectedFace]:
        """What the detector takes for faces in one image, each once, best score first."""
        longest = max(rgb.shape[:2])
        found = self._detect_at(rgb, CANVAS / longest, CANVAS) + self._detect_at(rgb, CANVAS / 2 / longest, CANVAS)
        if not found:
            found = self._detect_at(rgb, CANVAS / 4 / longest, CANVAS)
        if not found and longest > CANVAS:
            found = self._detect_at(rgb, 2 * CANVAS / longest, 2 * CANVAS)
        return _without_doubles(found)

    def _detect_at(self, rgb: np.ndarray, scale: float, canvas: int, min_score: float | None = None) -> list[DetectedFace]:
        """One pass: ``rgb`` resized by ``scale``, centred on a grey canvas."""
        height, width = rgb.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (canvas - size[0]) // 2, (canvas - size[1]) // 2
        padded = np.zeros((canvas, canvas, 3), dtype=np.float32)
        padded[top:top + size[1], left:left + size[0]] = (small.astype(np.float32) - 127.5) / 128
        outputs = self._detector.run(None, {"input.1": padded.transpose(2, 0, 1)[None]})
        boxes, scores, points = decode_scrfd(outputs, canvas, self.min_score if min_score is None else min_score)
        ratio = np.array([width / size[0], height / size[1]])
        offset = np.array([left, top])

        def to_image(where: np.ndarray) -> np.ndarray:
            return (where - offset + 0.5) * ratio - 0.5

        return [
            DetectedFace(to_image(box.reshape(2, 2)).reshape(4), float(score), to_image(five))
            for box, score, five in zip(boxes, scores, points, strict=True)
        ]

    def landmarks(self, rgb: np.ndarray, face: DetectedFace) -> np.ndarray:
        """The 106 points [106, 2] (float64) of ``face`` in ``rgb`` (uint8 [h, w, 3]).

        The crop is turned so that the eyes lie level, which the landmark net expects; once more where the eyes that it found
        lie far from where the detector had put them.
        """
        lean = _angle(face.points5[1] - face.points5[0])
        points = self._landmarks_leaning(rgb, face, lean)
        left, right = eye_centres(points)
        seen = _angle(right - left)
        return self._landmarks_leaning(rgb, face, seen) if abs(_wrapped(seen - lean)) > LARGEST_LEAN else points

    def _landmarks_leaning(self, rgb: np.ndarray, face: DetectedFace, lean: float) -> np.ndarray:
        """The 106 points, read off a crop turned by ``lean`` (radians)."""
        width = float(np.max(face.box[2:] - face.box[:2])) * LANDMARK_MARGIN
        crop, matrix = _level_crop(rgb, face, lean, width, LANDMARK_CROP)
        # The file subtracts the mean itself; raw 0…255 goes in, -1…1 across the crop comes out.
        output = self._landmarker.run(None, {"data": np.ascontiguousarray(crop.transpose(2, 0, 1))[None]})[0]
        points = (output.reshape(106, 2).astype(np.float64) + 1) * (LANDMARK_CROP / 2)
        return transform_points(invert(matrix), points)

    def aligned_landmarks(self, rgb: np.ndarray) -> np.ndarray:
        """The 106 points [106, 2] of an aligned face (uint8 [s, s, 3]) without looking for it: alignment says where it is.

        A quarter of the time of detection and landmarks, and there is an answer whatever the picture shows.
        """
        side = rgb.shape[0]
        box, points5 = np.array(ALIGNED_BOX) * side, np.array(ALIGNED_POINTS5) * side
        return self.landmarks(rgb, DetectedFace(box, 1.0, points5))

    def pose(self, rgb: np.ndarray) -> HeadPose | None:
        """The pose of the likeliest face in ``rgb`` (uint8 [h, w, 3]), an upright picture; None where there is none."""
        found = self.detect(rgb, is_upright=True)
        return head_pose(self.landmarks(rgb, found[0])) if found else None


def _level_crop(rgb: np.ndarray, face: DetectedFace, lean: float, width: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(float crop [side, side, 3] of ``width`` pixels around a face's box, turned back by ``lean``; its 2×3 matrix)."""
    centre = (face.box[:2] + face.box[2:]) / 2
    scale = side / width
    cos, sin = scale * np.cos(lean), scale * np.sin(lean)
    matrix = np.array([[cos, sin, 0], [-sin, cos, 0]])
    matrix[:, 2] = (side - 1) / 2 - matrix[:, :2] @ centre
    return warp(rgb, matrix, (side, side), reflect=False), matrix


def _without_doubles(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Of detections that overlap, the best-scoring one; best score first."""
    if not faces:
        return []
    kept = best_of_overlapping(np.stack([face.box for face in faces]), np.array([face.score for face in faces]), NMS_IOU)
    return [faces[index] for index in kept]


def best_of_overlapping(boxes: np.ndarray, scores: np.ndarray, most: float) -> list[int]:
    """Non-maximum suppression: which boxes [n, 4] (left, top, right, bottom) are kept, best score first, so that no two of them
    share more than ``most`` of the area that both cover. Computed in float32.

    It gives what torchvision's ``nms`` gives. That one costs a second and a half of import, and here are a few dozen boxes.
    """
    boxes = boxes.astype(np.float32)
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    waiting = np.argsort(-scores.astype(np.float32), kind="stable")
    kept: list[int] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[waiting]) - np.maximum(left[best], left[waiting])
        height = np.minimum(bottom[best], bottom[waiting]) - np.maximum(top[best], top[waiting])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore"):  # two boxes without an area share nothing
            share = (shared / (areas[best] + areas[waiting] - shared)).astype(np.float64)
        waiting = waiting[~(share > most)]
    return kept


def _angle(vector: np.ndarray) -> float:
    """Of a vector (x, y), in radians, clockwise from the image's right."""
    return float(np.arctan2(vector[1], vector[0]))


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _turn_back(face: DetectedFace, turns: int, shape: tuple[int, ...]) -> DetectedFace:
    """``face`` found in ``np.rot90(image, turns)``, in coordinates of the image of ``shape`` [h, w, …] itself."""
    height, width = shape[:2]
    matrix = np.array({
        1: [[0, -1, width - 1], [1, 0, 0]],
        2: [[-1, 0, width - 1], [0, -1, height - 1]],
        3: [[0, 1, 0], [-1, 0, height - 1]],
    }[turns], dtype=np.float64)
    corners = transform_points(matrix, face.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return DetectedFace(box, face.score, transform_points(matrix, face.points5))


def decode_scrfd(outputs: list[np.ndarray], canvas: int, min_score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [n, 4], scores [n] and points [n, 5, 2] from the detector's nine outputs (scores, boxes, points per stride).

    Boxes are distances from the anchor to the four sides and points are offsets from it, both in strides (SCRFD Sec. 3,
    after FCOS).
    """
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        score = outputs[level].reshape(-1)
        keep = np.flatnonzero(score >= min_score)
        cell = keep // ANCHORS
        across = canvas // stride
        anchor = np.stack([cell % across, cell // across], axis=1) * float(stride)
        sides = outputs[level + len(STRIDES)].reshape(-1, 4)[keep] * stride
        five = outputs[level + 2 * len(STRIDES)].reshape(-1, 5, 2)[keep] * stride
        boxes.append(np.concatenate([anchor - sides[:, :2], anchor + sides[:, 2:]], axis=1))
        scores.append(score[keep])
        points.append(anchor[:, None] + five)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    """Centres [2, 2] of the left and right eye: the mean of corners and lids of ``landmarks`` [106, 2]."""
    return np.stack([landmarks[[*eye["corners"], *eye["upper"], *eye["lower"]]].mean(axis=0) for eye in (LEFT_EYE, RIGHT_EYE)])


def mouth_corners(landmarks: np.ndarray) -> np.ndarray:
    """The left and right corner [2, 2] of the mouth."""
    return landmarks[list(MOUTH_OUTER["corners"])]


def eye_openness(landmarks: np.ndarray) -> tuple[float, float]:
    """Mean distance between the lids over the eye's width, for the left and the right eye: about 0.3 open, 0.1 closed."""
    return _openness(landmarks, LEFT_EYE), _openness(landmarks, RIGHT_EYE)


def mouth_openness(landmarks: np.ndarray) -> float:
    """Mean distance between the lips' inner edges over the inner width: 0 closed, above 0.3 wide open."""
    return _openness(landmarks, MOUTH_INNER)


def _openness(landmarks: np.ndarray, ring: dict[str, tuple[int, ...]]) -> float:
    start, end = landmarks[list(ring["corners"])]
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    gaps = landmarks[list(ring["lower"])] - landmarks[list(ring["upper"])]
    # Only the part across the corner line counts: facing lid points need not lie exactly opposite.
    across = gaps @ np.array([-along[1], along[0]])
    return float(max(across.mean(), 0.0) / max(np.linalg.norm(end - start), 1e-6))


def head_pose(points: np.ndarray) -> HeadPose:
    """Yaw, pitch and roll from 106 landmarks [106, 2] or the detector's 5 points [5, 2].

    A scaled-orthographic camera is fitted to a generic face by linear least squares, and its 2×3 matrix is replaced by the
    nearest scaled pair of orthonormal rows (by SVD). No focal length is needed, and scale and place do not matter.
    The five points are much noisier than the 106. Raises ``ValueError`` on any other number of points.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape == (106, 2):
        model, seen = np.array(list(FACE_106.values()), dtype=np.float64), points[list(FACE_106)]
    elif points.shape == (5, 2):
        model, seen = np.array(_FACE_5, dtype=np.float64), points
    else:
        raise ValueError(f"head_pose wants points of shape [106, 2] or [5, 2], got {list(points.shape)}")
    return fit_camera(model, seen).pose


def fit_camera(model: np.ndarray, seen: np.ndarray) -> Camera:
    """The camera that sees the points ``model`` [n, 3] (millimetres, not all in one plane) at ``seen`` [n, 2] (pixels).

    Linear least squares, then the nearest scaled pair of orthonormal rows (by SVD).
    """
    camera = np.linalg.lstsq(model - model.mean(axis=0), seen - seen.mean(axis=0), rcond=None)[0].T
    left, stretch, right = np.linalg.svd(camera, full_matrices=False)
    rows = left @ right
    scale = float(stretch.mean())
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
    return Camera(rotation, scale, seen.mean(axis=0) - scale * rows @ model.mean(axis=0))
