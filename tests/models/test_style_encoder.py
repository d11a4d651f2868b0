from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.models import count_parameters
from facemug_lib.models.ir_se50 import IrSe50
from facemug_lib.models.style_encoder import StyleEncoder, StyleEncoderConfig

TINY = replace(StyleEncoderConfig.compact(num_codes=14), code_dim=8, width=8, squeeze=4, hidden=6, rank=3)
TINY_PAPER = replace(StyleEncoderConfig.paper(), num_codes=6, code_dim=8, width=8, coarse_codes=2, middle_codes=4)


@pytest.fixture(scope="module")
def encoder() -> StyleEncoder:
    torch.manual_seed(0)
    return StyleEncoder(TINY, mean_w=torch.arange(8.0))


def test_untrained_codes_lie_at_the_mean(encoder: StyleEncoder, generator: torch.Generator) -> None:
    codes = encoder.eval()(torch.randn(2, 26, 64, 64, generator=generator))
    assert codes.shape == (2, 14, 8)
    assert (codes - torch.arange(8.0)).abs().max() < 0.2


@pytest.mark.parametrize("config", [TINY, TINY_PAPER], ids=["compact", "ir_se50"])
def test_gradients_reach_every_parameter(config: StyleEncoderConfig, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    net = StyleEncoder(config)
    net(torch.randn(3, 26, 64, 64, generator=generator)).square().sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("config", [TINY, TINY_PAPER], ids=["compact", "ir_se50"])
def test_a_smaller_input_size_is_an_average(config: StyleEncoderConfig, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    net = StyleEncoder(replace(config, input_size=128)).eval()
    x = torch.randn(1, 26, 256, 256, generator=generator)
    torch.testing.assert_close(net(x), net(torch.nn.functional.avg_pool2d(x, 2)))
    assert count_parameters(net) < count_parameters(StyleEncoder(config))


def test_deltas_switch_on_one_after_another(encoder: StyleEncoder, generator: torch.Generator) -> None:
    x = torch.randn(2, 26, 64, 64, generator=generator)
    encoder.eval()
    full, deltas = encoder(x, return_deltas=True)
    torch.testing.assert_close(full[:, 1:], full[:, :1] + deltas)
    assert encoder.active_deltas == 13 and deltas.shape == (2, 13, 8)
    encoder.set_active_deltas(3)
    codes, gated = encoder(x, return_deltas=True)
    assert gated[:, :3].abs().amax(dim=(0, 2)).min() > 0 and not gated[:, 3:].any()
    torch.testing.assert_close(codes[:, :4], full[:, :4])
    torch.testing.assert_close(codes[:, 4:], codes[:, :1].expand(-1, 10, -1))
    encoder.set_active_deltas(None)
    assert encoder.active_deltas == 13
    with pytest.raises(FacemugError, match="0 … 13"):
        encoder.set_active_deltas(14)


def test_ir_se50_pyramid() -> None:
    with torch.device("meta"):
        trunk = IrSe50(26)
        levels = trunk(torch.empty(1, 26, 256, 256))
    assert [tuple(level.shape[1:]) for level in levels] == [(128, 64, 64), (256, 32, 32), (512, 16, 16)]
    assert len(trunk.blocks) == 24


def test_presets() -> None:
    with torch.device("meta"):
        assert count_parameters(StyleEncoder()) <= 4_000_000
        paper = StyleEncoder(StyleEncoderConfig.paper(num_codes=18))
        assert paper(torch.empty(1, 26, 256, 256)).shape == (1, 18, 512)
    steps = [sum(isinstance(layer, torch.nn.Conv2d) for layer in head.convolutions) for head in paper.heads.heads]
    assert steps == [4] * 3 + [5] * 4 + [6] * 11
    assert isinstance(paper.lateral[-1], torch.nn.Identity)
    for codes in (14, 17, 18):
        with torch.device("meta"):
            assert StyleEncoder(StyleEncoderConfig.compact(codes))(torch.empty(1, 26, 256, 256)).shape == (1, codes, 512)


def test_imagenet_start_leaves_other_channels_at_zero(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    from facemug_lib.experts import trunk

    published: dict[str, torch.Tensor] = {}
    net = StyleEncoder(TINY)
    for name, value in net.trunk.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            shape = (32, 3, 3, 3) if name == "stem.0.weight" else value.shape
            published[trunk._published_name(name)] = torch.rand(shape, generator=generator) + 0.1
    monkeypatch.setattr(trunk, "load_asset", {"efficientnet_lite0": published}.__getitem__)
    net.init_from_imagenet().eval()
    x = torch.randn(1, 26, 64, 64, generator=generator)
    assert torch.equal(net.trunk.stem[0].weight[:, :3], published["_conv_stem.weight"])
    other = x.clone()
    other[:, 3:] = 0.0
    torch.testing.assert_close(net(x), net(other))
    with pytest.raises(FacemugError, match="only the compact trunk"):
        StyleEncoder(TINY_PAPER).init_from_imagenet()


def test_expert_start_takes_the_stages_it_has(generator: torch.Generator) -> None:
    from facemug_lib.experts.trunk import CompactTrunk

    torch.manual_seed(0)
    learned = CompactTrunk(stages=5).eval()
    net = StyleEncoder(TINY).eval()
    last = {name: value.clone() for name, value in net.trunk.stages[5].state_dict().items()}
    net.init_from_expert(learned)
    x = torch.randn(1, 26, 64, 64, generator=generator)
    with torch.no_grad():
        for ours, theirs in zip(net.trunk(x)[:3], learned(x[:, :3])[:3], strict=True):
            torch.testing.assert_close(ours, theirs)
    for name, value in net.trunk.stages[5].state_dict().items():
        assert torch.equal(value, last[name]), name
    with pytest.raises(FacemugError, match="only the compact trunk"):
        StyleEncoder(TINY_PAPER).init_from_expert(learned)


def test_bad_inputs_are_refused(encoder: StyleEncoder) -> None:
    with pytest.raises(FacemugError, match="26, h, w"):
        encoder(torch.zeros(1, 3, 64, 64))
    with pytest.raises(FacemugError, match="divisible by 32"):
        encoder(torch.zeros(1, 26, 50, 64))
    with pytest.raises(FacemugError, match="rise strictly"):
        replace(TINY, coarse_codes=11)
    with pytest.raises(FacemugError, match="128 or 256 px, not at 200"):
        replace(TINY, input_size=200)
    with pytest.raises(FacemugError, match="compact or ir_se50"):
        StyleEncoder(replace(TINY, trunk="resnet"))
