"""The training loop of every stage: one function, all durations in images, the same call again resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceSource
from facemug_lib.seeds import check_seed
from facemug_lib.training.profiles import StageSettings
from facemug_lib.training.records import Records
from facemug_lib.training.stage import Stage, StepContext
from facemug_lib.training.state import Place, RunState


@dataclass
class TrainResult:
    """What a call of :func:`train` left behind."""

    out: Path
    images_seen: int
    seconds: float  # training time over all resumes
    scores: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    is_finished: bool = True  # False when `minutes` ended it before `settings.images`


def train(
    stage: Stage,
    source: FaceSource,
    out: Path | str,
    settings: StageSettings,  # length, batch, rates, averaging, reporting, precision: its rows explain each
    *,
    minutes: float | None = None,  # end this call after that much time [minutes of wall clock]
    seed: int = 0,  # of batches, masks, noise; the networks come initialised
    device: torch.device | str = "cpu",  # where to train; with several processes on CUDA each takes its own GPU
    keep: int = 2,  # newest resume states kept
    max_shard_mib: float = 15.0,  # largest file of a resume state [MiB]
    channels_last: bool | None = None,  # memory format of the networks; None = on CUDA, and in bf16
    config: Mapping[str, Any] | None = None,  # the resolved settings, for config.json and the weights' card
    command: str | None = None,  # how this run was started, for the card
    report: Callable[[str], None] = print,  # gets one line per stats tick
) -> TrainResult:
    """Train ``stage`` on ``source`` in run folder ``out``.

    Resumes from the newest complete checkpoint in ``out``. All randomness is keyed by (seed, rank, images seen), so that on the
    CPU a run killed at any moment and started again ends bit-equal to one that was not. Writes ``config.json``,
    ``stats.jsonl`` (append-only), ``grid-<images>.png``, ``resume-<images>/`` and, at the end of every call,
    ``weights/<name>.safetensors`` (fp16, averaged networks).
    """
    out, seed, started, s = Path(out), check_seed(seed), time.monotonic(), settings
    place = Place.of(device, s.precision)
    _check_plan(stage, source, s.batch, place.world)

    # Networks, their averages, optimizers; then the newest checkpoint over them.
    state = RunState.of(stage, place, channels_last)
    state.restore(out)
    if s.compile_modules:
        for module in stage.modules.values():
            module.compile()
    records = Records(out, stage, state, place, s, config or {}, report, keep, max_shard_mib)
    if place.is_main:
        report(f"{stage.name}: {source.describe()}; {place.device}, {place.precision}, batch {s.batch}"
               + (f" on {place.world} processes" if place.world > 1 else "")
               + (f"; resuming at {state.images_seen:,} images" if state.images_seen else "") + f"; {s.images:,} images in {out}")

    while state.images_seen < s.images:
        if minutes is not None and place.any_rank(time.monotonic() - started >= 60 * minutes):
            break
        state.set_learning_rates(_rate(state.images_seen, s.images, s.warmup, s.decay))
        losses = _step(stage, source, state, place, s, seed)
        before, state.images_seen = state.images_seen, state.images_seen + s.batch
        state.average(s.batch, s.ema_halflife, s.ema_rampup)
        records.after_step(losses, before)

    records.snapshot()
    scores = records.evaluate()
    records.grid()
    weights = records.ship(scores, source.describe(), command)
    place.accelerator.wait_for_everyone()
    return TrainResult(out, state.images_seen, records.seconds, scores, weights, state.images_seen >= s.images)


def _check_plan(stage: Stage, source: FaceSource, batch: int, world: int) -> None:
    if batch < 1 or batch % world:
        raise FacemugError(f"batch {batch} cannot be shared by {world} processes: use a positive multiple of {world}")
    if stage.image_source != "faces" and not source.has_codes:
        raise FacemugError(f"stage {stage.name} needs faces whose codes are known: use --data prior, or a folder written by "
                           "`facemug synthesize`")


def _rate(images_seen: int, images: int, warmup: int, decay: int) -> float:
    """The learning rates' factor: rises to 1 over ``warmup`` images, falls to 0 over the last ``decay``."""
    rate = min(1.0, (images_seen + 1) / warmup) if warmup else 1.0
    return rate * min(1.0, max(0.0, (images - images_seen) / decay)) if decay else rate


def _step(stage: Stage, source: FaceSource, state: RunState, place: Place, settings: StageSettings,
          seed: int) -> dict[str, float | Tensor]:
    """One step of the stage, with generators that only the seed, the process and the images seen decide."""
    seen, device, local = state.images_seen, place.device, settings.batch // place.world
    step_key = int(np.random.SeedSequence((seed, place.rank, seen)).generate_state(1, np.uint64)[0])
    torch.manual_seed(step_key)  # dropout and its like draw from the global generators
    generator = torch.Generator().manual_seed(step_key)
    device_generator = generator if device.type == "cpu" else torch.Generator(device).manual_seed(step_key)
    context = StepContext(place.accelerator, device, state.optimizers, generator, device_generator, seen, settings.batch,
                          settings.clip_norm, place.precision)
    first = seen + place.rank * local
    try:
        faces = source.draw(range(first, first + local), seed)
        with place.autocast():
            return stage.step(faces, context)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # The search runs outside that block: the error's frames would keep the failed step's tensors alive.
    raise FacemugError(_fitting_batch(stage, source, context, place, local, seed))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fitting_batch(stage: Stage, source: FaceSource, context: StepContext, place: Place, local: int, seed: int) -> str:
    """The message after running out of memory: halves the batch until a step fits. The networks are spoilt afterwards."""
    for size in (local // 2**k for k in range(1, local.bit_length())):
        for optimizer in context.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if place.device.type == "cuda":
            torch.cuda.empty_cache()
        fits = place.world > 1  # other ranks would wait for this one's all-reduce: with several processes, halving is the advice
        try:
            if not fits:
                with place.autocast():
                    stage.step(source.draw(range(size), seed), context)
                fits = True
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        except FacemugError:
            break  # the stage refuses so small a batch
        if fits:
            return (f"batch {local * place.world} does not fit in the memory of {place.device}: batch {size * place.world} does, "
                    f"use --set batch={size * place.world}")
    return f"not even the smallest batch fits in the memory of {place.device}: use smaller networks or another device"
