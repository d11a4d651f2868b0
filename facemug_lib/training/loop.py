"""The training loop of every stage: one function, all durations in images, the same call again resumes."""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceSource
from facemug_lib.files import replacing
from facemug_lib.seeds import check_seed
from facemug_lib.training.checkpoints import newest_checkpoint, save_checkpoint
from facemug_lib.training.stage import Stage, StepContext
from facemug_lib.weights import save_weights


@dataclass
class TrainResult:
    """What a call of :func:`train` left behind."""

    out: Path
    images_seen: int
    seconds: float  # training time over all resumes
    scores: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    is_finished: bool = True  # False when `minutes` ended it before `images`


def train(
    stage: Stage,
    source: FaceSource,
    out: Path | str,
    *,
    images: int = 100_000,  # length of the run, over all resumes [images]
    minutes: float | None = None,  # end this call after that much time [minutes of wall clock]
    batch: int = 16,  # images of one step, over all processes [images]
    seed: int = 0,  # of batches, masks, noise; the networks come initialised
    device: torch.device | str = "cpu",  # where to train; with several processes on CUDA each takes its own GPU
    warmup: int = 0,  # learning rates rise linearly from 0 over so many images [images]
    decay: int = 0,  # and fall linearly to 0 over the last so many [images]
    clip_norm: float | None = None,  # largest gradient norm per optimizer
    ema_halflife: int = 10_000,  # of the averaged networks [images]
    ema_rampup: float | None = 0.05,  # the half-life is at most this share of the images seen; None = no limit
    stats_every: int = 1_000,  # a line of stats.jsonl [images]
    checkpoint_every: int = 10_000,  # a resume state [images]
    grid_every: int = 10_000,  # a sample grid [images]
    evaluate_every: int | None = None,  # scores during training [images]; None = at the end only
    evaluate_count: int = 64,  # faces of one evaluation
    keep: int = 2,  # newest resume states kept
    max_shard_mib: float = 15.0,  # largest file of a resume state [MiB]
    precision: Literal["auto", "bf16", "fp32"] = "auto",  # auto = bf16 autocast on CUDA, fp32 on the CPU
    channels_last: bool | None = None,  # memory format of the networks; None = on CUDA only
    compile_modules: bool = False,  # torch.compile
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
    out, seed, started = Path(out), check_seed(seed), time.monotonic()
    accelerator = Accelerator(cpu=torch.device(device).type == "cpu")
    device = accelerator.device if accelerator.num_processes > 1 else torch.device(device)
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where bf16 is off: penalties, the mapping network, judges
    rank, world, is_main = accelerator.process_index, accelerator.num_processes, accelerator.is_main_process
    _check_plan(stage, source, batch, world)
    local = batch // world

    # Networks, their averages, optimizers; then the newest checkpoint over them.
    for module in stage.modules.values():
        module.to(device).train()
        if channels_last if channels_last is not None else device.type == "cuda":
            module.to(memory_format=torch.channels_last)
        _same_on_all_ranks(module, world)
    averages = {name: copy.deepcopy(stage.modules[name]).eval().requires_grad_(False) for name in stage.ema}
    optimizers = stage.optimizers()
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    images_seen, seconds_before = _restore(out, stage, averages, optimizers)
    if compile_modules:
        for module in stage.modules.values():
            module.compile()
    if is_main:
        out.mkdir(parents=True, exist_ok=True)
        _write_text(out / "config.json", json.dumps(dict(config or {}), indent=2, sort_keys=True) + "\n")
    board = _tensorboard(out) if is_main else None
    shipped = {**stage.modules, **averages}
    if is_main:
        report(f"{stage.name}: {source.describe()}; {device}, {precision}, batch {batch}"
               + (f" on {world} processes" if world > 1 else "")
               + (f"; resuming at {images_seen:,} images" if images_seen else "") + f"; {images:,} images in {out}")

    def snapshot() -> None:
        if is_main:
            state = {
                "modules": {name: module.state_dict() for name, module in stage.modules.items()},
                "averages": {name: module.state_dict() for name, module in averages.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                "images_seen": images_seen,
                "seconds": seconds_before + time.monotonic() - started,
            }
            save_checkpoint(out, images_seen, state, keep=keep, max_shard_mib=max_shard_mib)

    def grid() -> None:
        if is_main:
            with _inference(shipped, device, precision):
                _write_png(out / f"grid-{images_seen:012d}.png", stage.sample_grid(shipped))

    def evaluate() -> dict[str, float]:
        with _inference(shipped, device, precision):
            scores = stage.evaluate(shipped, evaluate_count)
        return {name: float(value) for name, value in scores.items()}

    tick = _Tick(images_seen)
    while images_seen < images:
        if minutes is not None and _any_rank(accelerator, time.monotonic() - started >= 60 * minutes):
            break
        step_key = np.random.SeedSequence((seed, rank, images_seen)).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(step_key))  # dropout and its like draw from the global generators
        generator = torch.Generator().manual_seed(int(step_key))
        device_generator = generator if device.type == "cpu" else torch.Generator(device).manual_seed(int(step_key))
        _set_learning_rates(optimizers, _rate(images_seen, images, warmup, decay))
        first = images_seen + rank * local
        context = StepContext(accelerator, device, optimizers, generator, device_generator, images_seen, batch, clip_norm,
                              precision)
        try:
            faces = source.draw(range(first, first + local), seed)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                losses = stage.step(faces, context)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            # The search runs outside this block: the error's frames would keep the failed step's tensors alive.
            failed_context = context
        else:
            failed_context = None
        if failed_context is not None:
            raise FacemugError(_fitting_batch(stage, source, failed_context, local, world, seed))
        before, images_seen = images_seen, images_seen + batch
        _average(averages, stage.modules, batch, images_seen, ema_halflife, ema_rampup)
        tick.add(losses)
        if _passed(stats_every, before, images_seen) or images_seen >= images:
            line = tick.line(images_seen, device)
            bad = [name for name, value in line["losses"].items() if not np.isfinite(value)]
            if bad:
                raise FacemugError(f"{stage.name} diverged before {images_seen:,} images ({', '.join(bad)} not finite): "
                                   f"use a smaller lr with --set, in a new run folder")
            if is_main:
                _append(out / "stats.jsonl", line)
                report(_readable(line))
                for name, value in line["losses"].items() if board else ():
                    board.add_scalar(f"loss/{name}", value, images_seen)
        if _passed(evaluate_every, before, images_seen) and images_seen < images:
            scores = evaluate()
            if is_main:
                _append(out / "stats.jsonl", {"images": images_seen, "scores": scores})
                for name, value in scores.items() if board else ():
                    board.add_scalar(f"score/{name}", value, images_seen)
        if _passed(grid_every, before, images_seen) and images_seen < images:
            grid()
        if _passed(checkpoint_every, before, images_seen) and images_seen < images:
            snapshot()

    snapshot()
    scores = evaluate()
    grid()
    seconds = seconds_before + time.monotonic() - started
    weights = {}
    if is_main:
        _append(out / "stats.jsonl", {"images": images_seen, "scores": scores})
        report(f"{stage.name} at {images_seen:,} images: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        card = {"stage": stage.name, "images_seen": images_seen, "seconds": round(seconds), "hardware": _hardware(device, world),
                "command": command, "faces": source.describe(), "scores": scores}
        for name, (tensors, network) in stage.export(shipped).items():
            weights[name] = save_weights(out / "weights" / f"{name}.safetensors", tensors, config=network, card=card)
        if board:
            board.close()
    accelerator.wait_for_everyone()
    return TrainResult(out, images_seen, seconds, scores, weights, images_seen >= images)


# ----------------------------------------------------------------------------------------------------------------------
# Networks


def _check_plan(stage: Stage, source: FaceSource, batch: int, world: int) -> None:
    if batch < 1 or batch % world:
        raise FacemugError(f"batch {batch} cannot be shared by {world} processes: use a positive multiple of {world}")
    if stage.image_source != "faces" and not source.has_codes:
        raise FacemugError(f"stage {stage.name} needs faces whose codes are known: use --data prior, or a folder written by "
                           "`facemug synthesize`")


def _same_on_all_ranks(module: nn.Module, world: int) -> None:
    if world > 1:
        for tensor in [*module.parameters(), *module.buffers()]:
            torch.distributed.broadcast(tensor.data, src=0)


@torch.no_grad()
def _average(averages: Mapping[str, nn.Module], modules: Mapping[str, nn.Module], batch: int, images_seen: int, halflife: int,
             rampup: float | None) -> None:
    """Exponential moving average with a half-life in images, shorter at the start of a run (as in StyleGAN2-ADA)."""
    length = halflife if rampup is None else min(halflife, images_seen * rampup)
    decay = 0.5 ** (batch / max(length, 1e-8))
    for name, average in averages.items():
        ours, theirs = list(average.parameters()), list(modules[name].parameters())
        if ours:
            torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, new in zip(average.buffers(), modules[name].buffers(), strict=True):
            mine.copy_(new)


class _inference:
    """Networks in eval mode, no gradients, the training precision; afterwards each is in the mode it was in."""

    def __init__(self, modules: Mapping[str, nn.Module], device: torch.device, precision: str) -> None:
        self.modules, self.modes = modules, {}
        self.contexts = [torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")]

    def __enter__(self) -> None:
        for name, module in self.modules.items():
            self.modes[name] = module.training
            module.eval()
        for context in self.contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self.contexts):
            context.__exit__(*error)
        for name, module in self.modules.items():
            module.train(self.modes[name])


def _restore(out: Path, stage: Stage, averages: Mapping[str, nn.Module],
             optimizers: Mapping[str, torch.optim.Optimizer]) -> tuple[int, float]:
    found = newest_checkpoint(out)
    if found is None:
        return 0, 0.0
    images_seen, state = found
    try:
        for part, objects in (("modules", stage.modules), ("averages", averages), ("optimizers", optimizers)):
            for name, thing in objects.items():
                thing.load_state_dict(state[part][name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise FacemugError(f"the resume state in {out} does not fit these networks ({str(error).splitlines()[0]}): "
                           "use another --out, or delete that folder") from error
    return images_seen, float(state["seconds"])


def _passed(every: int | None, before: int, now: int) -> bool:
    """True when a multiple of ``every`` lies in (before, now]."""
    return every is not None and before // every != now // every


def _rate(images_seen: int, images: int, warmup: int, decay: int) -> float:
    rate = min(1.0, (images_seen + 1) / warmup) if warmup else 1.0
    return rate * min(1.0, max(0.0, (images - images_seen) / decay)) if decay else rate


def _set_learning_rates(optimizers: Mapping[str, torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


# ----------------------------------------------------------------------------------------------------------------------
# Processes and memory


def _any_rank(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum") > 0)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fitting_batch(stage: Stage, source: FaceSource, context: StepContext, local: int, world: int, seed: int) -> str:
    """The message after running out of memory: halves the batch until a step fits. The networks are spoilt afterwards."""
    for size in (local // 2**k for k in range(1, local.bit_length())):
        for optimizer in context.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if context.device.type == "cuda":
            torch.cuda.empty_cache()
        fits = world > 1  # other ranks would wait for this one's all-reduce: with several processes, halving is the advice
        try:
            if not fits:
                with torch.autocast(context.device.type, torch.bfloat16, enabled=context.precision == "bf16"):
                    stage.step(source.draw(range(size), seed), context)
                fits = True
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        except FacemugError:
            break  # the stage refuses so small a batch
        if fits:
            return (f"batch {local * world} does not fit in the memory of {context.device}: batch {size * world} does, "
                    f"use --set batch={size * world}")
    return f"not even the smallest batch fits in the memory of {context.device}: use smaller networks or another device"


def _hardware(device: torch.device, world: int) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU, {os.cpu_count()} cores"
    return name if world == 1 else f"{world} × {name}"


# ----------------------------------------------------------------------------------------------------------------------
# What is written


class _Tick:
    """Losses and speed since the last line of the statistics; losses stay on the device until then."""

    def __init__(self, images_seen: int) -> None:
        self.images_seen, self.since, self.sums, self.counts = images_seen, time.monotonic(), {}, {}

    def add(self, losses: Mapping[str, float | Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach().float() if isinstance(value, Tensor) else value
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def line(self, images_seen: int, device: torch.device) -> dict[str, Any]:
        losses = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        now = time.monotonic()
        speed = (images_seen - self.images_seen) / max(now - self.since, 1e-9)
        line = {"images": images_seen, "images_per_second": round(speed, 3), "time": round(time.time(), 1),
                "losses": losses, "memory_mib": _memory_mib(device)}
        self.images_seen, self.since, self.sums, self.counts = images_seen, now, {}, {}
        return line


def _memory_mib(device: torch.device) -> int:
    """Largest memory so far: of the GPU, or of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 2**20 if platform.system() == "Darwin" else peak // 2**10


def _readable(line: Mapping[str, Any]) -> str:
    losses = "  ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
    return f"{line['images']:>10,} images  {line['images_per_second']:.1f}/s  {line['memory_mib']} MiB  {losses}"


def _tensorboard(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out))


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
