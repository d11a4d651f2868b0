"""FaceNet, an identity network that no training sees, to judge identity independently of ArcFace."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.assets import asset_bytes

INPUT_SIDE = 160
# The square of an FFHQ-aligned face that separates people best, of five tried on ten portraits: top, left and side, in units
# of the image.
CROP_BOX = (0.13, 0.13, 0.74)


class FaceNet:
    """FaceNet (Schroff et al. 2015) in OpenCV: FFHQ-aligned images [b,3,h,w] in [-1,1] to unit vectors [b,n] on the CPU.

    No gradients. Its file (87 MB) is fetched when the first one is made.
    """

    def __init__(self) -> None:
        self.network = cv2.dnn.readNetFromTensorflow(np.frombuffer(asset_bytes("facenet"), np.uint8))

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        side = image.shape[-1]
        top, left, size = (round(side * value) for value in CROP_BOX)
        faces = F.interpolate(image[..., top:top + size, left:left + size].float().cpu(), (INPUT_SIDE, INPUT_SIDE),
                              mode="bilinear", align_corners=False, antialias=True)
        # FaceNet standardises each picture; the floor keeps a uniform one finite.
        deviation = faces.std((1, 2, 3), keepdim=True, correction=0).clamp(min=1 / np.sqrt(3 * INPUT_SIDE * INPUT_SIDE))
        faces = (faces - faces.mean((1, 2, 3), keepdim=True)) / deviation
        embeddings = []
        for face in faces.numpy():
            self.network.setInput(face[None])
            embeddings.append(self.network.forward().reshape(-1).copy())
        return F.normalize(torch.from_numpy(np.stack(embeddings)), dim=1)
