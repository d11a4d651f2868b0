"""What an edit is made from, checked and turned into tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facemug_lib.editing.drawing import Drawing, FaceLike, Picture, read_exemplar, read_face
from facemug_lib.editing.latent.text import SOURCE
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, Frame
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.seeds import check_seed

INFLUENCES = (*MODALITIES, "exemplar")


@dataclass(frozen=True, eq=False)
class Edit:
    """What one edit is made from; every guidance is optional.

    Pictures are paths, PIL images, arrays or tensors (:mod:`facemug_lib.editing.drawing` says what each means), in the
    coordinates of ``guidance_frame``. ``seed``, from 0 to 2^63 - 1, decides what neither the photo nor the guidance does.
    ``attributes``: name → strength, 1 = one standard deviation of it over faces (:mod:`facemug_lib.editing.latent.directions`).
    ``text`` says how the face shall look and ``text_source`` what it is now, as far as that matters
    (:mod:`facemug_lib.editing.latent.text`). Given alone or together, these two leave the person who they are: what lies under
    the mask is altered instead of made anew. A stroke of ``colour`` is meant for the whole region that it lies on
    (:mod:`facemug_lib.editing.fill.recolouring`).
    ``exemplar_face`` picks one of several faces in the exemplar, 0 is the leftmost.
    """

    face: FaceLike
    mask: Picture
    sketch: Picture | None = None
    semantics: Picture | None = None
    colour: Picture | None = None
    exemplar: FaceLike | None = None
    seed: int = 0
    guidance_frame: Frame = "photo"
    attributes: Mapping[str, float] | None = None
    text: str | None = None
    text_source: str = SOURCE
    exemplar_face: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))


@dataclass(frozen=True, eq=False)
class Exemplars:
    """images [b,3,256,256], zeros where ``given`` [b] is false."""

    images: Tensor
    given: Tensor


@dataclass(frozen=True, eq=False)
class Inputs:
    """One edit, read: exemplar [1,3,256,256] or None; ``photo_mask`` is the mask as given, where it was drawn on the photo."""

    face: AlignedFace
    conditions: Conditions
    exemplar: Tensor | None
    photo_mask: Picture | None

    @property
    def is_unguided(self) -> bool:
        """Whether nothing but the photo, and perhaps attributes or a text, says what the hole shall show."""
        return self.exemplar is None and not bool(self.conditions.present[0, 1:].any())


def read_edit(edit: Edit, influence: Mapping[str, float]) -> Inputs:
    """Read an edit's pictures; guidance of influence 0 is not looked at. Raises :class:`FacemugError` for what does not fit."""
    face = read_face(edit.face)
    drawing = Drawing.on(face, edit.guidance_frame)
    mask = drawing.mask(edit.mask)
    maps = {}
    for name in MODALITIES[1:]:
        picture = getattr(edit, name)
        if picture is not None and influence.get(name, 1.0) > 0:
            maps[name] = getattr(drawing, name)(picture)
    # Guidance speaks about the hole only: what lies outside of it is known from the photo.
    conditions = Conditions.build(mask, face.image, **maps, **{f"{name}_mask": mask for name in maps})
    for name in maps:
        if not bool(conditions.present[0, MODALITIES.index(name)]):
            raise FacemugError(f"the {name} guidance says nothing inside the mask: draw where the mask is white")
    if edit.exemplar is None and edit.exemplar_face is not None:
        raise FacemugError(f"exemplar_face {edit.exemplar_face} picks a face of no exemplar: give one (--exemplar)")
    is_wanted = edit.exemplar is not None and influence.get("exemplar", 1.0) > 0
    exemplar = read_exemplar(edit.exemplar, edit.exemplar_face) if is_wanted else None
    is_on_photo = edit.guidance_frame == "photo" and not isinstance(edit.mask, Tensor)
    return Inputs(face, conditions, exemplar, edit.mask if is_on_photo else None)


def checked_influence(influence: Mapping[str, float] | None) -> dict[str, float]:
    """The influences as floats; unknown names and weights outside of 0 … 2 are refused."""
    checked = {}
    for name, weight in (influence or {}).items():
        if name not in INFLUENCES:
            raise FacemugError(f"influence names {name!r}: choose from {', '.join(INFLUENCES)}")
        if not (isinstance(weight, int | float) and math.isfinite(weight) and 0 <= weight <= 2):
            raise FacemugError(f"influence of {name} is {weight}: use a number from 0 (ignored) to 2, 1 is neutral")
        checked[name] = float(weight)
    return checked


def stack(conditions: Sequence[Conditions]) -> Conditions:
    """Several batches of conditions as one."""
    return Conditions(**{name: torch.cat([getattr(one, name) for one in conditions]) for name in vars(conditions[0])})


def unmasked(conditions: Conditions, photo: Tensor, which: Tensor) -> Conditions:
    """The conditions with nothing hidden from those samples that ``which`` [b] names."""
    if not bool(which.any()):
        return conditions
    where = which[:, None, None, None]
    return replace(conditions, mask=torch.where(where, 0.0, conditions.mask), image=torch.where(where, photo, conditions.image))


def one_of(conditions: Conditions, index: int) -> Conditions:
    """Sample ``index`` of a batch, as a batch of one."""
    return Conditions(**{name: value[index : index + 1] for name, value in vars(conditions).items()})


def stack_exemplars(exemplars: Sequence[Tensor | None], device: torch.device) -> Exemplars | None:
    """Exemplars [1,3,256,256], some of them missing, as one batch on ``device``; None if all are."""
    shown = next((one for one in exemplars if one is not None), None)
    if shown is None:
        return None
    images = torch.cat([torch.zeros_like(shown) if one is None else one for one in exemplars])
    return Exemplars(images.to(device), torch.tensor([one is not None for one in exemplars], device=device))
