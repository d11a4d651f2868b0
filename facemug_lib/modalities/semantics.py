"""The semantic modality: 19 face classes in CelebAMask-HQ order.

Label maps are long ``[b, h, w]`` with values 0..18 and -1 for "unlabelled". The ``l_`` and ``r_`` classes are the
*subject's* left and right, as in CelebAMask-HQ: on an unmirrored portrait ``l_eye`` lies on the image's right half.
Mirroring an image therefore swaps the pairs (:func:`flip_labels`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.image_files.reading import ImageFile, from_pillow, read_image_file
from facemug_lib.modalities.draws import as_generator, normal, uniform

SEMANTIC_CLASSES = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
NUM_CLASSES = len(SEMANTIC_CLASSES)
UNLABELLED = -1
UNLABELLED_IN_FILES = 255

LEFT_RIGHT_PAIRS = ((4, 5), (6, 7), (8, 9))  # eyes, brows, ears; u_lip / l_lip are upper and lower, not sides

# One colour per class, R G B in 0..255. Neighbouring classes differ in lightness, not only in hue, so that the map stays
# readable with a colour-vision deficiency; the subject's left is the darker one of each pair.
PALETTE = (
    (0, 0, 0),  # background
    (240, 205, 170),  # skin
    (220, 140, 80),  # nose
    (150, 150, 255),  # eye_g
    (0, 90, 181),  # l_eye
    (86, 180, 233),  # r_eye
    (0, 110, 80),  # l_brow
    (0, 190, 140),  # r_brow
    (130, 60, 20),  # l_ear
    (190, 110, 50),  # r_ear
    (60, 0, 20),  # mouth
    (250, 120, 130),  # u_lip
    (200, 20, 60),  # l_lip
    (110, 80, 40),  # hair
    (120, 40, 160),  # hat
    (255, 235, 60),  # ear_r
    (255, 255, 190),  # neck_l
    (205, 165, 130),  # neck
    (110, 120, 130),  # cloth
)
UNLABELLED_COLOUR = (255, 255, 255)

# Groups of classes that people mean by one word; every class name is accepted beside them.
CLASS_GROUPS: dict[str, tuple[str, ...]] = {
    "face": ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"),
    "eyes": ("eye_g", "l_eye", "r_eye"),
    "brows": ("l_brow", "r_brow"),
    "ears": ("l_ear", "r_ear", "ear_r"),
    "lips": ("mouth", "u_lip", "l_lip"),
    "head": (*SEMANTIC_CLASSES[1:16], "neck_l", "neck"),
}


def class_indices(classes: str | int | Iterable[str | int]) -> tuple[int, ...]:
    """Indices of classes given by name ("hair"), region ("face", see :data:`CLASS_GROUPS`) or index, sorted, no repeats."""
    wanted = [classes] if isinstance(classes, str | int) else list(classes)
    indices: set[int] = set()
    for item in wanted:
        if isinstance(item, int) and 0 <= item < NUM_CLASSES:
            indices.add(item)
        elif item in SEMANTIC_CLASSES:
            indices.add(SEMANTIC_CLASSES.index(item))
        elif item in CLASS_GROUPS:
            indices.update(SEMANTIC_CLASSES.index(name) for name in CLASS_GROUPS[item])
        else:
            known = ", ".join((*CLASS_GROUPS, *SEMANTIC_CLASSES))
            raise FacemugError(f"unknown semantic class {item!r}: use one of {known}, or an index 0..{NUM_CLASSES - 1}")
    if not indices:
        raise FacemugError("no semantic class was named: give at least one, such as hair")
    return tuple(sorted(indices))


def one_hot(labels: Tensor) -> Tensor:
    """Labels ``[b, h, w]`` (-1 = unlabelled) to float32 ``[b, 19, h, w]``; unlabelled pixels are zero in every channel."""
    classes = torch.arange(NUM_CLASSES, device=labels.device, dtype=torch.int8).view(1, -1, 1, 1)
    return (labels[:, None].to(torch.int8) == classes).to(torch.float32)


def labels_of(semantics: Tensor) -> Tensor:
    """Inverse of :func:`one_hot`: ``[b, 19, h, w]`` to labels ``[b, h, w]``; all-zero pixels give -1."""
    return torch.where(semantics.sum(1) > 0, semantics.argmax(1), UNLABELLED)


def colourise(labels: Tensor) -> Tensor:
    """Labels ``[b, h, w]`` to an RGB picture ``[b, 3, h, w]`` in [-1, 1] in :data:`PALETTE`, unlabelled pixels white."""
    table = torch.tensor((*PALETTE, UNLABELLED_COLOUR), dtype=torch.float32, device=labels.device) / 127.5 - 1
    index = torch.where(labels < 0, NUM_CLASSES, labels)
    return table[index].permute(0, 3, 1, 2).contiguous()


def flip_labels(labels: Tensor) -> Tensor:
    """Mirror labels ``[..., h, w]`` left to right and swap the subject's left and right classes."""
    table = torch.arange(NUM_CLASSES + 1, device=labels.device)
    table[NUM_CLASSES] = UNLABELLED  # so that index -1 reads -1
    for left, right in LEFT_RIGHT_PAIRS:
        table[left], table[right] = right, left
    return table[labels.flip(-1)]


def flip(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image ``[b, c, h, w]`` and its labels ``[b, h, w]`` together; left and right classes swap."""
    return image.flip(-1), flip_labels(labels)


def label_map_from_image(source: str | Path | np.ndarray | Image.Image) -> Tensor:
    """Read a drawn label map: labels long ``[1, h, w]`` with -1 where unlabelled.

    Accepted are one-channel images holding the class index 0..18, with 255 for unlabelled, and RGB(A) images in :data:`PALETTE`
    with white (or fully transparent) for unlabelled; of palette images, the colours if they are those, else the indices. With 16
    bits, such values or 257 times as much. Any other value is refused: a map saved as JPEG or resized smoothly holds mixed
    colours that name no class.
    """
    pixels, name = _pixels(source)
    if pixels.ndim == 2:
        index = torch.from_numpy(pixels.astype(np.int64))
        wrong = (index < 0) | ((index >= NUM_CLASSES) & (index != UNLABELLED_IN_FILES))
        if wrong.any():
            raise FacemugError(
                f"{name} holds the value {int(index[wrong][0])} at {int(wrong.sum())} of {wrong.numel()} pixels: "
                f"use class indices 0..{NUM_CLASSES - 1}, or {UNLABELLED_IN_FILES} for unlabelled"
            )
        return torch.where(index == UNLABELLED_IN_FILES, UNLABELLED, index)[None]
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise FacemugError(f"{name} has shape {pixels.shape}: use a one-channel index image or an RGB image")
    rgb = torch.from_numpy(pixels.astype(np.int64))
    if rgb.min() < 0 or rgb.max() > 255:
        raise FacemugError(f"the colours of {name} lie outside 0..255: save it as an 8-bit PNG")
    labels = _class_of_colour()[_key(rgb[..., :3])].long()
    if pixels.shape[2] == 4:
        labels = torch.where(rgb[..., 3] == 0, UNLABELLED, labels)
    wrong = labels < UNLABELLED
    if wrong.any():
        colour = tuple(rgb[..., :3][wrong][0].tolist())
        raise FacemugError(
            f"{name} holds the colour {colour} at {int(wrong.sum())} of {wrong.numel()} pixels, which names no class: "
            "draw in the palette of facemug_lib.modalities.semantics, without smoothing, and save as PNG"
        )
    return labels[None]


def coarsen_labels(labels: Tensor, generator: torch.Generator | None = None, strength: float = 1.0) -> Tensor:
    """Make parsed labels ``[b, h, w]`` look drawn by hand: borders wander smoothly and small detail is rounded off.

    A low-frequency random warp (up to about 2 % of the size at ``strength`` 1) is followed by a vote of each neighbourhood,
    whose Gaussian width is drawn per sample from 0.3 % to 1.6 % of the size. Unlabelled takes part as a class of its own.
    """
    generator = as_generator(generator)
    batch, height, width = labels.shape
    device = labels.device
    offsets = normal((batch, 2, 6, 6), generator).to(device) * 0.02 * strength  # in units of half the image
    field = F.interpolate(offsets, (height, width), mode="bicubic", align_corners=True)
    ys = torch.linspace(-1, 1, height, device=device).view(1, -1, 1) + field[:, 1]
    xs = torch.linspace(-1, 1, width, device=device).view(1, 1, -1) + field[:, 0]
    rows = ((ys + 1) * (height - 1) / 2).round().long().clamp(0, height - 1)
    columns = ((xs + 1) * (width - 1) / 2).round().long().clamp(0, width - 1)
    warped = labels[torch.arange(batch, device=device).view(-1, 1, 1), rows, columns]

    # The vote is taken at half size and interpolated back: a quarter of the work, and borders come out rounder.
    classes = torch.arange(-1, NUM_CLASSES, device=device, dtype=torch.int8).view(1, -1, 1, 1)
    votes = F.avg_pool2d((warped[:, None].to(torch.int8) == classes).float(), 2, ceil_mode=True)
    half = max(height, width) / 2
    sigma = (uniform((batch, 1, 1, 1), 0.003, 0.016, generator).to(device) * half * strength).clamp_min(0.1)
    votes = _blur_matrix(votes.shape[2], sigma) @ votes @ _blur_matrix(votes.shape[3], sigma).mT
    return F.interpolate(votes, (height, width), mode="bilinear", align_corners=False).argmax(1) - 1


def _blur_matrix(size: int, sigma: Tensor) -> Tensor:
    """Gaussian smoothing of ``size`` samples as a matrix ``[b, 1, size, size]``, one width per sample; rows sum to one."""
    place = torch.arange(size, device=sigma.device)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    return weights / weights.sum(-1, keepdim=True)


@cache
def _class_of_colour() -> Tensor:
    """int8 [2^24]: the class of every colour, by :func:`_key`; -2 where there is none."""
    table = torch.full((1 << 24,), UNLABELLED - 1, dtype=torch.int8)
    for index, colour in enumerate(PALETTE):
        table[_key(torch.tensor(colour))] = index
    table[_key(torch.tensor(UNLABELLED_COLOUR))] = UNLABELLED
    return table


def _pixels(source: str | Path | np.ndarray | Image.Image) -> tuple[np.ndarray, str]:
    """(indices [h, w] or colours [h, w, 3 or 4] of a label map, its name in messages)."""
    if isinstance(source, np.ndarray):
        pixels, name = source, "the label map"
    elif isinstance(source, Image.Image):
        name = "the label map"
        pixels = _indices_or_colours(from_pillow(source, name, places=True))
    else:
        name = f"the label map {source}"
        try:
            pixels = _indices_or_colours(read_image_file(Path(source), places=True))
        except FacemugError as error:
            raise FacemugError(f"cannot read label map: {error}") from error
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype.kind not in "ui":
        raise FacemugError(f"{name} has {pixels.dtype} values: use whole numbers, 8 bits a channel")
    return pixels, name


def _indices_or_colours(image: ImageFile) -> np.ndarray:
    pixels = image.pixels
    if image.palette is not None:
        used = np.unique(pixels)
        colours = image.palette[used[used < len(image.palette)]]
        classes = _class_of_colour()[_key(torch.from_numpy(colours.astype(np.int64)))]
        # A palette of ours, in whatever order a paint program wrote it; other palettes are there to tell indices apart.
        if len(colours) == len(used) == len(np.unique(colours, axis=0)) and bool((classes >= UNLABELLED).all()):
            return image.palette[pixels]
    if pixels.dtype == np.uint16 and pixels.max() > UNLABELLED_IN_FILES and not (pixels % 257).any():
        return (pixels // 257).astype(np.uint8)  # 8 bits, as programs write them with 16
    return pixels


def _key(rgb: Tensor) -> Tensor:
    return (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
