"""The whole evaluation: test sets × mask families × methods, and whether guidance is obeyed; one plain result.

Taught in `notebooks/09_evaluation.ipynb`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facemug_lib.devices import machine
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import tables
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.evaluation.completion import Depth, Measured, Runner, floors, joined, regrouped, scores
from facemug_lib.evaluation.guided import GuidanceProtocol, GuidedProtocol, SubsetProtocol, run
from facemug_lib.evaluation.incremental import IncrementalProtocol, PhotoProtocol
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.methods import Method
from facemug_lib.evaluation.methods.simple import SavedAgain
from facemug_lib.evaluation.metrics import Score
from facemug_lib.evaluation.paper_tables import PAPER_TABLES, TABLE_NOTES, Guided
from facemug_lib.evaluation.protocols import BUCKETS, FAMILIES, TestSet, bucket_name
from facemug_lib.evaluation.report import report
from facemug_lib.evaluation.sharpness import HOLES, SharpnessProtocol
from facemug_lib.evaluation.warping_ablation import WarpingProtocol
from facemug_lib.files import replacing
from facemug_lib.progress import Tell, untold
from facemug_lib.store import Store

PARTS = ("completion", "paper", "guidance", "subsets", "warping", "incremental", "sharpness")
"""What an evaluation consists of; :func:`evaluate` takes any of them."""

PHOTOS_IN_A_ROW = 3  # photographs that are edited ten times in a row

RESIZING = {
    "prior": "rendered at 256 px, not resized",
    "photographs": "cut out and reduced in one anti-aliased resampling (area average), 256 px",
    "Inception": "256 → 299 px, bilinear without half-pixel shift or anti-aliasing, as in the original FID",
    "ArcFace": "256 → 112 px crop, bilinear", "FaceNet": "crop → 160 px, bilinear with anti-aliasing",
    "LPIPS": "256 px, not resized; of the part sharpness the square around the face, cut out at 512 px",
    "pictures": "every picture is rounded to 8 bits before it is judged",
}
"""How every picture was resized on its way to a number."""


@dataclass(frozen=True)
class Plan:
    """How much is measured; ``None`` is everything. Faces are always the first ones of each set.

    count: faces of the completion table, for each set and mask family. vgg, facenet: faces of each family that LPIPS-VGG and
    FaceNet look at. optimisation: faces of each family that latent optimisation edits. saved: faces of each family that are saved
    once more. simple: faces of each family that mean colour, Telea and another face's pixels fill. paper, guidance, subsets,
    warping, incremental: faces of those parts. sharpness: photographs of that part, for each kind of hole.
    """

    count: int
    vgg: int | None = 10
    facenet: int | None = 10
    optimisation: int | None = 2
    saved: int | None = 50
    simple: int | None = 100
    paper: int | None = 20
    guidance: int | None = 16
    subsets: int | None = 4
    warping: int | None = 16
    incremental: int | None = 3
    sharpness: int | None = 10

    @property
    def depth(self) -> Depth:
        return Depth(self.vgg, self.facenet, self.optimisation, self.saved, self.simple)

    def photographs(self, parts: Sequence[str]) -> int | None:
        """How many whole photographs ``parts`` look at; None is all there are."""
        wanted = {"incremental": PHOTOS_IN_A_ROW, "sharpness": self.sharpness}
        counts = [wanted[part] for part in parts if part in wanted]
        return None if None in counts else max(counts, default=0)


@dataclass
class Evaluation:
    """A finished evaluation: plain ``results`` for JSON, and the measured pictures for the contact sheet."""

    results: dict[str, Any]
    test_sets: list[TestSet]
    measured: list[Measured] = field(default_factory=list)


class _Stopwatch:
    def __init__(self, store: Store) -> None:
        self.store, self.parts = store, {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began, found, made = time.perf_counter(), self.store.found, self.store.made
        yield
        self.parts[part] = {"seconds": round(time.perf_counter() - began, 1), "batches_from_cache": self.store.found - found,
                            "batches_measured": self.store.made - made}


def evaluate(editor: Editor, test_sets: Sequence[TestSet], methods: Sequence[Method], store: Store,
             plan: Plan, families: Sequence[str] = FAMILIES, parts: Sequence[str] = PARTS, photos: Sequence[Path] = (),
             tell: Tell = untold, judges: Judges | None = None) -> Evaluation:
    """Measure ``parts`` of ``plan`` on every test set.

    ``methods`` are the rows of the completion table; ``photos`` are photographs at full size for the parts incremental (the first
    :data:`PHOTOS_IN_A_ROW` of them) and sharpness.
    """
    for part in parts:
        if part not in PARTS:
            raise FacemugError(f"unknown part {part!r}: choose from {', '.join(PARTS)}")
    for family in families:
        if family not in FAMILIES:
            raise FacemugError(f"unknown mask family {family!r}: choose from {', '.join(FAMILIES)}")
    judges = judges or Judges(editor.device)
    weights = editor.hashes()
    runner = Runner(judges, store, plan.depth, tell)
    watch = _Stopwatch(store)
    results: dict[str, Any] = {
        "machine": machine(editor.device), "weights": weights, "plan": asdict(plan), "resizing": RESIZING,
        "test_sets": [{"name": one.name, "source": one.source, "faces": len(one), "spare": len(one.spare),
                       "faces_by_number": one.listing} for one in test_sets],
    }
    measured: list[Measured] = []
    if "completion" in parts:
        with watch("completion"):
            rows, measured, results["compared"] = _completion(runner, test_sets, families, methods, plan)
            results["completion"] = rows
    if "paper" in parts:
        with watch("paper"):
            results["paper"] = _paper(runner, editor, weights, test_sets, plan)
    for part, protocols in _protocols(editor, judges, test_sets, photos).items():
        if part in parts:
            with watch(part):
                results[part] = _follow(runner, weights, protocols, getattr(plan, part))
    results["timing"] = watch.parts
    return Evaluation(results, list(test_sets), measured)


def fill(editor: Editor, test_sets: Sequence[TestSet], methods: Sequence[Method], store: Store, plan: Plan,
         families: Sequence[str], share: tuple[int, int], tell: Tell = untold) -> None:
    """Measure one worker's ``share`` (k, n) of the completion part into ``store``, for :func:`evaluate` to find."""
    runner = Runner(Judges(editor.device), store, plan.depth, tell, share)
    for test_set in test_sets:
        runner.run(test_set, families, [*methods, SavedAgain()], plan.count)


def _completion(runner: Runner, test_sets: Sequence[TestSet], families: Sequence[str], methods: Sequence[Method],
                plan: Plan) -> tuple[list[dict[str, Any]], list[Measured], list[dict[str, Any]]]:
    """(rows of the main table with their floors, everything measured, rows on the faces that every method has edited)."""
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    everything: list[Measured] = []
    order = [*families, *(bucket_name(bucket) for bucket in BUCKETS), "mixed"]
    for test_set in test_sets:
        measured = runner.run(test_set, families, [*methods, SavedAgain()], plan.count)
        everything += measured
        reals = runner.reals(test_set, test_set.pixels[:plan.count], "true")
        floor, note = floors(reals, runner.reals(test_set, test_set.spare[:plan.count], "spare"))
        by_row = list(regrouped(measured))
        for kind in order:
            group = [one for one in by_row if one.family == kind]
            if not group:
                continue
            runner.tell(f"{test_set.name}, {kind}: {len(group)} rows of scores")  # jackknives and SVMs: minutes at 1,000 faces
            for one in group:
                is_floor = one.method in SavedAgain.names
                rows.append(tables.row(test_set.name, kind, one.method, scores(one, None if is_floor else reals), len(one.faces),
                                       is_floor))
            if floor:
                n = next(iter(floor.values())).n
                rows.append(tables.row(test_set.name, kind, f"floor: {note}", floor, n, True))
        compared += _compared(test_set.name, measured)
    return rows, everything, compared


def _compared(set_name: str, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Scores of all methods on those faces and holes, all families together, that every method has edited: paired."""
    fewest = min((len(one.faces) for one in measured), default=0)
    if not fewest or all(len(one.faces) == fewest for one in measured):
        return []
    rows = []
    for method in dict.fromkeys(one.method for one in measured if one.method not in SavedAgain.names):
        parts = [one.only(np.arange(len(one.faces)) < fewest) for one in measured if one.method == method]
        together = joined(set_name, "all", method, [(part.faces, part.arrays) for part in parts])
        masks = f"face 0 … {fewest - 1} of every family" if fewest > 1 else "face 0 of every family"
        rows.append(tables.row(set_name, masks, method, scores(together, None), len(together.faces)))
    return rows


def _paper(runner: Runner, editor: Editor, weights: dict[str, str], test_sets: Sequence[TestSet],
           plan: Plan) -> list[dict[str, Any]]:
    settings = dict.fromkeys(setting for names in PAPER_TABLES.values() for setting in names)
    rows = []
    for test_set in test_sets:
        count = len(test_set) if plan.paper is None else min(plan.paper, len(test_set))
        measured = runner.run(test_set, ["mixed"], [Guided(editor, setting, weights) for setting in settings], count)
        reals = runner.reals(test_set, test_set.pixels[:count], "true")
        found = {one.method: scores(one, reals) for one in measured}
        for number, names in PAPER_TABLES.items():
            for name in names:
                title = f"Table {number}: {TABLE_NOTES[number]}"
                rows.append(tables.row(test_set.name, title, f"FACEMUG ({name})", found[name], count) | {"table": number})
    return rows


def _protocols(editor: Editor, judges: Judges, test_sets: Sequence[TestSet],
               photos: Sequence[Path]) -> dict[str, list[tuple[GuidedProtocol, int]]]:
    """Per part the protocols, each with the number of faces that it can have."""
    def each(make: Callable[[TestSet], GuidedProtocol], least: int = 1) -> list[tuple[GuidedProtocol, int]]:
        return [(make(one), len(one)) for one in test_sets if len(one) >= least]

    found = {
        "guidance": [pair for wish in ("own", "foreign")
                     for pair in each(lambda one, wish=wish: GuidanceProtocol(editor, judges, one, wish=wish), 4)],
        "subsets": each(lambda one: SubsetProtocol(editor, judges, one)),
        "warping": each(lambda one: WarpingProtocol(editor, judges, one), 2),
        "incremental": each(lambda one: IncrementalProtocol(editor, judges, one), 2),
        "sharpness": [],
    }
    if photos:
        few = photos[:PHOTOS_IN_A_ROW]
        found["incremental"].append((PhotoProtocol(editor, judges, test_sets[0], few), len(few)))
        found["sharpness"] = [(SharpnessProtocol(editor, judges, photos, family), len(photos)) for family in HOLES]
    return found


def _follow(runner: Runner, weights: dict[str, str], protocols: Sequence[tuple[GuidedProtocol, int]],
            count: int | None) -> list[dict[str, Any]]:
    """The rows of protocols on their first ``count`` faces, through the cache."""
    rows = []
    for protocol, available in protocols:
        made_by = {"weights": weights, "judges": runner.judges_version, "code": code_of(type(protocol).__module__)}
        faces = available if count is None else min(count, available)
        found = run(protocol, faces, lambda what, make, made_by=made_by: runner.store.get({**what, **made_by}, make), runner.tell)
        rows += [tables.guided_row(one) for one in found]
    return rows


def write(evaluation: Evaluation, out: Path) -> list[Path]:
    """results.json, tables.md and scores.csv in ``out``; the files written."""
    out.mkdir(parents=True, exist_ok=True)
    files = {"results.json": json.dumps(_plain(evaluation.results), indent=1) + "\n", "tables.md": report(evaluation.results)}
    all_rows = [row for part in ("compared", *PARTS) for row in evaluation.results.get(part, [])]
    files["scores.csv"] = tables.frame(all_rows).to_csv(index=False)
    written = []
    for name, text in files.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # file names may be no Unicode
        written.append(out / name)
    return written


def _plain(value: Any) -> Any:
    """JSON knows no NaN: what was not measured becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Score):
        return _plain(asdict(value))
    if isinstance(value, np.generic | torch.Tensor):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
