"""Every method on every hole of every test set: pictures are made, judged, and what was measured is kept by content."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from facemug_lib.devices import BATCH, batches
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.cases import Cases, subset
from facemug_lib.evaluation.guided import averages
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.judging import Truths, judge, judges_version
from facemug_lib.evaluation.methods import Method
from facemug_lib.evaluation.methods.folder import Folder
from facemug_lib.evaluation.methods.optimisation import Optimisation
from facemug_lib.evaluation.methods.simple import ExemplarPaste, MeanColour, SavedAgain, Telea
from facemug_lib.evaluation.metrics import Score
from facemug_lib.evaluation.protocols import FAMILIES, TestSet, edit_groups, rows_of
from facemug_lib.pictures import as_8_bit, to_floats, to_pixels
from facemug_lib.progress import Tell, untold
from facemug_lib.store import Arrays, Store, digest

FEWEST = 10  # pictures that a distribution is estimated from; fewer say nothing


def shown_faces(family: str) -> tuple[int, int]:
    """The faces whose pictures are kept for the contact sheet: others for every family, never chosen by their looks."""
    place = FAMILIES.index(family) if family in FAMILIES else 0
    return place, place + len(FAMILIES)


@dataclass(frozen=True)
class Depth:
    """How many faces the slow judges look at (LPIPS-VGG costs twenty times LPIPS-Alex), the slow methods edit, and stand for
    methods that nobody takes for a rival: mean colour, Telea, another face's pixels, and the true faces saved once more.

    ``None`` is all of them. Every number is printed with its own N.
    """

    vgg: int | None = None
    facenet: int | None = None
    optimisation: int | None = None
    saved: int | None = None
    simple: int | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of one method's pictures of one test set's faces in the holes of one family.

    ``arrays``: name → values, first axis = ``faces``; NaN = not measured. The names: see
    :func:`facemug_lib.evaluation.judging.judge`.
    """

    set: str
    family: str
    method: str
    faces: np.ndarray
    arrays: Arrays

    def only(self, keep: np.ndarray) -> Measured:
        return Measured(self.set, self.family, self.method, self.faces[keep],
                        {name: values[keep] for name, values in self.arrays.items() if len(values) == len(keep)})


@dataclass(eq=False)
class Runner:
    """Measures methods, batch by batch, through a :class:`~facemug_lib.store.Store`."""

    judges: Judges
    store: Store
    depth: Depth = field(default_factory=Depth)
    tell: Tell = untold
    share: tuple[int, int] | None = None

    @cached_property
    def judges_version(self) -> str:
        return judges_version()

    def run(self, test_set: TestSet, families: Sequence[str], methods: Sequence[Method],
            count: int | None = None) -> list[Measured]:
        """Every method on the first ``count`` faces with the holes of each family.

        With a ``share`` (k, n) only every n-th batch, counted over all families, is measured and nothing is returned: n processes
        fill one store, and one without a share then finds everything there.
        """
        count = len(test_set) if count is None else min(count, len(test_set))
        all_batches = list(batches(count))
        number, workers = self.share or (0, 1)
        total = -(-len(families) * len(all_batches) // workers) * len(methods)
        done, began, made = 0, time.perf_counter(), self.store.made
        descriptions = [method.describe() for method in methods]  # weights are hashed once
        measured: list[Measured] = []
        for place, family in enumerate(families):
            pieces: dict[str, list[tuple[np.ndarray, Arrays]]] = {}
            for turn, members in enumerate(all_batches, start=place):
                if turn % workers != number:  # first batches, which slow judges see, in turn
                    continue
                faces = np.array(members)
                batch = _Batch(self, test_set, family, faces)
                for method, description in zip(methods, descriptions, strict=True):
                    limit = method_limit(method, self.depth)
                    here = faces if limit is None else faces[faces < limit]
                    if len(here):
                        for name, arrays in batch.measure(method, description, len(here)).items():
                            pieces.setdefault(name, []).append((here, arrays))
                    done += 1
                if self.store.made > made:
                    seconds = time.perf_counter() - began
                    self.tell(f"{test_set.name}, {family}: {faces[-1] + 1} of {count} faces; "
                              f"{done * 100 // total} % after {seconds:.0f} s, about {seconds * (total / done - 1):.0f} s to go")
            if self.share is None:
                measured += [joined(test_set.name, family, name, parts) for name, parts in pieces.items()]
        return measured

    def reals(self, test_set: TestSet, pixels: Tensor, what: str) -> np.ndarray:
        """Inception features [n,2048] of real faces given as uint8 pixels."""
        features = []
        for places in batches(len(pixels)):
            piece = pixels[places.start:places.stop]
            key = {"what": "inception", "pixels": digest(piece), "judges": self.judges_version}
            features.append(self.store.get(
                key, lambda piece=piece: {"inception": self.judges.inception(to_floats(piece)).numpy()}))
            if places.start and places.start % (10 * BATCH) == 0:
                self.tell(f"{test_set.name}: {places.start} of {len(pixels)} {what} faces seen")
        return np.concatenate([one["inception"] for one in features]) if features else np.empty((0, 2048), np.float32)


class _Batch:
    """A few faces of one family; what all methods share is made once, and only when something is to be measured."""

    def __init__(self, runner: Runner, test_set: TestSet, family: str, faces: np.ndarray) -> None:
        self.runner, self.test_set, self.family, self.faces = runner, test_set, family, faces
        self._truths: dict[int, Truths] = {}

    @cached_property
    def cases(self) -> Cases:
        return self.test_set.cases(self.family, self.faces.tolist())

    @cached_property
    def fingerprint(self) -> str:
        return self.cases.fingerprint()

    def measure(self, method: Method, description: Mapping[str, Any], count: int) -> dict[str, Arrays]:
        depth = self.runner.depth
        deep = {name: int((self.faces[:count] < (limit if limit is not None else np.inf)).sum())
                for name, limit in (("vgg", depth.vgg), ("facenet", depth.facenet))}
        shown = [place for place, face in enumerate(self.faces[:count]) if face in shown_faces(self.family)]
        key = {"cases": self.fingerprint, "count": count, "method": description, "judges": self.runner.judges_version,
               "deep": deep, "shown": shown}
        arrays = self.runner.store.get(key, lambda: self._judged(self._made(method, count), count, deep, shown,
                                                                 isinstance(method, SavedAgain)))
        return {name: {key.partition("/")[2]: values for key, values in arrays.items() if key.startswith(f"{name}/")}
                for name in method.names}

    def _made(self, method: Method, count: int) -> dict[str, Tensor]:
        if isinstance(method, Folder):
            return {method.names[0]: method.pictures(self.test_set.name, self.family, self.faces[:count].tolist())}
        return method(subset(self.cases, range(count)))

    def _judged(self, pictures: Mapping[str, Tensor], count: int, deep: Mapping[str, int], shown: Sequence[int],
                is_floor: bool) -> Arrays:
        if count not in self._truths:
            self._truths[count] = Truths(self.runner.judges, subset(self.cases, range(count)), deep)
        arrays = {}
        for name, made in pictures.items():
            # Two sets of different real faces are the floor of what features are compared for.
            scores = judge(self.runner.judges, as_8_bit(made), self._truths[count], features=not is_floor)
            if shown:
                scores["pictures"] = to_pixels(made[list(shown)]).numpy()
            arrays |= {f"{name}/{key}": values for key, values in scores.items()}
        return arrays


def method_limit(method: Method, depth: Depth) -> int | None:
    """Faces of each family that a method is run on."""
    if isinstance(method, Optimisation):
        return depth.optimisation
    if isinstance(method, SavedAgain):
        return depth.saved
    return depth.simple if isinstance(method, (MeanColour, Telea, ExemplarPaste)) else None


def regrouped(measured: Sequence[Measured]) -> Iterator[Measured]:
    """The same scores by table row: each family, each bucket of irregular holes, and one mask per face ("mixed")."""
    rows: dict[tuple[str, str, str], list[Measured]] = {}
    for one in measured:
        for row in dict.fromkeys(name for face in one.faces for name in rows_of(one.family, int(face))):
            keep = np.array([row in rows_of(one.family, int(face)) for face in one.faces])
            rows.setdefault((one.set, row, one.method), []).append(one.only(keep))
    for (name, row, method), parts in rows.items():
        yield joined(name, row, method, [(part.faces, part.arrays) for part in parts])


def joined(name: str, family: str, method: str, parts: Sequence[tuple[np.ndarray, Arrays]]) -> Measured:
    """Several pieces of a row, each (faces, arrays), as one; the arrays that all of them have, and what pictures there are."""
    names = [key for key in parts[0][1] if all(key in arrays for _, arrays in parts)]
    arrays = {key: np.concatenate([arrays[key] for _, arrays in parts]) for key in names}
    shown = [arrays["pictures"] for _, arrays in parts if "pictures" in arrays]
    if shown:
        arrays["pictures"] = np.concatenate(shown)
    return Measured(name, family, method, np.concatenate([faces for faces, _ in parts]), arrays)


# -- scores ---------------------------------------------------------------------------------------------------------------

def scores(measured: Measured, reals: np.ndarray | None) -> dict[str, Score]:
    """All metrics of one table row, with standard errors over seeds; ``reals`` [n,2048]: the true faces' Inception features.

    FID, KID, U-IDS and P-IDS only of :data:`FEWEST` pictures or more.
    """
    groups = edit_groups(measured.faces)
    result = averages(measured.arrays, groups)
    if reals is not None and "inception" in measured.arrays and len(groups) >= FEWEST:
        result |= distribution_scores(reals[measured.faces], measured.arrays["inception"], groups)
    return result


def distribution_scores(reals: np.ndarray, fakes: np.ndarray, groups: np.ndarray) -> dict[str, Score]:
    """FID, KID, U-IDS and P-IDS (as fitted, and held out) of features [n,2048] of which row i of both sides is one face."""
    if len(reals) < 2 or len(reals) != len(fakes):
        raise FacemugError(f"{len(reals)} real and {len(fakes)} edited faces cannot be compared: two or more pairs are needed")
    n = len(reals)
    result = {}
    for name, statistic in (("fid", metrics.fid), ("kid", metrics.kid)):
        value, error = metrics.jackknife(lambda keep, statistic=statistic: statistic(reals[keep], fakes[keep]), groups)
        result[name] = Score(float(value), error, n)
    if len(np.unique(groups)) > 1:
        found = metrics.discriminability(reals, fakes, groups)
        for name in ("u_ids", "p_ids", "u_ids_heldout", "p_ids_heldout"):
            result[name] = getattr(found, name)
    return result


def floors(reals: np.ndarray, spare: np.ndarray) -> tuple[dict[str, Score], str]:
    """What two sets of *different real* faces score: no method's distribution metrics can be expected to mean more than that.

    Against the spare faces where there are at least half as many, else one half of the test faces against the other. (An edit
    that keeps most of each picture can score below this floor: its pictures are not independent of the true ones.)
    """
    n = len(reals)
    if 2 * len(spare) >= n:
        first, second = reals[:len(spare)], spare[:n]
    else:
        first, second = reals[: n // 2 * 2 : 2], reals[1 : n // 2 * 2 : 2]
    groups = edit_groups(np.arange(len(first)))
    note = f"{len(first)} real faces against {len(second)} others"
    return (distribution_scores(first, second, groups) if len(first) > 1 else {}), note
