"""Each loss against its naive form, or against a case whose answer is known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from facemug_lib.training import losses


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_identity_loss_is_one_minus_cosine() -> None:
    a, b = draws(3, 8), draws(3, 8, seed=1)
    naive = sum(1 - float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)) / 3
    assert losses.identity_loss(a, b).item() == pytest.approx(naive, rel=1e-5)
    assert losses.identity_loss(a, -2 * a).item() == pytest.approx(2.0)


def test_code_regression_counts_in_standard_deviations() -> None:
    std = torch.tensor([1.0, 2.0])
    codes = torch.tensor([[[3.0, 4.0]]])
    assert losses.code_regression_loss(codes, torch.zeros(1, 1, 2), std).item() == pytest.approx((9 + 4) / 2)


def test_attribute_loss_and_delta_norm() -> None:
    a, b = draws(2, 3, 4), draws(2, 3, 4, seed=1)
    naive = sum(float((a[i, j, k] - b[i, j, k]) ** 2) for i in range(2) for j in range(3) for k in range(4)) / 24
    assert losses.attribute_loss(a, b).item() == pytest.approx(naive, rel=1e-5)
    naive = sum(math.sqrt(sum(float(x) ** 2 for x in a[i, j])) for i in range(2) for j in range(3)) / 2
    assert losses.delta_norm(a).item() == pytest.approx(naive, rel=1e-4)
    zero = torch.zeros(1, 2, 3, requires_grad=True)
    losses.delta_norm(zero).backward()
    assert zero.grad.isfinite().all()


def test_pixel_loss_looks_inside_the_mask_only() -> None:
    image, target = draws(2, 3, 4, 4), draws(2, 3, 4, 4, seed=1)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, 1, 2] = mask[1, 0, 3, 3] = 1
    naive = (float((image - target)[0, :, 1, 2].abs().sum()) + float((image - target)[1, :, 3, 3].abs().sum())) / 6
    assert losses.pixel_loss(image, target, mask).item() == pytest.approx(naive, rel=1e-5)
    assert losses.pixel_loss(image, target).item() == pytest.approx(float((image - target).abs().mean()))
    assert losses.pixel_loss(image, target, torch.zeros(2, 1, 4, 4)).item() == 0


def test_adversarial_losses_are_the_logistic_ones() -> None:
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [3.0]])

    def naive(x: float) -> float:
        return -math.log(1 / (1 + math.exp(-x)))  # −log D for "real"

    assert losses.generator_loss(fake).item() == pytest.approx((naive(0.5) + naive(3.0)) / 2, rel=1e-5)
    expected = (naive(2.0) + naive(-1.0)) / 2 + (naive(-0.5) + naive(-3.0)) / 2
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_r1_of_a_linear_network_is_its_squared_weight() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    images = draws(5, 3, 2, 2).requires_grad_()
    penalty = losses.r1_penalty(net(images), images)
    weight = net[1].weight
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)
    penalty.backward()  # reaches the weights: d‖w‖²/dw = 2w
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_r1_by_finite_differences() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = draws(3, 4).double().requires_grad_()
    step, naive = 1e-6, 0.0
    for i in range(3):
        for k in range(4):
            ahead, behind = x.detach().clone(), x.detach().clone()
            ahead[i, k] += step
            behind[i, k] -= step
            naive += ((net(ahead)[i] - net(behind)[i]) / (2 * step)).item() ** 2 / 3
    assert losses.r1_penalty(net(x), x).item() == pytest.approx(naive, rel=1e-5)
