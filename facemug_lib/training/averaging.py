"""``facemug average``: one network out of several runs of it.

The mean of networks that were trained on from one another is better than each of them (model soups, Wortsman et al. 2022;
stochastic weight averaging, Izmailov et al. 2018), and better still once its batch normalisation has statistics of its own:
those of the single networks are moving averages over a few small batches.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch, FaceSource
from facemug_lib.files import require_writable_folder
from facemug_lib.training.stages import build_source, build_stage, settings
from facemug_lib.training.start import start
from facemug_lib.weights import save_weights

AVERAGED_STAGES = ("encoder", "warping", "generator")


@dataclass(frozen=True)
class Average:
    """The weights files that were written, by network, and the scores of the networks in them."""

    weights: dict[str, Path]
    scores: dict[str, float]


def average_runs(stage: str, runs: Sequence[str], shares: Sequence[float] = (), data: str = "prior", images: int = 640,
                 batch: int = 16, *, out: Path, seed: int = 0, device: str = "auto") -> Average:
    """Average the networks that ``stage`` ships over ``runs`` (run folders, or ``"shipped"``) and score the mean.

    ``shares`` are the runs' weights in the mean, equal ones by default. ``data`` and ``images`` are what the statistics of batch
    normalisation are measured on; with 0 images these are the mean of the runs' own, which is right where a run kept them
    frozen. Writes ``out/weights``.
    """
    if stage not in AVERAGED_STAGES:
        raise FacemugError(f"networks of stage {stage!r} cannot be averaged: use one of {', '.join(AVERAGED_STAGES)}")
    shares = checked_shares(runs, shares)
    require_writable_folder(out)
    target = resolve_device(device)
    chosen = settings(stage, "laptop", {"batch": batch})
    made = build_stage(stage, chosen, target, runs[0], seed)
    cards = {name: fill_with_mean(made.modules[name], name, runs, shares) for name in made.ema}
    for module in made.modules.values():
        module.to(target).eval()
    source = build_source(data, made, chosen, target)
    for name in made.ema if images else ():
        recalibrate(made.modules[name], getattr(made, "observe", None), source, images, batch, seed)
    with torch.no_grad():
        scores = {name: float(value) for name, value in made.evaluate(made.modules, chosen.evaluate_count).items()}
    command = shlex.join(["facemug", "average", stage, *runs, *(f"--share={share:g}" for share in shares), "--data", data,
                          "--images", str(images), "--seed", str(seed)])
    exported, written = made.export(made.modules), {}
    for name in made.ema:
        tensors, network = exported[name]
        card: dict[str, Any] = {"stage": stage, "images_seen": max(card.get("images_seen", 0) for card in cards[name]),
                                "mean_of": [card.get("images_seen", 0) for card in cards[name]], "command": command,
                                "faces": source.describe(), "scores": scores}
        written[name] = save_weights(out / "weights" / f"{name}.safetensors", tensors, config=network, card=card)
    return Average(written, scores)


def checked_shares(runs: Sequence[str], shares: Sequence[float]) -> list[float]:
    """One share for each run, positive and of sum 1."""
    if not runs:
        raise FacemugError("there is no run to average: name run folders, or shipped")
    given = list(shares) or [1.0] * len(runs)
    if len(given) != len(runs):
        raise FacemugError(f"{len(given)} shares for {len(runs)} runs: give one --share for each, or none")
    if not all(0 < share < float("inf") for share in given):
        raise FacemugError(f"shares are {', '.join(f'{share:g}' for share in given)}: use positive numbers")
    return [share / sum(given) for share in given]


@torch.no_grad()
def fill_with_mean(network: nn.Module, name: str, runs: Sequence[str], shares: Sequence[float]) -> list[dict[str, Any]]:
    """Fill ``network`` with the mean of the weights called ``name`` of ``runs``; whole numbers are the last run's. Returns the
    cards of the weights."""
    total: dict[str, Tensor] = {}
    cards = []
    for run, share in zip(runs, shares, strict=True):
        cards.append(start(network, name, run))
        for key, value in network.state_dict().items():
            part = share * value.double() if value.is_floating_point() else value.clone()
            total[key] = total[key] + part if key in total and value.is_floating_point() else part
    network.load_state_dict(total)
    return cards


@torch.no_grad()
def recalibrate(network: nn.Module, observe: Callable[[nn.Module, FaceBatch, torch.Generator], Any] | None, source: FaceSource,
                images: int, batch: int = 16, seed: int = 0) -> int:
    """Measure the statistics of ``network``'s batch normalisation anew, over ``images`` faces of ``source`` as
    ``observe(network, faces, generator)`` shows them to it: plain means over the batches. Returns how many layers have any."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers:
        return 0
    if observe is None:
        raise FacemugError("this stage does not say how its network sees faces: its batch normalisation cannot be measured")
    before = [(layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
        layer.train()
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, max(images, 1), batch):
        observe(network, source.draw(range(first, first + batch), seed), generator)
    for layer, (momentum, mode) in zip(layers, before, strict=True):
        layer.momentum = momentum
        layer.train(mode)
    return len(layers)
