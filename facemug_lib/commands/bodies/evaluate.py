"""``facemug evaluate``: score the shipped weights, other weights, or somebody else's pictures."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.protocols import FAMILIES, TestSet
from facemug_lib.files import files_in, require_writable_folder
from facemug_lib.progress import Tell

EVERY_PART = "all"


def evaluate_command(count: int, out: Path, photos: Sequence[Path] = (), no_prior: bool = False, aligned: bool = False,
                     families: Sequence[str] = (), parts: Sequence[str] = (), images: Sequence[Path] = (),
                     export: Path | None = None, weights: Path | None = None, limits: dict[str, str] | None = None,
                     refine: int = 0, workers: int | None = None, device: str = "auto") -> None:
    """Build the test sets, measure, and write all results to ``out``. ``workers=None`` uses the CPU's cores, as memory allows."""
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.evaluate import PARTS, evaluate, write
    from facemug_lib.evaluation.export import export_cases
    from facemug_lib.evaluation.store import Store
    from facemug_lib.figures import contact_sheet
    from facemug_lib.figures.plotting import save_figure

    plan = _plan(count, limits or {})
    _check_names("mask family", families, FAMILIES)
    _check_names("part", parts, [*PARTS, EVERY_PART])
    parts = PARTS if EVERY_PART in parts else tuple(parts) or ("completion",)
    if no_prior and not photos:
        raise FacemugError("nothing to evaluate: leave out --no-prior, or name a folder with --photos")
    require_writable_folder(out if export is None else export)
    target = resolve_device(device)
    editor = Editor.load(target, weights)
    store = Store(out / "cache")
    test_sets = _test_sets(editor, count, photos, no_prior, aligned, store, _say)
    if export is not None:
        export_cases(test_sets, families or FAMILIES, count, export)
        print(f"test pictures and masks of {sum(len(one) for one in test_sets)} faces: {export}")
        return
    methods = _methods(editor, images, refine)
    out.mkdir(parents=True, exist_ok=True)
    workers = _usual_workers(target) if workers is None else workers
    if workers > 1 and "completion" in parts:
        _fill_in_parallel(workers, editor, test_sets, images, out, plan, families or FAMILIES, weights, refine)
    evaluation = evaluate(editor, test_sets, methods, store, plan,
                          families or FAMILIES, parts, [] if aligned else _photographs(photos), _say)
    written = write(evaluation, out)
    if any("pictures" in one.arrays for one in evaluation.measured):
        written.append(out / "contact_sheet.png")
        save_figure(contact_sheet.draw(evaluation.test_sets, evaluation.measured), written[-1], 130)
    print((out / "tables.md").read_text(encoding="utf-8"))
    for path in written:
        print(path)


def _usual_workers(device: torch.device) -> int:
    """One process for each core that has 4 GiB of free memory; a GPU is not shared out."""
    if device.type != "cpu":
        return 1
    return max(1, min(len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count(),
                      psutil.virtual_memory().available // (4 << 30)))


def _fill_in_parallel(workers: int, editor, test_sets: Sequence[TestSet], images: Sequence[Path], out: Path, plan,
                      families: Sequence[str], weights: Path | None, refine: int) -> None:
    """Let processes of one thread each measure the completion part: much of it is sparse algebra and OpenCV on one core."""
    import torch.multiprocessing

    if editor.device.type != "cpu":
        raise FacemugError(f"--workers {workers} shares a CPU out, and the evaluation runs on {editor.device}: leave it out")
    context = torch.multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=((number, workers), test_sets, images, out, plan, families, weights, refine))
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


def _work(share: tuple[int, int], test_sets: Sequence[TestSet], images: Sequence[Path], out: Path, plan, families: Sequence[str],
          weights: Path | None, refine: int) -> None:
    import cv2

    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation.evaluate import fill
    from facemug_lib.evaluation.store import Store

    torch.set_num_threads(max(1, (torch.get_num_threads() + share[1] - 1) // share[1]))
    cv2.setNumThreads(torch.get_num_threads())
    editor = Editor.load("cpu", weights)
    fill(editor, test_sets, _methods(editor, images, refine), Store(out / "cache"), plan, families, share,
         lambda line: _report(share[0] + 1, line))


def _report(number: int, line: str) -> None:
    """Say how far a worker is, and end it if nobody waits for it any more: a killed command cannot end its workers itself."""
    _say(f"worker {number}: {line}")
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)


def _methods(editor, images: Sequence[Path], refine: int) -> list:
    from facemug_lib.evaluation.methods import default_methods
    from facemug_lib.evaluation.methods.folder import Folder

    return [*default_methods(editor, refine), *(Folder(folder, folder.resolve().name) for folder in images)]


def _plan(count: int, limits: dict[str, str]):
    from dataclasses import fields

    from facemug_lib.evaluation.evaluate import Plan

    known = [field.name for field in fields(Plan) if field.name != "count"]
    numbers: dict[str, int | None] = {}
    for name, text in limits.items():
        if name not in known:
            raise FacemugError(f"--limit {name}: choose from {', '.join(known)}")
        if text != "all" and not text.isdigit():
            raise FacemugError(f"--limit {name}={text}: give a number of faces, or all")
        numbers[name] = None if text == "all" else int(text)
    return Plan(count, **numbers)


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise FacemugError(f"unknown {what} {name!r}: choose from {', '.join(known)}")


def _test_sets(editor, count: int, photos: Sequence[Path], no_prior: bool, aligned: bool, store,
               tell: Tell) -> list[TestSet]:
    from facemug_lib.evaluation.protocols import folder_set, prior_set
    from facemug_lib.experts.student import ExpertStudent

    expert = ExpertStudent.load(editor.device)
    sets = [] if no_prior else [prior_set(editor.prior, expert, count, count, store.get, tell)]
    sets += [folder_set(folder, expert, count, aligned, editor.device, tell) for folder in photos]
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise FacemugError(f"two test sets are called {name!r}: rename one of the folders")
    return sets


def _photographs(folders: Sequence[Path], count: int = 3) -> list[Path]:
    """The first photographs with one clear face, at full size, for the incremental part."""
    from facemug_lib.faces.alignment import open_face
    from facemug_lib.faces.photos import READABLE

    found: list[Path] = []
    for path in (path for folder in folders for path in files_in(folder, READABLE)):
        try:
            open_face(path)
        except FacemugError:
            continue
        found.append(path)
        if len(found) == count:
            break
    return found


def _say(line: str) -> None:
    print(line, flush=True)
