"""What the program costs from its start on: its imports, one edit from the shell, a script on many photographs.

Each is measured on processes of its own. Their CPU seconds, user and system together, hardly depend on what else the machine
does; wall time does.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from facemug_lib.machine.measurement import Measurement

IMPORT = """
import sys, time
import torch
before = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
print(time.process_time() - before)
"""
PHOTOS = 12  # on which a script is made again


@dataclass(frozen=True)
class Cost:
    """Of a command and its processes. lines: what it printed, each with the second since the start; mib: their resident memory,
    added up, at its largest."""

    wall: float
    cpu: float
    mib: int
    lines: list[tuple[float, str]]


def cost_of(command: Sequence[str]) -> Cost:
    """Run ``command``. Raises ``subprocess.CalledProcessError`` where it fails; what it had to say of that is its ``stderr``."""
    started, before = time.perf_counter(), _cpu_of_children()
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[tuple[float, str]] = []
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            with suppress(psutil.Error):  # a process has just ended
                peak[0] = max(peak[0], sum(one.memory_info().rss for one in (process, *process.children(recursive=True))))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    for line in process.stdout:
        lines.append((time.perf_counter() - started, line.rstrip("\n")))
    said = process.stderr.read()
    code = process.wait()
    wall = time.perf_counter() - started
    over.set()
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command, "\n".join(line for _, line in lines), said)
    return Cost(wall, _cpu_of_children() - before, peak[0] // 2**20, lines)


def _cpu_of_children() -> float:
    """CPU seconds of the processes that this one has started and seen end, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def facemug(*arguments: str | Path) -> Cost:
    """What ``facemug ARGUMENTS`` costs here."""
    return cost_of([sys.executable, "-m", "facemug_lib.cli", *map(str, arguments)])


def bench_start(device: torch.device, quick: bool) -> list[Measurement]:
    """The imports, without PyTorch's own, and one edit of a sampled face from the shell to the file."""
    repeats = 1 if quick else 5
    measured = []
    for name, modules in (("import facemug_lib", ["facemug_lib"]), ("its editor, torch apart", ["facemug_lib.editing.editor"])):
        seconds = [float(cost_of([sys.executable, "-c", IMPORT, *modules]).lines[-1][1]) for _ in range(repeats)]
        measured.append(Measurement("start", f"{name}, CPU", statistics.median(seconds), "s", 1))
    with tempfile.TemporaryDirectory() as folder:
        photo, mask = _inputs(Path(folder), 1)
        costs = [facemug("edit", photo[0], "--mask", mask, "--out", Path(folder) / "out.png", "--device", device.type)
                 for _ in range(repeats)]
    measured.append(Measurement("start", "facemug edit, CPU", statistics.median(cost.cpu for cost in costs), "s", 1))
    measured.append(Measurement("start", "facemug edit, wall", statistics.median(cost.wall for cost in costs), "s", 1))
    return measured


def bench_replay(device: torch.device, quick: bool) -> list[Measurement]:
    """A script of one edit on many photographs: one by one, and on a CPU with two workers; without the start of the command."""
    measured = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, mask = _inputs(folder, 4 if quick else PHOTOS)
        facemug("edit", photos[0], "--mask", mask, "--script-out", folder / "edit.json", "--out", folder / "out.png",
                "--device", device.type)
        for workers in (1, 2) if device.type == "cpu" else (1,):
            cost = facemug("replay", folder / "edit.json", *itertools.chain(*(("--photo", photo) for photo in photos)), "--out",
                           folder / f"made{workers}", "--workers", workers, "--device", device.type)
            speed = images_a_second([second for second, line in cost.lines if "steps replayed" in line], workers)
            of = f"{workers} worker{'s' if workers > 1 else ''}"
            measured += [Measurement("replay", of, speed, "images/s", 1),
                         Measurement("replay", f"{of}, CPU an image", cost.cpu / len(photos), "s", 1),
                         Measurement("replay", f"{of}, all processes", cost.mib, "MiB", 1)]
    return measured


def images_a_second(done: Iterable[float], workers: int) -> float:
    """How fast pictures came, from the seconds at which each was done. The time of the ``workers`` first ones does not count: it
    is that of the start, too."""
    *_, last = done = list(done)
    return (len(done) - workers) / max(last - done[workers - 1], 1e-9)


def _inputs(folder: Path, count: int) -> tuple[list[Path], Path]:
    """``count`` files of sampled faces, and one of a mask for all of them."""
    from facemug_lib.faces.photos import write_image
    from facemug_lib.faces.prior import FacePrior
    from facemug_lib.faces.sampling import faces_of_seeds

    prior = FacePrior.load("cpu")
    photos = [write_image(folder / f"face{seed:02d}.png", faces_of_seeds(prior, [seed], 0.7, 256)[1]) for seed in range(count)]
    mask = torch.full((1, 3, 256, 256), -1.0)
    mask[..., 90:200, 70:190] = 1
    return photos, write_image(folder / "mask.png", mask)
