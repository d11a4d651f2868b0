"""What a person should be told about an edit that was made as asked, and yet may not be what was meant."""

from __future__ import annotations

import numpy as np

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.edit import Size
from facemug_lib.editing.sharp import side_in_photo
from facemug_lib.faces.alignment import AlignedFace, place_of

TELLING_SHARE = 0.01  # of a mask outside of the crop; a stroke that ends a pixel beyond it is nobody's concern


def remarks(face: AlignedFace, photo_mask: np.ndarray | None, has_colour: bool, asked: Size = "auto",
            size: int = FACE_SIZE) -> list[str]:
    """One line each. ``photo_mask``: the mask on the photo, bool [h,w], None where it was drawn in the aligned frame. ``size``
    [px] was painted where ``asked`` was wanted."""
    found = []
    if photo_mask is not None:
        outside = 1 - face.share_shown(photo_mask)
        if outside >= TELLING_SHARE:
            found.append(f"{outside:.0%} of the mask lies outside of the square around the face that can be edited, and stays as "
                         "it was")
        if (other := face.face_under(photo_mask)) is not None:
            number, detected = other
            found.append(f"the mask lies on another face than the edited one, on face {number} {place_of(detected)}: "
                         f"choose it with face={number} (--face {number})")
    if has_colour and face.photo.is_grey:
        found.append("the photo is grey and stays so, of colours only the brightness is seen: save it as RGB, or paste back with "
                     "colour=True")
    if asked != "auto" and size < asked:
        found.append(f"painted at {size} px instead of {asked}: the photo shows the square around the face in "
                     f"{side_in_photo(face):.0f} px")
    return found
