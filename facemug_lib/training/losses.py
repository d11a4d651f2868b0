"""Every loss of the training stages, each a function of plain tensors. Expectations are batch means."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def identity_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """1 − cos of two ArcFace embeddings [b,d] (FACEMUG L_id, Eq. 11 and Eq. 18). Scalar in [0, 2]."""
    return (1 - F.cosine_similarity(embedding.float(), target.float(), dim=1)).mean()


def code_regression_loss(codes: Tensor, target: Tensor, std_w: Tensor) -> Tensor:
    """Mean squared error of codes [b,t,d] in units of the standard deviation of w [d]: 1 is as bad as guessing the mean.

    Ours: a face sampled from the prior has exactly known codes, so the encoder has targets that the paper's had not.
    """
    return ((codes.float() - target.float()) / std_w.float()).square().mean()


def attribute_loss(codes: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of style codes [b,t,d] (EXE-GAN's attribute loss; FACEMUG L_att, Eq. 13).

    With ``codes`` = E_s(I_out) and ``target`` the interpolated codes w̄ that made I_out (Eq. 20), it is the diversity-enhanced
    attribute loss L_datt (Eq. 21); with ``target`` = E_s(x_e) it is the plain one of ablation D.
    """
    return (codes.float() - target.float()).square().mean()


def delta_norm(deltas: Tensor) -> Tensor:
    """Σ_i ‖Δ_i‖₂ over the code offsets [b,t−1,d] (encoder4editing): keeps the codes near one repeated w."""
    # The square root has no gradient at 0, where a fresh encoder's offsets are.
    return (deltas.float().square().sum(dim=2) + 1e-8).sqrt().sum(dim=1).mean()


def pixel_loss(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of images [b,c,h,w], over the pixels where ``mask`` [b,1,h,w] is 1 if given."""
    difference = (image.float() - target.float()).abs()
    if mask is None:
        return difference.mean()
    return (difference * mask).sum() / (mask.sum() * image.shape[1]).clamp_min(1)


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Non-saturating: softplus(−D(I_out)) (the generator's side of FACEMUG Eq. 22; Goodfellow et al. 2014)."""
    return F.softplus(-fake_scores.float()).mean()


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """softplus(D(I_out)) + softplus(−D(I)) (the discriminator's side of FACEMUG Eq. 22)."""
    return F.softplus(fake_scores.float()).mean() + F.softplus(-real_scores.float()).mean()


def r1_penalty(scores: Tensor, reals: Tensor) -> Tensor:
    """E‖∇D(real)‖², the regularisation in FACEMUG Eq. 22 (Mescheder et al. 2018).

    Multiply it by γ/2, and by the interval when it is computed lazily. ``reals`` must require gradients and have made ``scores``.
    Run both in fp32.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), reals, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()
