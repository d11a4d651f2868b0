"""Every network goes through the project's weights files: configuration as JSON, tensors as fp16."""

from __future__ import annotations

import json

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.models.aggregation import AggregationConfig, MultimodalAggregation
from facemug_lib.models.config import read_config
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig, LatentDiscriminator
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping, LatentWarpingConfig
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig
from facemug_lib.weights import load_module, save_weights


@pytest.mark.parametrize("kind", ["encoder", "warping", "aggregation", "generator", "discriminator", "latent_discriminator"])
def test_round_trip(kind: str, tiny, tmp_path) -> None:
    net = {
        "encoder": lambda: StyleEncoder(
            StyleEncoderConfig(14, 3, 7, code_dim=8, width=8, squeeze=4, hidden=6, rank=3, active_deltas=5)),
        "warping": lambda: LatentWarping(LatentWarpingConfig(num_codes=3, dim=6, rank=None, hidden=5)),
        "aggregation": lambda: MultimodalAggregation(AggregationConfig(width=3, hidden=4)),
        "generator": lambda: RefinementGenerator(tiny),
        "discriminator": lambda: Discriminator(DiscriminatorConfig(widths=(6, 4))),
        "latent_discriminator": lambda: LatentDiscriminator(dim=6),
    }[kind]()
    path = save_weights(tmp_path / f"{kind}.safetensors", net.state_dict(), config=net.config_dict(), card={"images_seen": 0})
    loaded = load_module(path, type(net).from_config)
    assert loaded.config_dict() == net.config_dict()
    assert getattr(loaded, "config", None) == getattr(net, "config", None)
    ours, theirs = net.half().float().state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_configurations_survive_json() -> None:
    for config in (GeneratorConfig.compact(), GeneratorConfig.paper()):
        values = json.loads(json.dumps(RefinementGenerator.config_dict(type("Holder", (), {"config": config}))))
        assert read_config(GeneratorConfig, values) == config


def test_foreign_fields_are_refused() -> None:
    with pytest.raises(FacemugError, match="no field depth"):
        read_config(LatentWarpingConfig, {"depth": 3})
