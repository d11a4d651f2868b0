"""Faces turned by each method of :mod:`facemug_lib.editing.latent.pose`: how far off they are, and whose face it still is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.pose import Aim, PoseResult, TurnMethod, turn
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.judges import Judges
from facemug_lib.faces.landmarks import HeadPose
from facemug_lib.progress import Tell, silent, untold


@dataclass(frozen=True, eq=False)
class Way:
    """A method, and the steps that fit the codes to the face."""

    method: TurnMethod
    refine: int = 0

    def __str__(self) -> str:
        return f"{self.method}, {self.refine} steps" if self.refine else self.method


@dataclass(frozen=True, eq=False)
class Turned:
    """One face [1,3,256,256], the one it is to be like (None where it was not a face), and what came of it by each way."""

    face: Tensor
    like: Tensor | None
    results: dict[str, PoseResult]


def compare(editor: Editor, faces: Sequence[Tensor], aims: Sequence[Aim], ways: Sequence[Way],
            tell: Tell = untold) -> list[Turned]:
    """Turn every face [1,3,256,256] as its aim says, by every way; an aim's other face is a tensor, too."""
    if not faces or len(faces) != len(aims) or not ways:
        raise FacemugError(f"{len(faces)} faces, {len(aims)} aims and {len(ways)} ways: give an aim for each face, and a way")
    turned = []
    for face, aim in zip(faces, aims, strict=True):
        results = {str(way): turn(editor, face, aim, method=way.method, refine=way.refine, progress=silent)
                   for way in ways}
        turned.append(Turned(face, aim.like, results))
        tell(f"{len(turned)} of {len(faces)} faces turned")
    return turned


def rows(turned: Sequence[Turned], judges: Judges | None = None) -> list[dict[str, float | str]]:
    """Per way, means over the faces: degrees of yaw and pitch off the wanted ones, and the identity that is left.

    ArcFace is what a refined turn goes by; FaceNet, measured where ``judges`` are given, is not. "untouched" is the distance of
    the photos' own pose. Faces that no pose can be read from any more count as lost, and in no mean of angles.
    """
    first = [next(iter(one.results.values())) for one in turned]
    table: list[dict[str, float | str]] = [{"way": "untouched"} | _off([(one.wanted, one.before) for one in first])]
    faces = torch.cat([one.face for one in turned])
    own = None if judges is None else judges.facenet(faces)
    for way in turned[0].results:
        results = [one.results[way] for one in turned]
        row = {"way": way} | _off([(one.wanted, one.after) for one in results if one.after is not None])
        row["arcface"] = sum(one.identity for one in results) / len(results)
        if judges is not None:
            row["facenet"] = float(metrics.cosine(judges.facenet(torch.cat([one.raw for one in results])), own).mean())
        table.append(row | {"lost": float(sum(one.after is None for one in results))})
    return table


def _off(pairs: Sequence[tuple[HeadPose, HeadPose]]) -> dict[str, float]:
    return {f"{name} off": sum(abs(getattr(wanted, name) - getattr(seen, name)) for wanted, seen in pairs) / max(len(pairs), 1)
            for name in ("yaw", "pitch")}
