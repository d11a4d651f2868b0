"""What can be read off a face, as plain numbers: the expert's attributes, and three more that follow from its parse.

The expert was taught ten attributes. Beard, skin and light need no teacher: they are colours of regions that the parse names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facemug_lib.experts.student import ATTRIBUTES, Attribute, ExpertStudent
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.pictures import luma

TRAITS: dict[str, Attribute] = ATTRIBUTES | {
    "beard": Attribute("luminance of the cheeks over that of chin and upper lip, in percent: a proxy, shadows count"),
    "skin_lightness": Attribute("mean luminance of the facial skin, 0 black … 1 white"),
    "light": Attribute("luminance of the right half of the skin minus the left one's, in the image", odd=True),
}
"""Everything that :func:`traits` reads."""

# Where FFHQ's alignment puts things, as shares of the picture: the cheeks lie between eyes and mouth, the beard below the nose.
CHEEKS, BEARD = (0.50, 0.64), (0.66, 0.90)
MIDDLE = 0.5
LEAST_AREA = 0.002  # share of the picture below which a region says nothing


@torch.no_grad()
def traits(expert: ExpertStudent, images: Tensor) -> dict[str, Tensor]:
    """Name → [b] for faces [b,3,h,w] in [-1,1]; NaN where the region that a trait is read from is not to be seen."""
    return differentiable_traits(expert, images)


def differentiable_traits(expert: ExpertStudent, images: Tensor) -> dict[str, Tensor]:
    """:func:`traits` with gradients; where regions lie is taken as given."""
    output = expert(images)
    return dict(output.attributes) | skin_traits(images, output.semantics.argmax(1))


@torch.no_grad()
def all_traits(expert: ExpertStudent, images: Tensor) -> dict[str, Tensor]:
    """:func:`traits` and the colours of :func:`colour_traits`: all that captions speak of."""
    output = expert(images)
    labels = output.semantics.argmax(1)
    return dict(output.attributes) | skin_traits(images, labels) | colour_traits(images, labels)


def skin_traits(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Beard, skin lightness and light, name → [b], of faces [b,3,h,w] in [-1,1] with label maps [b,h,w]."""
    h, w = labels.shape[-2:]
    luminance = luma(images)[:, 0] / 2 + 0.5
    skin = labels == SEMANTIC_CLASSES.index("skin")
    rows = ((torch.arange(h, device=labels.device) + 0.5) / h)[:, None].expand(h, w)
    columns = ((torch.arange(w, device=labels.device) + 0.5) / w).expand(h, w)

    def mean(where: Tensor) -> Tensor:
        where = skin & where
        found = (luminance * where).sum((1, 2)) / where.sum((1, 2)).clamp(min=1)
        return found.masked_fill(where.float().mean((1, 2)) < LEAST_AREA, torch.nan)

    def band(limits: tuple[float, float]) -> Tensor:
        return (rows >= limits[0]) & (rows < limits[1])

    return {"beard": 100 * (mean(band(CHEEKS)) - mean(band(BEARD))), "skin_lightness": mean(rows >= 0),
            "light": mean(columns >= MIDDLE) - mean(columns < MIDDLE)}


def colour_traits(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Colours of regions, name → [b], of faces [b,3,h,w] in [-1,1] with label maps [b,h,w]; NaN where a region is missing.

    Of mean colours in 0 … 1: chroma and warmth are red minus blue, redness is red minus green (of the lips, as a share of red),
    ``background_green`` is green minus the mean of the other two.
    """
    def mean(name: str) -> tuple[Tensor, Tensor, Tensor]:
        where = (labels == SEMANTIC_CLASSES.index(name))[:, None].to(images.dtype)
        total = where.sum((2, 3))
        colour = ((images + 1) / 2 * where).sum((2, 3)) / total.clamp(min=1)
        return colour.masked_fill(total < LEAST_AREA * labels[0].numel(), torch.nan).unbind(1)

    def lightness(colour: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return luma(torch.stack(colour, 1))[:, 0]

    hair, lips, clothes, background = mean("hair"), mean("l_lip"), mean("cloth"), mean("background")
    return {
        "hair_chroma": hair[0] - hair[2], "lip_redness": (lips[0] - lips[1]) / lips[0].clamp(min=0.05),
        "clothes_lightness": lightness(clothes), "clothes_redness": clothes[0] - clothes[1],
        "background_lightness": lightness(background), "background_warmth": background[0] - background[2],
        "background_green": background[1] - (background[0] + background[2]) / 2,
    }
