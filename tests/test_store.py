"""What was measured is found again by what it depends on, and a broken file costs only its own measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facemug_lib.store import Store


def test_the_same_description_is_measured_once(tmp_path: Path) -> None:
    calls = []

    def make() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"a/b": np.arange(3.0)}

    first = Store(tmp_path).get({"x": 1, "y": [2]}, make)
    again = Store(tmp_path).get({"y": [2], "x": 1}, make)  # another process, another order
    assert len(calls) == 1 and np.array_equal(first["a/b"], again["a/b"])
    Store(tmp_path).get({"x": 2, "y": [2]}, make)
    assert len(calls) == 2


def test_a_failed_measurement_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).get({"x": 1}, fail)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_a_damaged_file_is_measured_again(tmp_path: Path, damage: bytes) -> None:
    results = Store(tmp_path)
    results.get({"x": 1}, lambda: {"a": np.zeros(2)})
    results.path({"x": 1}).write_bytes(damage)
    assert results.get({"x": 1}, lambda: {"a": np.ones(2)})["a"].tolist() == [1, 1]
    assert results.get({"x": 1}, dict)["a"].tolist() == [1, 1]
    assert (results.made, results.found) == (2, 1)
