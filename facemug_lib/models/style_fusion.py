"""Style fusion block (FACEMUG Eq. 7–8) and the two simpler fusions of the paper's ablations B and C.

Taught in `notebooks/05_multimodal_generator.ipynb`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.layers import LEAKY_GAIN, ConvLayer, EqualConv2d, StyledConv, leaky

FusionMode = Literal["fusion", "addition", "gated"]


class StyleFusionBlock(nn.Module):
    """Fuse the decoder's features F^de, the encoder's F^en and the bank's F^s, all [b,c,h,w], under w* [b,style_dim].

    ``mode``: "fusion" is Eq. 7–8; "addition" sums the three (Table VI, B); "gated" is a gated convolution over their
    concatenation (Table VI, C). With ``bank`` False there is no F^s: "fusion" ends after Eq. 7.
    The slope 0.2 of φ and the side that takes the gate of Eq. 8 are not legible in the paper and are assumed.
    """

    def __init__(self, width: int, style_dim: int, *, mode: FusionMode = "fusion", bank: bool = True,
                 separable: bool = False) -> None:
        super().__init__()
        if mode not in get_args(FusionMode):
            raise FacemugError(f"fusion mode {mode!r} is unknown: choose from {', '.join(get_args(FusionMode))}")
        self.mode, self.bank = mode, bank
        if mode == "fusion":
            self.encoder_gate = StyledConv(width, width, style_dim, separable=separable, activation=None)  # ST_1
            self.injection = StyledConv(width, width, style_dim, separable=separable, activation=None)  # ST_2
            if bank:
                self.bank_gate = StyledConv(width, width, style_dim, separable=separable, activation=None)  # ST_3
        elif mode == "gated":
            inner = width * (3 if bank else 2)
            if separable:
                self.convolution = ConvLayer(inner, 2 * width, separable=True, activate=False)
            else:
                self.convolution = EqualConv2d(inner, 2 * width, 3)

    def forward(self, decoded: Float[Tensor, "b c h w"], encoded: Float[Tensor, "b c h w"], bank: Float[Tensor, "b c h w"] | None,
                style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c h w"]:
        """F^g [b,c,h,w]. ``bank`` is None exactly where the block was built with ``bank=False``."""
        if self.mode == "addition":
            return decoded + encoded if bank is None else decoded + encoded + bank
        if self.mode == "gated":
            stacked = torch.cat((decoded, encoded) if bank is None else (decoded, encoded, bank), dim=1)
            feature, gate = self.convolution(stacked).chunk(2, dim=1)
            return leaky(feature) * LEAKY_GAIN * gate.sigmoid()
        # Eq. 7: F̂ = σ(ST_1(F^de, w*)) ⊙ F^en + φ(ST_2(F^de, w*)).
        fused = self.encoder_gate(decoded, style).sigmoid() * encoded + leaky(self.injection(decoded, style))
        if bank is None:
            return fused
        # Eq. 8: F^m = σ(ST_3(F^s, w*)); F^g = F^m ⊙ F̂ + (1 − F^m) ⊙ F^s.
        return torch.lerp(bank, fused, self.bank_gate(bank, style).sigmoid())
