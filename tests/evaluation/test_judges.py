"""The judges are the networks that the field's numbers are made with."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from skimage import data

from facemug_lib.assets import asset_path
from facemug_lib.evaluation import judges as judges_module
from facemug_lib.evaluation.judges import Judges, LpipsNet
from facemug_lib.experts.inception import INPUT_SIDE, Inception, resize_like_fid

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


@pytest.fixture(scope="module")
def photos() -> Arrays:
    """8-bit pictures [h,w,3] that need no download, smaller than Inception's input and as large."""
    row, column = np.mgrid[:64, :48]
    return {"face": data.astronaut()[:256, 96:352], "cat": data.chelsea()[:INPUT_SIDE, 100 : 100 + INPUT_SIDE],
            "pattern": np.stack((row * 4, column * 5, row * column % 256), axis=2).astype(np.uint8)}


def as_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


# -- LPIPS ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_the_reference_packages(net: LpipsNet, judges: Judges, photos: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own network with our backbone's weights put in; its linear layers come with the package."""
    import lpips as package

    for name in ("normal_", "kaiming_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)  # 140 million weights, overwritten below
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's deprecations inside the package
        reference = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    backbone = judges._lpips(net).features.state_dict()
    state = {key: backbone[key.split(".", 2)[2]] if key.startswith("net.slice") else value
             for key, value in reference.state_dict().items()}
    reference.load_state_dict(state)
    face = as_image(photos["face"])[..., ::2, ::2]
    pictures = torch.cat((face, (face * 0.8 + 0.1).flip(-1), -face))
    truths = torch.cat((face.roll(3, -1), face, face))
    with torch.no_grad():
        expected = reference(pictures, truths).flatten()
    assert expected.min() > 0.05
    assert torch.allclose(judges.lpips(pictures, truths, net), expected, atol=1e-6, rtol=1e-5)
    assert torch.allclose(judges.lpips_to(judges.embedded(truths, net), pictures, net), expected, atol=1e-6, rtol=1e-5)


# -- Inception ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9, 7), (64, 48), (299, 299), (350, 301)])
def test_resize_is_tensorflows_rule_spelled_out(size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (1, 1, *size), generator=torch.Generator().manual_seed(0)).float()
    height, width = size
    expected = np.empty((INPUT_SIDE, INPUT_SIDE))
    source = pixels[0, 0].double().numpy()
    for i in range(INPUT_SIDE):
        for j in range(INPUT_SIDE):
            y, x = i * height / INPUT_SIDE, j * width / INPUT_SIDE  # no half-pixel shift: output (0, 0) is input (0, 0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = source[top, left] * (left + 1 - x) + source[top, right] * (x - left)
            lower = source[bottom, left] * (left + 1 - x) + source[bottom, right] * (x - left)
            expected[i, j] = upper * (top + 1 - y) + lower * (y - top)
    assert np.abs(resize_like_fid(pixels)[0, 0].numpy() - expected).max() < 0.02  # of 255, with places in single precision


def test_pixels_are_8_bit_and_in_tensorflows_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inception, "__init__", lambda self: torch.nn.Module.__init__(self))
    monkeypatch.setattr(Inception, "_network", lambda self, x: x)
    network = Inception()
    grid = (torch.arange(256) / 127.5 - 1).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    values = network(grid)
    assert values.shape == (1, 3, INPUT_SIDE, INPUT_SIDE)
    assert (values.min().item(), values.max().item()) == (-1, 127 / 128)
    rough = grid + 0.9 / 255 * torch.rand(grid.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(rough), values)
    assert torch.equal(network(3 * grid), network((3 * grid).clamp(-1, 1)))


# Norm, mean, and features 0, 700, 1400 and 2047 that torch-fidelity 0.4.0's FeatureExtractorInceptionV3 gives for `photos`
# once its weights are replaced by this project's: layers in their order, each as (kernel, 1, beta, mean, variance).
RECORDED = {
    "face": (20.95949, 0.34489, 0.23645, 0.40614, 0.09037, 0.63037),
    "cat": (15.20829, 0.2227, 0.36353, 0.4905, 0.11954, 0.46279),
    "pattern": (23.89922, 0.3483, 1.76893, 0.61041, 0.87845, 0.31844),
}


def test_inception_features_are_torch_fidelitys(judges: Judges, photos: Arrays) -> None:
    for name, pixels in photos.items():
        (features,) = judges.inception(as_image(pixels))
        assert features.shape == (2048,)
        found = (features.norm(), features.mean(), *features[[0, 700, 1400, 2047]])
        assert [float(value) for value in found] == pytest.approx(RECORDED[name], abs=1e-4)


def test_inception_is_its_files_own_graph(judges: Judges, photos: Arrays) -> None:
    """The layers are run by our own code; the file brings a graph of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.jit.load(str(asset_path("inception")), map_location="cpu").eval()
    image = as_image(photos["face"])
    with torch.no_grad():
        expected = graph((resize_like_fid(((image + 1) * 127.5).round()) - 128) / 128)
    assert torch.allclose(judges.inception(image), expected.flatten(1), atol=1e-4)


def test_making_the_network_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = Inception()
    assert not any(parameter.requires_grad for parameter in network.parameters())


# -- all of them ----------------------------------------------------------------------------------------------------------


def test_batches_change_no_more_than_rounding(judges: Judges, photos: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    face = as_image(photos["face"])
    pictures, truths = torch.cat((face, face.flip(-1), -face)), torch.cat((-face, face, face.flip(-1)))
    asked = {"inception": judges.inception, "arcface": judges.arcface, "lpips": lambda some: judges.lpips(some, truths)}
    whole, labels = {name: ask(pictures) for name, ask in asked.items()}, judges.parse(pictures)
    monkeypatch.setattr(judges_module, "BATCH", 2)
    for name, ask in asked.items():
        assert torch.allclose(ask(pictures), whole[name], atol=1e-4)
        assert not whole[name].requires_grad
    assert (judges.parse(pictures) == labels).float().mean() > 0.999  # a pixel between two classes may fall either way


def test_identities_are_unit_vectors_that_know_a_face_again(judges: Judges, photos: Arrays) -> None:
    face = as_image(photos["face"])
    darker, other = face * 0.8 - 0.1, torch.nn.functional.interpolate(as_image(photos["cat"]), (256, 256))
    for embed in (judges.arcface, judges.facenet):
        vectors = embed(torch.cat((face, darker, other)))
        assert vectors.norm(dim=1).tolist() == pytest.approx([1] * 3, abs=1e-4)
        assert vectors[0] @ vectors[1] > 0.8 > 0.5 > vectors[0] @ vectors[2]


def test_pose_is_nan_without_a_face_and_mirrors_with_it(judges: Judges, photos: Arrays) -> None:
    face = as_image(photos["face"])
    poses = judges.pose(torch.cat((face, face.flip(-1), torch.zeros_like(face))))
    assert poses[0].isfinite().all() and poses[2].isnan().all()
    yaw, pitch, roll = (poses[0] * torch.tensor([-1, 1, -1]) - poses[1]).abs().tolist()
    assert max(yaw, pitch, roll) < 6
