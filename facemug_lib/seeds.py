"""The one range of seeds, for every command, file and function."""

from __future__ import annotations

import operator

from facemug_lib.errors import FacemugError

LARGEST_SEED = 2**63 - 1  # of what PyTorch's, NumPy's and a JSON reader's integers hold


def check_seed(seed: int, name: str = "seed", count: int = 1) -> int:
    """``seed`` as an int, where it and the ``count`` − 1 after it lie in 0 … :data:`LARGEST_SEED`.

    NumPy's integers will do. Raises :class:`FacemugError`, which calls it ``name``, for anything else.
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if isinstance(seed, bool) or not 0 <= whole <= LARGEST_SEED:
        raise FacemugError(f"{name} {seed!r}: use a whole number from 0 to {LARGEST_SEED} (2^63 - 1)")
    if whole + count - 1 > LARGEST_SEED:
        raise FacemugError(f"{name} {whole} and the {count - 1} after it: the largest is {LARGEST_SEED} (2^63 - 1)")
    return whole
