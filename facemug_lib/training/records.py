"""What a run writes while it trains: config.json, stats.jsonl, sample grids, resume states, weights."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.files import replacing
from facemug_lib.training.checkpoints import save_checkpoint
from facemug_lib.training.profiles import StageSettings
from facemug_lib.training.stage import Stage
from facemug_lib.training.state import Place, RunState, inference
from facemug_lib.weights import save_weights


class Records:
    """The run folder ``out`` of a run that is going on. Scores are computed by all processes, files written by the first."""

    def __init__(self, out: Path, stage: Stage, state: RunState, place: Place, settings: StageSettings,
                 config: Mapping[str, Any], report: Callable[[str], None], keep: int, max_shard_mib: float) -> None:
        self.out, self.stage, self.state, self.place, self.settings = out, stage, state, place, settings
        self.report, self.keep, self.max_shard_mib = report, keep, max_shard_mib
        self.started = time.monotonic()
        self.tick = Tick(state.images_seen)
        self.board = None
        if place.is_main:
            out.mkdir(parents=True, exist_ok=True)
            with replacing(out / "config.json") as temporary:
                temporary.write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n")
            _drop_half_line(out / "stats.jsonl")
            self.board = _tensorboard(out)

    @property
    def seconds(self) -> float:
        """Training time over all calls."""
        return self.state.seconds + time.monotonic() - self.started

    def after_step(self, losses: Mapping[str, float | Tensor], before: int) -> None:
        """Whatever is due between ``before`` images and those seen now. The last scores, grid and state are left to the end."""
        s, now = self.settings, self.state.images_seen
        is_last = now >= s.images
        self.tick.add(losses)
        if passed(s.stats_every, before, now) or is_last:
            self._write_losses()
        if passed(s.evaluate_every, before, now) and not is_last:
            self.evaluate()
        if passed(s.grid_every, before, now) and not is_last:
            self.grid()
        if passed(s.checkpoint_every, before, now) and not is_last:
            self.snapshot()

    def _write_losses(self) -> None:
        line = self.tick.line(self.state.images_seen, self.place.device)
        bad = [name for name, value in line["losses"].items() if not np.isfinite(value)]
        if bad:
            raise FacemugError(f"{self.stage.name} diverged before {self.state.images_seen:,} images ({', '.join(bad)} not "
                               f"finite): use a smaller lr with --set, in a new run folder")
        if self.place.is_main:
            self._append(line)
            self.report(_readable(line))
        self._plot("loss", line["losses"])

    def evaluate(self) -> dict[str, float]:
        """The stage's scores of the networks as they would be shipped now."""
        with inference(self.state.shipped, self.place):
            scores = self.stage.evaluate(self.state.shipped, self.settings.evaluate_count)
        scores = {name: float(value) for name, value in scores.items()}
        if self.place.is_main:
            self._append({"images": self.state.images_seen, "scores": scores})
        self._plot("score", scores)
        return scores

    def grid(self) -> None:
        """A picture of what the networks do now."""
        if self.place.is_main:
            with inference(self.state.shipped, self.place):
                pixels = self.stage.sample_grid(self.state.shipped)
            with replacing(self.out / f"grid-{self.state.images_seen:012d}.png") as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")

    def snapshot(self) -> None:
        """A resume state."""
        if self.place.is_main:
            save_checkpoint(self.out, self.state.images_seen, self.state.checkpoint(self.seconds), keep=self.keep,
                            max_shard_mib=self.max_shard_mib)

    def ship(self, scores: Mapping[str, float], faces: str, command: str | None) -> dict[str, Path]:
        """The weights with their card, by name, in ``weights/``; fp16."""
        if not self.place.is_main:
            return {}
        seen = self.state.images_seen
        told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.report(f"{self.stage.name} at {seen:,} images: {told}")
        card = {"stage": self.stage.name, "images_seen": seen, "seconds": round(self.seconds),
                "hardware": _hardware(self.place), "command": command, "faces": faces, "scores": dict(scores)}
        if self.board:
            self.board.close()
        return {name: save_weights(self.out / "weights" / f"{name}.safetensors", tensors, config=network, card=card)
                for name, (tensors, network) in self.stage.export(self.state.shipped).items()}

    def _append(self, line: Mapping[str, Any]) -> None:
        with (self.out / "stats.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _plot(self, group: str, values: Mapping[str, float]) -> None:
        for name, value in values.items() if self.board else ():
            self.board.add_scalar(f"{group}/{name}", value, self.state.images_seen)


class Tick:
    """Losses and speed since the last line of the statistics; losses stay on the device until then."""

    def __init__(self, images_seen: int) -> None:
        self.images_seen, self.since, self.sums, self.counts = images_seen, time.monotonic(), {}, {}

    def add(self, losses: Mapping[str, float | Tensor]) -> None:
        """The losses of one step."""
        for name, value in losses.items():
            value = value.detach().float() if isinstance(value, Tensor) else value
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def line(self, images_seen: int, device: torch.device) -> dict[str, Any]:
        """A line of stats.jsonl: mean losses and images a second since the last one."""
        losses = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        now = time.monotonic()
        speed = (images_seen - self.images_seen) / max(now - self.since, 1e-9)
        line = {"images": images_seen, "images_per_second": round(speed, 3), "time": round(time.time(), 1),
                "losses": losses, "memory_mib": _memory_mib(device)}
        self.images_seen, self.since, self.sums, self.counts = images_seen, now, {}, {}
        return line


def passed(every: int | None, before: int, now: int) -> bool:
    """True when a multiple of ``every`` lies in (before, now]."""
    return every is not None and before // every != now // every


def _drop_half_line(path: Path) -> None:
    """Cut off a last line that a full disk has left unfinished."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


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


def _hardware(place: Place) -> str:
    is_gpu = place.device.type == "cuda"
    name = torch.cuda.get_device_name(place.device) if is_gpu else f"{platform.machine()} CPU, {os.cpu_count()} cores"
    return name if place.world == 1 else f"{place.world} × {name}"


def _readable(line: Mapping[str, Any]) -> str:
    losses = "  ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
    return f"{line['images']:>10,} images  {line['images_per_second']:.1f}/s  {line['memory_mib']} MiB  {losses}"


def _tensorboard(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out))
