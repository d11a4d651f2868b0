"""The scores of one picture against its true face, by every judge."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.cases import Cases
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.evaluation.judges import Judges
from facemug_lib.files import file_hash
from facemug_lib.store import Arrays
from facemug_lib.weights import weights_path

VGG_BATCH = 5  # faces; VGG's features take 35 MB each


def judges_version() -> str:
    """What every score depends on besides the pictures: the code from here down, and the weights of the one judge that we ship.
    The others' files are pinned by their hash in :mod:`facemug_lib.assets`."""
    return code_of(__name__) + file_hash(weights_path("expert"))


class Truths:
    """What the judges say of the true faces of a batch, asked once for all methods."""

    def __init__(self, judges: Judges, cases: Cases, deep: Mapping[str, int]) -> None:
        self.cases, self.deep = cases, deep
        self.alex = judges.embedded(cases.images, "alex")
        self.vgg = judges.embedded(cases.images[:deep["vgg"]], "vgg") if deep["vgg"] else None
        self.arcface = judges.arcface(cases.images)
        self.facenet = judges.facenet(cases.images[:deep["facenet"]]) if deep["facenet"] else None
        self.sketch = metrics.pencil_sketch(cases.images)


def judge(judges: Judges, pictures: Tensor, truths: Truths, features: bool = True) -> Arrays:
    """Scores of pictures [n,3,256,256] against the true faces, first axis n.

    lpips_alex, lpips_vgg; psnr (dB) and ssim inside the hole; arcface, facenet: cosine with the true face; iou [n,2,19]: pixels
    of intersection and union with the true label map inside the hole; sketch: F1 with the true face's strokes there; colour:
    ΔE2000 of region means there; inception [n,2048]. NaN where a slow judge was not asked.
    """
    cases, n = truths.cases, len(pictures)
    scores = {
        "lpips_alex": judges.lpips_to(truths.alex, pictures, "alex"),
        "psnr": metrics.psnr(pictures, cases.images, cases.masks),
        "ssim": metrics.ssim(pictures, cases.images, cases.masks),
        "arcface": metrics.cosine(judges.arcface(pictures), truths.arcface),
        "iou": metrics.semantic_counts(judges.parse(pictures), cases.labels, cases.masks),
        "sketch": metrics.sketch_agreement(pictures, truths.sketch, cases.masks),
        "colour": metrics.colour_error(pictures, cases.images, cases.labels, cases.masks),
    }
    scores["lpips_vgg"] = torch.full((n,), torch.nan)
    if truths.vgg is not None:
        for few in batches(truths.deep["vgg"], VGG_BATCH):
            rows = slice(few.start, few.stop)
            scores["lpips_vgg"][rows] = judges.lpips_to([level[rows] for level in truths.vgg], pictures[rows], "vgg")
    scores["facenet"] = torch.full((n,), torch.nan)
    if truths.facenet is not None:
        known = len(truths.facenet)
        scores["facenet"][:known] = metrics.cosine(judges.facenet(pictures[:known]), truths.facenet)
    if features:
        scores["inception"] = judges.inception(pictures)
    return {name: values.numpy() for name, values in scores.items()}
