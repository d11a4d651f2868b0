"""The multimodal generator: aggregation A, refinement encoder R_en and decoder R_de (FACEMUG §II-E, Eq. 1 and 6).

Taught in `notebooks/05_multimodal_generator.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import Feature
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.models.aggregation import AggregationConfig, MultimodalAggregation, may_skip
from facemug_lib.models.config import read_config
from facemug_lib.models.layers import LEAKY_GAIN, ConvLayer, EqualConv2d, EqualLinear, StyledConv, ToRgb, leaky, upsample
from facemug_lib.models.style_fusion import FusionMode, StyleFusionBlock
from facemug_lib.pictures import reduced

BaseMode = Literal["prior", "settled"]

# The default bank: channels of its features, and which of its 17 codes act at which resolution.
BANK_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256}
BANK_CODES = {4: (0,), 8: (1, 2, 3), 16: (4, 5, 6), 32: (7, 8, 9), 64: (10, 11, 12), 128: (13, 14, 15)}
COMPACT_WIDTHS = {4: 256, 8: 256, 16: 256, 32: 192, 64: 96, 128: 48, 256: 24}
PAPER_WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of A and R. The tuples have one entry per decoder resolution, 4, 8, … up to the picture's size."""

    widths: tuple[int, ...]  # channels of encoder and decoder
    bank_channels: tuple[int, ...]  # channels of the bank's features; 0 = none there, the prior's picture stands in
    code_layers: tuple[tuple[int, int, int], ...]  # indices of the codes of the style layer, the fusion block, the picture
    num_codes: int = 17
    code_dim: int = 512
    global_dim: int = 256  # length of the global vector g
    bottleneck: int = 64  # channels of the 4² features that g is made from
    style_rank: int | None = 96  # inner width of the map from w* to the style layers, shared per resolution; None = direct
    separable_from: int | None = 128  # style layers and convolutions this wide or wider are depthwise-separable
    fusion: FusionMode = "fusion"  # ablations B ("addition") and C ("gated") of Table VI
    use_bank: bool = True  # False: neither bank features nor the prior's picture, ablation E of Table VI
    base: BaseMode = "prior"  # what is corrected: the prior's picture, or the photo with it settled in the hole
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.bank_channels) == len(self.code_layers) > 1:
            raise FacemugError("widths, bank_channels and code_layers need one entry for each of the resolutions 4, 8, …")
        if any(not 0 <= index < self.num_codes for triple in self.code_layers for index in triple):
            raise FacemugError(f"code_layers names a code outside 0 … {self.num_codes - 1}: the bank has {self.num_codes} codes")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, … up to the picture's size."""
        return tuple(4 * 2**i for i in range(len(self.widths)))

    @property
    def size(self) -> int:
        """Side of the picture that is painted, in pixels."""
        return self.resolutions[-1]

    @classmethod
    def compact(cls, *, feature_channels: Mapping[int, int] = BANK_CHANNELS,
                code_layers: Mapping[int, Sequence[int]] = BANK_CODES, num_codes: int = 17,
                size: int = 256) -> GeneratorConfig:
        """The shipped one. ``feature_channels``, ``code_layers`` and ``num_codes`` are the bank's attributes of those names."""
        bank = _bank_fields(feature_channels, code_layers, num_codes, size)
        return cls(widths=tuple(COMPACT_WIDTHS[r] for r in _resolutions(size)), num_codes=num_codes, **bank)

    @classmethod
    def paper(cls, *, feature_channels: Mapping[int, int] = BANK_CHANNELS,
              code_layers: Mapping[int, Sequence[int]] = BANK_CODES, num_codes: int = 17, size: int = 256) -> GeneratorConfig:
        """StyleGAN2 widths at channel multiplier 2, g of length 1024, full 3×3 style layers."""
        bank = _bank_fields(feature_channels, code_layers, num_codes, size)
        return cls(widths=tuple(PAPER_WIDTHS[r] for r in _resolutions(size)), num_codes=num_codes, global_dim=1024,
                   bottleneck=512, style_rank=None, separable_from=None, aggregation=AggregationConfig.paper(), **bank)


def _resolutions(size: int) -> tuple[int, ...]:
    if size not in COMPACT_WIDTHS or size < 8:
        raise FacemugError(f"picture size {size} is not possible here: choose a power of two from 8 to 256")
    return tuple(4 * 2**i for i in range(int(math.log2(size)) - 1))


def _bank_fields(feature_channels: Mapping[int, int], code_layers: Mapping[int, Sequence[int]], num_codes: int,
                 size: int) -> dict[str, Any]:
    """A bank's description, laid out per decoder resolution. A resolution without codes of its own uses the last code."""
    resolutions = _resolutions(size)
    triples = []
    for r in resolutions:
        codes = code_layers.get(r, (num_codes - 1,))
        # w*_i, w*_{i+1} and w*_{i+2} of Eq. 6, as far as the bank's layer has that many codes.
        triples.append((codes[0], codes[min(1, len(codes) - 1)], codes[-1]))
    return {"bank_channels": tuple(feature_channels.get(r, 0) for r in resolutions), "code_layers": tuple(triples)}


class RefinementEncoder(nn.Module):
    """R_en: F_a [b,c,s,s] → features {F^en} (resolution → [b,width,r,r]) and the global vector g [b,global_dim].

    At each resolution one convolution gives F^en. Then a low-pass and a strided convolution lead to half the resolution. At 4²
    the features are flattened and mapped to g, and g is mapped back and added to them. EXE-GAN's encoder drops parts of g at
    random; this one does not, since variety comes from the codes and a picture is to be the same each time.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        wide = config.separable_from
        widths = dict(zip(config.resolutions, config.widths, strict=True))
        self.resolutions = config.resolutions[::-1]
        self.enter = ConvLayer(config.aggregation.width, widths[self.resolutions[0]], kernel=1)
        self.same, self.down = nn.ModuleDict(), nn.ModuleDict()
        for r in self.resolutions:
            separable = wide is not None and widths[r] >= wide
            self.same[str(r)] = ConvLayer(widths[r], widths[r], separable=separable)
            if r > 4:
                self.down[str(r)] = ConvLayer(widths[r], widths[r // 2], down=True,
                                              separable=wide is not None and widths[r // 2] >= wide)
        self.squeeze = ConvLayer(widths[4], config.bottleneck, kernel=1)
        self.to_global = EqualLinear(config.bottleneck * 16, config.global_dim, gain=LEAKY_GAIN)
        self.from_global = EqualLinear(config.global_dim, config.bottleneck * 16, gain=LEAKY_GAIN)
        self.expand = ConvLayer(config.bottleneck, widths[4], kernel=1, activate=False)

    def forward(self, aggregated: Float[Tensor, "b c s s"]) -> tuple[dict[int, Feature], Float[Tensor, "b global_dim"]]:
        x = self.enter(aggregated)
        features = {}
        for r in self.resolutions:
            x = self.same[str(r)](x)
            features[r] = x
            if r > 4:
                x = self.down[str(r)](x)
        squeezed = self.squeeze(x)
        g = leaky(self.to_global(squeezed.flatten(1)))
        features[4] = x + self.expand(leaky(self.from_global(g)).view_as(squeezed))
        return features, g


class DecoderLevel(nn.Module):
    """One resolution of R_de: F^g_{i−1} → F^g_i and its contribution to the picture (Eq. 6)."""

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__()
        width = config.widths[index]
        inner = config.widths[max(index - 1, 0)]
        separable = config.separable_from is not None and width >= config.separable_from
        star = config.code_dim + config.global_dim  # length of w*
        rank = config.style_rank
        self.project = None if rank is None else EqualLinear(star, rank)
        style_dim = star if rank is None else rank
        self.codes = config.code_layers[index]
        self.style = StyledConv(inner, width, style_dim, up=index > 0, separable=separable)
        # Brings the bank's features to the decoder's width; where the bank has none, the prior's picture stands in.
        self.adapt = EqualConv2d(config.bank_channels[index] or 3, width, 1) if config.use_bank else None
        self.fuse = StyleFusionBlock(width, style_dim, mode=config.fusion, bank=config.use_bank, separable=separable)
        self.to_rgb = ToRgb(width, style_dim)

    def forward(self, x: Float[Tensor, "b inner _ _"], encoded: Float[Tensor, "b width r r"],
                bank: Float[Tensor, "b channels r r"] | None, codes: Float[Tensor, "b t dim"], g: Float[Tensor, "b global_dim"],
                ) -> tuple[Float[Tensor, "b width r r"], Float[Tensor, "b 3 r r"]]:
        first, second, third = (self._star(codes[:, index], g) for index in self.codes)
        x = self.style(x, first)
        x = self.fuse(x, encoded, None if self.adapt is None else self.adapt(bank), second)
        return x, self.to_rgb(x, third)

    def _star(self, code: Tensor, g: Tensor) -> Tensor:
        """w*_i = concat(ŵ_i, g), through the level's low-rank map if it has one."""
        star = torch.cat((code.to(g.dtype), g), dim=1)
        return star if self.project is None else self.project(star)


class GeneratorOutput(NamedTuple):
    """image [b,3,s,s], about [-1,1], not composited with the known pixels; contributions p [b,4,s,s] of Eq. 16."""

    image: Float[Tensor, "b 3 s s"]
    contributions: Float[Tensor, "b 4 s s"]


class RefinementGenerator(nn.Module):
    """A and R together: conditions, codes ŵ and the bank's features → picture.

    The picture is the prior's picture plus the decoder's skip pictures, Σ_i up(RGB_i). Those are zero before training, so an
    untrained generator returns the prior's picture. With ``use_bank=False`` it starts from zeros (mid-grey) instead and does not
    look at ``features`` and ``prior_image``.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config or GeneratorConfig.compact()
        self.aggregation = MultimodalAggregation(self.config.aggregation)
        self.encoder = RefinementEncoder(self.config)
        self.decoder = nn.ModuleList(DecoderLevel(self.config, index) for index in range(len(self.config.widths)))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RefinementGenerator:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(read_config(GeneratorConfig, config))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    @property
    def adds_nothing(self) -> bool:
        """Whether all picture layers are zero, as they are before training: so are the skip pictures then, whatever is shown."""
        return not any(bool(weight.any()) for level in self.decoder for weight in (level.to_rgb.convolution.weight,
                                                                                   level.to_rgb.bias))

    def forward(self, conditions: Conditions, codes: Float[Tensor, "b t dim"], features: Mapping[int, Feature] | None = None,
                prior_image: Float[Tensor, "b 3 s s"] | None = None,
                influence: Mapping[str, float] | None = None) -> GeneratorOutput:
        """Paint.

        Parameters
        ----------
        conditions : the edit's mask and modalities, at the picture's size.
        codes : ŵ [b,t,512].
        features : the bank's, resolution → [b,c,r,r]; those beyond the configuration are ignored.
        prior_image : the prior's picture of the same codes, [b,3,s,s] in [-1,1]; where ``config.base`` is "settled", the photo
            with that picture settled in its hole (:mod:`facemug_lib.editing.fill.settling`).
        influence : modality → weight ≥ 0 in the aggregation (1 neutral, 0 left out).
        """
        self._check(codes, features, prior_image)
        if self.config.use_bank and may_skip() and self.adds_nothing:
            contributions = self.aggregation.contributions(conditions.maps(), conditions.present, influence)
            return GeneratorOutput(0.0 + prior_image.float(), contributions)
        aggregated, contributions = self.aggregation(conditions.maps(), conditions.present, influence)
        encoded, g = self.encoder(aggregated)
        x, picture = encoded[4], None
        for r, bank_channels, level in zip(self.config.resolutions, self.config.bank_channels, self.decoder, strict=True):
            bank = None
            if self.config.use_bank:
                bank = features[r] if bank_channels else reduced(prior_image, r)
            x, rgb = level(x, encoded[r], bank, codes, g)
            # The sum runs in full precision: it is the picture.
            picture = rgb.float() if picture is None else upsample(picture) + rgb
        return GeneratorOutput(picture + prior_image if self.config.use_bank else picture, contributions)

    def _check(self, codes: Tensor, features: Mapping[int, Tensor] | None, prior_image: Tensor | None) -> None:
        c = self.config
        if codes.ndim != 3 or tuple(codes.shape[1:]) != (c.num_codes, c.code_dim):
            raise FacemugError(f"codes have shape {tuple(codes.shape)}: this generator takes [b, {c.num_codes}, {c.code_dim}]")
        if not c.use_bank:
            return
        if features is None or prior_image is None:
            raise FacemugError("this generator needs the bank's features and picture: pass prior.forward(codes)'s two results")
        for r, channels in zip(c.resolutions, c.bank_channels, strict=True):
            if channels and (r not in features or features[r].shape[1] != channels):
                raise FacemugError(f"the bank's features at {r} px are missing or not {channels} channels: "
                                   "the generator was built for another bank")
