"""Training conditions: what of a face the networks get to see, drawn anew for every step.

Each face is its own supervision: its sketch, label map and colours are computed, and the schemes of
:mod:`facemug_lib.modalities.dropout` (FACEMUG Algorithms 1 and 3) drop and cut them at random. On top of these come the
cases that an editor's user makes: guidance over the whole face or over just the hole, faces shown whole as exemplars, no
photo at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.modalities.draws import chance, uniform
from facemug_lib.modalities.dropout import Scheme, visibility
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import coarsen_labels
from facemug_lib.modalities.sketch import jitter_sketch, pencil_sketch

GUIDANCE = MODALITIES[1:]


def labels_from(batch: FaceBatch, expert: nn.Module | Callable[[], Any] | None) -> Tensor:
    """Label maps [b,h,w] of a batch: those it carries; of a face without one, or of which nothing is known, the expert's parse.

    ``expert`` is anything with ``parse``, or a function that fetches it: it is called only where it is needed.
    """
    labels = batch.extra.get("labels")
    is_unread = torch.ones(len(batch), dtype=torch.bool) if labels is None else (labels < 0).flatten(1).all(1)
    if not bool(is_unread.any()):
        return labels
    if expert is None:
        raise FacemugError("no label maps: train the expert first (`facemug train expert --install`), or put labels/<name>.png "
                           "beside the images")
    with torch.no_grad():
        expert = expert if hasattr(expert, "parse") else expert()
        parsed = expert.parse(batch.images[is_unread.to(batch.images.device)]).to(batch.images.device)
    if labels is None:
        return parsed
    labels = labels.clone()
    labels[is_unread] = parsed.to(labels.dtype)
    return labels


def whole_conditions(images: Tensor, labels: Tensor, mask: Tensor, guidance: Iterable[str] = GUIDANCE) -> Conditions:
    """Masked images with the named guidance shown everywhere and the others absent: what evaluations and grids use."""
    everything = Conditions.build(mask, images, pencil_sketch(images), labels, region_mean(images, labels), check=False)
    return everything.select(("image", *guidance))


def sample_conditions(
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    scheme: Scheme,
    drop: float = 0.5,
    regions_share: float = 0.5,
    exemplar_share: float = 0.0,
    full_mask_share: float = 0.0,
    coarse_share: float = 0.0,
    sketch_detail: float = 0.0,
    foreign: Tensor | None = None,
) -> Conditions:
    """Random conditions of faces [b,3,h,w] with labels [b,h,w]; ``generator`` is a CPU one.

    ``scheme``, ``drop`` and ``foreign`` are those of :func:`~facemug_lib.modalities.dropout.training_conditions`. Of the
    guidance that the scheme keeps, ``regions_share`` shows, instead of a random region, the hole or the whole face, half each.
    ``exemplar_share`` of the faces are shown whole and without guidance; the photo of ``full_mask_share`` is not shown at all.
    The label maps, and with them the colours, of ``coarse_share`` look drawn by hand; the sketches have 1 ± ``sketch_detail``
    times the usual lines.
    A face that the scheme left nothing of keeps its masked image.
    """
    b, _, h, w = images.shape

    def per_face(probability: float) -> Tensor:
        return chance((b, 1, 1, 1), probability, generator).to(images.device)

    mask = torch.where(per_face(full_mask_share), 1.0, free_form(b, h, w, generator, device=images.device))
    detail = float(uniform((), 1 - sketch_detail, 1 + sketch_detail, generator))
    chosen = chance((b,), coarse_share, generator).nonzero().flatten().to(images.device)
    if len(chosen):  # drawing labels by hand takes longer than all other guidance together
        labels = labels.index_copy(0, chosen, coarsen_labels(labels[chosen], generator))
    maps = {"image": images, "sketch": jitter_sketch(pencil_sketch(images, detail), generator), "semantics": labels[:, None] + 1,
            "colour": region_mean(images, labels)}  # 0 = nothing is said
    shown, kept = visibility(mask, generator, scheme, drop, foreign)
    shown = {name: shown[name] * kept[:, index].to(images.device).view(-1, 1, 1, 1) for index, name in enumerate(MODALITIES)}
    says = {name: (maps[name] * shown[name] != 0).flatten(1).any(1).view(-1, 1, 1, 1) for name in MODALITIES}
    is_exemplar = per_face(exemplar_share)
    for name in GUIDANCE:
        region = torch.where(per_face(0.5), mask, 1.0)
        shown[name] = torch.where(per_face(regions_share) & says[name], region, shown[name])
        shown[name] = torch.where(is_exemplar, 0.0, shown[name])
    is_empty = ~torch.stack(list(says.values())).any(0)
    image = torch.where(is_exemplar | is_empty, images, images * shown["image"])
    return Conditions.build(torch.where(is_exemplar, 0.0, mask), image, maps["sketch"], labels, maps["colour"],
                            **{f"{name}_mask": shown[name] for name in GUIDANCE}, check=False)
