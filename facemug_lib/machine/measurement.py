"""A measured number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One number and the circumstances it holds under."""

    section: str
    name: str
    value: float
    unit: str
    batch: int
    precision: str = "fp32"
