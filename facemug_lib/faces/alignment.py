"""Photo → aligned face → back into the photo, with nothing else touched.

The crop is FFHQ's (Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019): a similarity
that puts eyes and mouth at fixed places. FFHQ reads them off 68 points; here they come from 106.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import cv2
import numpy as np
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.faces.drawn import edited_pixels, luma_of
from facemug_lib.faces.landmarks import DetectedFace, FaceAnalyzer, eye_centres, mouth_corners
from facemug_lib.faces.photos import Photo, PhotoLike, read_photo
from facemug_lib.faces.warping import Interpolation, invert, resize_matrix, similarity_scale, transform_points, warp

Frame = Literal["photo", "aligned"]

# Among several faces, one this many times as large as the next is taken without asking.
CLEARLY_LARGEST = 2.5


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """An aligned crop and the way back.

    ``image``: [1, 3, size, size] in [-1, 1]. ``matrix``: 2×3, photo pixel indices (x, y) → crop pixel indices.
    ``face`` and ``landmarks`` ([106, 2], photo coordinates) are None where detection was skipped. ``codes`` [1, t, 512] and
    ``likeness`` [1, 3, size, size], the prior's own picture of them, are there where they are known: of a sampled face, or of a
    photo that was fitted once. Such a face can be altered by one pass of the prior. ``others`` are the photo's other faces,
    by the numbers that choose them, where this one was taken as the clearly largest.
    """

    image: torch.Tensor
    photo: Photo
    matrix: np.ndarray
    face: DetectedFace | None = None
    landmarks: np.ndarray | None = None
    codes: torch.Tensor | None = None
    likeness: torch.Tensor | None = None
    others: Mapping[int, DetectedFace] = field(default_factory=dict)

    @property
    def original(self) -> np.ndarray:
        """The photo's pixels, upright, in their own dtype and layout."""
        return self.photo.pixels

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.image.shape[-1]

    def repainted(self, pixels: np.ndarray) -> AlignedFace:
        """The same face, under the same alignment, in an edited photo given as pixels like :attr:`original`; its codes are no
        longer known."""
        photo = replace(self.photo, pixels=pixels)
        return replace(self, photo=photo, image=crop_photo(photo, self.matrix, self.size), codes=None, likeness=None)

    def to_crop(self, guidance: PhotoLike, interpolation: Interpolation = "area") -> np.ndarray:
        """Bring a guidance image drawn on the photo into the crop: [size, size] or [size, size, c], the input's dtype.

        ``"area"`` suits colours, ``"nearest"`` labels, ``"max"`` masks and strokes (a stroke survives however thin).
        Where the crop leaves the photo, 0. Raises :class:`FacemugError` if the sizes differ.
        """
        pixels = self._checked(read_photo(guidance).pixels)
        warped = warp(pixels, self.matrix, (self.size, self.size), interpolation, reflect=False)
        if interpolation == "area":
            warped = _to_dtype(warped, pixels.dtype)
        return warped

    def mask_to_crop(self, mask: PhotoLike | torch.Tensor) -> torch.Tensor:
        """A photo-sized mask (white = edit) as [1, 1, size, size] in {0, 1}: every crop pixel it touches is set.

        Raises :class:`FacemugError` if the sizes differ or nothing of the mask lies inside the crop.
        """
        binary = self._photo_mask(mask)
        crop = warp(binary.astype(np.uint8), self.matrix, (self.size, self.size), "max", reflect=False)
        if binary.any() and not crop.any():
            other = self.face_under(mask)
            choose = "" if other is None else f", or choose face {other[0]}, which the mask lies on (--face {other[0]})"
            raise FacemugError("the mask lies outside of the face crop: paint over the face, its hair or its surroundings"
                               f"{choose}")
        return torch.from_numpy(crop.astype(np.float32))[None, None]

    def share_shown(self, mask: PhotoLike | torch.Tensor) -> float:
        """How much of a photo-sized mask the crop shows, 0 … 1; the rest of it cannot be edited."""
        binary = self._photo_mask(mask)
        rows, columns = self._footprint()
        return float((binary[rows, columns] & self._shown(rows, columns)).sum() / max(binary.sum(), 1))

    def face_under(self, mask: PhotoLike | torch.Tensor) -> tuple[int, DetectedFace] | None:
        """Which of the :attr:`others`, with its number, a photo-sized mask lies on, if more than on this face."""
        if not self.others or self.face is None:
            return None
        binary = self._photo_mask(mask)
        covered = {number: _inside(binary, other.box) for number, other in self.others.items()}
        number = max(covered, key=covered.__getitem__)
        return (number, self.others[number]) if covered[number] > _inside(binary, self.face.box) else None

    def mask_to_photo(self, mask: torch.Tensor) -> np.ndarray:
        """An aligned mask [1, 1, size, size] as a bool array [h, w] over the photo: at least half covered pixels."""
        if tuple(mask.shape[-2:]) != (self.size, self.size) or mask.numel() != self.size**2:
            raise FacemugError(f"the aligned mask is {list(mask.shape)}: it must be [1, 1, {self.size}, {self.size}]")
        values = mask.detach().to("cpu", torch.float32).reshape(self.size, self.size).numpy()
        full = np.zeros((self.photo.height, self.photo.width), dtype=bool)
        rows, columns = self._footprint()
        full[rows, columns] = self._to_photo(values, rows, columns, reflect=False) >= 0.5
        return full

    def paste_back(self, edited: torch.Tensor, mask: torch.Tensor | PhotoLike, *, frame: Frame = "aligned",
                   feather: float = 2.0, keep_detail: bool = True, colour: bool = False) -> np.ndarray:
        """Put ``edited`` [1, 3, size, size] in [-1, 1] into the photo, at the photo's full size.

        ``mask`` (1 or white = edited) is [1, 1, size, size] in the crop's frame, or the size of the photo with
        ``frame="photo"``. Every pixel outside it equals the original's bit for bit; the edit fades in over ``feather``
        crop pixels *inside* the mask. Where the edit kept the crop's structure, the photo's finer detail is kept too
        (``keep_detail``), so that an unchanged crop gives the unchanged photo. Parts of the mask that the crop does not
        show stay as they are, and so does transparency. A grey photo stays grey (the edit's luma) unless ``colour``
        asks for RGB, in which unedited pixels have three equal channels.

        Returns an array of the photo's layout and dtype. Raises :class:`FacemugError` on wrong sizes.
        """
        if tuple(edited.shape) != (1, 3, self.size, self.size):
            raise FacemugError(f"the edited crop is {list(edited.shape)}: it must be [1, 3, {self.size}, {self.size}]")
        region = self._photo_mask(mask) if frame == "photo" else self.mask_to_photo(mask)
        result = self.photo.pixels.copy()
        if colour and self.photo.is_grey:
            result = np.repeat(result[..., None], 3, axis=2)
        rows, columns = self._footprint()
        region = region[rows, columns] & self._shown(rows, columns)
        if not region.any():
            return result
        weight = self._fade(region, feather)
        # From here on only the mask's bounding box matters, which keeps huge photos cheap.
        box = _bounding_box(region)
        region, weight = region[box], weight[box]
        rows = slice(rows.start + box[0].start, rows.start + box[0].stop)
        columns = slice(columns.start + box[1].start, columns.start + box[1].stop)
        patch = result[rows, columns] if result.ndim == 2 else result[rows, columns, :3]
        new = self._edited_patch(edited, rows, columns, keep_detail)
        if patch.ndim == 2:
            new = luma_of(new)
        else:
            region, weight = region[..., None], weight[..., None]
        old = patch.astype(np.float32)
        blended = _to_dtype(old + weight * (new - old), patch.dtype)
        # `patch` is a view, so this writes into the result; old values are copied, never computed.
        patch[...] = np.where(region, blended, patch)
        return result

    def _edited_patch(self, edited: torch.Tensor, rows: slice, columns: slice, keep_detail: bool) -> np.ndarray:
        """The edit over a part of the photo, float32 [h, w, 3] in the photo's own range."""
        new = (_crop_array(edited) + 1) / 2
        if not keep_detail:
            return self._to_photo(new, rows, columns) * self.photo.white
        before = (_crop_array(self.image) + 1) / 2
        old = self.photo.colours()[rows, columns].astype(np.float32) / self.photo.white
        old = old[..., None] if old.ndim == 2 else old
        # Photo + change of the crop is exact where nothing changed; the photo's detail then goes where the content did.
        detail = old - self._to_photo(before, rows, columns)
        lost = self._to_photo(1 - structure_kept(luma_of(before), luma_of(new)), rows, columns).clip(0, 1)
        return (old + self._to_photo(new - before, rows, columns) - lost[..., None] * detail) * self.photo.white

    def _fade(self, region: np.ndarray, feather: float) -> np.ndarray:
        """Weights in 0…1 that grow from the mask's edge inwards; the photo's own border is no edge."""
        if feather <= 0:
            return region.astype(np.float32)
        distance = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        return np.minimum(distance / (1 + feather / similarity_scale(self.matrix)), 1)

    def _footprint(self) -> tuple[slice, slice]:
        """Rows and columns of the photo around all that the crop covers, a pixel more where the photo goes on."""
        edge = self.size - 0.5
        corners = transform_points(invert(self.matrix), np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]]))
        limit = [self.photo.width, self.photo.height]
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, limit)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, limit)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def _to_photo(self, crop: np.ndarray, rows: slice, columns: slice, *, reflect: bool = True) -> np.ndarray:
        """Resample a float32 crop onto a part of the photo."""
        to_patch = invert(self.matrix)
        to_patch[:, 2] -= [columns.start, rows.start]
        return warp(crop, to_patch, (columns.stop - columns.start, rows.stop - rows.start), reflect=reflect)

    def _shown(self, rows: slice, columns: slice) -> np.ndarray:
        """Which pixels of a part of the photo the crop shows, bool [h, w]."""
        return self._to_photo(np.ones((self.size, self.size), dtype=np.float32), rows, columns, reflect=False) >= 0.5

    def _photo_mask(self, mask: PhotoLike | torch.Tensor) -> np.ndarray:
        """Any mask of the photo's size as bool [h, w], as :func:`facemug_lib.faces.drawn.edited_pixels` understands it; an array
        that is that already as it is."""
        if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.ndim == 2:
            return self._checked(mask)
        if isinstance(mask, torch.Tensor):
            if mask.ndim < 2 or mask.numel() != mask.shape[-1] * mask.shape[-2]:
                raise FacemugError(f"the mask is {list(mask.shape)}: a mask tensor must be [h, w] or [1, 1, h, w]")
            return self._checked(mask.detach().to("cpu", torch.float32).reshape(mask.shape[-2:]).numpy()) >= 0.5
        photo = read_photo(mask)
        self._checked(photo.pixels)
        return edited_pixels(photo.pixels8())

    def _checked(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] != (self.photo.height, self.photo.width):
            raise FacemugError(
                f"the guidance is {pixels.shape[1]}x{pixels.shape[0]} but the photo {self.photo.width}x{self.photo.height}:"
                " draw it at the photo's size, or say that it is in the aligned frame"
            )
        return pixels


class SeveralFaces(FacemugError):
    """A photo shows several faces, and nobody said which is meant: ``photo`` is that photo, ``faces`` are its faces, left to
    right. A page lets people choose one."""

    def __init__(self, line: str, photo: Photo, faces: list[DetectedFace]) -> None:
        super().__init__(line)
        self.photo, self.faces = photo, faces


def open_face(source: PhotoLike, face: int | None = None, size: int = 256, *, aligned: bool = False,
              analyzer: FaceAnalyzer | None = None, option: str = "face") -> AlignedFace:
    """Find the face in a photo (anything :func:`read_photo` takes) and align it.

    ``face`` counts from 0, left to right. Without it the photo must hold one face, or one whose area is at least 2.5
    times the next one's. ``aligned=True`` takes a square image as the aligned crop that it already is, without detection.
    ``option`` is what the caller's own argument for ``face`` is called; messages advise it.
    Raises :class:`FacemugError` where there is no face, a choice is needed, or the image cannot be read.
    """
    if size < 64:
        raise FacemugError(f"a crop of {size} pixels is too small: use at least 64")
    photo = read_photo(source)
    if aligned:
        if photo.width != photo.height:
            raise FacemugError(f"{photo.name} is {photo.width}x{photo.height}: an already aligned face is square")
        matrix = resize_matrix(size / photo.width)
        return AlignedFace(crop_photo(photo, matrix, size), photo, matrix)
    analyzer = analyzer or shared_analyzer()
    rgb = photo.rgb8()
    found = left_to_right(analyzer.detect(rgb))
    try:
        chosen = choose_face(found, face, photo.name, option)
    except FacemugError as error:
        if face is None and found:
            raise SeveralFaces(str(error), photo, found) from error
        raise
    landmarks = analyzer.landmarks(rgb, chosen)
    matrix = ffhq_matrix(landmarks, size)
    others = {number: other for number, other in enumerate(found) if other is not chosen and face is None}
    return AlignedFace(crop_photo(photo, matrix, size), photo, matrix, chosen, landmarks, others=others)


@cache
def shared_analyzer() -> FaceAnalyzer:
    """One pair of networks for all calls that bring none of their own, with no more threads than PyTorch has."""
    return FaceAnalyzer(threads=min(2, torch.get_num_threads()))


def left_to_right(faces: list[DetectedFace]) -> list[DetectedFace]:
    """The faces in the order in which they are numbered."""
    return sorted(faces, key=lambda found: (found.box[0] + found.box[2]) / 2)


def place_of(face: DetectedFace) -> str:
    """Where a face is, in words."""
    return f"at x={(face.box[0] + face.box[2]) / 2:.0f} y={(face.box[1] + face.box[3]) / 2:.0f}"


def choose_face(faces: list[DetectedFace], index: int | None, name: str = "the image", option: str = "face") -> DetectedFace:
    """The face meant by ``index`` (0 = leftmost), or the only or clearly largest one where it is None."""
    if not faces:
        raise FacemugError(f"no face found in {name}: use a photo with a face turned to the camera, 20 pixels wide or more")
    ordered = left_to_right(faces)
    if index is not None:
        if not 0 <= index < len(ordered):
            raise FacemugError(f"there is no face {index} in {name}: it has {len(ordered)}, counted from 0, left to right")
        return ordered[index]
    largest = sorted(faces, key=lambda found: -found.area)
    if len(faces) > 1 and largest[0].area < CLEARLY_LARGEST * largest[1].area:
        places = ", ".join(
            f"{number} {place_of(f)} ({f.box[2] - f.box[0]:.0f} px wide)"
            for number, f in enumerate(ordered)
        )
        raise FacemugError(f"{name} shows {len(faces)} faces, left to right {places}: choose one with {option}=N "
                           f"(--{option.replace('_', '-')} N)")
    return largest[0]


def ffhq_matrix(landmarks: np.ndarray, size: int = 256) -> np.ndarray:
    """FFHQ's crop as a 2×3 similarity, photo → crop, from 106 landmarks.

    With e = right − left eye, m = mouth − eyes, the half side is x ∝ e − rot90(m), of length max(2·|e|, 1.8·|m|), around
    eyes + 0.1·m (FFHQ's align script).
    """
    left_eye, right_eye = eye_centres(landmarks)
    eyes = (left_eye + right_eye) / 2
    across = right_eye - left_eye
    down = mouth_corners(landmarks).mean(axis=0) - eyes
    axis = across - np.array([-down[1], down[0]])
    axis /= np.linalg.norm(axis)
    half = max(np.linalg.norm(across) * 2.0, np.linalg.norm(down) * 1.8)
    centre = eyes + 0.1 * down
    scale = size / (2 * half)
    rotation = scale * np.array([[axis[0], axis[1]], [-axis[1], axis[0]]])
    # The crop's centre lies between pixels: index (size − 1) / 2.
    return np.column_stack([rotation, (size - 1) / 2 - rotation @ centre])


def crop_photo(photo: Photo, matrix: np.ndarray, size: int) -> torch.Tensor:
    """The photo under ``matrix``, anti-aliased, mirrored where the crop leaves it: [1, 3, size, size] in [-1, 1]."""
    crop = warp(photo.colours(), matrix, (size, size))
    if crop.ndim == 2:
        crop = np.repeat(crop[..., None], 3, axis=2)
    image = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None]
    return image.div(photo.white / 2).sub(1).clamp(-1, 1)


def structure_kept(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far two grey crops [h, w] in 0…1 share their local structure: 0 new content, 1 the same up to brightness.

    This is SSIM's structure term (Wang et al. 2004), (σ_ab + c) / (σ_a σ_b + c), in a Gaussian window of 3 pixels, with
    values below 0.5 cut to 0.
    """
    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), 3.0, borderType=cv2.BORDER_REFLECT_101)

    constant = 2e-4
    mean_a, mean_b = blur(before), blur(after)
    variance_a = np.maximum(blur(before * before) - mean_a**2, 0)
    variance_b = np.maximum(blur(after * after) - mean_b**2, 0)
    covariance = blur(before * after) - mean_a * mean_b
    structure = (covariance + constant) / (np.sqrt(variance_a * variance_b) + constant)
    return np.clip(2 * structure - 1, 0, 1).astype(np.float32)


def _to_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round and clip float values to ``dtype``, which they are already scaled for."""
    if np.dtype(dtype).kind != "u":
        return np.clip(values, 0, 1).astype(dtype)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def _inside(mask: np.ndarray, box: np.ndarray) -> int:
    """How many pixels of a bool array [h, w] lie in a box."""
    left, top, right, bottom = (max(0, round(float(edge))) for edge in box)
    return int(mask[top:bottom, left:right].sum())


def _bounding_box(region: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the set part of a bool array that has one."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _crop_array(image: torch.Tensor) -> np.ndarray:
    """[1, 3, s, s] as float32 [s, s, 3]."""
    return np.ascontiguousarray(image.detach().to("cpu", torch.float32)[0].permute(1, 2, 0).numpy())
