"""DIAT's losses, each a function of plain tensors; expectations are batch means."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.experts.identity import ArcFace

SIDES_OF_MAPS = (28, 14, 7)  # of ArcFace's feature maps that are compared


def perceptual_identity(made: Sequence[Tensor], source: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Σ_l w_l / (2·c_l·h_l·w_l) · ‖φ_l(T(x)) − φ_l(x)‖² over feature maps φ_l [b,c,h,w] of a network that knows faces (DIAT).

    In DIAT-A the network is the attribute discriminator, whose features change while it learns. ``weights`` w_l are 1 by default.
    """
    weights = [1.0] * len(made) if weights is None else weights
    return sum(0.5 * weight * (a.float() - b.float()).square().mean() for a, b, weight in zip(made, source, weights, strict=True))


def smoothness(made: Tensor, denoised: Tensor) -> Tensor:
    """‖T(x) − f(T(x))‖² per value: what a denoiser f would take away from pictures [b,3,h,w]. f learns on real faces alone."""
    return (made.float() - denoised.float()).square().mean()


def blurred(images: Tensor, times: int = 4) -> Tensor:
    """Pictures [b,3,h,w] without what is finer than ``times`` pixels."""
    small = F.avg_pool2d(images.float(), times)
    return F.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)


def changed(made: Tensor, image: Tensor, full: float = 0.1) -> Tensor:
    """Where T has changed a face, soft [b,1,h,w] in [0,1]; 1 where it did by ``full`` (pictures in [-1,1]) around a point."""
    return (blurred((made - image).abs(), 8).mean(1, keepdim=True) / full).clamp(0, 1)


def enhancement_losses(enhanced: Tensor, made: Tensor, image: Tensor) -> dict[str, Tensor]:
    """What the enhanced picture must keep: of the face where T has changed little, of T's picture, fine detail apart, where it
    has.

    ``keep`` = mean of (1 − M)·|E − x|, ``follow`` = mean of M·|blur(E) − blur(T(x))|, M = :func:`changed` (ours; the paper's
    text of this network is not to be had). Where neither says anything, in the detail of what has changed, the discriminator
    decides.
    """
    where = changed(made, image).detach()
    return {"keep": ((1 - where) * (enhanced.float() - image).abs()).mean(),
            "follow": (where * (blurred(enhanced) - blurred(made)).abs()).mean()}


class IdentityFeatures(nn.Module):
    """φ of DIAT: ArcFace's last feature maps of 28², 14² and 7², of faces [b,3,h,w] in [-1,1]. Frozen; gradients reach the face.

    It stands in for VGG-Face, whose weights cannot be had from a package index.
    """

    def __init__(self, arcface: ArcFace | None = None) -> None:
        super().__init__()
        self.arcface = arcface or ArcFace()
        self._maps: dict[int, Tensor] = {}
        for layer in self.arcface.network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(self._remember)

    def _remember(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._maps[output.shape[-1]] = output  # the last one of each size stays

    def forward(self, image: Tensor) -> list[Tensor]:
        self._maps.clear()
        self.arcface(image)
        maps = [self._maps[side] for side in SIDES_OF_MAPS]
        self._maps.clear()
        # Channels differ in scale by orders of magnitude; unit vectors per place make the three sizes count alike.
        return [F.normalize(one, dim=1) * one.shape[1] ** 0.5 for one in maps]


def identity_feature_maps(features: nn.Module, images: Tensor) -> list[Tensor]:
    """φ of source faces, without gradients."""
    with torch.no_grad():
        return features(images)
