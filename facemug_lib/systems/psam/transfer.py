"""PSAM's transferable training: what is learned on one task begins the next, and how many images that saves."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.weights import read_weights

OF_A_TASK = ("attribute_branches.", "attribute_codes.", "class_heads.")
"""What belongs to one task and is never carried over: the attribute branches, what is made of their labels for a U-Net, and the
class heads of the discriminator."""


def load_all_but_branches(generator: nn.Module, discriminator: nn.Module, source: Path | str) -> int:
    """Begin with what other tasks have learned: everything but attribute branches and class heads. Returns how many tensors.

    ``source``: a run's folder, whose newest resume state has both networks; or a weights file, which has the generator alone.
    Raises :class:`FacemugError` where nothing is found or the networks have another shape.
    """
    source = Path(source)
    if source.is_dir():
        found = newest_checkpoint(source)
        if found is None:
            raise FacemugError(f"{source} holds no resume state to begin with: name the folder of a run of psam, or its weights")
        states = {"psam": (generator, found[1]["modules"].get("psam")),
                  "discriminator": (discriminator, found[1]["modules"].get("discriminator"))}
    else:
        states = {"psam": (generator, read_weights(source)[0])}
    count = 0
    for name, (network, tensors) in states.items():
        if tensors is None:
            raise FacemugError(f"{source} has no network called {name}: name the folder of a run of psam")
        count += _fill(network, tensors, source)
    return count


def _fill(network: nn.Module, tensors: dict[str, Tensor], source: Path) -> int:
    own = network.state_dict()
    shared = {name: value for name, value in tensors.items() if not name.startswith(OF_A_TASK)}
    wrong = [name for name, value in own.items() if not name.startswith(OF_A_TASK)
             and (name not in shared or shared[name].shape != value.shape)]
    if wrong:
        raise FacemugError(f"{source} does not fit this PSAM ({wrong[0]} differs): use the same width, mode and size")
    network.load_state_dict({name: value for name, value in shared.items() if name in own}, strict=False)
    return len(shared)


def curve(folder: Path | str, score: str) -> list[tuple[int, float]]:
    """(images seen, score) of every evaluation of a run, from its ``stats.jsonl``; ``evaluate_every`` sets how many there are."""
    path = Path(folder) / "stats.jsonl"
    if not path.is_file():
        raise FacemugError(f"{folder} holds no statistics: name the folder of a run")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = [(line["images"], line["scores"][score]) for line in lines if score in line.get("scores", {})]
    if not found:
        raise FacemugError(f"{folder} was never scored by {score}: train it with --set evaluate_every=…")
    return found


def images_to_reach(folder: Path | str, score: str, level: float) -> float | None:
    """Images after which a run's ``score``, one that falls while it learns, is first at or below ``level``; None if it never is.

    Between two evaluations the score counts as straight.
    """
    before: tuple[int, float] | None = None
    for images, value in curve(folder, score):
        if value <= level:
            if before is None:
                return float(images)
            return before[0] + (images - before[0]) * (before[1] - level) / (before[1] - value)
        before = (images, value)
    return None


def transfer_saving(scratch: Sequence[Path | str], transferred: Sequence[Path | str], score: str,
                    level: float) -> dict[str, float]:
    """How many images transferable training saves: runs from scratch against transferred ones, the same seeds in the same order.

    Returns the medians ``scratch`` and ``transferred`` of :func:`images_to_reach`, the share ``saved`` of each pair of seeds as
    their median, ``saved_least`` and ``saved_most``, and ``reached``, how many pairs reached ``level`` on both sides. Only those
    count; without any, the numbers are NaN.
    """
    if len(scratch) != len(transferred) or not scratch:
        raise FacemugError(f"{len(scratch)} runs from scratch and {len(transferred)} transferred: give as many of each, in the "
                           "order of their seeds")
    reached = [(one, other) for one, other in ((images_to_reach(a, score, level), images_to_reach(b, score, level))
                                               for a, b in zip(scratch, transferred, strict=True))
               if one is not None and other is not None]
    if not reached:
        return dict.fromkeys(("scratch", "transferred", "saved", "saved_least", "saved_most"), float("nan")) | {"reached": 0}
    saved = [1 - other / one for one, other in reached]
    return {"scratch": statistics.median(one for one, _ in reached), "transferred": statistics.median(two for _, two in reached),
            "saved": statistics.median(saved), "saved_least": min(saved), "saved_most": max(saved), "reached": len(reached)}
