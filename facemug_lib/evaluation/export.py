"""The test pictures and their holes, for other people's methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.faces.photos import write_image


def export_cases(test_sets: Sequence[TestSet], families: Sequence[str], count: int, out: Path) -> None:
    """Write ``<set>/<family>/<index>_gt.png``, ``_mask.png`` (white = hole) and ``_masked.png`` for other people's methods.

    Their results, ``<set>/<family>/<index>.png`` or ``…_inpaint.png``, are scored by ``facemug evaluate --images FOLDER``.
    """
    for test_set in test_sets:
        for family in families:
            folder = out / test_set.name / family
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(min(count, len(test_set))):
                cases = test_set.cases(family, [index])
                mask = (cases.masks[0, 0] * 255).byte().numpy()
                pixels = test_set.pixels[index].permute(1, 2, 0).numpy()
                write_image(folder / f"{index:06d}_gt.png", pixels)
                write_image(folder / f"{index:06d}_mask.png", mask)
                write_image(folder / f"{index:06d}_masked.png", np.where(mask[..., None] > 127, 255, pixels).astype(np.uint8))
