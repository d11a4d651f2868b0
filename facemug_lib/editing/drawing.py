"""Guidance as people draw it (files, pictures, arrays, in photo or aligned coordinates) → tensors over the aligned face.

What each picture means:

* **mask**: white is edited; with transparency, white and opaque. Of a photo in which the hole was erased, what is transparent.
* **sketch**: strokes on paper, dark or bright: the paper is what covers more. On a transparent layer, what is opaque.
* **semantics**: class indices or palette colours, see :func:`facemug_lib.modalities.semantics.label_map_from_image`.
* **colour**: RGB on black or white paper, whichever most of the picture's border shows, or on a transparent layer, on which
  black and white are colours too.
* **exemplar**: a photo, aligned by face detection.

Tensors are taken to be in the aligned frame already, with the ranges of :mod:`facemug_lib.modalities.conditions`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, Frame, open_face
from facemug_lib.faces.drawn import edited_pixels, painted_pixels, stroke_pixels
from facemug_lib.faces.photos import Photo, PhotoLike, read_photo
from facemug_lib.faces.warping import warp
from facemug_lib.modalities.semantics import UNLABELLED, label_map_from_image

FACE_SIZE = 256  # side of an aligned face, in which everything is edited [px]
Picture = str | PathLike[str] | np.ndarray | PIL.Image.Image | Tensor
FaceLike = AlignedFace | PhotoLike


def read_face(face: FaceLike, index: int | None = None, option: str = "face") -> AlignedFace:
    """An aligned face of 256 px: from a photo, of which ``index`` picks one of several faces (``option`` is what the caller calls
    that argument), from a tensor [1,3,256,256] that is one already, or as it is."""
    if isinstance(face, AlignedFace):
        if face.size != FACE_SIZE:
            raise FacemugError(f"the aligned face has {face.size} px: open it with size={FACE_SIZE}")
        return face
    if isinstance(face, Tensor):
        if tuple(face.shape) != (1, 3, FACE_SIZE, FACE_SIZE):
            raise FacemugError(f"a face tensor of shape {list(face.shape)}: "
                               f"give [1, 3, {FACE_SIZE}, {FACE_SIZE}] in [-1, 1], aligned")
        # The 8-bit photo inside is for pasting back only; editing starts from the tensor's own values.
        return replace(open_face(face.clamp(-1, 1), aligned=True), image=face.detach().to("cpu", torch.float32).clamp(-1, 1))
    return open_face(face, face=index, option=option)


@dataclass(frozen=True, eq=False)
class Drawing:
    """Where guidance is drawn: the photo, or the aligned face itself."""

    face: AlignedFace
    frame: Frame

    @classmethod
    def on(cls, face: AlignedFace, frame: Frame) -> Drawing:
        if frame not in ("photo", "aligned"):
            raise FacemugError(f"guidance frame {frame!r}: use photo or aligned")
        if frame == "aligned":
            blank = Photo(np.zeros((FACE_SIZE, FACE_SIZE), np.uint8), "the aligned face")
            face = AlignedFace(face.image, blank, np.array([[1.0, 0, 0], [0, 1.0, 0]]))
        return cls(face, frame)

    def pixels(self, name: str, picture: Picture) -> np.ndarray:
        """The picture's pixels in 8 bits, checked to have the drawing's size."""
        photo = read_photo(picture)
        self._check_size(name, photo.width, photo.height)
        return photo.pixels8()

    def _check_size(self, name: str, width: int, height: int) -> None:
        photo = self.face.photo
        if (width, height) == (photo.width, photo.height):
            return
        where = "the aligned face has" if self.frame == "aligned" else "the photo has"
        other = "photo" if self.frame == "aligned" else "aligned"
        raise FacemugError(f"the {name} is {width}x{height} but {where} {photo.width}x{photo.height}: draw it at that size, "
                           f"or give it in the other frame with guidance_frame={other!r}")

    # -- the modalities ---------------------------------------------------------------------------------------------------

    def mask(self, picture: Picture) -> Tensor:
        """[1,1,256,256] in {0,1}. Raises :class:`FacemugError` if nothing is to be edited."""
        if isinstance(picture, Tensor):
            mask = _checked_tensor("mask", picture, (1, 1, FACE_SIZE, FACE_SIZE))
        else:
            mask = self.face.mask_to_crop(self.edited(picture))
        if not bool(mask.any()):
            raise FacemugError("the mask is empty: paint white what is to be edited")
        return mask

    def edited(self, picture: Picture) -> np.ndarray:
        """What a mask that is no tensor marks, bool [h,w] of the drawing's size; such an array is one already."""
        if isinstance(picture, np.ndarray) and picture.dtype == bool and picture.ndim == 2:
            self._check_size("mask", picture.shape[1], picture.shape[0])
            return picture
        return edited_pixels(self.pixels("mask", picture))

    def sketch(self, picture: Picture) -> Tensor:
        """[1,1,256,256] in {0,1}, 1 = stroke."""
        if isinstance(picture, Tensor):
            return _checked_tensor("sketch", picture, (1, 1, FACE_SIZE, FACE_SIZE))
        strokes = stroke_pixels(self.pixels("sketch", picture))
        if not strokes.any():
            raise FacemugError("the sketch is blank: draw dark strokes on white, or white ones on black")
        crop = self.face.to_crop(strokes.astype(np.uint8) * 255, "max")
        return torch.from_numpy((crop > 127).astype(np.float32))[None, None]

    def semantics(self, picture: Picture) -> Tensor:
        """Labels long [1,256,256], -1 = unlabelled."""
        if isinstance(picture, Tensor):
            if tuple(picture.shape) != (1, FACE_SIZE, FACE_SIZE) or picture.is_floating_point() or picture.dtype == torch.bool:
                raise FacemugError(f"semantics is a {picture.dtype} tensor of shape {list(picture.shape)}: "
                                   f"give whole-number labels [1, {FACE_SIZE}, {FACE_SIZE}]")
            return picture.detach().long().cpu()
        source = Path(picture).expanduser() if isinstance(picture, str | PathLike) else picture
        labels = label_map_from_image(source)
        self._check_size("label map", labels.shape[2], labels.shape[1])
        # One up, so that what lies outside of the photo, 0, is unlabelled and not background.
        shifted = (labels[0] + 1).to(torch.uint8).numpy()
        crop = warp(shifted, self.face.matrix, (FACE_SIZE, FACE_SIZE), "nearest", reflect=False)
        return torch.from_numpy(crop.astype(np.int64))[None] + UNLABELLED

    def colour(self, picture: Picture) -> Tensor:
        """[1,3,256,256] in [-1,1], 0 in all channels where nothing is painted."""
        if isinstance(picture, Tensor):
            return _checked_tensor("colour", picture, (1, 3, FACE_SIZE, FACE_SIZE))
        pixels = self.pixels("colour", picture)
        painted = painted_pixels(pixels)
        colours = pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        if not painted.any():
            raise FacemugError("the colour picture is unpainted: paint on a transparent layer or on black or white paper")
        # Unpainted pixels must not darken their neighbours: average colour × painted and painted, then divide.
        premultiplied = np.dstack([colours * painted[..., None], painted * 255]).astype(np.float32)
        crop = warp(premultiplied, self.face.matrix, (FACE_SIZE, FACE_SIZE), "area", reflect=False)
        share = crop[..., 3:] / 255
        values = np.clip(crop[..., :3] / np.maximum(share, 1e-3) / 127.5 - 1, -1, 1)
        values[np.abs(values) < 1e-3] = 1e-3  # mid-grey is a colour, 0 is none
        return torch.from_numpy((values * (share >= 0.5)).transpose(2, 0, 1).astype(np.float32))[None]


def read_exemplar(exemplar: FaceLike, index: int | None = None) -> Tensor:
    """[1,3,256,256] in [-1,1]; ``index`` picks one of several faces in a photo."""
    try:
        return read_face(exemplar, index, "exemplar_face").image
    except FacemugError as error:
        raise FacemugError(f"exemplar: {error}") from error


def _checked_tensor(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(value.shape) != shape:
        raise FacemugError(f"the {name} tensor has shape {list(value.shape)}: give {list(shape)}, in the aligned frame")
    return value.detach().to("cpu", torch.float32)
