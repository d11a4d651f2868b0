"""What is compared: FACEMUG, and what can be had without it.

Every method sees the same :class:`~facemug_lib.evaluation.protocols.Cases` and changes nothing but the hole. The simple ones
say what a number means; masked latent optimisation is the strong baseline, as it needs only the prior and minutes of patience.

Taught in `notebooks/09_evaluation.ipynb`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from facemug_lib.editing import editor as editor_module
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.fill import blending, recolouring, refine, toning
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.protocols import SIZE, Cases, subset
from facemug_lib.evaluation.store import code_hash
from facemug_lib.faces import prior as prior_module
from facemug_lib.faces.photos import read_photo
from facemug_lib.files import files_in
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.models import generator, latent_warping, style_encoder
from facemug_lib.pictures import as_8_bit, to_floats, to_pixels
from facemug_lib.weights import weights_hash

CHUNK = 8  # faces that share a pass
OPTIMISATION = refine.RefineSettings(start_share=50 / 70, fine_share=0.0)
"""Of 70 steps 50 at 64 px and 20 at 128: two thirds of the time of 70 steps at 128 px and, over four portraits and four sampled
faces with centre holes, no worse (LPIPS-VGG 0.0587 against 0.0600, LPIPS-Alex 0.0377 against 0.0383)."""


class Method(Protocol):
    """One way of filling holes, or several that share their work.

    names: the rows it yields. ``describe()``: plain data that changes with everything its pictures depend on besides the cases
    (settings, weights, code); part of the cache's key.
    """

    names: tuple[str, ...]

    def describe(self) -> dict[str, Any]: ...

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        """Row name → pictures [n,3,256,256] in [-1,1] on the 8-bit grid, on the CPU; outside the holes the cases' own, bit for
        bit."""
        ...


class Facemug:
    """One feed-forward pass of the editor, mask only, with the cases' seeds; with ``refine`` also followed by that many steps of
    latent optimisation."""

    def __init__(self, editor: Editor, refine: int = 0) -> None:
        self.editor, self.refine = editor, refine
        self.names = ("FACEMUG", f"FACEMUG + {refine} steps") if refine else ("FACEMUG",)

    def describe(self) -> dict[str, Any]:
        code = code_hash(Facemug, editor_module, blending, toning, recolouring, prior_module, style_encoder, latent_warping,
                         generator)
        description = {"method": "FACEMUG", "weights": self.editor.hashes(), "code": code, "psi": editor_module.PSI}
        if self.refine:
            description["refine"] = {"steps": self.refine} | _refining(self.editor, refine.RefineSettings())
        return description

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for piece in _chunks(cases):
            edits = [Edit(face[None], mask[None], seed=seed, guidance_frame="aligned")
                     for face, mask, seed in zip(piece.images, piece.masks, piece.seeds, strict=True)]
            for name, steps in zip(self.names, (0, self.refine), strict=False):
                results = self.editor.edit_many(edits, refine=steps, progress=_silent)
                found[name] += [one.image.cpu() for one in results]
        return {name: _completed(torch.cat(images), cases) for name, images in found.items()}


class MeanColour:
    """The hole filled with the mean colour of the known pixels; mid-grey where nothing is known."""

    names = ("mean colour",)

    def describe(self) -> dict[str, Any]:
        return {"method": "mean colour", "code": code_hash(MeanColour)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        known = 1 - cases.masks
        mean = (cases.images * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        return {self.names[0]: _completed(mean.expand_as(cases.images), cases)}


class Telea:
    """Fast marching from the hole's edge inwards (Telea, "An Image Inpainting Technique Based on the Fast Marching Method",
    2004), as in OpenCV; ``radius`` in pixels of the neighbourhood that a pixel is averaged from."""

    names = ("Telea",)

    def __init__(self, radius: float = 3.0) -> None:
        self.radius = radius

    def describe(self) -> dict[str, Any]:
        return {"method": "Telea", "radius": self.radius, "opencv": cv2.__version__, "code": code_hash(Telea)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        pixels = to_pixels(cases.images * (1 - cases.masks)).permute(0, 2, 3, 1).numpy()
        holes = to_pixels(cases.masks * 2 - 1)[:, 0].numpy()
        filled = np.stack([cv2.inpaint(np.ascontiguousarray(picture), hole, self.radius, cv2.INPAINT_TELEA)
                           for picture, hole in zip(pixels, holes, strict=True)])
        return {self.names[0]: _completed(to_floats(torch.from_numpy(filled).permute(0, 3, 1, 2)), cases)}


class ExemplarPaste:
    """Another face's pixels in the hole: sharp, and wrong."""

    names = ("exemplar paste",)

    def describe(self) -> dict[str, Any]:
        return {"method": "exemplar paste", "code": code_hash(ExemplarPaste)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        return {self.names[0]: _completed(cases.exemplars, cases)}


class Inversion:
    """GAN inversion of the masked picture in one pass: codes w_x = E_s(C) with the image as the only modality, painted by the
    prior and brought into the photo by plain pasting and by Poisson blending (Pérez et al. 2003, the unscreened equation)."""

    names = ("inversion, pasted", "inversion, Poisson")

    def __init__(self, editor: Editor) -> None:
        self.editor = editor

    def describe(self) -> dict[str, Any]:
        networks = {name: weights_hash(getattr(self.editor, name)) for name in ("prior", "encoder")}
        return {"method": "inversion", "weights": networks,
                "code": code_hash(Inversion, _poisson, blending, prior_module, style_encoder)}

    @torch.no_grad()
    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        painted = []
        for piece in _chunks(cases):
            conditions = Conditions.build(piece.masks, piece.images).to(self.editor.device)
            codes = self.editor.encoder(conditions.encoder_input()).float()
            painted.append(self.editor.prior.synthesize(codes, SIZE).float().cpu())
        raw = torch.cat(painted).clamp(-1, 1)
        pasted, seamless = self.names
        return {pasted: _completed(raw, cases), seamless: _completed(_poisson(raw, cases), cases)}


class Optimisation:
    """Masked latent optimisation, what the prior can do alone: from its mean face, Adam moves one shared w and small offsets of
    each code until the known pixels agree (LPIPS-VGG and squared error, a pull to the mean w, a penalty on the offsets); then
    Poisson blending. No encoder and no other trained network of the editor takes part."""

    names = ("optimisation",)

    def __init__(self, editor: Editor, steps: int = 70, settings: refine.RefineSettings | None = None) -> None:
        self.editor, self.steps = editor, steps
        self.settings = settings or OPTIMISATION

    def describe(self) -> dict[str, Any]:
        return {"method": "optimisation", "steps": self.steps, "prior": weights_hash(self.editor.prior),
                "code": code_hash(Optimisation, _poisson, blending, prior_module)} | _refining(self.editor, self.settings)

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        prior, experts = self.editor.prior, self.editor.experts(False, False)
        painted = []
        for piece in _chunks(cases):
            conditions = Conditions.build(piece.masks, piece.images).to(self.editor.device)
            start = prior.broadcast(prior.mean_w.expand(len(piece), -1))
            refined = refine.refine(prior, conditions, piece.images.to(self.editor.device), [start], self.steps, experts,
                                    settings=self.settings)
            painted.append(refined.image.cpu())
        return {self.names[0]: _completed(_poisson(torch.cat(painted).clamp(-1, 1), cases), cases)}


class Folder:
    """Pictures that others made for the exported cases, read instead of computed.

    ``folder`` holds ``<set>/<family>/<index:06d>.png`` or ``<index:06d>_inpaint.png``, 256 × 256 px. Pixels outside the holes
    are scored as the peer made them: nothing is composited, so a method that repaints the known pixels pays for it.
    """

    def __init__(self, folder: Path | str, name: str) -> None:
        self.folder, self.names = Path(folder), (name,)
        if not self.folder.is_dir():
            raise FacemugError(f"{self.folder} is not a folder: name the folder with {name}'s pictures, "
                               "<set>/<family>/<index>.png inside")

    def describe(self) -> dict[str, Any]:
        """With the SHA-256 of all its pictures."""
        digest = hashlib.sha256()
        for path in files_in(self.folder, (".png",)):
            digest.update(path.relative_to(self.folder).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
        return {"method": "folder", "name": self.names[0], "pictures": digest.hexdigest()}

    def pictures(self, set_name: str, family: str, indices: Sequence[int]) -> Tensor:
        """The pictures [n,3,256,256] in [-1,1] of these faces of a test set under a mask family."""
        return torch.stack([self._read(self.folder / set_name / family, index) for index in indices])

    def _read(self, place: Path, index: int) -> Tensor:
        plain, suffixed = place / f"{index:06d}.png", place / f"{index:06d}_inpaint.png"
        path = plain if plain.is_file() else suffixed
        if not path.is_file():
            raise FacemugError(f"no picture {plain} nor {suffixed.name} beside it: every exported case needs one")
        try:
            pixels = read_photo(path).rgb8()
        except FacemugError as error:
            raise FacemugError(f"{path} cannot be read as a picture: write it as an 8-bit PNG of {SIZE} × {SIZE} px") from error
        if pixels.shape[:2] != (SIZE, SIZE):
            raise FacemugError(f"{path} has {pixels.shape[1]} × {pixels.shape[0]} px: {SIZE} × {SIZE} px are expected")
        return to_floats(torch.from_numpy(pixels.copy()).permute(2, 0, 1))


def default_methods(editor: Editor, refine: int = 0, optimise: bool = True) -> list[Method]:
    """FACEMUG and every baseline, in the table's order; ``optimise=False`` leaves out the one that takes seconds per face."""
    methods: list[Method] = [Facemug(editor, refine), MeanColour(), Telea(), ExemplarPaste(), Inversion(editor)]
    return [*methods, Optimisation(editor)] if optimise else methods


# -- shared pieces ----------------------------------------------------------------------------------------------------------


def _refining(editor: Editor, settings: refine.RefineSettings) -> dict[str, Any]:
    return {"settings": asdict(settings), "perceptual": weights_hash(editor.experts(False, False).perceptual),
            "refining": code_hash(refine)}


def _poisson(raw: Tensor, cases: Cases) -> Tensor:
    """Pérez et al. 2003: the gradients of ``raw``, the values of the photo along the hole's edge."""
    return blending.blend(raw, cases.images, cases.masks, reach=math.inf, match_detail=False)


def _completed(filled: Tensor, cases: Cases) -> Tensor:
    return torch.where(cases.masks > 0.5, as_8_bit(filled), cases.images)


def _chunks(cases: Cases) -> Iterator[Cases]:
    for start in range(0, len(cases), CHUNK):
        yield subset(cases, range(start, min(start + CHUNK, len(cases))))


def _silent(done: int, total: int) -> None:
    """Keeps refinement from reporting by itself."""
