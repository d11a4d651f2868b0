from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from facemug_lib.models import count_parameters
from facemug_lib.models.layers import Blur, ConvLayer, EqualLinear, ModulatedConv, ToRgb, upsample


def naive_modulated(layer: ModulatedConv, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """StyleGAN2 Eq. 1–3 as written: one weight per sample, modulated, then demodulated."""
    outputs = []
    for sample, s in zip(x, layer.affine(style), strict=True):
        weight = layer.weight * layer.scale
        if layer.separable:
            depthwise = layer.depthwise * layer.depth_scale
            weight = weight * (depthwise if layer.up else depthwise.transpose(0, 1))
        weight = weight * s[None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        sample = sample[None]
        if layer.up and layer.separable:
            y = F.conv2d(upsample(sample), weight, padding=1)
        elif layer.up:
            y = layer.blur(F.conv_transpose2d(sample, weight.transpose(0, 1), stride=2))
        else:
            y = F.conv2d(sample, weight, padding=1)
        outputs.append(y * layer.gain)
    return torch.cat(outputs)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("separable", [False, True])
def test_modulated_convolution_is_the_per_sample_weight_form(up: bool, separable: bool, generator: torch.Generator) -> None:
    layer = ModulatedConv(5, 7, 6, up=up, separable=separable, gain=1.3)
    x, style = torch.randn(3, 5, 8, 8, generator=generator), torch.randn(3, 6, generator=generator)
    ours, naive = layer(x, style), naive_modulated(layer, x, style)
    assert ours.shape == (3, 7, 16, 16) if up else (3, 7, 8, 8)
    torch.testing.assert_close(ours, naive, rtol=1e-4, atol=1e-5)


def test_demodulation_removes_the_size_of_the_style(generator: torch.Generator) -> None:
    layer = ModulatedConv(5, 7, 6)
    torch.nn.init.zeros_(layer.affine.bias)
    x, style = torch.randn(2, 5, 8, 8, generator=generator), torch.randn(2, 6, generator=generator)
    torch.testing.assert_close(layer(x, style), layer(x, 10 * style), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(layer(x, style), layer(x, style.flip(0)), atol=1e-2)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_down_convolution_halves(separable: bool, kernel: int) -> None:
    assert ConvLayer(4, 6, kernel, down=True, separable=separable)(torch.zeros(1, 4, 16, 16)).shape == (1, 6, 8, 8)


def test_blur_keeps_constants_and_kills_a_checkerboard() -> None:
    blur = Blur(padding=1)
    interior = blur(torch.ones(1, 2, 8, 8))[..., 1:-1, 1:-1]
    torch.testing.assert_close(interior, torch.ones_like(interior))
    board = (torch.arange(8)[:, None] + torch.arange(8)[None]) % 2 * 2.0 - 1.0
    assert blur(board[None, None])[..., 2:-2, 2:-2].abs().max() < 1e-6


def test_equalised_layers_keep_unit_variance(generator: torch.Generator) -> None:
    x = torch.randn(4096, 64, generator=generator)
    torch.manual_seed(0)
    assert EqualLinear(64, 64)(x).std().item() == pytest.approx(1.0, abs=0.1)
    y = ConvLayer(16, 16)(torch.randn(4, 16, 32, 32, generator=generator))
    assert y.square().mean().item() == pytest.approx(1.0, abs=0.25)


def test_to_rgb_starts_at_zero() -> None:
    assert not ToRgb(4, 3)(torch.ones(1, 4, 2, 2), torch.ones(1, 3)).any()


def test_count_parameters_leaves_buffers_out() -> None:
    assert count_parameters(torch.nn.BatchNorm2d(7)) == 14
    assert count_parameters(Blur(1)) == 0


def test_gain_is_folded_exactly(generator: torch.Generator) -> None:
    layer = ConvLayer(3, 5)
    torch.nn.init.normal_(layer.convolution[0].bias)
    x = torch.randn(1, 3, 6, 6, generator=generator)
    weight, bias = layer.convolution[0].weight / math.sqrt(27), layer.convolution[0].bias
    torch.testing.assert_close(layer(x), F.leaky_relu(F.conv2d(x, weight, bias, padding=1), 0.2) * math.sqrt(2.0))
