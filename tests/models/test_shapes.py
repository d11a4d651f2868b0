"""The shapes that public signatures promise, held against what goes through small networks; and a wrong one is seen."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from jaxtyping import Bool, Float
from shapes import WrongShape, checked, hold
from stylegan2_state import rosinality_state
from torch import Tensor, nn

from facemug_lib import models
from facemug_lib.faces import code_space, prior, stylegan2
from facemug_lib.modalities import conditions
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig, LatentDiscriminator
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping, LatentWarpingConfig
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig

MODULES = [conditions, code_space, prior, stylegan2,
           *(importlib.import_module(f"facemug_lib.models.{one.name}") for one in pkgutil.iter_modules(models.__path__)
             if one.name != "published_encoder")]  # it has one size, a large one: its own tests hold it to its shapes
ABSTRACT = {"faces.code_space.CodeSpace.map", "faces.code_space.CodeSpace.style_affines"}


class Pair(NamedTuple):
    """Two vectors of one length."""

    first: Float[Tensor, " n"]
    second: Float[Tensor, " n"]


class Repeater:
    """Knows how often it repeats."""

    times = 3

    def repeated(self, x: Float[Tensor, "b d"], times: int) -> Float[Tensor, "b {self.times} d"]:
        return x[:, None].expand(-1, times, -1)


def picture_of(x: Float[Tensor, "b c h w"], to: str) -> Float[Tensor, "b 3 h w"]:
    return {"right": x[:, :3], "turned": x[:, :3].mT, "few": x[:1, :3], "flat": x[0, :3], "double": x[:, :3].double().long()}[to]


def doubled(x: Float[Tensor, "b c h w"], by: int) -> Float[Tensor, "b c 2*h 2*w"]:
    return x.repeat_interleave(by, 2).repeat_interleave(by, 3)


def levels(x: Float[Tensor, "b d"], batch: int) -> dict[int, Float[Tensor, "b _"]]:
    return {1: x[:, :1], 2: x[:batch]}


def both(x: Float[Tensor, "b d"], is_long: bool) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
    return x, x.flatten() if is_long else x[:, 0]


def paired(x: Float[Tensor, "b d"], length: int) -> Pair:
    return Pair(x[0], x[0, :length])


def either(x: Float[Tensor, "b d"] | Float[Tensor, " d"] | None, y: Bool[Tensor, " d"]) -> Tensor:
    return y


FACES, ROWS = torch.zeros(2, 4, 8, 6), torch.zeros(2, 5)
RIGHT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "result": (picture_of, (FACES, "right")), "arithmetic": (doubled, (FACES, 2)), "dictionary": (levels, (ROWS, 2)),
    "tuple": (both, (ROWS, False)), "fields": (paired, (ROWS, 5)), "attribute": (Repeater.repeated, (Repeater(), ROWS, 3)),
    "first of several": (either, (ROWS, torch.ones(5, dtype=torch.bool))),
    "second of several": (either, (ROWS[0], torch.ones(5, dtype=torch.bool))), "none": (either, (None, torch.ones(5) > 0)),
}
WRONG: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "sides exchanged": (picture_of, (FACES, "turned"), r"picture_of: the result is torch.float32\[2, 3, 6, 8\]"),
    "another batch": (picture_of, (FACES, "few"), "the result"), "no batch": (picture_of, (FACES, "flat"), "the result"),
    "whole numbers": (picture_of, (FACES, "double"), "the result is torch.int64"),
    "argument": (picture_of, (ROWS, "right"), r"picture_of: x is torch.float32\[2, 5\]"),
    "arithmetic": (doubled, (FACES, 3), "the result"), "in a dictionary": (levels, (ROWS, 1), "the result"),
    "in a tuple": (both, (ROWS, True), "the result"), "among fields": (paired, (ROWS, 4), "the result"),
    "attribute": (Repeater.repeated, (Repeater(), ROWS, 2), "Repeater.repeated: the result"),
    "none of several": (either, (FACES, torch.ones(5) > 0), "x is"),
    "against each other": (either, (ROWS, torch.ones(4) > 0), "y is"),
    "kind": (either, (ROWS, torch.ones(5)), "y is torch.float32"), "not an array": (either, ([1.0], torch.ones(5) > 0), "x is"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_promised_passes(name: str) -> None:
    function, given = RIGHT[name]
    called: set[str] = set()
    checked(function, called)(*given)
    assert len(called) == 1


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_promised_is_seen(name: str) -> None:
    function, given, words = WRONG[name]
    function(*given)  # by itself it says nothing
    with pytest.raises(WrongShape, match=words):
        checked(function)(*given)


def filled(network: nn.Module) -> Any:
    """With small numbers in place of memory's contents."""
    for tensor in network.state_dict().values():
        tensor.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    return network.eval().requires_grad_(False)


def run_conditions(draw: torch.Generator) -> conditions.Conditions:
    mask = (torch.rand(2, 1, 64, 64, generator=draw) > 0.5).float()
    image, labels = torch.rand(2, 3, 64, 64, generator=draw) * 2 - 1, torch.randint(-1, 19, (2, 64, 64), generator=draw)
    given = conditions.Conditions.build(mask, image, mask, labels, image, colour_mask=mask)
    assert conditions.exemplar_input(image).shape == given.encoder_input().shape
    assert given.composite(image, -image).shape == image.shape
    return given


def run_banks(draw: torch.Generator) -> None:
    small = stylegan2.StyleGAN2Prior.from_state_dict(rosinality_state(256, 6))
    large = filled(prior.FacePrior(prior.PictureHeads(4)))
    large.measure_w()
    for bank in (small, large):
        w = bank.w_of_seeds([1, 2], 0.5)
        bank.truncate(w, torch.tensor([[0.5], [0.7]]))
        codes = bank.mix(w, bank.broadcast(w), 4)
        picture, features = bank(codes[:1])
        assert len(bank.style_affines()) == bank.num_codes and len(features) >= 6
        assert bank.reduced(picture, features, codes[:1], 64).shape == bank(codes[:1], 64)[0].shape == (1, 3, 64, 64)
        assert bank.synthesize(w[:1], 64).shape == (1, 3, 64, 64) and len(bank.features(codes[:1], 16)) == 3
    large.render_full(codes[:1])


def run_networks(given: conditions.Conditions, draw: torch.Generator) -> None:
    compact = replace(StyleEncoderConfig.compact(), code_dim=16, width=8, squeeze=4, hidden=6, rank=3)
    paper = replace(StyleEncoderConfig.paper(), num_codes=6, code_dim=16, width=8, coarse_codes=2, middle_codes=4)
    for config in (compact, paper):
        codes, deltas = StyleEncoder(config, torch.zeros(16)).eval()(given.encoder_input(), return_deltas=True)
        assert deltas.shape[1] == codes.shape[1] - 1
    codes = torch.randn(2, 17, 16, generator=draw)
    LatentWarping(replace(LatentWarpingConfig(), num_codes=17, dim=16))(codes, codes)
    channels = {4: 6, 8: 6, 16: 6, 32: 6}
    full = GeneratorConfig.compact(feature_channels=channels, size=64)
    full = replace(full, code_dim=16, widths=(8,) * 5, global_dim=6, bottleneck=4, style_rank=5)
    features = {side: torch.randn(2, 6, side, side, generator=draw) for side in channels}
    for config in (full, replace(full, separable_from=4, style_rank=None, fusion="addition")):
        network = RefinementGenerator(config)
        for wanted in (torch.enable_grad(), torch.no_grad()):  # two ways to the same
            with wanted:
                assert network(given, codes, features, given.image, {"sketch": 2.0}).image.shape == given.image.shape
    Discriminator(DiscriminatorConfig.compact(size=64))(given.image)
    LatentDiscriminator(16)(codes)


def test_what_goes_through_small_networks_is_as_their_signatures_say(monkeypatch: pytest.MonkeyPatch) -> None:
    every, called = hold(monkeypatch, MODULES)
    draw = torch.Generator().manual_seed(0)
    run_networks(run_conditions(draw), draw)
    run_banks(draw)
    assert len(every) > 50 and every - called == ABSTRACT


def test_a_network_that_breaks_its_word_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, MODULES)
    network = LatentDiscriminator(16)
    network.net.append(nn.Flatten(0))
    with pytest.raises(WrongShape, match=r"models.discriminator.LatentDiscriminator.forward: the result is torch.float32\[6\]"):
        network(torch.zeros(6, 16))
