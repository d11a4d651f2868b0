"""What an edit gives: :class:`EditResult`, made by the editor or by a sibling system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from facemug_lib.editing.edit import Edit, Size
from facemug_lib.editing.latent.text import Followed
from facemug_lib.editing.remarks import remarks
from facemug_lib.editing.sharp import Sharp
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.modalities.conditions import MODALITIES, Conditions
from facemug_lib.progress import Check, Progress, unchecked


class SystemEditor(Protocol):
    """What the editor asks of a system, which makes whole edits by itself. ``attributes``: name → an object with the ``meaning``
    of a strength and the lowest (``low``) and highest (``high``) that makes sense."""

    hash: str
    attributes: Mapping[str, Any]

    def check(self, strengths: Mapping[str, float]) -> None: ...

    def edit_many(self, edits: Sequence[Edit], *, progress: Progress | None = None,
                  check: Check = unchecked) -> list[EditResult]: ...


@dataclass(frozen=True, eq=False)
class EditResult:
    """A finished edit.

    image [1,3,256,256] in [-1,1]: the aligned face with the edit; outside the mask it is the photo's crop bit for bit.
    raw [1,3,256,256]: the whole picture as painted. codes [1,t,512]: what it was painted from. contributions
    [1,4,256,256]: each modality's share of every point (Eq. 16), all of it the image's where the prior alone altered a face of
    known codes. known_loss [steps+1]: the refinement's error on the known pixels. followed: how a text was followed. sharp: the
    edit at the photo's own size, where that is more than 256 px; asked_size: what was asked for. seconds, timings: the wall
    time, in all and by part; of edits made together, that of all of them.
    """

    image: Tensor
    raw: Tensor
    codes: Tensor
    conditions: Conditions
    contributions: Tensor
    face: AlignedFace
    photo_mask: np.ndarray | None  # bool [h,w], where it was drawn on the photo
    known_loss: Tensor | None = None
    followed: Followed | None = None
    sharp: Sharp | None = None
    asked_size: Size = "auto"
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(self.timings.values())

    @property
    def remarks(self) -> list[str]:
        """What should be known about the edit, a line each: that part of the mask cannot be edited, say."""
        has_colour = bool(self.conditions.present[0, MODALITIES.index("colour")])
        return remarks(self.face, self.photo_mask, has_colour, self.asked_size, self.size)

    @property
    def size(self) -> int:
        """Side [px] of the square around the face as it is pasted back."""
        return self.image.shape[-1] if self.sharp is None else self.sharp.face.size

    def paste_back(self, **options: Any) -> np.ndarray:
        """The whole photo with the edit, in the photo's layout and dtype; every pixel outside the mask is the original's.

        ``options`` are those of :meth:`facemug_lib.faces.alignment.AlignedFace.paste_back` (feather, keep_detail, colour).
        """
        if self.sharp is not None:
            large = self.sharp
            mask, frame = (large.mask.cpu(), "aligned") if self.photo_mask is None else (self.photo_mask, "photo")
            return large.face.paste_back(large.image.cpu(), mask, frame=frame, **options)
        if self.photo_mask is not None:
            return self.face.paste_back(self.image.cpu(), self.photo_mask, frame="photo", **options)
        return self.face.paste_back(self.image.cpu(), self.conditions.mask.cpu(), **options)
