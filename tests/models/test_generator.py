from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.models import count_parameters
from facemug_lib.models.generator import GeneratorConfig, RefinementGenerator


def awakened(config: GeneratorConfig) -> RefinementGenerator:
    """A generator whose zero-initialised picture layers were given weights, as after some training."""
    torch.manual_seed(0)
    net = RefinementGenerator(config)
    for level in net.decoder:
        torch.nn.init.normal_(level.to_rgb.convolution.weight)
    return net


def test_untrained_it_returns_the_priors_picture(tiny, given, bank) -> None:
    output = RefinementGenerator(tiny)(given, **bank)
    torch.testing.assert_close(output.image, bank["prior_image"], rtol=0, atol=1e-6)
    assert output.contributions.shape == (2, 4, 32, 32)
    assert not RefinementGenerator(replace(tiny, use_bank=False))(given, bank["codes"]).image.any()


def test_before_training_the_picture_costs_nothing_and_no_bit(tiny, given, bank) -> None:
    net = RefinementGenerator(tiny)
    slow = net(given, **bank)
    run = []
    net.encoder.register_forward_hook(lambda *_: run.append(True))
    with torch.no_grad():
        quick = net(given, **bank)
    assert torch.equal(quick.image, slow.image) and torch.equal(quick.contributions, slow.contributions) and not run
    for parameter in (net.decoder[2].to_rgb.bias, net.decoder[0].to_rgb.convolution.weight):
        with torch.no_grad():
            parameter.view(-1)[1] = 0.5
            assert not torch.equal(net(given, **bank).image, slow.image) and run.pop()
            parameter.view(-1)[1] = 0.0


@pytest.mark.parametrize("change", [{}, {"fusion": "gated"}, {"fusion": "addition"}, {"use_bank": False},
                                    {"style_rank": None, "separable_from": None}])
def test_gradients_reach_every_parameter(change, tiny, given, bank) -> None:
    net = awakened(replace(tiny, **change))
    (net(given, **bank).image - 1.0).square().sum().backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-7}
    # One bias shared by all scores cancels in the softmax of Eq. 16.
    assert idle <= {"aggregation.score.exit.bias"}


def test_every_input_matters(tiny, given, bank) -> None:
    net = awakened(tiny)
    before = net(given, **bank).image
    for r in bank["features"]:
        changed = {**bank["features"], r: bank["features"][r] + 1.0}
        assert not torch.allclose(before, net(given, **{**bank, "features": changed}).image, atol=1e-5), r
    for index in range(tiny.num_codes):
        codes = bank["codes"].clone()
        codes[:, index] += 1.0
        assert not torch.allclose(before, net(given, **{**bank, "codes": codes}).image, atol=1e-5), index
    assert not torch.allclose(before, net(given, **bank, influence={"sketch": 0.0}).image, atol=1e-5)
    given.tensors["image"] = given.tensors["image"] + 1.0
    assert not torch.allclose(before, net(given, **bank).image, atol=1e-5)


def test_samples_of_a_batch_are_independent(tiny, given, bank) -> None:
    net = awakened(tiny)
    whole = net(given, **bank).image
    given.tensors = {name: value[:1] for name, value in given.tensors.items()}
    given.present = given.present[:1]
    one = net(given, bank["codes"][:1], {r: f[:1] for r, f in bank["features"].items()}, bank["prior_image"][:1]).image
    torch.testing.assert_close(whole[:1], one, rtol=1e-4, atol=1e-5)


def test_ablations_change_the_structure(tiny, given, bank) -> None:
    full = RefinementGenerator(tiny)
    addition = RefinementGenerator(replace(tiny, fusion="addition"))
    gated = RefinementGenerator(replace(tiny, fusion="gated"))
    unbanked = RefinementGenerator(replace(tiny, use_bank=False))
    names = [{name for name, _ in net.named_parameters()} for net in (full, addition, gated, unbanked)]
    assert any("bank_gate" in name for name in names[0]) and not any("_gate" in name or "injection" in name for name in names[1])
    assert any("fuse.convolution" in name for name in names[2])
    assert not any("adapt" in name or "bank_gate" in name for name in names[3])
    assert count_parameters(addition) < count_parameters(gated) and count_parameters(addition) < count_parameters(full)
    # Without the bank neither the features nor the picture are looked at.
    net = awakened(replace(tiny, use_bank=False))
    assert torch.equal(net(given, bank["codes"]).image, net(given, **bank).image)


def test_wrong_banks_are_refused(tiny, given, bank) -> None:
    net = RefinementGenerator(tiny)
    with pytest.raises(FacemugError, match="features at 8 px"):
        net(given, **{**bank, "features": {**bank["features"], 8: bank["features"][4]}})
    with pytest.raises(FacemugError, match="codes have shape"):
        net(given, **{**bank, "codes": bank["codes"][:, 1:]})
    with pytest.raises(FacemugError, match="needs the bank"):
        net(given, bank["codes"])
    with pytest.raises(FacemugError, match="outside 0"):
        replace(tiny, num_codes=3)


def test_presets_fit_their_banks() -> None:
    with torch.device("meta"):
        assert count_parameters(RefinementGenerator(GeneratorConfig.compact())) <= 6_000_000
        paper = RefinementGenerator(GeneratorConfig.paper())
    assert count_parameters(paper) > 100_000_000
    assert paper.encoder.to_global.weight.shape == (1024, 8192)
    assert paper.decoder[0].fuse.injection.convolution.affine.in_features == 512 + 1024
    config = GeneratorConfig.compact()
    assert config.bank_channels == (512, 512, 512, 512, 512, 256, 0)
    assert config.code_layers[0] == (0, 0, 0) and config.code_layers[1] == (1, 2, 3) and config.code_layers[-1] == (16, 16, 16)


def test_a_stylegan2_bank_of_14_codes(given) -> None:
    channels = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}
    layers = {4: (0, 1)} | {8 * 2**i: (2 * i + 1, 2 * i + 2, 2 * i + 3) for i in range(6)}
    full = GeneratorConfig.compact(feature_channels=channels, code_layers=layers, num_codes=14)
    assert full.bank_channels[-1] == 128 and full.code_layers[0] == (0, 1, 1) and full.code_layers[-1] == (11, 12, 13)
    small = GeneratorConfig.compact(feature_channels=channels, code_layers=layers, num_codes=14, size=32)
    prior_image = torch.rand(2, 3, 32, 32)
    features = {r: torch.randn(2, 512, r, r) for r in (4, 8, 16, 32)}
    output = RefinementGenerator(small)(given, torch.randn(2, 14, 512), features, prior_image)
    torch.testing.assert_close(output.image, prior_image, rtol=0, atol=1e-6)


def test_paper_widths_train_at_16_px(given, bank) -> None:
    net = awakened(GeneratorConfig.paper(size=16))
    given.tensors = {name: value[:1, :, :16, :16] for name, value in given.tensors.items()}
    given.present = given.present[:1]
    features = {r: torch.randn(1, 512, r, r) for r in (4, 8, 16)}
    image = net(given, torch.randn(1, 17, 512), features, bank["prior_image"][:1, :, :16, :16]).image
    image.square().sum().backward()
    assert image.isfinite().all() and net.decoder[0].fuse.bank_gate.convolution.weight.grad.any()


def test_bf16_autocast_paints_in_fp32(tiny, given, bank) -> None:
    net = awakened(tiny).eval()
    exact = net(given, **bank).image
    with torch.autocast("cpu", torch.bfloat16):
        image = net(given, **bank).image
    assert image.dtype == torch.float32
    assert (image - exact).abs().mean() < 0.05 * exact.std()


def test_compiles_without_graph_breaks_and_in_channels_last(tiny, given, bank) -> None:
    net = awakened(tiny).eval()
    exact = net(given, **bank).image
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(given, **bank).image, exact)
    torch.testing.assert_close(net.to(memory_format=torch.channels_last)(given, **bank).image, exact, rtol=1e-4, atol=1e-5)


def test_takes_real_conditions(tiny, bank, generator: torch.Generator) -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1.0
    conditions = Conditions.build(mask, image=torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1)
    output = awakened(tiny)(conditions, **bank)
    assert output.image.shape == (2, 3, 32, 32)
    assert (output.contributions[:, 0] == 1).all()
