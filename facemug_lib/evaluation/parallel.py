"""The completion part on several processes: much of it is sparse algebra and OpenCV, which use one core each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import cv2
import psutil
import torch
import torch.multiprocessing

from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.evaluate import Plan, fill
from facemug_lib.evaluation.protocols import TestSet
from facemug_lib.evaluation.request import methods
from facemug_lib.store import Store

MEMORY = 4 << 30  # bytes of free memory for each process


def usual_workers(device: torch.device) -> int:
    """One process for each core that has :data:`MEMORY` of free memory; a GPU is not shared out."""
    if device.type != "cpu":
        return 1
    return max(1, min(len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count(),
                      psutil.virtual_memory().available // MEMORY))


def fill_in_parallel(workers: int, editor: Editor, test_sets: Sequence[TestSet], images: Sequence[Path], out: Path, plan: Plan,
                     families: Sequence[str], weights: Path | None, bank: Path | None, refine: int) -> None:
    """Measure the completion part on ``workers`` processes; what they find lies in the cache of ``out`` afterwards."""
    if editor.device.type != "cpu":
        raise FacemugError(f"--workers {workers} shares a CPU out, and the evaluation runs on {editor.device}: leave it out")
    context = torch.multiprocessing.get_context("spawn")
    given = (test_sets, images, out, plan, families, weights, bank, refine)
    processes = [context.Process(target=_work, args=((number, workers), *given))
                 for number in range(workers)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
    if any(process.exitcode for process in processes):
        raise FacemugError("a worker failed; its message is above: run the same command again, it goes on where it stopped")


def _work(share: tuple[int, int], test_sets: Sequence[TestSet], images: Sequence[Path], out: Path, plan: Plan,
          families: Sequence[str], weights: Path | None, bank: Path | None, refine: int) -> None:
    torch.set_num_threads(max(1, (torch.get_num_threads() + share[1] - 1) // share[1]))
    cv2.setNumThreads(torch.get_num_threads())
    editor = Editor.load("cpu", weights, bank=bank)
    fill(editor, test_sets, methods(editor, images, refine), Store(out / "cache"), plan, families, share,
         lambda line: _report(share[0] + 1, line))


def _report(number: int, line: str) -> None:
    """Say how far a worker is, and end it if nobody waits for it any more: a killed command cannot end its workers itself."""
    print(f"worker {number}: {line}", flush=True)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
