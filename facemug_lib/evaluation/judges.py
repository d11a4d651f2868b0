"""The frozen networks that judge pictures, each loaded when first asked.

None of them but ArcFace, LPIPS and the expert is seen by any training; FaceNet and Inception judge independently.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from facemug_lib.devices import BATCH
from facemug_lib.experts.facenet import FaceNet
from facemug_lib.experts.identity import ArcFace
from facemug_lib.experts.inception import Inception
from facemug_lib.experts.perceptual import Lpips
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.landmarks import FaceAnalyzer
from facemug_lib.pictures import to_pixels

LpipsNet = Literal["alex", "vgg"]


class Judges:
    """All judges on one device. Pictures are [n,3,256,256] in [-1,1]; results come back on the CPU, without gradients."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._perceptual: dict[str, Lpips] = {}

    @cached_property
    def _inception(self) -> Inception:
        return Inception().to(self.device)

    def _lpips(self, net: LpipsNet) -> Lpips:
        if net not in self._perceptual:
            self._perceptual[net] = Lpips(net).to(self.device)
        return self._perceptual[net]

    @cached_property
    def _arcface(self) -> ArcFace:
        return ArcFace().to(self.device)

    @cached_property
    def _facenet(self) -> FaceNet:
        return FaceNet()

    @cached_property
    def _expert(self) -> ExpertStudent:
        return ExpertStudent.load(self.device)

    @cached_property
    def _analyzer(self) -> FaceAnalyzer:
        return FaceAnalyzer(threads=max(1, torch.get_num_threads()))

    @torch.no_grad()
    def inception(self, pictures: Tensor) -> Tensor:
        """Inception-V3 pool features [n,2048], for FID, KID, U-IDS and P-IDS."""
        return torch.cat([self._inception(piece.to(self.device)).cpu() for piece in pictures.split(BATCH)])

    @torch.no_grad()
    def lpips(self, pictures: Tensor, truths: Tensor, net: LpipsNet = "alex") -> Tensor:
        """LPIPS [n] between pictures and truths."""
        return torch.cat([self.lpips_to(self.embedded(b, net), a, net)
                          for a, b in zip(pictures.split(BATCH), truths.split(BATCH), strict=True)])

    @torch.no_grad()
    def embedded(self, truths: Tensor, net: LpipsNet = "alex") -> list[Tensor]:
        """LPIPS features of truths that several pictures are to be compared with; 35 MB a face for VGG, so a few at a time."""
        return self._lpips(net).embed(truths.to(self.device))

    @torch.no_grad()
    def lpips_to(self, embedded: list[Tensor], pictures: Tensor, net: LpipsNet = "alex") -> Tensor:
        """LPIPS [n] of pictures to the truths of :meth:`embedded`."""
        network = self._lpips(net)
        return network.distance(network.embed(pictures.to(self.device)), embedded).cpu()

    @torch.no_grad()
    def arcface(self, pictures: Tensor) -> Tensor:
        """Unit vectors [n,512]; dot products are cosine similarities."""
        return torch.cat([self._arcface(piece.to(self.device)).cpu() for piece in pictures.split(BATCH)])

    def facenet(self, pictures: Tensor) -> Tensor:
        """Unit vectors [n,d] of the network that no training here has seen."""
        return self._facenet(pictures)

    def parse(self, pictures: Tensor) -> Tensor:
        """The expert's label maps, long [n,256,256]."""
        return torch.cat([self._expert.parse(piece.to(self.device)).cpu() for piece in pictures.split(BATCH)])

    def pose(self, pictures: Tensor) -> Tensor:
        """Yaw, pitch and roll [n,3] in degrees from 106 landmarks; NaN where no face was found."""
        poses = []
        for picture in pictures:
            rgb = np.ascontiguousarray(to_pixels(picture).permute(1, 2, 0).numpy())
            poses.append(self._analyzer.pose(rgb) or (float("nan"),) * 3)
        return torch.tensor(poses, dtype=torch.float32)
