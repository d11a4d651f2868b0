"""What one edit is made from: one declaration for the editor, edit scripts and the command line.

Nothing heavy is imported here, so that `facemug edit --help` can show these defaults at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from facemug_lib.editing.schedule import checked_refine
from facemug_lib.errors import FacemugError
from facemug_lib.seeds import check_seed

if TYPE_CHECKING:
    from facemug_lib.editing.drawing import FaceLike, Picture
    from facemug_lib.faces.alignment import Frame

PICTURES = ("mask", "sketch", "semantics", "colour", "exemplar")
"""The fields of :class:`Edit` that are pictures, the face aside."""
SIZES = (256, 512, 1024)
"""Sides [px] of the square around the face that can be painted."""
Size = Literal["auto", 256, 512, 1024]


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit. Only the face and the mask are needed, and a system does without the mask: it edits the whole face then.

    Pictures are paths, PIL images, arrays or tensors; :mod:`facemug_lib.editing.drawing` says what each of them means. What
    neither the photo nor the guidance decides, the seed does: where most of the face is to be seen, nothing that one notices,
    unless ``variety`` asks for more. A face that is only altered has no variety.

    Attributes or a text given alone (or both together) leave the person who they are: what lies under the mask is altered
    instead of made anew. A stroke of colour is meant for the whole region that it lies on.
    """

    face: FaceLike  # a photo, an aligned face, or a tensor [1,3,256,256] in [-1,1] of one
    mask: Picture | None = None  # white (1) is edited
    sketch: Picture | None = None  # strokes on paper
    semantics: Picture | None = None  # labels of CelebAMask-HQ's 19 classes
    colour: Picture | None = None  # colours where something is painted
    exemplar: FaceLike | None = None  # another face, whose looks are wanted
    attributes: Mapping[str, float] | None = None  # name → strength; 1 is one standard deviation of it over faces
    influence: Mapping[str, float] | None = None  # modality or "exemplar" → weight, 0 (ignored) … 1 (neutral) … 2
    refine: int | str = 0  # steps of latent optimisation on top of the one pass; "auto" costs a few seconds on two cores
    seed: int = 0  # from 0 to 2^63 - 1
    guidance_frame: Frame = "photo"  # the coordinates of mask and guidance: the photo's, or the "aligned" face's
    text: str | None = None  # how the face shall look
    text_source: str = "a person"  # what it is now, as far as the text changes it
    text_steps: int = 16  # most steps in which the text is followed
    text_model: str = "small"  # the shipped text–image model, or open_clip's ARCHITECTURE:WEIGHTS
    exemplar_face: int | None = None  # which of several faces in the exemplar, 0 is the leftmost
    system: str | None = None  # a sibling system that makes the edit, "l2m_gan" say; the attributes are its own then
    variety: float = 0.0  # how far, 0 … 1, the seed's face takes the place of what the rest of the photo makes likely
    size: Size = "auto"  # side of the square that is painted [px]: 256, 512, 1024, or as large as the photo shows the face
    grain: bool = True  # above 256 px: the photo's own noise over what is painted, where the photo has more of it

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "refine", checked_refine(self.refine))
        if self.size != "auto" and (isinstance(self.size, bool) or self.size not in SIZES):
            raise FacemugError(f"size {self.size!r}: use auto, which is as large as the photo shows the face, or one of "
                               f"{', '.join(map(str, SIZES))}")
        if not isinstance(self.grain, bool):
            raise FacemugError(f"grain {self.grain!r}: use True (the photo's own noise over what is painted) or False")
        if self.mask is None and self.system is None:
            raise FacemugError("there is no mask: give one (--mask) in which what is to be edited is white")
        if not (isinstance(self.variety, int | float) and 0 <= self.variety <= 1):
            raise FacemugError(f"variety {self.variety}: use a number from 0 (the photo decides) to 1 (the seed does)")
        if self.text is not None:
            check_text(self.text, "how the face shall look")
        check_text(self.text_source, "what the face is now")


def check_text(text: str, meaning: str) -> None:
    """Raise :class:`FacemugError` for a text without a letter, which a shell makes of a variable that is not set; ``meaning``:
    what it should say."""
    if not isinstance(text, str) or not text.strip():
        raise FacemugError(f"an empty text for {meaning}: say it in words, or leave the text out")


PLAIN = tuple(one.name for one in fields(Edit) if one.name not in ("face", *PICTURES))
"""The fields of :class:`Edit` that are words and numbers."""


def takes_an_edit(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``method(self, edit, *, progress)`` the arguments of :class:`Edit` in place of ``edit``.

    ``help()`` and a notebook's Shift+Tab show them as if they were written out, and they cannot differ from the declaration.
    """
    of_edit, own = inspect.signature(Edit).parameters, inspect.signature(method)
    itself, _, *options = own.parameters.values()

    @functools.wraps(method)
    def written_out(self: Any, *given: Any, **named: Any) -> Any:
        own_options = {name: named.pop(name) for name in list(named) if name not in of_edit}
        return method(self, Edit(*given, **named), **own_options)

    written_out.__signature__ = own.replace(parameters=[itself, *of_edit.values(), *options])
    return written_out
