"""Multimodal aggregation A (FACEMUG App. A-B, Eq. 16–17): pixel-wise modalities into one feature map.

Taught in `notebooks/05_multimodal_generator.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.conditions import CHANNELS, MODALITIES
from facemug_lib.models.config import read_config
from facemug_lib.models.layers import ResBlock

# As Conditions.maps gives them: the image branch also sees the mask (as mask − 0.5), so it knows a hole from mid-grey.
MAP_CHANNELS = {name: CHANNELS[name] + (1 if name == "image" else 0) for name in MODALITIES}


@dataclass(frozen=True)
class AggregationConfig:
    """Shape of A."""

    width: int = 16  # channels of F_a at full resolution
    hidden: int = 32  # inner channels of each modality's residual block
    score_hidden: int = 8  # inner channels of the shared score block
    stride: int = 2  # works on stride × stride pixel blocks moved into channels; 1 = per pixel, as in the paper
    mask_absent: bool = True  # absent modalities get no share; False lets their zero maps compete, as in the paper

    @classmethod
    def compact(cls) -> AggregationConfig:
        """The shipped one: works on 2×2 pixel blocks."""
        return cls()

    @classmethod
    def paper(cls) -> AggregationConfig:
        """64 channels at full resolution; the paper does not give the width."""
        return cls(width=64, hidden=64, score_hidden=64, stride=1, mask_absent=False)


class MultimodalAggregation(nn.Module):
    """A: {C_k} → F_a = Σ_k p_k ⊙ f_k, with p the softmax of the score maps across modalities.

    With ``stride`` s > 1 each s×s block of pixels is one point of Eq. 16–17 (its pixels lie in the channels, so no detail is
    lost and F_a comes back at full resolution); the shares are then equal within a block.
    """

    def __init__(self, config: AggregationConfig | None = None) -> None:
        super().__init__()
        self.config = config or AggregationConfig.compact()
        c = self.config
        area = c.stride**2
        self.extract = nn.ModuleDict({
            name: ResBlock(channels * area, c.width * area, c.hidden) for name, channels in MAP_CHANNELS.items()
        })
        self.score = ResBlock(c.width * area, 1, c.score_hidden)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MultimodalAggregation:
        """Rebuild from plain JSON values."""
        return cls(read_config(AggregationConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def forward(self, maps: Mapping[str, Float[Tensor, "b _ h w"]], present: Bool[Tensor, "b 4"],
                influence: Mapping[str, float] | None = None) -> tuple[Float[Tensor, "b width h w"], Float[Tensor, "b 4 h w"]]:
        """Aggregate.

        Parameters
        ----------
        maps : modality → [b,c,h,w], zeros where absent; the image has 4 channels (masked image, mask − 0.5).
        present : bool [b,4], which modalities were given, in ``MODALITIES`` order.
        influence : modality → weight ≥ 0 on exp(score); 1 is neutral, 0 leaves the modality out. Those not named have 1.

        Returns
        -------
        F_a [b,width,h,w] and the contributions p [b,4,h,w], which sum to 1 over modalities. A sample with no usable
        modality gets uniform shares.
        """
        features, shares = self._features(maps, present, influence)
        # Eq. 17: F_a = Σ_k p_k ⊙ f_k.
        weights = shares.to(next(iter(features.values())).dtype)
        aggregated = sum(weights[:, k : k + 1] * f for k, f in features.items())
        return F.pixel_shuffle(aggregated, self.config.stride), self._spread(shares)

    def contributions(self, maps: Mapping[str, Float[Tensor, "b _ h w"]], present: Bool[Tensor, "b 4"],
                      influence: Mapping[str, float] | None = None) -> Float[Tensor, "b 4 h w"]:
        """The contributions alone, the second result of :meth:`forward`."""
        return self._spread(self._features(maps, present, influence)[1])

    def _features(self, maps: Mapping[str, Tensor], present: Tensor,
                  influence: Mapping[str, float] | None) -> tuple[dict[int, Tensor], Tensor]:
        """(k → f_k, p [b,4,h/s,w/s] of Eq. 16). Where no gradient is wanted, no time is spent on modalities that have no share in
        any sample: p_k ⊙ f_k is zero."""
        usable = _usable(present, influence) if self.config.mask_absent else torch.ones_like(present)
        seen = [True] * len(MODALITIES)
        if may_skip() and bool(usable.any(dim=1).all()):  # the shares of a sample with nothing usable are uniform
            seen = usable.any(dim=0).tolist()
        features = {k: self.extract[name](F.pixel_unshuffle(maps[name], self.config.stride))
                    for k, name in enumerate(MODALITIES) if seen[k]}
        nothing = torch.zeros_like(next(iter(features.values()))[:, :1])
        scores = [self.score(features[k]) if k in features else nothing for k in range(len(MODALITIES))]
        present = present if self.config.mask_absent else torch.ones_like(present)
        return features, shares_from_scores(torch.cat(scores, dim=1).float(), present, influence)

    def _spread(self, shares: Tensor) -> Tensor:
        """Shares of blocks as those of their pixels."""
        return shares.repeat_interleave(self.config.stride, dim=2).repeat_interleave(self.config.stride, dim=3)


def shares_from_scores(scores: Float[Tensor, "b 4 h w"], present: Bool[Tensor, "b 4"],
                       influence: Mapping[str, float] | None = None) -> Float[Tensor, "b 4 h w"]:
    """FACEMUG Eq. 16 over the usable modalities: p_k = w_k exp s_k / Σ_j w_j exp s_j. Scores and result [b,4,h,w]."""
    weights = influence_weights(influence)
    usable = _usable(present, influence)
    log_weight = torch.tensor([math.log(w) if w > 0 else 0.0 for w in weights], device=scores.device, dtype=scores.dtype)
    logits = scores + log_weight[:, None, None]
    usable = usable[:, :, None, None]
    logits = logits.masked_fill(~usable, -torch.inf)
    logits = logits.masked_fill(~usable.any(dim=1, keepdim=True), 0.0)  # nothing usable: uniform
    return logits.softmax(dim=1)


def may_skip() -> bool:
    """Whether work whose result is known to be zero may be left out: nobody wants its gradients, and no graph is being compiled,
    which must hold for other inputs, too."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _usable(present: Tensor, influence: Mapping[str, float] | None) -> Tensor:
    """Which modalities have a share, bool [b,4]: those that are there and are not left out."""
    return present & torch.tensor([weight > 0 for weight in influence_weights(influence)], device=present.device)


def influence_weights(influence: Mapping[str, float] | None) -> list[float]:
    """The four weights in ``MODALITIES`` order. Raises :class:`FacemugError` on an unknown name or a bad weight."""
    influence = influence or {}
    if unknown := sorted(set(influence) - set(MODALITIES)):
        raise FacemugError(f"influence names unknown modality {', '.join(unknown)}: choose from {', '.join(MODALITIES)}")
    weights = [float(influence.get(name, 1.0)) for name in MODALITIES]
    for name, weight in zip(MODALITIES, weights, strict=True):
        if not 0.0 <= weight < math.inf:
            raise FacemugError(f"influence of {name} is {weight}: give a finite number ≥ 0 (1 is neutral)")
    return weights
