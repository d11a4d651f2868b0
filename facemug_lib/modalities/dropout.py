"""Which guidance a training sample sees: FACEMUG's Algorithms 1 and 3, and the scheme of the released encoder trainer.

In all of them a guiding modality is shown in places only, where a random mask of its own is 1, or not at all.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.draws import as_generator, chance, integers
from facemug_lib.modalities.masks import free_form, mat_masks
from facemug_lib.modalities.sketch import jitter_sketch, pencil_sketch

Scheme = Literal["algorithm1", "algorithm3", "dominant"]


def training_conditions(
    images: Tensor,
    labels: Tensor | None = None,
    sketch: Tensor | None = None,
    generator: torch.Generator | None = None,
    masks: Tensor | None = None,
    scheme: Scheme = "algorithm1",
    drop: float = 0.5,
    *,
    colour: Tensor | None = None,
    foreign: Tensor | None = None,
    jitter: bool = True,
) -> Conditions:
    """Guidance for one training step, every choice made per sample; no value is read back from the device but by the masks.

    images [b, 3, h, w] in [-1, 1]; labels [b, h, w] (without them semantics, and colour unless given, are absent); sketch
    [b, 1, h, w], by default the pencil sketch of the images, varied by ``jitter``; colour [b, 3, h, w], by default the mean of
    each region; masks [b, 1, h, w], by default free-form ones.

    - ``"algorithm1"`` (style encoder): each of the four modalities is dropped with probability ``drop``, else multiplied by a
      free-form mask; the image by 1 - mask.
    - ``"algorithm3"`` (generator): the same, but the masked image always stays, and samples marked in ``foreign`` [b] bool, whose
      exemplar is another person, get no sketch, semantics or colour, which would contradict it.
    - ``"dominant"`` (the released encoder trainer): one modality, drawn per sample, is shown wherever the edit mask is 1 (the
      image: where it is 0); the others are dropped with probability ``drop``, else shown through sparser masks.
    """
    rng = as_generator(generator)
    b, _, h, w = images.shape
    device = images.device
    masks = free_form(b, h, w, rng, device=device) if masks is None else masks
    sketch = pencil_sketch(images) if sketch is None else sketch
    if jitter:
        sketch = jitter_sketch(sketch, rng)
    if colour is None and labels is not None:
        colour = region_mean(images, labels)

    visible, kept = visibility(masks, rng, scheme, drop, foreign)
    return Conditions.build(
        masks,
        images * visible["image"],
        sketch,
        labels,
        colour,
        sketch_mask=visible["sketch"],
        semantics_mask=visible["semantics"] if labels is not None else None,
        colour_mask=visible["colour"] if colour is not None else None,
        present=kept,
        check=False,
    )


def visibility(masks: Tensor, rng: torch.Generator, scheme: Scheme, drop: float = 0.5,
               foreign: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """The draws of :func:`training_conditions`: where each modality is shown, name → [b, 1, h, w] in {0, 1}, and which are kept
    at all, bool [b, 4] on the generator's device."""
    if scheme not in ("algorithm1", "algorithm3", "dominant"):
        raise FacemugError(f"unknown scheme {scheme!r}: use algorithm1, algorithm3 or dominant")
    if foreign is not None and scheme != "algorithm3":
        raise FacemugError(f"foreign exemplars belong to scheme algorithm3, not {scheme}")
    b, _, h, w = masks.shape
    device = masks.device
    kept = ~chance((b, len(MODALITIES)), drop, rng)
    visible = {"image": 1 - masks}
    for name in MODALITIES[1:]:
        draw = mat_masks if scheme == "dominant" else free_form
        visible[name] = draw(b, h, w, rng, device=device)
    if scheme == "dominant":
        is_dominant = integers((b, 1), 0, len(MODALITIES), rng) == torch.arange(len(MODALITIES), device=rng.device)
        kept = kept | is_dominant
        visible["image"] = visible["image"] * mat_masks(b, h, w, rng, device=device)
        for i, name in enumerate(MODALITIES):
            shown = 1 - masks if name == "image" else masks
            visible[name] = torch.where(is_dominant[:, i].to(device).view(b, 1, 1, 1), shown, visible[name])
    elif scheme == "algorithm3":
        kept[:, 0] = True
        if foreign is not None:
            kept[:, 1:] &= ~foreign.to(kept.device)[:, None]
    return visible, kept
