"""The faces that every system is trained on: rendered, labelled and paired once, kept on disk, shared.

A *stream* belongs to an attribute: endless sampled faces, each with its *pair*, the same face moved along the attribute's
calibrated direction to the other side of the average. Streams are made in shards of :data:`.rendering.SHARD` faces when they are
first asked for, so a short run makes few, and all systems and seeds share them. A step then costs nothing but the system's own
networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.devices import batches
from facemug_lib.errors import FacemugError
from facemug_lib.experts.traits import TRAITS
from facemug_lib.faces.dataset import FaceBatch, FaceFolder, flip_faces, read_square
from facemug_lib.files import CLONE
from facemug_lib.pictures import to_floats, to_pixels
from facemug_lib.store import Arrays, Store
from facemug_lib.systems.common.rendering import SHARD, SIDES, VERSION, Maker, label_bytes
from facemug_lib.training.profiles import PhotographSettings, knob

MEMORY_MIB = 1024  # of shards that are kept in memory


class SystemSettings(PhotographSettings):
    """Settings common to the systems."""

    size: int = knob(128, "side of the pictures in pixels", ge=64, le=256)
    attributes: str = knob("smile,mouth_open,gender,age", "the attributes to learn, with commas between")
    pool: int = knob(500, "sampled faces of each attribute, each with its pair; later passes see them again", ge=1)
    real_share: float = knob(0.3, "share of photographs among the faces", gt=0, lt=1)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, in order."""
        return tuple(name.strip() for name in self.attributes.split(",") if name.strip())


@dataclass(frozen=True)
class Reading:
    """Something further that is read from every face once and kept: ``read`` takes pictures [n,3,s,s] in [-1,1] and gives [n,…].

    ``version`` is raised when it would read otherwise. ``mirrored`` gives the values of mirrored faces from those of the faces;
    None where mirroring changes nothing. A batch has it as ``extra[name]``, and of the pairs as ``extra["pair_" + name]``.
    """

    name: str
    version: int
    read: Callable[[Tensor], Tensor]
    mirrored: Callable[[Tensor], Tensor] | None = None


def faces_dir() -> Path:
    """``data/cache/systems`` of the clone, where rendered faces are kept."""
    return CLONE / "data" / "cache" / "systems"


class SystemFaces:
    """Faces with pairs for training (a :class:`facemug_lib.faces.dataset.FaceSource`), and those that no training sees.

    What a batch holds is said in :mod:`facemug_lib.systems`. Which of a face and its pair comes first, and whether both are
    mirrored, is drawn anew in every pass.
    """

    has_codes = False

    def __init__(self, maker: Maker, attributes: Sequence[str], pool: int, *, photographs: FaceFolder | None = None,
                 held_out: FaceFolder | None = None, real_share: float = 0.0, store: Store | None = None,
                 readings: Sequence[Reading] = ()) -> None:
        """``attributes``: the streams that take turns; ``pool``: faces of each. ``photographs`` make up ``real_share`` of the
        faces, 1 for all of them; ``held_out`` are theirs that no training sees."""
        if unknown := [name for name in attributes if name not in SIDES or name not in maker.directions]:
            raise FacemugError(f"no faces can be made for attribute {unknown[0]!r}: choose from {', '.join(SIDES)}")
        if not attributes:
            raise FacemugError("no attribute is named: write --set attributes=smile,age, say")
        self.maker, self.attributes, self.pool, self.real_share = maker, tuple(attributes), pool, real_share
        self.store, self.readings = store or Store(faces_dir()), tuple(readings)
        self._photographs, self._held_out = photographs, held_out
        self._memory: dict[tuple[Any, ...], Arrays] = {}
        self._bytes = 0
        self._orders: dict[tuple[int, ...], np.ndarray] = {}

    @classmethod
    def of(cls, settings: SystemSettings, data: str = "prior", device: torch.device | str = "cpu",
           readings: Sequence[Reading] = (), attributes: Sequence[str] | None = None) -> SystemFaces:
        """The faces that settings ask for: sampled ones, photographs of ``real`` among them; or only those of a folder ``data``.

        ``attributes``: the streams, where they are not the settings' own.
        """
        if settings.bank is not None:
            raise FacemugError("the systems' faces are moved by directions of the default prior: leave out --bank")
        maker = Maker(settings.size, (settings.psi_low, settings.psi_high), settings.mixing, device)
        folder, share = (settings.real, settings.real_share) if data == "prior" else (data, 1.0)
        both = [None, None] if folder is None else [FaceFolder(folder, "cpu", split=split, flip=False, cache_mib=0)
                                                    for split in ("train", "test")]
        return cls(maker, attributes or settings.attribute_names, settings.pool, photographs=both[0], held_out=both[1],
                   real_share=0.0 if folder is None else share, readings=readings)

    def describe(self) -> str:
        sampled = f"sampled faces with pairs ({', '.join(self.attributes)}; {self.pool} of each)"
        if self._photographs is None:
            return sampled
        real = f"{len(self._photographs)} photographs of {self._photographs.name}"
        return real if self.real_share == 1 else f"{sampled}; {self.real_share:.0%} from {real}"

    # -- for training -----------------------------------------------------------------------------------------------------

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        """Faces by their numbers in the stream of the run with ``seed``."""
        rows = [self._row(index, seed) for index in indices]
        turns = [np.random.default_rng((seed, index, 1)).random(2) for index in indices]
        swapped = torch.tensor([turn[0] < 0.5 for turn in turns])
        return self._batch(rows, swapped, torch.tensor([turn[1] < 0.5 for turn in turns]))

    def _row(self, index: int, seed: int) -> tuple[Arrays, int, int]:
        """(arrays, which face of them, which stream it is of; −1 for a photograph) of face ``index``."""
        before = int(np.floor(index * self.real_share))
        if int(np.floor((index + 1) * self.real_share)) > before:
            arrays = self._of_photographs(held_out=False)
            turn, place = divmod(before, len(arrays["images"]))
            return arrays, int(self._order(len(arrays["images"]), seed, turn)[place]), -1
        number, stream = divmod(index - before, len(self.attributes))
        turn, place = divmod(number, self.pool)
        if turn:  # the first pass goes through the shards in order, so that a short run makes few
            place = int(self._order(self.pool, seed, turn, 1 + stream)[place])
        return self._shard(self.attributes[stream], place // SHARD), place % SHARD, stream

    def _order(self, count: int, *key: int) -> np.ndarray:
        if key not in self._orders:
            if len(self._orders) > 2 * len(self.attributes) + 2:
                self._orders.clear()
            self._orders[key] = np.random.default_rng(key).permutation(count)
        return self._orders[key]

    # -- that no training sees --------------------------------------------------------------------------------------------

    def unseen(self, attribute: str, count: int) -> FaceBatch:
        """The first ``count`` test faces (seeds 0, 1, … at ψ 0.7) as ``images``, each with its pair along ``attribute``."""
        stream = self.attributes.index(attribute)
        rows = [(self._shard(attribute, place // SHARD, unseen=True), place % SHARD, stream) for place in range(count)]
        return self._batch(rows, torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool))

    def unseen_photographs(self, count: int) -> FaceBatch | None:
        """The first ``count`` held-out photographs (every 20th of the folder), or as many as there are; None without any."""
        if self._held_out is None:
            return None
        arrays = self._of_photographs(held_out=True)
        rows = [(arrays, place, -1) for place in range(min(count, len(arrays["images"])))]
        return self._batch(rows, torch.zeros(len(rows), dtype=torch.bool), torch.zeros(len(rows), dtype=torch.bool))

    # -- shards -----------------------------------------------------------------------------------------------------------

    def _shard(self, attribute: str, shard: int, unseen: bool = False) -> Arrays:
        key = (attribute, shard, unseen)
        if key not in self._memory:
            description = self.maker.describe(attribute, unseen, shard)
            self._remember(key, self._read(description, lambda: self.maker.shard(attribute, unseen, shard), ("", "pair_")))
        return self._memory[key]

    def _of_photographs(self, held_out: bool) -> Arrays:
        key = ("photographs", held_out)
        if key not in self._memory:
            folder = self._held_out if held_out else self._photographs
            files = [[path.name, (known := path.stat()).st_size, known.st_mtime_ns] for path in folder.files]
            description = {"what": "photographs", "version": VERSION, "size": self.maker.size, "files": files,
                           **self.maker.networks}
            self._remember(key, self._read(description, lambda: self._photographed(folder.files), ("",)))
        return self._memory[key]

    def _photographed(self, files: Sequence[Path]) -> Arrays:
        """Photographs as they lie in a folder, read at 256 px and reduced."""
        made: list[Arrays] = []
        for part in batches(len(files)):
            large = to_floats(torch.stack([read_square(files[place], 256) for place in part])).to(self.maker.device)
            small = F.interpolate(large, (self.maker.size,) * 2, mode="area")
            labels, traits = self.maker.read(large)
            labels = F.interpolate(labels[:, None].float(), small.shape[2:], mode="nearest-exact")[:, 0]
            made.append({"images": to_pixels(small).numpy(), "labels": label_bytes(labels), "traits": traits.cpu().numpy()})
        return {name: np.concatenate([one[name] for one in made]) for name in made[0]}

    def _read(self, description: Mapping[str, Any], make: Callable[[], Arrays], prefixes: Sequence[str]) -> Arrays:
        """The arrays of a description, and every reading of their pictures."""
        arrays = dict(self.store.get(description, make))
        pictures = {prefix: torch.from_numpy(arrays["pair" if prefix else "images"]) for prefix in prefixes}
        for reading in self.readings:
            def read(reading: Reading = reading) -> Arrays:
                return {prefix + reading.name: reading.read(to_floats(pixels).to(self.maker.device)).cpu().numpy()
                        for prefix, pixels in pictures.items()}

            arrays |= self.store.get({**description, "reading": reading.name, "reading version": reading.version}, read)
        return arrays

    def _remember(self, key: tuple[Any, ...], arrays: Arrays) -> None:
        self._bytes += sum(array.nbytes for array in arrays.values())
        while self._bytes > MEMORY_MIB * 2**20 and self._memory:
            self._bytes -= sum(array.nbytes for array in self._memory.pop(next(iter(self._memory))).values())
        self._memory[key] = arrays

    # -- batches ----------------------------------------------------------------------------------------------------------

    def _batch(self, rows: Sequence[tuple[Arrays, int, int]], swapped: Tensor, mirrored: Tensor) -> FaceBatch:
        """Faces of shards as a batch; the ``swapped`` [b] change places with their pairs, the ``mirrored`` [b] are mirrored."""
        names = ["labels", "traits", *(reading.name for reading in self.readings)]
        ours = {name: _stacked(rows, name, name) for name in ("images", *names)}
        theirs = {name: _stacked(rows, "pair" if name == "images" else f"pair_{name}", name) for name in ("images", *names)}
        ours, theirs = ({name: _chosen(swapped, b[name], a[name]) for name in a} for a, b in ((ours, theirs), (theirs, ours)))
        ours, theirs = (self._mirrored(one, mirrored) for one in (ours, theirs))
        strength = torch.zeros(len(rows), len(self.attributes))
        for place, (arrays, which, stream) in enumerate(rows):
            if stream >= 0:
                strength[place, stream] = float(arrays["strength"][which])
        signs = torch.tensor([-1.0 if TRAITS[SIDES[name].trait].odd else 1.0 for name in self.attributes])
        strength = _chosen(swapped, -strength, strength)
        strength = _chosen(mirrored, strength * signs, strength)
        extra = {name: ours[name] for name in names} | {f"pair_{name}": theirs[name] for name in names}
        extra["pair"] = theirs["images"]
        extra |= {"strength": strength, "has_pair": torch.tensor([stream >= 0 for _, _, stream in rows])}
        device = self.maker.device
        return FaceBatch(ours["images"].to(device), extra={name: value.to(device) for name, value in extra.items()})

    def _mirrored(self, values: dict[str, Tensor], mirrored: Tensor) -> dict[str, Tensor]:
        images, extra = flip_faces(to_floats(values["images"]), {"labels": values["labels"].long()}, mirrored)
        signs = torch.tensor([-1.0 if trait.odd else 1.0 for trait in TRAITS.values()])
        values = values | {"images": images, **extra, "traits": _chosen(mirrored, values["traits"] * signs, values["traits"])}
        for reading in self.readings:
            if reading.mirrored is not None:
                values[reading.name] = _chosen(mirrored, reading.mirrored(values[reading.name]), values[reading.name])
        return values


def _stacked(rows: Sequence[tuple[Arrays, int, int]], name: str, fallback: str) -> Tensor:
    """Array ``name`` of each row's face; a photograph, which has no pair, is its own."""
    return torch.stack([torch.from_numpy(arrays[name if name in arrays else fallback][which : which + 1])[0]
                        for arrays, which, _ in rows])


def _chosen(where: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """``first`` in the rows where ``where`` [b] is true, ``second`` in the others."""
    return torch.where(where.view(-1, *[1] * (first.ndim - 1)), first, second)
