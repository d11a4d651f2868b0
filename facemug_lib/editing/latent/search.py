"""A short search for strengths at which a picture reads as wanted: what pose edits and texts that name traits have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Sought(NamedTuple):
    """strengths [n] at which the readings were nearest to the goal; readings [n] there; pictures: how many were read."""

    strengths: np.ndarray
    readings: np.ndarray
    pictures: int


def sought(read: Callable[[np.ndarray], np.ndarray | None], goal: np.ndarray, slope: np.ndarray, seen: np.ndarray, *,
           size: Callable[[np.ndarray], float], tolerance: float, tries: int, longest: float | np.ndarray) -> Sought:
    """Strengths [n], each at most ``longest``, whose readings [n] are ``goal``, or come nearest to it.

    Broyden's method (Math. Comp. 19, 1965): secant steps that start from the expected ``slope`` [n,n], readings by strengths, and
    learn from every picture how this face really changes. ``seen`` [n] are the readings at strength 0; ``read`` gives None where
    nothing can be read. It ends where ``size`` of what is missing is at most ``tolerance``, or after ``tries`` pictures.
    """
    here = best = np.zeros(len(goal))
    nearest, error, pictures = seen, size(goal - seen), 0
    step = np.linalg.solve(slope, goal - seen)
    for _ in range(tries):
        step = np.clip(here + step, -longest, longest) - here
        if error <= tolerance or np.abs(step).max() < 1e-3:
            break
        found = read(here + step)
        pictures += 1
        if found is None:  # gone out of sight
            step = step / 2
            continue
        slope = slope + np.outer(found - seen - slope @ step, step) / (step @ step)
        here, seen = here + step, found
        if size(goal - seen) < error:
            best, nearest, error = here, seen, size(goal - seen)
        step = np.linalg.lstsq(slope, goal - seen, rcond=None)[0]
    return Sought(best, nearest, pictures)
