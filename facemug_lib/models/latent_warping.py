"""Latent warping network T (FACEMUG §II-B, App. A-A, Eq. 15): brings a source code to the pose of a target code.

Taught in `notebooks/04_latent_warping.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.models.config import read_config
from facemug_lib.models.layers import SLOPE


@dataclass(frozen=True)
class LatentWarpingConfig:
    """Shape of T. ``rank`` and ``hidden`` of None mean full matrices, as in the paper."""

    num_codes: int = 17  # t, codes of W+
    dim: int = 512  # length of one code
    blocks: int = 4  # code-to-code modulation blocks
    rank: int | None = 56  # inner width of each attention projection
    hidden: int | None = 64  # inner width of the two-layer stacks of ξ and μ

    @classmethod
    def compact(cls, num_codes: int = 17) -> LatentWarpingConfig:
        """The shipped one: 1.9 M parameters."""
        return cls(num_codes=num_codes)

    @classmethod
    def paper(cls, num_codes: int = 17) -> LatentWarpingConfig:
        """Full 512×512 layers: 10.5 M parameters."""
        return cls(num_codes=num_codes, rank=None, hidden=None)


def _projection(dim: int, rank: int | None) -> nn.Module:
    """A fully connected layer dim → dim, as a product of two thin ones where ``rank`` is given."""
    if rank is None:
        return nn.Linear(dim, dim)
    return nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, dim))


def _stack(dim: int, hidden: int | None) -> nn.Sequential:
    width = hidden or dim
    return nn.Sequential(nn.Linear(dim, width), nn.LeakyReLU(SLOPE), nn.Linear(width, dim))


class CodeModulationBlock(nn.Module):
    """One code-to-code modulation block (Eq. 15): Δw_{i−1} and w^r, both [b,t,dim], → Δw_i [b,t,dim]."""

    def __init__(self, dim: int, rank: int | None, hidden: int | None) -> None:
        super().__init__()
        self.channel_query, self.channel_key, self.channel_value = (_projection(dim, rank) for _ in range(3))
        self.position_query, self.position_key, self.position_value = (_projection(dim, rank) for _ in range(3))
        self.gate = _stack(dim, hidden)
        self.offset = _stack(dim, hidden)
        self.norm = nn.LayerNorm(dim)
        self.scale = 1.0 / math.sqrt(dim)

    def forward(self, delta: Float[Tensor, "b t dim"], reference: Float[Tensor, "b t dim"]) -> Float[Tensor, "b t dim"]:
        q, k, v = self.channel_query(reference), self.channel_key(delta), self.channel_value(delta)
        # A = softmax(q kᵀ / √dim) ∈ R^{t×t}: each code gathers whole codes.
        a_channel = (q @ k.transpose(1, 2) * self.scale).softmax(dim=2) @ v
        q, k, v = self.position_query(reference), self.position_key(delta), self.position_value(delta)
        # Â = softmax(k̂ᵀ q̂ / √dim) ∈ R^{dim×dim}, normalised over the key's axis: each position of a code gathers positions.
        a_position = v @ (k.transpose(1, 2) @ q * self.scale).softmax(dim=1)
        # Δw_i = ξ ⊙ LayerNorm(a^c + a^p) + μ, with ξ = sigmoid(MLP(w^r)) and μ = MLP(w^r).
        return self.gate(reference).sigmoid() * self.norm(a_channel + a_position) + self.offset(reference)


class LatentWarping(nn.Module):
    """T: ``forward(source, target)`` → Δw, all [b,t,dim]; the warped codes are ``source + Δw`` (Eq. 2).

    As in the paper: Δw_0 = w^s goes through the blocks, and Δw is what the last one returns. An untrained T is to change nothing,
    so Δw must begin at zero. For that the last block's LayerNorm weight and the last layer of its μ start at zero.
    """

    def __init__(self, config: LatentWarpingConfig | None = None) -> None:
        super().__init__()
        self.config = config or LatentWarpingConfig.compact()
        if self.config.blocks < 1:
            raise FacemugError(f"latent warping with {self.config.blocks} blocks: give at least 1")
        c = self.config
        self.blocks = nn.ModuleList(CodeModulationBlock(c.dim, c.rank, c.hidden) for _ in range(c.blocks))
        last = self.blocks[-1]
        for parameter in (last.norm.weight, last.norm.bias, last.offset[-1].weight, last.offset[-1].bias):
            nn.init.zeros_(parameter)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LatentWarping:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(LatentWarpingConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, source: Float[Tensor, "b t dim"], target: Float[Tensor, "b t dim"]) -> Float[Tensor, "b t dim"]:
        expected = (self.config.num_codes, self.config.dim)
        for name, codes in (("source", source), ("target", target)):
            if codes.ndim != 3 or tuple(codes.shape[1:]) != expected:
                raise FacemugError(f"{name} codes have shape {tuple(codes.shape)}: give [b, {expected[0]}, {expected[1]}]")
        delta = source
        for block in self.blocks:
            delta = block(delta, target)
        return delta
