"""LPIPS: equal to the reference package, and ordered as it should be."""

from __future__ import annotations

import warnings

import pytest
import torch
from skimage.data import astronaut
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.experts.inception import resize_like_fid
from facemug_lib.experts.perceptual import Lpips


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    crop = torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return F.interpolate(crop, (64, 64), mode="bilinear", antialias=True).clamp(-1, 1)


@pytest.mark.parametrize("net", ["alex", "vgg"])
@torch.no_grad()
def test_distance_is_zero_for_itself_symmetric_and_grows_with_damage(net: str, photo: torch.Tensor) -> None:
    lpips = Lpips(net)
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(F.pad(photo, (1, 1, 1, 1), mode="reflect"), 3, 1)
    little, much = (photo + 0.05 * noise).clamp(-1, 1), (photo + 0.5 * noise).clamp(-1, 1)
    assert lpips(photo, photo).item() == 0
    assert lpips(photo, blurred).item() == pytest.approx(lpips(blurred, photo).item())
    assert 0 < lpips(photo, little).item() < lpips(photo, much).item()
    assert 0 < lpips(photo, blurred).item() < lpips(photo, much).item()
    both = lpips(torch.cat((photo, photo)), torch.cat((little, much)))
    assert both.tolist() == pytest.approx([lpips(photo, little).item(), lpips(photo, much).item()], abs=1e-5)


def test_equal_to_the_reference_package_on_the_same_backbone(photo: torch.Tensor) -> None:
    import lpips as package

    ours = Lpips("alex")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's deprecations inside the package
        reference = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = reference.state_dict()
    backbone = ours.features.state_dict()
    for key in state:
        if key.startswith("net.slice"):
            state[key] = backbone[".".join(key.split(".")[2:])]
    reference.load_state_dict(state)
    other = photo.flip(-1).contiguous()
    with torch.no_grad():
        assert ours(photo, other).item() == pytest.approx(reference(photo, other).item(), abs=1e-6)


def test_gradients_reach_the_image(photo: torch.Tensor) -> None:
    lpips = Lpips("alex")
    image = (photo * 0.5).requires_grad_()
    lpips(image, photo).sum().backward()
    assert image.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in lpips.parameters())


def test_unknown_backbone_is_one_line() -> None:
    with pytest.raises(FacemugError, match="vgg or alex"):
        Lpips("squeeze")


def test_fid_resize_keeps_the_first_pixel_and_constants() -> None:
    pixels = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 255
    resized = resize_like_fid(pixels)
    assert resized.shape == (1, 3, 299, 299)
    assert torch.allclose(resized[..., 0, 0], pixels[..., 0, 0], atol=1e-2)
    assert torch.allclose(resize_like_fid(torch.full((1, 3, 64, 64), 7.0)), torch.tensor(7.0), atol=1e-4)
