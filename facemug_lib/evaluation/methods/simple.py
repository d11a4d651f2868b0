"""What needs no network: mean colour, fast marching, another face's pixels, and the true face saved once more."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from facemug_lib.evaluation.cases import Cases, completed
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.pictures import to_floats, to_pixels


class MeanColour:
    """The hole filled with the mean colour of the known pixels; mid-grey where nothing is known."""

    names = ("mean colour",)

    def describe(self) -> dict[str, Any]:
        return {"method": "mean colour", "code": code_of(__name__)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        known = 1 - cases.masks
        mean = (cases.images * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        return {self.names[0]: completed(mean.expand_as(cases.images), cases)}


class Telea:
    """Fast marching from the hole's edge inwards (Telea, "An Image Inpainting Technique Based on the Fast Marching Method",
    2004), as in OpenCV; ``radius`` in pixels of the neighbourhood that a pixel is averaged from."""

    names = ("Telea",)

    def __init__(self, radius: float = 3.0) -> None:
        self.radius = radius

    def describe(self) -> dict[str, Any]:
        return {"method": "Telea", "radius": self.radius, "opencv": cv2.__version__, "code": code_of(__name__)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        pixels = to_pixels(cases.images * (1 - cases.masks)).permute(0, 2, 3, 1).numpy()
        holes = to_pixels(cases.masks * 2 - 1)[:, 0].numpy()
        filled = np.stack([cv2.inpaint(np.ascontiguousarray(picture), hole, self.radius, cv2.INPAINT_TELEA)
                           for picture, hole in zip(pixels, holes, strict=True)])
        return {self.names[0]: completed(to_floats(torch.from_numpy(filled).permute(0, 3, 1, 2)), cases)}


class ExemplarPaste:
    """Another face's pixels in the hole: sharp, and wrong."""

    names = ("exemplar paste",)

    def describe(self) -> dict[str, Any]:
        return {"method": "exemplar paste", "code": code_of(__name__)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        return {self.names[0]: completed(cases.exemplars, cases)}


class SavedAgain:
    """The true face after one more JPEG compression: what every paired score means where nobody sees a difference."""

    names = ("saved again",)
    quality = 90

    def describe(self) -> dict[str, Any]:
        return {"method": self.names[0], "quality": self.quality, "code": code_of(__name__)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        saved = []
        for pixels in to_pixels(cases.images).permute(0, 2, 3, 1).numpy():
            _, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            saved.append(torch.from_numpy(cv2.imdecode(file, cv2.IMREAD_COLOR)))  # channel order in is channel order out
        found = to_floats(torch.stack(saved).permute(0, 3, 1, 2))
        return {self.names[0]: completed(found, cases)}
