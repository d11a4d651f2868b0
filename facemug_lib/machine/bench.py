"""How fast this machine is: start, prior, modalities, editing, training, and the memory they need."""

from __future__ import annotations

import itertools
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from facemug_lib.devices import machine, release_freed_memory
from facemug_lib.machine.command_costs import bench_replay, bench_start
from facemug_lib.machine.measurement import Measurement
from facemug_lib.pictures import pixels_of
from facemug_lib.progress import Tell, silent, untold

if TYPE_CHECKING:
    from facemug_lib.editing.editor import Editor

TRAINED_STAGES = ("head", "expert", "encoder", "warping", "generator")


Section = Callable[[torch.device, bool], list[Measurement]]
"""Measures on a device; true asks for fewer repetitions."""


def measure(device: torch.device, sections: Mapping[str, Section], quick: bool = False,
            tell: Tell = untold) -> dict[str, Any]:
    """Run every section by itself: {"machine", "measurements", "peak_memory_mib", "failures", "seconds"}, each by section."""
    report: dict[str, Any] = {"machine": machine(device), "measurements": []}
    report |= {"peak_memory_mib": {}, "failures": {}, "seconds": {}}
    for name, section in sections.items():
        tell(f"{name} …")
        started = time.perf_counter()
        with peak_memory(device) as peak:
            try:
                report["measurements"] += [asdict(one) for one in section(device, quick)]
            except Exception as error:  # a section that fails is reported, and must not hide the others
                report["failures"][name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        report["peak_memory_mib"][name] = peak["mib"]
        report["seconds"][name] = round(time.perf_counter() - started, 2)
    return report


def table(report: dict[str, Any]) -> str:
    """The report as plain text."""
    about = report["machine"]
    lines = [f"{about['device']}, {about['threads']} threads on {about['cores']} cores (load {about['load']} at the start), "
             f"torch {about['torch']}", f"{'section':<17}{'measured':<34}{'value':>12}  {'unit':<10}{'batch':>5}  precision"]
    for one in report["measurements"]:
        lines.append(f"{one['section']:<17}{one['name']:<34}{one['value']:>12.4g}  {one['unit']:<10}{one['batch']:>5}  "
                     f"{one['precision']}")
    kind = "GPU memory" if about["device"] != f"CPU, {platform.machine()}" else "resident memory"
    for name, mib in report["peak_memory_mib"].items():
        outcome = f"FAILED: {report['failures'][name]}" if name in report["failures"] else f"{report['seconds'][name]:.0f} s"
        lines.append(f"{name:<17}{f'peak {kind}':<34}{mib:>12,}  MiB       {outcome}")
    return "\n".join(lines)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, int]]:
    """Fills ``{"mib": n}`` with the most memory used inside the block: allocated on the GPU, or resident of this process."""
    peak = {"mib": 0}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak["mib"] = torch.cuda.max_memory_allocated(device) // 2**20
        return
    release_freed_memory()  # what earlier work has left behind is not this block's
    process, stop = psutil.Process(), threading.Event()

    def watch() -> None:
        while True:
            peak["mib"] = max(peak["mib"], process.memory_info().rss // 2**20)
            if stop.wait(0.02):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def median_seconds(job: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median wall time of ``job`` over ``repeats`` runs after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


# -- sections -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def bench_prior(device: torch.device, quick: bool, bank: Path | None = None) -> list[Measurement]:
    """The face prior, or the StyleGAN2 ``bank``, at 256 and 1024 px."""
    from facemug_lib.faces.bank import load_bank

    prior = load_bank(bank, device)
    if bank is None:
        prior.to(memory_format=torch.channels_last)
    sizes = [size for size in (256, 1024) if bank is None or size <= prior.native_size]
    batches = (1, 64) if device.type == "cuda" else (1, 4)
    measured = []
    for size in sizes:
        for batch in batches:
            if size == 1024 and batch > 1 and device.type == "cpu":
                continue  # as fast per face as one by one, and a lot of memory
            codes = prior.broadcast(prior.sample_w(batch, torch.Generator().manual_seed(0)))
            for precision in ("fp32", "bf16") if device.type == "cuda" else ("fp32",):
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    job = partial(prior.synthesize, codes, size)
                    seconds = median_seconds(job, device, 3 if quick else 9)
                measured += [Measurement("prior", f"{size} px", batch / seconds, "images/s", batch, precision),
                             Measurement("prior", f"{size} px", 1e3 * seconds, "ms", batch, precision)]
    return measured


def bench_modalities(device: torch.device, quick: bool) -> list[Measurement]:
    """Making each modality from images."""
    from facemug_lib.modalities.throughput import throughput

    batch = 64 if device.type == "cuda" else 8
    speeds = throughput(batch, device, seconds=0.3 if quick else 1.5)
    return [Measurement("modalities", name, speed, "images/s", batch) for name, speed in speeds.items()]


def bench_editing(device: torch.device, quick: bool, bank: Path | None = None,
                  weights: Path | None = None) -> list[Measurement]:
    """One edit of an aligned face with all pixel-wise guidance, feed-forward; one step of refinement; and edits with the mask
    alone, at every size that the prior paints."""
    from facemug_lib.editing.edit import Edit
    from facemug_lib.editing.editor import Editor
    from facemug_lib.modalities.sketch import pencil_sketch

    editor = Editor.load(device, weights, bank=bank)
    with torch.no_grad():
        face = editor.prior.synthesize(editor.prior.sample_w(1, torch.Generator().manual_seed(1))).clamp(-1, 1).cpu()
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 90:200, 70:190] = 1
    guidance = {"sketch": pencil_sketch(face), "colour": face.clone(), "semantics": torch.ones(1, 256, 256, dtype=torch.long)}
    edits, steps = (3, 4) if quick else (11, 12)
    seconds = median_seconds(lambda: editor.edit(face, mask, **guidance), device, edits)
    measured = [Measurement("editing", f"feed-forward, median of {edits}", 1e3 * seconds, "ms", 1)]
    refined = editor.edit(face, mask, refine=steps, progress=silent)
    # The steps only: choosing a start and the last picture are not part of a step's cost, but they are of the refinement's.
    measured.append(Measurement("editing", "refinement, per step", 1e3 * refined.timings["refine"] / steps, "ms", 1))
    seconds = median_seconds(lambda: editor.edit(face, mask), device, edits)
    measured.append(Measurement("editing", "the mask alone, 256 px", 1e3 * seconds, "ms", 1))
    measured += [Measurement("editing", f"the mask alone, {size} px", 1e3 * seconds, "ms", 1)
                 for size, seconds in _larger_edits(editor, mask, device, edits)]
    if device.type == "cuda":
        many = [Edit(face, mask, seed=seed, guidance_frame="aligned") for seed in range(64)]
        seconds = median_seconds(lambda: editor.edit_many(many), device, edits)
        measured.append(Measurement("editing", "the mask alone, 256 px", len(many) / seconds, "images/s", len(many)))
    return measured


def _larger_edits(editor: Editor, mask: torch.Tensor, device: torch.device, repeats: int) -> Iterator[tuple[int, float]]:
    """(size, seconds) of an edit of a photo as large as the prior paints, to the whole photo with the edit pasted back."""
    from facemug_lib.editing.sharp import SIZES
    from facemug_lib.faces.alignment import open_face
    from facemug_lib.faces.photos import read_photo

    prior = editor.prior
    largest = min(SIZES[-1], getattr(prior, "native_size", SIZES[-1]))
    with torch.no_grad():
        picture = prior.synthesize(prior.broadcast(prior.sample_w(1, torch.Generator().manual_seed(1))), largest)
    photo = open_face(read_photo(pixels_of(picture[0])), aligned=True)
    for size in (size for size in SIZES[1:] if size <= largest):
        yield size, median_seconds(lambda size=size: editor.edit(photo, mask, guidance_frame="aligned", size=size).paste_back(),
                                   device, repeats)


@torch.no_grad()
def bench_explorer(device: torch.device, quick: bool) -> list[Measurement]:
    """What the explorer computes for a picture: small while a slider is dragged, and whole when it rests, in a region.
    `--widgets` measures the way to a browser's screen as well."""
    from facemug_lib.editing.editor import Editor
    from facemug_lib.editing.script.exploring import REGIONS, Exploration, View

    exploration = Exploration(Editor.load(device))
    region = "face" if "face" in REGIONS else next(iter(REGIONS))
    strengths = itertools.cycle((0.5, 1.0))  # a picture that is there already would cost nothing

    def view() -> View:
        return View(region=region).at("smile", next(strengths))

    repeats = 3 if quick else 11
    rest = median_seconds(lambda: exploration.picture(view()), device, repeats)
    drag = median_seconds(lambda: exploration.preview(view()), device, repeats)
    return [Measurement("explorer", f"at rest, 256 px, mask {region}", 1e3 * rest, "ms", 1),
            Measurement("explorer", f"while dragging, mask {region}", 1e3 * drag, "ms", 1)]


def bench_stage(stage: str) -> Section:
    """Training of one stage through the real loop, on faces sampled from the prior."""

    def section(device: torch.device, quick: bool) -> list[Measurement]:
        from facemug_lib.training.loop import train
        from facemug_lib.training.stages import build_source, build_stage, settings

        base = settings(stage, "smoke")
        batch = base.batch if device.type == "cpu" else 32
        steps = 2 if quick else 6
        chosen = settings(stage, "smoke", {"images": batch * (steps + 1), "batch": batch, "evaluate_count": 1,
                                           "stats_every": 10**9, "checkpoint_every": 10**9, "grid_every": 10**9})
        made = build_stage(stage, chosen, device)
        source = build_source("prior", made, chosen, device)
        ends: list[float] = []
        step = made.step

        def timed_step(*arguments: Any) -> Any:
            result = step(*arguments)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            ends.append(time.perf_counter())
            return result

        made.step = timed_step
        with tempfile.TemporaryDirectory() as folder:
            train(made, source, folder, chosen, device=device, report=untold)
        # From the end of the first step, which warms up, to the end of the last: drawing the faces included.
        speed = batch * (len(ends) - 1) / (ends[-1] - ends[0])
        return [Measurement("training", stage, speed, "images/s", batch, "bf16" if device.type == "cuda" else "fp32")]

    return section


def bench_widgets(device: torch.device, quick: bool) -> list[Measurement]:
    """How soon the Explorer's pictures appear in a browser; memory is this process's, without the kernel and the browser."""
    from facemug_lib.widgets import latency

    measured = latency.latencies(10 if quick else latency.MOVES, device.type)
    return [Measurement("widgets", name, value, "ms", 1) for name, value in latency.summary(measured)]


SECTIONS: dict[str, Section] = {
    "start": bench_start, "prior": bench_prior, "modalities": bench_modalities, "editing": bench_editing,
    "explorer": bench_explorer, "replay": bench_replay,
    **{f"train {stage}": bench_stage(stage) for stage in TRAINED_STAGES},
}


def sections_with(bank: Path | None, weights: Path | None) -> dict[str, Section]:
    """What depends on a bank and on weights of one's own: the bank's pictures, and editing."""
    return {"prior": partial(bench_prior, bank=bank), "editing": partial(bench_editing, bank=bank, weights=weights)}
