"""PSAM's losses, each a function of plain tensors; expectations are batch means.

The authors train as StarGAN does: a Wasserstein critic with gradient penalty (Gulrajani et al. 2017) on patches, a class head,
and the way back to the source. The logistic loss with R1 (Mescheder et al. 2018) is ours: it needs one step of D per step of G,
not five, and a penalty now and then, so that a CPU can pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from facemug_lib.training import losses

Adversarial = Literal["wgan-gp", "logistic"]


def generator_adversarial(fake: Tensor, kind: Adversarial) -> Tensor:
    """What G descends on, of D's patch scores of edited faces: −E[D(x̂)], or E[softplus(−D(x̂))]."""
    return -fake.float().mean() if kind == "wgan-gp" else losses.generator_loss(fake)


def discriminator_adversarial(real: Tensor, fake: Tensor, kind: Adversarial) -> Tensor:
    """What D descends on: E[D(x̂)] − E[D(x)], or E[softplus(D(x̂))] + E[softplus(−D(x))]."""
    return fake.float().mean() - real.float().mean() if kind == "wgan-gp" else losses.discriminator_loss(real, fake)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(‖∇D(x̄)‖₂ − 1)²] at x̄ = share·real + (1 − share)·fake; ``critic`` gives patch scores, ``share`` [b,1,1,1] in [0,1]."""
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    # The sum over the patches, as the authors' code has it: its gradient is that of all patches together.
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def pixel_distance(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of pictures [b,3,h,w]: of the way back to the source, and of known pairs."""
    return (image.float() - target.float()).abs().mean()
