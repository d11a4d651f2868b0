"""What is scored: fixed test sets, fixed masks, fixed seeds.

Everything here depends on a face's place in its set and on nothing else: the first fifty faces of a run with ``count=200`` are
those of a run with ``count=50``, with the same holes, exemplars and edit seeds. Faces and their labels are made one by one, so
that this holds bit for bit on one machine. (Of an odd count the last face has its exemplar from the other side.)

What is made of them is equal bit for bit on one machine, with the same number of threads and of faces. Another count, number of
workers or processor changes batches or the order of sums: a picture of one pass by up to one grey level, and what follows many
steps of optimisation by more. A store therefore belongs to one machine.

Taught in `notebooks/09_evaluation.ipynb`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import BATCH, batches
from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.cases import Cases
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.faces.dataset import TEST_SEEDS, PriorFaces, read_square
from facemug_lib.faces.folders import align_folder
from facemug_lib.faces.photos import READABLE
from facemug_lib.files import files_in
from facemug_lib.modalities import masks
from facemug_lib.pictures import to_floats, to_pixels
from facemug_lib.progress import Tell, untold
from facemug_lib.store import Keep, digest, keep_nothing
from facemug_lib.weights import weights_hash

PSI = 0.7  # truncation of the prior's test faces: what users sample

FAMILIES = ("irregular", "centre", "hair", "face", "foreground")
"""The mask families of the paper's test protocol."""
BUCKETS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6))
"""Shares of the picture that irregular holes cover; face ``i`` gets bucket ``i mod 3``."""
SEMANTIC_DILATION = 6  # pixels by which hair, face and foreground holes exceed their region, so that its edge is hidden too
LARGEST_HOLE = 0.9  # some context must remain: foreground holes beyond it are cut to the centre
EDIT_SEEDS = 5
"""Face ``i`` is edited with seed ``i mod EDIT_SEEDS``; its mask is drawn from that seed too."""


@dataclass(frozen=True, eq=False)
class TestSet:
    """Aligned test faces: pixels uint8 [n,3,256,256], a name for each, and the expert's label maps [n,256,256] (uint8).

    ``spare``: uint8 [m,3,256,256], further real faces of the same kind that are never edited; what is real is compared with
    them for the floor of every metric.
    """

    __test__ = False  # pytest takes every class called Test… for a test

    name: str
    pixels: Tensor
    faces: tuple[str, ...]
    labels: Tensor
    spare: Tensor
    source: str

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Faces [n,3,256,256] in [-1,1]."""
        return to_floats(self.pixels[list(indices)])

    def exemplar_of(self, index: int) -> int:
        """Whose face face ``index`` gets as its foreign exemplar: its neighbour's, in pairs, so that no count changes it but an
        odd one that of the last face."""
        other = index ^ 1
        return other if other < len(self) else index - 1

    def cases(self, family: str, indices: Sequence[int]) -> Cases:
        """The faces ``indices`` with the holes of ``family``."""
        indices = list(indices)
        labels = self.labels[indices].long()
        holes = torch.cat([hole(family, index, labels[place]) for place, index in enumerate(indices)])
        return Cases(self.images(indices), holes, labels, self.images([self.exemplar_of(index) for index in indices]),
                     tuple(index % EDIT_SEEDS for index in indices))

    @cached_property
    def listing(self) -> list[dict[str, object]]:
        """One row per face, for ``results.json``: its name, seed and SHA-256 of its pixels."""
        return [{"index": index, "face": name, "edit_seed": index % EDIT_SEEDS,
                 "sha256": digest(self.pixels[index])}
                for index, name in enumerate(self.faces)]


def hole(family: str, index: int, labels: Tensor) -> Tensor:
    """The hole [1,1,256,256] of face ``index`` with parse ``labels`` [256,256]."""
    if family == "irregular":
        draw = torch.Generator().manual_seed(7_000_000 + 1_000 * (index % EDIT_SEEDS) + index)
        return masks.irregular(1, FACE_SIZE, FACE_SIZE, BUCKETS[index % len(BUCKETS)], draw)
    if family == "mixed":
        return hole(mixed_family(index), index, labels)
    if family == "centre":
        return masks.centre(1, FACE_SIZE, FACE_SIZE)
    if family not in FAMILIES:
        raise FacemugError(f"unknown mask family {family!r}: choose from {', '.join(FAMILIES)}")
    label_map = labels[None]
    mask = (masks.foreground(label_map, SEMANTIC_DILATION) if family == "foreground"
            else masks.semantic(label_map, family, SEMANTIC_DILATION))
    if mask.mean() > LARGEST_HOLE or not mask.any():  # a parse that sees no hair, or nothing else
        mask = masks.centre(1, FACE_SIZE, FACE_SIZE)
    return mask


def bucket_name(bucket: tuple[float, float]) -> str:
    """Such as ``irregular 20–40 %``."""
    return f"irregular {bucket[0]:.0%}".rstrip("%") + f"–{bucket[1] * 100:.0f} %"


def mixed_family(index: int) -> str:
    """Which family face ``index`` gets where every face has one mask "selected randomly" among the families, as in the paper's
    tables; here in turn, so that every seed meets every family."""
    return FAMILIES[(index // EDIT_SEEDS) % len(FAMILIES)]


def rows_of(family: str, index: int) -> tuple[str, ...]:
    """The table rows that the hole of ``family`` on face ``index`` counts in."""
    rows = [family]
    if family == "irregular":
        rows.append(bucket_name(BUCKETS[index % len(BUCKETS)]))
    if family == mixed_family(index):
        rows.append("mixed")
    return tuple(rows)


# -- test sets ------------------------------------------------------------------------------------------------------------


def prior_set(prior: nn.Module, expert: nn.Module, count: int, spare: int = 0,
              keep: Keep = keep_nothing, tell: Tell = untold) -> TestSet:
    """The prior's first ``count`` test faces (seeds 0, 1, …; never trained on), and ``spare`` others from seed 500,000 on.

    ``keep`` finds what was sampled before, as :meth:`facemug_lib.store.Store.get` does.
    """
    if not 2 <= count <= 500_000:
        raise FacemugError(f"{count} test faces: use 2 … 500,000")
    source = PriorFaces(prior, (PSI, PSI), mixing=0.0)
    device = prior.mean_w.device
    weights, code = weights_hash(prior), code_of(PriorFaces.__module__, type(prior).__module__)

    def sampled(seeds: Sequence[int]) -> Tensor:
        pieces = []
        for places in batches(len(seeds)):
            some = seeds[places.start:places.stop]
            description = {"what": "prior faces", "seeds": list(some), "psi": PSI, "prior": weights, "code": code}
            found = keep(description, lambda some=some: {"pixels": to_pixels(source.each(some).images).numpy()})
            pieces.append(torch.from_numpy(found["pixels"]))
            if places.start and places.start % (8 * BATCH) == 0:
                tell(f"prior: {places.start} of {len(seeds)} faces sampled")
        return torch.cat(pieces) if pieces else torch.empty(0, 3, FACE_SIZE, FACE_SIZE, dtype=torch.uint8)

    pixels = sampled(TEST_SEEDS[:count])
    return TestSet("prior", pixels, tuple(f"seed {seed}" for seed in TEST_SEEDS[:count]), parsed(expert, pixels, device),
                   sampled(TEST_SEEDS[500_000:500_000 + spare]),
                   f"prior faces of seeds 0 … {count - 1}, psi {PSI:g}, no mixing")


def folder_set(folder: Path | str, expert: nn.Module, count: int | None = None, aligned: bool = False,
               device: torch.device | str = "cpu", tell: Tell = untold) -> TestSet:
    """Faces of the photographs in ``folder``, aligned on the way in (``aligned=True`` takes them as they are).

    The files are taken in the order of the SHA-256 of their names, which mixes whatever order a folder has: the first ``count``
    that hold one clear face are the test set, and the rest are spare.
    """
    folder = Path(folder)
    require_pictures(folder)
    with tempfile.TemporaryDirectory() as temporary:
        source = folder
        if not aligned:
            source = Path(temporary)
            report = align_folder(folder, source, FACE_SIZE)
            if report.skipped:
                tell(f"{folder.name}: {len(report.skipped)} of {len(report.skipped) + len(report.written)} photographs left out, "
                     f"the first: {report.skipped[0]}")
        files = sorted(files_in(source, READABLE),
                       key=lambda path: hashlib.sha256(path.relative_to(source).as_posix().encode()).hexdigest())
        if len(files) < 2:
            raise FacemugError(f"{folder} holds {len(files)} usable faces: an evaluation needs two or more")
        pixels = torch.stack([read_square(path, FACE_SIZE) for path in files])
    chosen = len(files) if count is None else min(count, len(files))
    names = tuple(path.relative_to(source).as_posix() for path in files[:chosen])
    return TestSet(folder.resolve().name, pixels[:chosen], names, parsed(expert, pixels[:chosen], device), pixels[chosen:],
                   f"{chosen} of {len(files)} faces of {folder}")


def require_pictures(folder: Path) -> None:
    """Raise :class:`FacemugError` for a folder that can hold no test set: it is looked at, not into its files."""
    if not folder.is_dir():
        raise FacemugError(f"{folder} is not a folder: name a folder of photographs")
    count = len(files_in(folder, READABLE))
    if count < 2:
        raise FacemugError(f"{folder} holds {count} pictures ({', '.join(READABLE)}): an evaluation needs two faces or more")


def parsed(expert: nn.Module, pixels: Tensor, device: torch.device | str) -> Tensor:
    """The expert's label maps (uint8) of pixels [n,3,h,w], read one by one: none depends on how many others there are."""
    pieces = [expert.parse(to_floats(piece).to(device)).to("cpu", torch.uint8) for piece in pixels.split(1)]
    return torch.cat(pieces)


def edit_groups(indices: Sequence[int]) -> np.ndarray:
    """The seed group of each face, for the spread over seeds."""
    return np.array([index % EDIT_SEEDS for index in indices])
