"""ArcFace: same person, different people, gradients, and the crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facemug_lib.experts.identity import ALIGNED_POINTS, ARCFACE_POINTS, ArcFace


@pytest.fixture(scope="module")
def arcface() -> ArcFace:
    return ArcFace()


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """The astronaut, and two faces of the prior at 256 px."""
    from skimage.data import astronaut

    from facemug_lib.faces.alignment import open_face
    from facemug_lib.faces.prior import FacePrior

    prior = FacePrior.load()
    with torch.no_grad():
        made = prior.synthesize(prior.broadcast(prior.sample_w(2, torch.Generator().manual_seed(5))))
    return torch.cat((open_face(astronaut()).image, made.clamp(-1, 1)))


@torch.no_grad()
def test_same_person_is_nearer_than_any_other(arcface: ArcFace, faces: torch.Tensor) -> None:
    embeddings = arcface(faces)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-5)
    across = embeddings @ embeddings.T
    others = across[~torch.eye(3, dtype=torch.bool)]
    darker = (faces * 0.6 - 0.2).clamp(-1, 1)
    softer = F.interpolate(F.interpolate(faces, (96, 96), mode="bilinear", antialias=True), (256, 256), mode="bilinear")
    for changed in (darker, faces.flip(-1), softer):
        assert (embeddings * arcface(changed)).sum(1).min() > 0.75
    assert others.max() < 0.45


@torch.no_grad()
def test_size_of_the_crop_does_not_matter(arcface: ArcFace, faces: torch.Tensor) -> None:
    larger = F.interpolate(faces, (512, 512), mode="bicubic")
    assert (arcface(faces) * arcface(larger)).sum(1).min() > 0.98


def test_gradients_reach_the_image_and_descend(arcface: ArcFace, faces: torch.Tensor) -> None:
    target = arcface(faces[1:2])
    image = faces[:1].clone().requires_grad_()
    loss = 1 - (arcface(image) * target).sum()
    loss.backward()
    moved = image.detach() - 0.02 * image.grad / image.grad.abs().max()
    with torch.no_grad():
        assert 1 - (arcface(moved) * target).sum() < loss


def test_the_crop_puts_the_points_on_arcfaces_template(arcface: ArcFace) -> None:
    for (u, v), expected in zip(ALIGNED_POINTS, ARCFACE_POINTS, strict=True):
        image = torch.zeros(1, 3, 256, 256)
        ys, xs = np.mgrid[0:256, 0:256]
        image[0] = torch.from_numpy(np.exp(-((xs + 0.5 - 256 * u) ** 2 + (ys + 0.5 - 256 * v) ** 2) / 18)).float()
        crop = arcface.crop(image)[0, 0].numpy()
        rows, columns = np.mgrid[0:112, 0:112]
        found = ((columns + 0.5) * crop).sum() / crop.sum(), ((rows + 0.5) * crop).sum() / crop.sum()
        assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 3.5  # people differ from the template by this much
