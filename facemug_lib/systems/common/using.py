"""A trained system on photographs: the same edit, the same result and the same scripts as the editor's own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.drawing import FaceLike, Picture, read_face
from facemug_lib.editing.edit import Edit
from facemug_lib.editing.fill.blending import altered, blend
from facemug_lib.editing.inputs import read_edit
from facemug_lib.editing.result import EditResult
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import Frame
from facemug_lib.faces.code_space import CODE_DIM
from facemug_lib.modalities.conditions import MODALITIES
from facemug_lib.pictures import reduced
from facemug_lib.progress import Check, Progress, unchecked
from facemug_lib.systems.common.contract import System, SystemAttribute, checked_strengths, edited
from facemug_lib.systems.common.registry import load_system, names, system_class
from facemug_lib.weights import weights_hash

FOREIGN = ("sketch", "semantics", "colour", "exemplar", "exemplar_face", "text", "influence", "refine")
"""Fields of :class:`Edit` that no system can follow."""


class SystemEditor:
    """A system that edits photographs. Make one with :func:`load`."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.device = next(system.networks.parameters()).device

    @property
    def name(self) -> str:
        """The system's."""
        return self.system.name

    def hashes_of(self, system: str | None) -> dict[str, str]:
        """As :meth:`facemug_lib.editing.editor.Editor.hashes_of`."""
        return {self.name: self.hash}

    def check(self, strengths: Mapping[str, float]) -> None:
        """Raise :class:`FacemugError` for an attribute that the weights were not trained for, and a strength out of range."""
        checked_strengths(strengths, self.attributes, self.name, self.system.all_attributes)

    @property
    def attributes(self) -> Mapping[str, SystemAttribute]:
        """What these weights can change: name → what a strength does, and which strengths make sense."""
        return self.system.attributes

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the networks, as edit scripts keep it."""
        return weights_hash(self.system.networks)

    def edit(self, face: FaceLike, mask: Picture | None = None, *, guidance_frame: Frame = "photo", like: FaceLike | None = None,
             like_face: int | None = None, **strengths: float) -> EditResult:
        """Change attributes of ``face``, all of it or where ``mask`` is white: ``edit(face, smile=1.0)``.

        ``face``, ``mask`` and ``guidance_frame`` are as in :class:`facemug_lib.editing.edit.Edit`; ``strengths`` are of
        :attr:`attributes`. ``like``: another face whose strengths are wanted (:meth:`strengths_like`); those that are given
        besides take the place of its. Every pixel outside the mask is copied. Raises :class:`FacemugError` for an attribute that
        the weights were not trained for and a strength out of range.
        """
        if like is None and like_face is not None:
            raise FacemugError(f"like_face {like_face} picks a face of no photo: give one (like)")
        if like is not None:
            face = read_face(face)
            strengths = self.strengths_like(face, like, like_face) | strengths
        return self.edit_many([Edit(face, mask, attributes=strengths, guidance_frame=guidance_frame, system=self.name)])[0]

    def strengths_like(self, face: FaceLike, like: FaceLike, like_face: int | None = None) -> dict[str, float]:
        """The strengths that bring ``face`` to what another face shows, face ``like_face`` of the photograph ``like``.

        They are an edit like any other, which a script keeps and replays without that photograph. Raises :class:`FacemugError`
        where the system cannot read faces, or the two are alike already.
        """
        if not hasattr(self.system, "strengths_like"):
            able = [name for name in names() if hasattr(system_class(name), "strengths_like")]
            raise FacemugError(f"{self.name} cannot take an expression from another face: leave out like, or use "
                               f"{' or '.join(able)}")
        other = read_face(like, like_face, "like_face")
        strengths = self.system.strengths_like(read_face(face).image, other.image)
        if not strengths:
            raise FacemugError("the two faces show the same already: there is nothing to change")
        return strengths

    @torch.no_grad()
    def edit_many(self, edits: Sequence[Edit], *, progress: Progress | None = None,
                  check: Check = unchecked) -> list[EditResult]:
        """Make several edits, one by one: an edit's pixels do not depend on what is made beside it. ``check`` is called between
        the parts of each; it may raise to stop."""
        return [self._edited(edit, check) for edit in edits]

    def _edited(self, edit: Edit, check: Check) -> EditResult:
        started = time.perf_counter()
        if foreign := [name for name in FOREIGN if _is_given(getattr(edit, name))]:
            raise FacemugError(f"{self.name} changes attributes and nothing else: leave out {', '.join(foreign)}")
        strengths = checked_strengths(edit.attributes or {}, self.attributes, self.name, self.system.all_attributes)
        inputs = read_edit(edit, {}, 0)
        photo, mask = inputs.face.image.to(self.device), inputs.conditions.mask.to(self.device)
        check()
        raw = self.picture(photo, strengths)
        check()
        image = inputs.conditions.to(self.device).composite(blend(raw.clamp(-1, 1), photo, mask), photo)
        shares = torch.zeros(1, len(MODALITIES), *photo.shape[2:], device=self.device)
        shares[:, 0] = 1
        return EditResult(image, raw, photo.new_zeros(1, 0, CODE_DIM), inputs.conditions, shares, inputs.face, inputs.photo_mask,
                          timings={self.name: time.perf_counter() - started})

    def picture(self, photo: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """The whole edited face [1,3,256,256] of an aligned one.

        The system sees it at its own size. What that misses of the photo is put back wherever the edit left things about as they
        were (:func:`facemug_lib.editing.fill.blending.altered`), so that skin and hair keep their detail.
        """
        size, full = self.system.size, photo.shape[-1]
        small = reduced(photo, size)
        after = edited(self.system, small, strengths)
        if size != full:
            small, after = (F.interpolate(one, (full, full), mode="bicubic", align_corners=False) for one in (small, after))
        return altered(photo, small, after)


def _is_given(value: Any) -> bool:
    """Whether a field of an edit asks for something; its pictures may be tensors, which are neither true nor false."""
    return value is not None and not (isinstance(value, int | Mapping) and not value)


def load(name: str, weights: Path | str | None = None, device: Any = "auto") -> SystemEditor:
    """The trained system called ``name``, ready to edit photographs: of the shipped weights, of a file, or of a run's folder.

    Raises :class:`FacemugError` for an unknown name, and for weights that are missing, of another system or of another width.
    """
    return SystemEditor(load_system(name, weights, device))


class Systems:
    """The systems that an editor's scripts may name; each is loaded when it is first asked for, and kept.

    Give it to :meth:`facemug_lib.editing.editor.Editor.with_systems`.
    """

    def __init__(self, weights: Path | str | None = None, device: Any = "auto") -> None:
        """``weights`` as in :func:`load`."""
        self._weights, self._device = weights, device
        self._loaded: dict[str, SystemEditor] = {}

    def __call__(self, name: str) -> SystemEditor:
        if name not in self._loaded:
            self._loaded[name] = load(name, self._weights, self._device)
        return self._loaded[name]
