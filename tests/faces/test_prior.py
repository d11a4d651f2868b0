"""The face prior: equality with the original networks, codes, gradients, sizes, and the StyleGAN2 layout."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stylegan2_state import rosinality_state

from facemug_lib.errors import FacemugError
from facemug_lib.experts.fidelity import psnr
from facemug_lib.faces.dataset import PriorFaces
from facemug_lib.faces.prior import FacePrior, inverse_haar
from facemug_lib.faces.stylegan2 import StyleGAN2Prior, channels_at

REFERENCE = Path(__file__).parent.parent / "data" / "prior_reference.safetensors"


@pytest.fixture(scope="module")
def prior() -> FacePrior:
    return FacePrior.load()


@pytest.fixture(scope="module")
def codes(prior: FacePrior) -> torch.Tensor:
    return prior.broadcast(prior.sample_w(2, torch.Generator().manual_seed(3)))


def test_equals_the_original_networks(prior):
    reference = load_file(REFERENCE)
    with torch.no_grad():
        w = prior.map(reference["z"])
        image = prior.synthesize(reference["w"][:1], size=1024)[:, :, ::8, ::8]
    assert torch.allclose(w, reference["w"], atol=1e-3)
    assert (image - reference["image"][:1]).abs().max() < 1e-3


def test_inverse_haar_is_the_orthonormal_synthesis():
    """Against the definition: each coefficient adds its own ±1/2 pattern to a 2×2 block."""
    ll, lh, hl, hh = torch.randn(4, 2, 3, 8, 4)
    image = inverse_haar(torch.cat((ll, torch.stack((lh, hl, hh), dim=2).flatten(1, 2)), dim=1))
    assert image.shape == (2, 3, 16, 8)
    for row in (0, 1):
        for column in (0, 1):
            vertical, horizontal = 1 - 2 * row, 1 - 2 * column
            expected = 0.5 * (ll + vertical * lh + horizontal * hl + vertical * horizontal * hh)
            assert torch.allclose(image[:, :, row::2, column::2], expected, atol=1e-6)


def test_features_have_the_announced_shapes(prior, codes):
    with torch.no_grad():
        features = prior.features(codes)
    assert {r: tuple(f.shape) for r, f in features.items()} == {r: (2, c, r, r) for r, c in prior.feature_channels.items()}
    assert sorted(index for layer in prior.code_layers.values() for index in layer) == list(range(16))


def test_head_agrees_with_the_full_network(prior, codes):
    with torch.no_grad():
        painted = prior.synthesize(codes[:1], size=256)
        full = torch.nn.functional.avg_pool2d(prior.synthesize(codes[:1], size=1024), 4)
    assert psnr(painted, full).item() > 24.0


def test_faces_in_half_precision_look_the_same(prior):
    full, half = (PriorFaces(prior, half=half).faces([5]).images for half in (False, True))
    difference = (full - half).abs() * 127.5
    assert 0 < difference.mean() < 2 and half.dtype == torch.float32


@pytest.mark.parametrize("size", [64, 100, 128, 256])
def test_any_size(prior, codes, size):
    with torch.no_grad():
        image = prior.synthesize(codes, size)
    assert image.shape == (2, 3, size, size)
    assert image.abs().max() < 4


def test_sizes_out_of_range_are_refused(prior, codes):
    with pytest.raises(FacemugError, match="64 … 1024"):
        prior.synthesize(codes, size=32)
    with pytest.raises(FacemugError, match=r"expected \[b, 17, 512\]"):
        prior.synthesize(codes[:, :5])


def test_gradient_reaches_w_through_every_code(prior):
    codes = prior.broadcast(prior.sample_w(1, torch.Generator().manual_seed(0))).clone().requires_grad_()
    image, _ = prior(codes)
    image.square().mean().backward()
    assert (codes.grad.abs().sum(dim=-1) > 0).all()


def test_style_mixing_takes_each_side_from_its_codes(prior, codes):
    mixed = prior.mix(codes[:1], codes[1:], crossover=7)
    assert torch.equal(mixed[:, :7], codes[:1, :7])
    assert torch.equal(mixed[:, 7:], codes[1:, 7:])
    with torch.no_grad():
        coarse = prior.features(mixed, 16)
        original = prior.features(codes[:1], 16)
    assert torch.equal(coarse[16], original[16])  # codes 0…6 are all that acts up to 16²


def test_truncation_shrinks_towards_the_mean(prior):
    w = prior.sample_w(8, torch.Generator().manual_seed(5), psi=1.0)
    half = prior.truncate(w, 0.5)
    assert torch.allclose((half - prior.mean_w).norm(dim=1), 0.5 * (w - prior.mean_w).norm(dim=1), rtol=1e-4)
    assert torch.equal(prior.truncate(w, 1.0), prior.mean_w + (w - prior.mean_w))


def test_seeds_name_faces(prior):
    first, again, other = (prior.sample_w(2, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bfloat16_stays_close(prior, codes):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = prior.synthesize(codes[:1], 128).float()
    with torch.no_grad():
        assert psnr(low, prior.synthesize(codes[:1], 128)).item() > 25


@pytest.mark.parametrize(("native_size", "num_codes"), [(256, 14), (1024, 18)])
def test_stylegan2_layout_loads_and_runs(native_size, num_codes):
    bank = StyleGAN2Prior.from_state_dict(rosinality_state(native_size))
    assert bank.num_codes == num_codes
    codes = bank.broadcast(bank.sample_w(1, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        image, features = bank(codes)
    assert image.shape == (1, 3, 256, 256)
    assert image.isfinite().all()
    assert {r: tuple(f.shape) for r, f in features.items()} == {
        r: (1, channels_at(r), r, r) for r in (4, 8, 16, 32, 64, 128, 256)
    }


def test_stylegan2_refuses_a_foreign_state_dict(tmp_path):
    state = rosinality_state(256)
    del state["convs.3.conv.weight"]
    with pytest.raises(FacemugError, match=r"convs\.3\.conv\.weight"):
        StyleGAN2Prior.from_state_dict(state)
    with pytest.raises(FacemugError, match="no input.input"):
        StyleGAN2Prior.from_state_dict({"a": torch.zeros(1)})
    (tmp_path / "code.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(FacemugError, match="not a plain PyTorch state dict"):
        StyleGAN2Prior.load(tmp_path / "code.pt")


def test_both_memory_layouts_give_the_same(prior, codes):
    """Channels-last data takes other routes through the same arithmetic, with and without gradients."""
    layer, block = prior.layers[3], torch.randn(2, 512, 32, 32, generator=torch.Generator().manual_seed(0))
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        w = codes[:, :3].clone().requires_grad_()
        out = layer(block.contiguous(memory_format=layout), w)
        out.square().mean().backward()
        with torch.no_grad():
            again = layer(block.contiguous(memory_format=layout), w)
            assert (again - out).abs().max() < 1e-5 * out.abs().max()
        results.append((out.detach(), w.grad))
    for plain, last in zip(*results, strict=True):
        assert (plain - last).abs().max() < 1e-5 * plain.abs().max()
