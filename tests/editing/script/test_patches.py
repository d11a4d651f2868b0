"""Differences of pictures: exact both ways, in any order, for every kind of pixel that a photo can have."""

from __future__ import annotations

import numpy as np
import pytest

from facemug_lib.editing.script.patches import Patch


def picture(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "float32":
        return draw.random(shape, np.float32)
    return draw.integers(0, np.iinfo(kind).max, shape, endpoint=True).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (40, 50, 4)])
def test_patches_are_exact_in_any_order(kind: str, shape: tuple[int, ...]) -> None:
    before, one = picture(kind, shape, 0), picture(kind, shape, 0)
    one[5:20, 10:30] = picture(kind, shape, 1)[5:20, 10:30]
    two = one.copy()
    two[12:33, 0:15] = picture(kind, shape, 2)[12:33, 0:15]
    first, second = Patch.between(before, one), Patch.between(one, two)
    assert first.box == (slice(5, 20), slice(10, 30))
    pixels = before.copy()
    second.add(pixels)
    first.add(pixels)
    assert pixels.tobytes() == two.tobytes()
    first.take_away(pixels)
    second.take_away(pixels)
    assert pixels.tobytes() == before.tobytes()


def test_equal_pictures_differ_by_nothing() -> None:
    before = picture("uint8", (40, 50, 3), 0)
    patch, pixels = Patch.between(before, before.copy()), before.copy()
    patch.add(pixels)
    assert np.array_equal(pixels, before) and len(patch.data) < 20


def test_a_smooth_change_takes_few_bytes() -> None:
    """Noise that stays is not stored again, and a change that grows evenly is one number."""
    before = picture("uint8", (200, 200, 3), 0)
    after = before.copy()
    after[20:180, 20:180] += np.arange(160, dtype=np.uint8)[None, :, None]
    assert len(Patch.between(before, after).data) < 1000 < 160 * 160 * 3
