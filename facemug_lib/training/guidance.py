"""Training conditions: what of a face the networks get to see, drawn anew for every step.

Each face is its own supervision (FACEMUG Algorithms 1 and 3): its sketch, label map and colours are computed, and modalities
are dropped or cut to random regions at random, so that one network learns every combination.
"""

from __future__ import annotations



import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.draws import chance, integers
from facemug_lib.modalities.masks import free_form, mat_masks
from facemug_lib.modalities.semantics import one_hot
from facemug_lib.modalities.sketch import pencil_sketch

GUIDANCE = MODALITIES[1:]


def labels_from(batch: FaceBatch, expert: nn.Module | None) -> Tensor:
    """Label maps [b,h,w] of a batch: those it carries, else the expert's parse of its images."""
    if "labels" in batch.extra:
        return batch.extra["labels"]
    if expert is None:
        raise FacemugError("no label maps: train the expert first (`facemug train expert --install`), or put labels/<name>.png "
                           "beside the images")
    with torch.no_grad():
        return expert.parse(batch.images)


def guidance_maps(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The three guidance modalities of whole faces: sketch [b,1,h,w], semantics [b,19,h,w], colour [b,3,h,w]."""
    return {"sketch": pencil_sketch(images), "semantics": one_hot(labels), "colour": region_mean(images, labels)}


def whole_conditions(images: Tensor, maps: dict[str, Tensor], mask: Tensor, guidance: tuple[str, ...] = GUIDANCE) -> Conditions:
    """Masked images with the named guidance shown everywhere and the others absent: what evaluations and grids use."""
    shown = {name: value if name in guidance else torch.zeros_like(value) for name, value in maps.items()}
    present = torch.tensor([True, *(name in guidance for name in GUIDANCE)], device=images.device).expand(len(images), -1)
    return Conditions(mask=mask, image=images * (1 - mask), present=present, **shown)


def sample_conditions(
    images: Tensor,
    maps: dict[str, Tensor],
    generator: torch.Generator,
    *,
    drop: float = 0.5,
    whole_share: float = 0.3,
    keep_image: bool = True,
    keep_guidance: bool = True,
    exemplar_share: float = 0.0,
    full_mask_share: float = 0.0,
) -> Conditions:
    """Random conditions in which each modality is present by its own draw (Algorithms 1 and 3).

    The hole is a free-form mask. A present guidance shows the whole face (``whole_share``), or the hole, as an editor's user
    would paint it, or a random region, in equal parts. ``keep_image=False`` lets the masked image be absent too (the encoder
    then learns to read guidance alone), but never everything. ``exemplar_share`` of the faces are shown whole and without
    guidance, ``full_mask_share`` not at all. ``generator`` is a CPU one.
    """
    b, _, h, w = images.shape
    device = images.device
    mask = free_form(b, h, w, generator, device=device)
    mask = torch.where(_flag(chance((b,), full_mask_share, generator), device), 1.0, mask)
    is_exemplar = chance((b,), exemplar_share, generator)
    mask = torch.where(_flag(is_exemplar, device), 0.0, mask)
    present = torch.zeros(b, len(MODALITIES), dtype=torch.bool)
    shown = {}
    for index, name in enumerate(GUIDANCE, start=1):
        is_kept = ~chance((b,), drop, generator) & ~is_exemplar if keep_guidance else torch.zeros(b, dtype=torch.bool)
        is_whole, is_hole = chance((b,), whole_share, generator), chance((b,), 0.5, generator)
        region = torch.where(_flag(is_hole, device), mask, mat_masks(b, h, w, generator, device=device))
        region = torch.where(_flag(is_whole, device), 1.0, region)
        shown[name] = maps[name] * region * _flag(is_kept, device)
        present[:, index] = is_kept
    has_image = torch.ones(b, dtype=torch.bool) if keep_image else ~chance((b,), drop, generator)
    has_image |= is_exemplar | ~present.any(dim=1)
    present[:, 0] = has_image
    image = images * (1 - mask) * _flag(has_image, device)
    return Conditions(mask=mask, image=image, present=present.to(device), **shown)


def dominant_conditions(images: Tensor, maps: dict[str, Tensor], generator: torch.Generator, *, drop: float = 0.5) -> Conditions:
    """The published encoder trainer's scheme (e4e_trainer): one modality of a batch is dominant.

    It is cut by a large free-form mask only; every other one is absent with probability ``drop`` and otherwise shows a random
    region.
    """
    b, _, h, w = images.shape
    device = images.device
    dominant = int(integers((), 0, len(MODALITIES), generator))
    sources = {"image": images, **maps}
    present = torch.ones(b, len(MODALITIES), dtype=torch.bool)
    shown, mask = {}, None
    for index, name in enumerate(MODALITIES):
        if index == dominant:
            hole = free_form(b, h, w, generator, device=device)
        else:
            hole = 1 - mat_masks(b, h, w, generator, device=device)
            present[:, index] = ~chance((b,), drop, generator)
        shown[name] = sources[name] * (1 - hole) * _flag(present[:, index], device)
        if name == "image":
            mask = torch.where(_flag(present[:, index], device), hole, 1.0)
    return Conditions(mask=mask, present=present.to(device), **shown)



def _flag(chosen: Tensor, device: torch.device) -> Tensor:
    """A bool per sample, shaped to multiply or select maps [b,c,h,w]."""
    return chosen.to(device).view(-1, 1, 1, 1)
