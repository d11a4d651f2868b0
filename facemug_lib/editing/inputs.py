"""An edit, checked and turned into tensors; and several of them as one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing.drawing import Drawing, read_exemplar, read_face
from facemug_lib.editing.edit import Edit
from facemug_lib.editing.latent.directions import Direction, checked_strengths
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.modalities.conditions import MODALITIES, Conditions

INFLUENCES = (*MODALITIES, "exemplar")


@dataclass(frozen=True, eq=False)
class Exemplars:
    """images [b,3,256,256], zeros where ``given`` [b] is false."""

    images: Tensor
    given: Tensor


@dataclass(frozen=True, eq=False)
class Inputs:
    """One edit, read.

    exemplar: [1,3,256,256], or None. strengths: attribute → α of Eq. 3. influence: modality → weight. photo_mask: bool
    [h,w], where it was drawn on the photo.
    """

    edit: Edit
    face: AlignedFace
    conditions: Conditions
    exemplar: Tensor | None
    strengths: Mapping[str, float]
    influence: Mapping[str, float]
    photo_mask: np.ndarray | None

    @property
    def is_unguided(self) -> bool:
        """Whether nothing but the photo, and perhaps attributes or a text, says what the hole shall show."""
        return self.exemplar is None and not bool(self.conditions.present[0, 1:].any())

    @property
    def is_alteration(self) -> bool:
        """Whether attributes or a text are all that is asked for: the face under the mask is known, and stays whose it is."""
        return self.is_unguided and bool(self.strengths or self.edit.text)

    @property
    def has_known_codes(self) -> bool:
        """Whether it alters a face whose codes are known: nothing has to be read from the picture then, and nothing refined."""
        return self.is_alteration and self.face.codes is not None

    @property
    def own_tones(self) -> float:
        """How far, 0 … 1, the photo's tones are wanted in the hole: not by who asks for another face, another age or another
        skin."""
        if self.strengths or self.edit.text:
            return 0.0
        return 1.0 if self.edit.exemplar is None else 1 - min(1.0, self.influence.get("exemplar", 1.0))


def read_edit(edit: Edit, directions: Mapping[str, Direction], num_codes: int) -> Inputs:
    """Read an edit's pictures; guidance of influence 0 is not looked at. ``directions`` of ``num_codes`` codes are the attributes
    that it may name. Raises :class:`FacemugError` for what does not fit."""
    influence = checked_influence(edit.influence)
    is_own = edit.system is None  # a system's attributes are its own matter
    strengths = checked_strengths(edit.attributes, directions, num_codes) if edit.attributes and is_own else {}
    face = read_face(edit.face)
    drawing = Drawing.on(face, edit.guidance_frame)
    is_on_photo = edit.guidance_frame == "photo" and edit.mask is not None and not isinstance(edit.mask, Tensor)
    photo_mask = drawing.edited(edit.mask) if is_on_photo else None  # a file is read once
    if edit.mask is None:
        mask = torch.ones_like(face.image[:, :1])
    else:
        mask = drawing.mask(edit.mask if photo_mask is None else photo_mask)
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
    return Inputs(edit, face, conditions, exemplar, strengths, influence, photo_mask)


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


# -- several edits as one batch -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Batch:
    """Edits that go through the networks together: all have the same influence and refinement, and known codes or unknown ones.

    photo [b,3,256,256]; is_altered [b]: whose face under the mask is known (:attr:`Inputs.is_alteration`).
    """

    inputs: Sequence[Inputs]
    photo: Tensor
    conditions: Conditions
    exemplars: Exemplars | None
    is_altered: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def of(cls, inputs: Sequence[Inputs], device: torch.device) -> Batch:
        """The edits as tensors on ``device``."""
        return cls(inputs, torch.cat([one.face.image for one in inputs]).to(device),
                   _stack([one.conditions for one in inputs]).to(device),
                   _stack_exemplars([one.exemplar for one in inputs], device),
                   torch.tensor([one.is_alteration for one in inputs], device=device))

    def __getitem__(self, place: int) -> Batch:
        """Edit ``place`` as a batch of one."""
        which = slice(place, place + 1)
        exemplars = None if self.exemplars is None else Exemplars(self.exemplars.images[which], self.exemplars.given[which])
        return Batch(self.inputs[which], self.photo[which], self.conditions_of(place), exemplars, self.is_altered[which])

    def conditions_of(self, place: int) -> Conditions:
        """The conditions of edit ``place``, as a batch of one."""
        return Conditions(**{name: value[place : place + 1] for name, value in vars(self.conditions).items()})

    @property
    def influence(self) -> Mapping[str, float]:
        return self.inputs[0].influence

    @property
    def refine(self) -> int | str:
        return self.inputs[0].edit.refine

    @property
    def seeds(self) -> list[int]:
        return [one.edit.seed for one in self.inputs]

    @property
    def variety(self) -> list[float]:
        """Of each edit; nothing is left to the seed of a face that is only altered."""
        return [0.0 if one.is_alteration else float(one.edit.variety) for one in self.inputs]

    @property
    def known_face(self) -> AlignedFace | None:
        """The face whose codes are known already; such a face is a batch of its own."""
        return self.inputs[0].face if self.inputs[0].has_known_codes else None

    @property
    def has_altered(self) -> bool:
        """Whether any edit alters a face that is known."""
        return any(one.is_alteration for one in self.inputs)

    def seen(self) -> Conditions:
        """The conditions as the encoder is shown them: nothing is hidden of a face that is only altered."""
        if not self.has_altered:
            return self.conditions
        where = self.is_altered[:, None, None, None]
        return replace(self.conditions, mask=torch.where(where, 0.0, self.conditions.mask),
                       image=torch.where(where, self.photo, self.conditions.image))


def made_together(inputs: Sequence[Inputs]) -> list[list[int]]:
    """Which edits are made together: places in ``inputs``, each once."""
    groups: dict[object, list[int]] = {}
    for place, one in enumerate(inputs):
        key = place if one.has_known_codes else (one.edit.refine, tuple(sorted(one.influence.items())))
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _stack(conditions: Sequence[Conditions]) -> Conditions:
    return Conditions(**{name: torch.cat([getattr(one, name) for one in conditions]) for name in vars(conditions[0])})


def _stack_exemplars(exemplars: Sequence[Tensor | None], device: torch.device) -> Exemplars | None:
    """Exemplars [1,3,256,256], some of them missing, as one batch on ``device``; None if all are."""
    shown = next((one for one in exemplars if one is not None), None)
    if shown is None:
        return None
    images = torch.cat([torch.zeros_like(shown) if one is None else one for one in exemplars])
    return Exemplars(images.to(device), torch.tensor([one is not None for one in exemplars], device=device))
