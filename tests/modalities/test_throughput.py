"""The bench's numbers exist for every modality, whatever they are."""

from __future__ import annotations

from facemug_lib.modalities.throughput import throughput


def test_every_modality_is_measured() -> None:
    rates = throughput(batch=2, device="cpu", size=32, seconds=0.0)
    assert {"free-form masks", "pencil sketch", "semantics one-hot", "colour region mean", "training conditions"} <= set(rates)
    assert all(0 < rate < float("inf") for rate in rates.values())
