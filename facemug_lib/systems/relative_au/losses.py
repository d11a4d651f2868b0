"""Losses of relative-AU expression editing, each a function of plain tensors. Expectations are batch means.

WGAN-GP (Gulrajani et al. 2017), the regression of action units, and three that hold the face: the zero condition gives it back,
the opposite condition brings it back, and neighbouring pixels agree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(x, v))] − E[D(x)] over patches [b,1,k,k]: the Wasserstein critic's side."""
    return fake.float().mean() - real.float().mean()


def adversarial_loss(fake: Tensor) -> Tensor:
    """−E[D(G(x, v))]: the generator's side."""
    return -fake.float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ = share·real + (1 − share)·fake, with ``share`` [b] in 0…1, one a picture.

    ``critic`` gives patches [b,1,k,k]. Run it in fp32.
    """
    share = share.view(-1, 1, 1, 1).to(real)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The square root has no gradient at 0.
    norm = (gradient.float().square().flatten(1).sum(1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def unit_loss(read: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of action units [b,n] that the discriminator reads."""
    return F.mse_loss(read.float(), wanted.float())


def same_face_loss(made: Tensor, face: Tensor) -> Tensor:
    """Mean absolute difference of pictures [b,3,s,s]: of G(x, 0) and x, or of the cycle G(G(x, v), −v) and x."""
    return (made.float() - face.float()).abs().mean()


def total_variation(image: Tensor) -> Tensor:
    """Sum of the absolute differences of neighbouring pixels of [b,3,s,s], over pixels and pictures: it grows with both."""
    image = image.float()
    return (image[..., 1:] - image[..., :-1]).abs().sum() + (image[..., 1:, :] - image[..., :-1, :]).abs().sum()


def pair_loss(made: Tensor, known: Tensor, face: Tensor, emphasis: float, bend: float = 0.1) -> Tensor:
    """Distance of G(x, v) and the known other picture of that face, weighed by 1 + emphasis · |known − x|; ours.

    Below ``bend`` the absolute difference d is d²/(2·bend), above d − bend/2 (Huber). A plain L1 begins with the median of what
    pairs do to a pixel, which is nothing, and stays there long. A pair differs in few pixels, hence the weight: of a pixel's
    largest channel, divided by the picture's mean weight. All pictures are [b,3,s,s].
    """
    weight = 1 + emphasis * (known - face).detach().float().abs().amax(1, keepdim=True)
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    return (weight * F.smooth_l1_loss(made.float(), known.float(), reduction="none", beta=bend)).mean()
