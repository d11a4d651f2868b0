"""Where training and test faces come from: sampled from the prior on the fly, or read from a folder.

Every face of a training run has a number in one endless stream, and what it is depends on that number and the run's seed
alone. So a resumed run continues with the very faces it would have seen, and two processes that share a batch see the
faces that one process would.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import READABLE, read_photo
from facemug_lib.files import files_in
from facemug_lib.modalities.semantics import flip_labels, label_map_from_image
from facemug_lib.seeds import check_seed

TEST_SEEDS = range(0, 1_000_000)
"""Face seeds kept for tests; no training run ever draws one."""
TRAIN_SEED_START = 1 << 40
"""Face ``i`` of a training run with seed ``s`` is face seed ``TRAIN_SEED_START + (s << 40) + i``."""
HOLD_OUT_EVERY = 20
"""Every 20th image of a folder is kept for tests."""


@dataclass
class FaceBatch:
    """Some faces.

    images [b,3,256,256] in [-1,1] (of shape [b,3,0,0] where only codes were asked for); codes [b,t,512] where they are known
    exactly, else None; extra: further tensors by name, such as ``labels`` (long [b,256,256], -1 = unknown).
    """

    images: Tensor
    codes: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)


class FaceSource(Protocol):
    """Gives faces by their numbers in the stream."""

    has_codes: bool

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch: ...

    def describe(self) -> str: ...


def training_seed(seed: int, index: int) -> int:
    """The face seed of face ``index`` of the training run with ``seed``."""
    if not 0 <= index < 1 << 40:
        raise FacemugError(f"face number {index} is out of range: 0 … {(1 << 40) - 1}")
    return TRAIN_SEED_START + (check_seed(seed) << 40) + index


class PriorFaces:
    """Faces sampled from the prior, with their exact codes.

    A face seed fixes z, the truncation psi ~ U(psi_range) and, with probability ``mixing``, a second z whose codes take over
    from a random layer on (the style mixing of StyleGAN), so that W+ codes are seen and not only repeated w.
    """

    has_codes = True

    def __init__(self, prior: nn.Module, psi_range: tuple[float, float] = (0.7, 1.0), mixing: float = 0.5,
                 render: bool = True, half: bool = False) -> None:
        """``render=False`` gives codes alone; ``half`` paints in bf16, less than 2 of 255 grey levels away on average."""
        self.prior, self.psi_range, self.mixing, self.render, self.half = prior, psi_range, mixing, render, half

    @torch.no_grad()
    def codes(self, face_seeds: Sequence[int]) -> Tensor:
        """Codes [b,t,512] of the faces with these seeds, on the prior's device."""
        zs, psis, crossovers = [], [], []
        for face_seed in face_seeds:
            numbers = np.random.default_rng(face_seed)
            zs.append(numbers.standard_normal((2, 512), dtype=np.float32))
            psis.append(numbers.uniform(*self.psi_range))
            is_mixed = numbers.random() < self.mixing
            crossovers.append(numbers.integers(1, self.prior.num_codes) if is_mixed else self.prior.num_codes)
        device = self.prior.mean_w.device
        z = torch.from_numpy(np.stack(zs)).to(device)
        w = self.prior.map(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        psi = torch.tensor(psis, dtype=w.dtype, device=device)[:, None, None]
        first, second = (self.prior.mean_w + psi * (w - self.prior.mean_w)).unbind(1)
        is_first = torch.arange(self.prior.num_codes, device=device)[None] < torch.tensor(crossovers, device=device)[:, None]
        return torch.where(is_first[..., None], first[:, None], second[:, None])

    @torch.no_grad()
    def faces(self, face_seeds: Sequence[int]) -> FaceBatch:
        """The faces with these seeds, images and codes."""
        codes = self.codes(face_seeds)
        if not self.render:
            return FaceBatch(codes.new_zeros(len(codes), 3, 0, 0), codes)
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.half):
            images = self.prior.synthesize(codes)
        return FaceBatch(images.float().clamp(-1, 1), codes)

    def each(self, face_seeds: Sequence[int]) -> FaceBatch:
        """As :meth:`faces`, made one by one: a face is then equal bit for bit however many others are asked for with it.

        In a batch it is not, on any processor: another batch size sums in another order, and rounding to 8 bits can make the last
        bit visible. On a CPU this costs nothing; a GPU wants batches, which is what :meth:`draw` gives to training.
        """
        made = [self.faces([seed]) for seed in face_seeds]
        return FaceBatch(torch.cat([one.images for one in made]), torch.cat([one.codes for one in made]))

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        """Training faces by their numbers in the stream of the run with ``seed``, made in one batch."""
        return self.faces([training_seed(seed, index) for index in indices])

    def describe(self) -> str:
        return f"faces sampled from the prior, psi {self.psi_range[0]:g}–{self.psi_range[1]:g}, style mixing {self.mixing:g}"


def heldout_faces(prior: nn.Module, count: int, psi: float = 0.7) -> FaceBatch:
    """The first ``count`` test faces (seeds 0, 1, …): one truncation, no mixing. They do not depend on ``count``."""
    return PriorFaces(prior, (psi, psi), mixing=0.0).each(TEST_SEEDS[:count])


def _faces_in(folder: Path) -> tuple[Path, Path, list[Path]]:
    """Where the images lie, where their label maps would lie, and the images, at least one."""
    if not folder.is_dir():
        raise FacemugError(f"{folder} is not a folder: --data takes `prior` or a folder of images")
    images, labels = folder, folder / "labels"
    if (folder / "img_path").is_dir():  # as `facemug synthesize` writes it: every modality in a folder of its own
        images, labels = folder / "img_path", folder / "semantic_root"
    files = [path for path in files_in(images, READABLE) if labels not in path.parents]
    if not files:
        raise FacemugError(f"no image in {folder}: put .png or .jpg files there, or make some with `facemug synthesize`")
    return images, labels, files


def require_faces(folder: Path | str) -> None:
    """Raise :class:`FacemugError` where ``folder`` is no folder or holds no image, without opening any."""
    _faces_in(Path(folder))


class FaceFolder:
    """Aligned faces read from a folder and its subfolders, each pass in a new random order.

    Images are cut to the central square and resized to ``size``. Beside them may lie

    * ``codes.safetensors`` at the top of the folder, as ``facemug synthesize`` writes it: tensor ``codes`` [n,t,512] or ``w``
      [n,512], in the order of the sorted image files; then images are never flipped, since a mirrored face has other codes;
    * ``labels/<stem>.png``: label maps as :func:`facemug_lib.modalities.semantics.label_map_from_image` reads them, returned as
      ``extra["labels"]`` (long, -1 = unlabelled);
    * ``attributes.safetensors``: tensor ``attributes`` [n,a], in the same order, returned as ``extra["attributes"]`` for the
      images as they lie there; ``extra["mirrored"]`` [b] tells which were flipped.

    A folder written by ``facemug synthesize`` is taken whole: its faces lie in ``img_path``, its label maps in ``semantic_root``.

    Every 20th image is the test split. Decoded images are kept in memory while they fit in ``cache_mib``.
    """

    def __init__(self, folder: Path | str, device: torch.device | str = "cpu", size: int = 256,
                 split: Literal["train", "test", "all"] = "train",
                 flip: bool = True, num_codes: int | None = None, cache_mib: int = 2048, workers: int = 8) -> None:
        self.folder, self.device, self.size = Path(folder), torch.device(device), size
        self.name = self.folder.resolve().name  # what a weights file's card may say of it: no path of somebody's machine
        self.folder, label_folder, files = _faces_in(self.folder)
        if label_folder.is_dir():
            require_own_stems(files)
        codes = self._read_codes(len(files), num_codes)
        picked = list(range(len(files)))
        if split != "all" and len(files) >= HOLD_OUT_EVERY:  # a smaller folder has no image to spare
            picked = [i for i in picked if (i % HOLD_OUT_EVERY == 0) == (split == "test")]
        self.files = [files[i] for i in picked]
        self.codes = None if codes is None else codes[picked].to(self.device)
        self.labels = [label_folder / f"{path.stem}.png" for path in self.files] if label_folder.is_dir() else None
        attributes = self._read_attributes(len(files))
        self.attributes = None if attributes is None else attributes[picked].to(self.device)
        self.flip = flip and codes is None
        self.has_codes = codes is not None
        self._order, self._order_key = np.empty(0, np.int64), (-1, -1)
        self._cache: dict[int, Tensor] = {}
        self._cache_limit = cache_mib * 2**20 // (3 * size * size)
        self._pool = ThreadPoolExecutor(min(workers, os.cpu_count() or 1))

    def __len__(self) -> int:
        return len(self.files)

    def _read_codes(self, count: int, num_codes: int | None) -> Tensor | None:
        path = self.folder / "codes.safetensors"
        if not path.is_file():
            return None
        from safetensors.torch import load_file

        tensors = load_file(path)
        codes = tensors.get("codes", tensors.get("w"))
        if codes is None or len(codes) != count:
            found = "no tensor `codes` or `w`" if codes is None else f"{len(codes)} codes"
            raise FacemugError(f"{path} has {found} for {count} images: write the folder again with `facemug synthesize`")
        if codes.ndim == 2:
            if num_codes is None:
                raise FacemugError(f"{path} holds one w per face, and how many codes the prior takes is not known: store `codes`")
            codes = codes[:, None].expand(-1, num_codes, -1)
        return codes.float()

    def _read_attributes(self, count: int) -> Tensor | None:
        path = self.folder / "attributes.safetensors"
        if not path.is_file():
            return None
        from safetensors.torch import load_file

        attributes = load_file(path).get("attributes")
        if attributes is None or len(attributes) != count:
            raise FacemugError(f"{path} does not hold one row for each of {count} images: label the folder again, or delete it")
        return attributes.float()

    def _pick(self, index: int, seed: int) -> int:
        epoch, position = divmod(index, len(self.files))
        if self._order_key != (seed, epoch):
            self._order = np.random.default_rng((seed, epoch)).permutation(len(self.files))
            self._order_key = (seed, epoch)
        return int(self._order[position])

    def _image(self, which: int) -> Tensor:
        if which in self._cache:
            return self._cache[which]
        image = read_square(self.files[which], self.size)
        if len(self._cache) < self._cache_limit:
            self._cache[which] = image
        return image

    def _label_map(self, which: int) -> Tensor:
        path = self.labels[which]
        if not path.is_file():
            raise FacemugError(f"{path} is missing: every image needs its label map, or remove the labels folder")
        labels = label_map_from_image(path)[0]
        if labels.shape != (self.size, self.size):
            raise FacemugError(f"{path} is {labels.shape[1]}×{labels.shape[0]}: label maps must be {self.size}×{self.size}")
        return labels

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        """Faces by their numbers in the stream; number // len(self) is the pass over the folder."""
        picked = [self._pick(index, seed) for index in indices]
        images = torch.stack(list(self._pool.map(self._image, picked))).to(self.device)
        images = images.float() / 127.5 - 1
        extra = {}
        if self.labels is not None:
            extra["labels"] = torch.stack([self._label_map(which) for which in picked]).to(self.device)
        if self.attributes is not None:
            extra["attributes"] = self.attributes[picked]
        if self.flip:
            flips = [np.random.default_rng((seed, index, 1)).random() < 0.5 for index in indices]
            mirrored = torch.tensor(flips, device=self.device)
            images, extra = flip_faces(images, extra, mirrored)
            extra["mirrored"] = mirrored
        return FaceBatch(images, None if self.codes is None else self.codes[picked], extra)

    def describe(self) -> str:
        return f"{len(self.files)} images of {self.name}" + (" with codes" if self.has_codes else "")


class MixedFaces:
    """Sampled faces and photographs in one stream: ``share`` of the faces are photographs, spread evenly over it.

    Codes are known for the sampled ones alone: ``extra["has_codes"]`` [b] tells which, and the others' are zeros. Label maps
    that only one of the sources brings are -1, unknown, for the other's faces.
    """

    has_codes = False  # not those of every face

    def __init__(self, sampled: FaceSource, photographs: FaceSource, share: float) -> None:
        if not 0 < share < 1:
            raise FacemugError(f"a share of {share:g} photographs: use a number between 0 and 1, or one of the two sources alone")
        self.sampled, self.photographs, self.share = sampled, photographs, share

    def draw(self, indices: Sequence[int], seed: int) -> FaceBatch:
        """Faces by their numbers in the stream; each source's own stream has no gaps."""
        indices = np.asarray(indices, np.int64)
        before, after = (np.floor((indices + step) * self.share).astype(np.int64) for step in (0, 1))  # photographs up to here
        is_photograph, numbers = after > before, (indices - before, before)
        pieces = []
        for source, own, chosen in zip((self.sampled, self.photographs), numbers, (~is_photograph, is_photograph), strict=True):
            if chosen.any():
                pieces.append((torch.from_numpy(chosen.nonzero()[0]), source.draw(own[chosen].tolist(), seed)))
        return _joined(pieces)

    def describe(self) -> str:
        return f"{self.sampled.describe()}; {self.share:.0%} from {self.photographs.describe()}"


def _joined(pieces: Sequence[tuple[Tensor, FaceBatch]]) -> FaceBatch:
    """One batch of several, each with the places [k] of its faces in it; what a piece lacks is as :class:`MixedFaces` says."""
    order = torch.cat([places for places, _ in pieces]).argsort()
    batches = [batch for _, batch in pieces]

    def merged(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))[order.to(tensors[0].device)]

    images = merged([batch.images for batch in batches])
    extra = {"has_codes": merged([torch.full((len(batch),), batch.codes is not None, device=images.device) for batch in batches])}
    codes = next((batch.codes for batch in batches if batch.codes is not None), None)
    if codes is not None:
        unknown = codes.new_zeros(1, *codes.shape[1:])
        codes = merged([unknown.expand(len(batch), -1, -1) if batch.codes is None else batch.codes for batch in batches])
    if any("labels" in batch.extra for batch in batches):
        extra["labels"] = merged([batch.extra["labels"] if "labels" in batch.extra else
                                  torch.full((len(batch), *images.shape[2:]), -1, device=images.device) for batch in batches])
    return FaceBatch(images, codes, extra)


def known_codes(batch: FaceBatch) -> Tensor:
    """Of which faces of a batch the codes are known, bool [b]."""
    if batch.codes is None:
        return torch.zeros(len(batch), dtype=torch.bool, device=batch.images.device)
    return batch.extra.get("has_codes", torch.ones(len(batch), dtype=torch.bool, device=batch.images.device))


def require_own_stems(files: Sequence[Path]) -> None:
    """Raise :class:`FacemugError` where two images would share one label map, which has the image's name without its suffix."""
    seen: dict[str, Path] = {}
    for path in files:
        if path.stem in seen:
            raise FacemugError(f"{seen[path.stem]} and {path} would share one label map, {path.stem}.png: rename one of them")
        seen[path.stem] = path


def flip_faces(images: Tensor, extra: dict[str, Tensor], flips: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirror the faces where ``flips`` [b] is true; label maps swap their left and right classes as well."""
    images = torch.where(flips[:, None, None, None], images.flip(-1), images)
    if "labels" in extra:
        extra = extra | {"labels": torch.where(flips[:, None, None], flip_labels(extra["labels"]), extra["labels"])}
    return images, extra


def read_square(path: Path | str, size: int) -> Tensor:
    """The central square of an image file, upright, as uint8 [3,size,size], RGB, resized with antialiasing."""
    try:
        image = Image.fromarray(read_photo(path).rgb8())
    except FacemugError as error:
        raise FacemugError(f"{error}, or remove it from the folder") from error
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def derangement(n: int, generator: torch.Generator | None = None) -> Tensor:
    """A uniformly random permutation [n] without fixed points: whose face each face gets as its foreign exemplar.

    Raises :class:`FacemugError` for ``n < 2``, where none exists.
    """
    if n < 2:
        raise FacemugError("foreign exemplars need at least two faces in a batch: use --set batch=2 or more")
    device = generator.device if generator is not None else "cpu"
    identity = torch.arange(n, device=device)
    # Rejection keeps it uniform; a permutation has no fixed point with probability about 1/e whatever n.
    while True:
        order = torch.randperm(n, generator=generator, device=device)
        if not bool((order == identity).any()):
            return order
