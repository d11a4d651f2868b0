"""Pose as an edit by itself: a face turned as another one, to the front, to its mirror image's pose, or to given angles.

The paper's way is the warping network's, w_A + T(w_A, w_B) (FACEMUG Eq. 2 and 15). The other is Eq. 3's: along the calibrated
directions yaw and pitch, by as much as the measured angles ask for.

Taught in `notebooks/04_latent_warping.ipynb`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad

from facemug_lib.editing.drawing import FACE_SIZE, Drawing, FaceLike, Picture, read_face
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.fill.blending import blend
from facemug_lib.editing.forward import warped
from facemug_lib.editing.latent.directions import Direction, moved
from facemug_lib.editing.latent.search import sought
from facemug_lib.editing.remarks import remarks
from facemug_lib.editing.settings import POSE
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, shared_analyzer
from facemug_lib.faces.code_space import code_groups
from facemug_lib.faces.landmarks import HeadPose
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.pictures import pixels_of
from facemug_lib.progress import Progress

TurnMethod = Literal["warping", "direction", "both"]
PoseJudge = Callable[[Tensor], HeadPose | None]
"""Reads the pose off an aligned picture [1,3,256,256]; None where it sees no face."""
STEERED = ("yaw", "pitch")  # roll is the alignment's
FARTHEST = {"yaw": 60.0, "pitch": 40.0}  # degrees that can be asked for; faces break before
AIMS = "--like OTHER, --frontal, --mirror, or --yaw and --pitch"


@dataclass(frozen=True, eq=False)
class Aim:
    """What a face is to be turned to: exactly one of another face, the front (its pitch stays), its mirror image's pose, or
    angles in degrees (one that is left out stays as it is). ``like_face`` picks one of several faces in the other photo, 0 is the
    leftmost."""

    like: FaceLike | None = None
    frontal: bool = False
    mirror: bool = False
    yaw: float | None = None
    pitch: float | None = None
    like_face: int | None = None

    def __post_init__(self) -> None:
        given = (self.like is not None) + self.frontal + self.mirror + (self.yaw is not None or self.pitch is not None)
        if given != 1:
            raise FacemugError(f"{given} poses are asked for at once: give one of {AIMS}" if given else
                               f"no pose is asked for: give one of {AIMS}")
        if self.like is None and self.like_face is not None:
            raise FacemugError(f"like_face {self.like_face} picks a face of no photo: give one (--like)")
        for name, most in FARTHEST.items():
            angle = getattr(self, name)
            if angle is not None and not (math.isfinite(angle) and abs(angle) <= most):
                raise FacemugError(f"{name} {angle:g}: use -{most:g} to {most:g} degrees, 0 looks into the camera")

    def __str__(self) -> str:
        if self.like is not None:
            return f"like {Path(self.like).name}" if isinstance(self.like, str | Path) else "like another face"
        if self.is_angles:
            return "to " + ", ".join(f"{name} {getattr(self, name):g}" for name in STEERED if getattr(self, name) is not None)
        return "to the front" if self.frontal else "to its mirror image's pose"

    @property
    def is_angles(self) -> bool:
        return self.yaw is not None or self.pitch is not None


@dataclass(frozen=True, eq=False)
class PoseResult:
    """A turned face.

    image [1,3,256,256] in [-1,1]: the aligned face, turned; where a mask was given, the photo's crop outside of it, bit for bit.
    raw: the whole picture as painted from ``codes`` [1,t,512]. likeness: the prior's picture before the turn.
    before, wanted, after: poses in degrees of the photo, as asked for, and of ``raw`` (None: no face is seen in it).
    identity: cosine of the ArcFace embeddings of ``raw`` and the photo; likeness_identity: the same of the likeness.
    strengths: by how many units of each direction the codes were moved. mask [1,1,256,256] if one was given, and photo_mask
    bool [h,w] if it was drawn on the photo.
    """

    image: Tensor
    raw: Tensor
    codes: Tensor
    likeness: Tensor
    face: AlignedFace
    before: HeadPose
    wanted: HeadPose
    after: HeadPose | None
    identity: float
    likeness_identity: float
    strengths: Mapping[str, float]
    mask: Tensor | None
    photo_mask: np.ndarray | None
    seconds: float

    @property
    def remarks(self) -> list[str]:
        """What should be known about the mask, a line each: that part of it cannot be edited, say."""
        return remarks(self.face, self.photo_mask, False)

    def paste_back(self, **options: Any) -> np.ndarray:
        """The whole photo with the turned face inside the mask, every pixel outside of it the original's.

        Without a mask there is no way back: hair and background move with the head, and would end at an edge.
        """
        if self.mask is None:
            raise FacemugError("a face that was turned without a mask does not fit into its photo: give a mask, or take the "
                               "aligned picture")
        if self.photo_mask is not None:
            return self.face.paste_back(self.image, self.photo_mask, frame="photo", **options)
        return self.face.paste_back(self.image, self.mask, **options)


@torch.no_grad()
def turn(editor: Editor, face: FaceLike, aim: Aim, *, method: TurnMethod = "direction", refine: int = 0,
         mask: Picture | None = None, judge: PoseJudge | None = None, progress: Progress | None = None) -> PoseResult:
    """Turn ``face`` as ``aim`` says.

    Parameters
    ----------
    method : "warping" is the paper's: one pass of T towards the codes of the face with the wanted pose (to the front: the mean of
        the codes of the face and of its mirror image). "direction" moves the codes along the calibrated directions yaw and
        pitch until the measured angles are those wanted. "both" does one after the other.
    refine : steps in which the codes are fitted to the photo before it is turned; some more (``POSE.keep_share``) bring back the
        identity after it. Without them the likeness is loose.
    mask : where the photo may change; everywhere by default.
    judge : reads poses; the landmark network by default.

    Raises :class:`FacemugError` for anything that does not fit, and where no pose can be read from the photo.
    """
    check_method(method, aim)
    if refine < 0:
        raise FacemugError(f"{refine} refinement steps: use 0 or more")
    judge = judge or measured_pose
    started = time.perf_counter()
    opened = read_face(face)
    drawing = Drawing.on(opened, "photo")
    photo_mask = None if mask is None or isinstance(mask, Tensor) else drawing.edited(mask)  # a file is read once
    hole = None if mask is None else drawing.mask(mask if photo_mask is None else photo_mask)
    photo = opened.image
    before = _required(judge(photo), "the photo")
    other = None if aim.like is None else _other(aim)
    wanted = _wanted(aim, before, None if other is None else _required(judge(other), "the face to be like"))
    units = {} if method == "warping" else _degrees_per_unit(editor.directions)

    shown = photo.to(editor.device)
    keep = round(POSE.keep_share * refine)
    codes = fitted = editor.read(photo) if not refine else editor.fit(opened, refine, _part(progress, 0, refine + keep)).codes.to(
        editor.device)
    if method != "direction":
        codes = warped(editor.warping, fitted, _target_codes(editor, aim, shown, other))  # Eq. 2
    strengths = dict.fromkeys(units, 0.0)
    for is_last in ((False, True) if keep else (True,)):
        if units:
            more = _solved(editor, codes, wanted, units, judge)
            strengths = {name: strengths[name] + more[name] for name in units}
            codes = moved(codes, more, editor.directions)
        if not is_last:  # what brings the person back turns the head a little, too
            codes = _resembling(editor, codes, shown, keep, _part(progress, refine, refine + keep))
    likeness, raw = (editor.prior.synthesize(one, FACE_SIZE).float().clamp(-1, 1) for one in (fitted, codes))
    embedded = editor.experts(False, True, perceptual=False).identity(torch.cat((shown, likeness, raw)))
    identity = cosine_similarity(embedded[1:], embedded[:1]).tolist()
    likeness, raw = likeness.cpu(), raw.cpu()
    image = raw
    if hole is not None:
        image = Conditions.build(hole, photo).composite(blend(raw, photo, hole), photo)
    return PoseResult(image, raw, codes, likeness, opened, before, wanted, judge(raw), identity[1], identity[0], strengths, hole,
                      photo_mask, time.perf_counter() - started)


def check_method(method: str, aim: Aim) -> None:
    """Raise :class:`FacemugError` for a method that does not exist, or cannot turn a face as ``aim`` says."""
    if method not in get_args(TurnMethod):
        raise FacemugError(f"no method is called {method!r}: choose from {', '.join(get_args(TurnMethod))}")
    if method != "direction" and aim.is_angles:
        raise FacemugError(f"method {method} takes the pose from a picture, not from angles: use method direction")


def measured_pose(picture: Tensor) -> HeadPose | None:
    """The pose of an aligned picture [1,3,h,w] in [-1,1] by 106 landmarks, None where no face is found."""
    return shared_analyzer().pose(pixels_of(picture[0]))


def _degrees_per_unit(directions: Mapping[str, Direction]) -> dict[str, float]:
    """By how many degrees one unit of yaw and of pitch turns a face, as they were calibrated."""
    for name in STEERED:
        if name not in directions or not directions[name].about.get("deviation"):
            raise FacemugError(f"the directions hold no calibrated {name}: use the shipped ones, or fit some with `facemug "
                               "directions fit`")
    return {name: float(directions[name].about["deviation"]) for name in STEERED}


# -- parts ----------------------------------------------------------------------------------------------------------------


def _part(progress: Progress | None, first: int, steps: int) -> Progress | None:
    """The callback of a part of the work that starts after ``first`` of ``steps`` steps."""
    return None if progress is None else lambda done, _: progress(first + done, steps)


def _other(aim: Aim) -> Tensor:
    try:
        return read_face(aim.like, aim.like_face, "like_face").image
    except FacemugError as error:
        raise FacemugError(f"the face to be like: {error}") from error


def _required(pose: HeadPose | None, whose: str) -> HeadPose:
    if pose is None:
        raise FacemugError(f"no pose can be read from {whose}: use a picture whose whole face is seen")
    return pose


def _wanted(aim: Aim, before: HeadPose, other: HeadPose | None) -> HeadPose:
    if other is not None:
        return other
    if aim.mirror:
        return HeadPose(-before.yaw, before.pitch, -before.roll)
    if aim.frontal:
        return before._replace(yaw=0.0)
    return before._replace(**{name: float(getattr(aim, name)) for name in STEERED if getattr(aim, name) is not None})


def _resembling(editor: Editor, codes: Tensor, photo: Tensor, steps: int, progress: Progress | None) -> Tensor:
    """Codes near ``codes`` [1,t,512] whose picture shows the photo's person (ArcFace), and otherwise stays as it is (LPIPS)."""
    experts, size = editor.experts(False, True), POSE.keep_size
    free = code_groups(codes.shape[1])[POSE.keep_group][1]  # the codes before this one may move
    person = experts.identity(photo)
    before = experts.perceptual.embed(editor.prior.synthesize(codes, size).float())
    with torch.enable_grad():
        offset = torch.zeros_like(codes[:, :free], requires_grad=True)
        optimizer = torch.optim.Adam([offset], lr=POSE.keep_rate, betas=(0.9, 0.99))
        for step in range(steps):
            picture = editor.prior.synthesize(codes + pad(offset, (0, 0, 0, codes.shape[1] - free)), size).float()
            loss = 1 - cosine_similarity(experts.identity(picture), person).sum()
            loss = loss + experts.perceptual.distance(experts.perceptual.embed(picture), before).sum()
            loss = loss + POSE.keep_distance * (offset / editor.prior.std_w).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if progress is not None:
                progress(step + 1, steps)
    return codes + pad(offset.detach(), (0, 0, 0, codes.shape[1] - free))


def _target_codes(editor: Editor, aim: Aim, photo: Tensor, other: Tensor | None) -> Tensor:
    """The codes [1,t,512] whose pose T is to bring the face to."""
    if other is not None:
        return editor.read(other)
    mirrored = editor.read(photo.flip(-1))
    # The two turn as far to either side, so that their mean looks ahead.
    return mirrored if aim.mirror else (mirrored + editor.read(photo)) / 2


def _solved(editor: Editor, codes: Tensor, wanted: HeadPose, units: Mapping[str, float], judge: PoseJudge) -> dict[str, float]:
    """Strengths of yaw and pitch at which the picture of ``codes`` has the wanted pose, or comes nearest to it: a search that
    starts from the calibrated degrees per unit."""
    goal = np.array([getattr(wanted, name) for name in STEERED])

    def angles(at: np.ndarray) -> np.ndarray | None:
        strengths = dict(zip(STEERED, at.tolist(), strict=True))
        picture = editor.prior.synthesize(moved(codes, strengths, editor.directions), FACE_SIZE)
        pose = judge(picture.float().clamp(-1, 1).cpu())
        return None if pose is None else np.array([getattr(pose, name) for name in STEERED])

    seen = angles(np.zeros(len(STEERED)))
    if seen is None:
        raise FacemugError("no face is seen in the prior's likeness of the photo: fit it in more steps (--refine 40)")
    found = sought(angles, goal, np.diag([units[name] for name in STEERED]), seen, size=lambda error: np.abs(error).max(),
                   tolerance=POSE.tolerance, tries=POSE.tries, longest=POSE.longest)
    return dict(zip(STEERED, found.strengths.tolist(), strict=True))
