from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.models import count_parameters
from facemug_lib.models.style_fusion import StyleFusionBlock


@pytest.fixture
def inputs(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    return (*torch.randn(3, 2, 6, 4, 4, generator=generator), torch.randn(2, 5, generator=generator))


def test_eq_7_and_8(inputs: tuple[torch.Tensor, ...]) -> None:
    decoded, encoded, bank, style = inputs
    block = StyleFusionBlock(6, 5)
    gate, injected = block.encoder_gate(decoded, style), block.injection(decoded, style)
    fused = torch.sigmoid(gate) * encoded + F.leaky_relu(injected, 0.2)
    mixed = torch.sigmoid(block.bank_gate(bank, style))
    torch.testing.assert_close(block(*inputs), mixed * fused + (1 - mixed) * bank)
    assert not torch.equal(gate, injected)
    torch.testing.assert_close(StyleFusionBlock(6, 5, bank=False)(decoded, encoded, None, style).shape, decoded.shape)


def test_addition_is_a_plain_sum_without_parameters(inputs: tuple[torch.Tensor, ...]) -> None:
    block = StyleFusionBlock(6, 5, mode="addition")
    assert count_parameters(block) == 0
    torch.testing.assert_close(block(*inputs), inputs[0] + inputs[1] + inputs[2])


def test_gated_convolution_ignores_the_style(inputs: tuple[torch.Tensor, ...]) -> None:
    block = StyleFusionBlock(6, 5, mode="gated")
    decoded, encoded, bank, style = inputs
    torch.testing.assert_close(block(*inputs), block(decoded, encoded, bank, style + 1))
    values = F.conv2d(torch.cat(inputs[:3], dim=1), block.convolution.weight, padding=1) * block.convolution.scale
    feature, gate = values[:, :6], values[:, 6:]
    torch.testing.assert_close(block(*inputs), F.leaky_relu(feature, 0.2) * 2**0.5 * torch.sigmoid(gate))


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(FacemugError, match="fusion, addition, gated"):
        StyleFusionBlock(6, 5, mode="concat")
