from __future__ import annotations

import torch

from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import TRAITS, skin_traits, traits


def test_skin_light_and_beard_are_read_from_regions() -> None:
    images, labels = torch.full((3, 3, 64, 64), -1.0), torch.zeros(3, 64, 64, dtype=torch.long)
    labels[:, 16:60, 16:48] = 1
    images[:, :, 16:60, 16:48] = 0.0  # an even grey face …
    images[1, :, 43:58, 16:48] = -0.5  # … one with a dark lower third …
    images[2, :, :, 32:48] += 0.4  # … and one lit from the image's right
    found = skin_traits(images, labels)
    assert set(found) | {"age"} <= set(TRAITS)
    assert found["skin_lightness"][0] == 0.5 and abs(found["beard"][0]) < 1e-4 and abs(found["light"][0]) < 1e-6
    assert 20 < found["beard"][1] < 26 and found["skin_lightness"][1] < 0.5
    assert torch.allclose(found["light"][2], torch.tensor(0.2), atol=1e-5) and abs(found["beard"][2]) < 1e-3
    assert torch.allclose(skin_traits(images.flip(-1), labels.flip(-1))["light"], -found["light"], atol=1e-6)


def test_what_is_not_seen_is_nan() -> None:
    found = skin_traits(torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.long))
    assert all(value.isnan().all() for value in found.values())


def test_all_traits_have_their_names() -> None:
    torch.manual_seed(0)
    assert set(traits(ExpertStudent().eval(), torch.zeros(2, 3, 64, 64))) == set(TRAITS)
