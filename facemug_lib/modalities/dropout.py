"""What a network gets to see of a face while it trains: FACEMUG's Algorithms 1 and 3, and the released encoder trainer's scheme.

Each face is its own supervision: its sketch, label map and colours are computed from it. In all schemes a guiding modality is
shown in places only, where a random mask of its own is 1, or not at all. On top of these come the cases that an editor's user
makes: guidance over the whole face or over just the hole, faces shown whole as exemplars, no photo at all.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.draws import as_generator, chance, integers, uniform
from facemug_lib.modalities.masks import free_form, mat_masks
from facemug_lib.modalities.semantics import coarsen_labels
from facemug_lib.modalities.sketch import jitter_sketch, pencil_sketch

Scheme = Literal["algorithm1", "algorithm3", "dominant"]


def training_conditions(
    images: Tensor,
    labels: Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    scheme: Scheme = "algorithm1",
    drop: float = 0.5,
    regions_share: float = 0.0,
    exemplar_share: float = 0.0,
    full_mask_share: float = 0.0,
    coarse_share: float = 0.0,
    sketch_detail: float = 0.0,
    foreign: Tensor | None = None,
    masks: Tensor | None = None,
    sketch: Tensor | None = None,
    colour: Tensor | None = None,
    jitter: bool = True,
) -> Conditions:
    """The conditions of one training step, every choice made per face. All stages train on these.

    images [b, 3, h, w] in [-1, 1]; labels [b, h, w], without which semantics, and colour unless given, are absent; ``generator``
    a CPU one. Made from these unless given: masks [b, 1, h, w], free-form ones; sketch [b, 1, h, w], the pencil sketch, varied by
    ``jitter``; colour [b, 3, h, w], the mean of each region.

    ``scheme`` says what is shown:

    - ``"algorithm1"`` (style encoder, Algorithm 1 lines 5-12): each of the four modalities is dropped with probability ``drop``,
      else multiplied by a free-form mask; the image by 1 - mask.
    - ``"algorithm3"`` (generator, Algorithm 3 lines 4-19): the same, but the masked image always stays, and faces marked in
      ``foreign`` [b] bool, whose exemplar is another person, get no sketch, semantics or colour, which would contradict it.
    - ``"dominant"`` (the released encoder trainer): one modality, drawn per face, is shown wherever the edit mask is 1 (the
      image: where it is 0); the others are dropped with probability ``drop``, else shown through sparser masks.

    The rest is ours. Of the guidance that the scheme keeps, ``regions_share`` shows the hole or the whole face, half each, not a
    random region. ``exemplar_share`` of the faces are shown whole and without guidance; the photo of ``full_mask_share`` is
    not shown at all. The label maps of ``coarse_share``, and with them the colours, look drawn by hand. Sketches have
    1 ± ``sketch_detail`` times the usual lines. A face of which the scheme left nothing keeps its masked image.
    """
    rng = as_generator(generator)
    b, _, h, w = images.shape

    def per_face(probability: float) -> Tensor:
        return chance((b, 1, 1, 1), probability, rng).to(images.device)

    is_blank = per_face(full_mask_share)
    masks = free_form(b, h, w, rng, device=images.device) if masks is None else masks
    masks = torch.where(is_blank, 1.0, masks)
    detail = float(uniform((), 1 - sketch_detail, 1 + sketch_detail, rng))
    chosen = chance((b,), coarse_share, rng).nonzero().flatten().to(images.device)
    if labels is not None and len(chosen):  # drawing labels by hand takes longer than all other guidance together
        labels = labels.index_copy(0, chosen, coarsen_labels(labels[chosen], rng))
    sketch = pencil_sketch(images, detail) if sketch is None else sketch
    maps = {"image": images, "sketch": jitter_sketch(sketch, rng) if jitter else sketch}
    if labels is not None:
        maps["semantics"] = labels[:, None] + 1  # 0 = nothing is said
    if colour is not None or labels is not None:
        maps["colour"] = region_mean(images, labels) if colour is None else colour

    shown, kept = visibility(masks, rng, scheme, drop, foreign)
    shown = {name: shown[name] * kept[:, index].to(images.device).view(-1, 1, 1, 1) for index, name in enumerate(MODALITIES)}
    says = {name: (value * shown[name] != 0).flatten(1).any(1).view(-1, 1, 1, 1) for name, value in maps.items()}
    is_exemplar = per_face(exemplar_share)
    for name in MODALITIES[1:]:
        region = torch.where(per_face(0.5), masks, 1.0)
        is_whole = per_face(regions_share) & says.get(name, False)
        shown[name] = torch.where(is_exemplar, 0.0, torch.where(is_whole, region, shown[name]))
    is_empty = ~torch.stack(list(says.values())).any(0)
    image = torch.where(is_exemplar | is_empty, images, images * shown["image"])
    return Conditions.build(torch.where(is_exemplar, 0.0, masks), image, maps["sketch"], labels, maps.get("colour"),
                            **{f"{name}_mask": shown[name] for name in MODALITIES[1:] if name in maps}, check=False)


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
