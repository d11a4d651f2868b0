"""Short training runs: their options and faces, runs in a process of their own, and whether two ended in the same state."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from facemug_lib.faces.dataset import FaceBatch, PriorFaces
from facemug_lib.training import loop
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.loop import TrainResult
from facemug_lib.training.profiles import StageSettings

KIT = Path(__file__).parent
IMPORTABLE = os.pathsep.join(map(str, (KIT.parents[1], KIT)))
"""PYTHONPATH of a process that imports this clone's package and the kit."""
QUIET = dict(report=lambda line: None, evaluate_count=4, grid_every=10**9, checkpoint_every=10**9, stats_every=4)
"""The loop's options for a run that prints nothing, and writes statistics but neither grids nor checkpoints on its way."""


class FourFaces(PriorFaces):
    """The same four faces again and again."""

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        return super().draw([index % 4 for index in indices], seed)


def train(stage: object, source: object, out: Path, **options: object) -> TrainResult:
    """The loop under the common settings' defaults, but for the ``options`` that are settings; the others are its own."""
    settings = StageSettings(**{name: value for name, value in options.items() if name in StageSettings.model_fields})
    return loop.train(stage, source, out, settings, **{n: v for n, v in options.items() if n not in StageSettings.model_fields})


def run(stage: object, folder: Path, images: int, batch: int = 4, **more: object) -> dict:
    """Train on faces of the stage's prior; the state that the run ends in."""
    train(stage, PriorFaces(stage.prior), folder, images=images, batch=batch, **QUIET | more)
    return newest_checkpoint(folder)[1]


def equal(a: object, b: object) -> bool:
    """Whether two states are the same, every tensor bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def in_process(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run ``code`` in a new Python that can import the kit; as many threads as here, because sums depend on their number."""
    environment = os.environ | {"PYTHONPATH": IMPORTABLE, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=120)
