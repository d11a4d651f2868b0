"""Exploring the prior: a face, sliders, and the picture that they make; without any widget.

A :class:`View` is all that was chosen. :class:`Exploration` paints it, first coarsely, then as the editor would, to the last bit,
and writes it down as code or as an edit script.

Taught in `notebooks/06_latent_directions.ipynb`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.fill.blending import CHANGE_SIGMA, blend, sameness
from facemug_lib.editing.known_faces import (
    MIXED_GROUPS,
    sampled_codes,
    sampled_face,
    shown_as,
)
from facemug_lib.editing.latent.direction_fit import components
from facemug_lib.editing.latent.directions import Direction, checked_strengths, moved, save_directions
from facemug_lib.editing.script.edit_script import EditScript, SampleRecord, Step, embedded
from facemug_lib.editing.script.filmstrip import checked_target
from facemug_lib.editing.script.staged import StagedPainter
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.modalities.masks import semantic
from facemug_lib.progress import Check, Progress, unchecked
from facemug_lib.seeds import check_seed

WHOLE, OWN = "whole picture", "own mask"
REGIONS: Mapping[str, tuple[str, ...]] = {
    "face": ("face",), "head": ("head", "hair", "hat"), "hair": ("hair",), "eyes": ("eyes",), "brows": ("brows",),
    "nose": ("nose",), "mouth": ("lips",)}
"""What a mask can cover: name → classes of the parser."""
GROWN = 8  # pixels: a region must have room for what it becomes
USEFUL = ("smile", "age", "gender", "yaw", "pitch", "glasses", "hair_lightness", "hair_length", "mouth_open", "eyes_open",
          "beard", "skin_lightness", "light")
"""The order in which attributes are offered."""
COMPONENTS = 10
PCA_SAMPLES, PCA_SEED = 4096, 0  # of w, for the principal components


@dataclass(frozen=True)
class View:
    """All that was chosen. ``photo`` takes the place of the sampled face that ``seed``, ``psi`` (truncation), ``mix_seed`` and
    ``mix_layers`` (groups of codes taken from that second face) describe; its codes are fitted by ``refine`` steps.
    ``attributes``: name → strength, zeros left out. ``region``: what is altered, one of :data:`REGIONS`, :data:`WHOLE` or
    :data:`OWN`. ``system``: a sibling system that then changes ``system_attributes`` of that picture. Raises
    :class:`FacemugError` for values that make no sense.
    """

    seed: int = 0
    psi: float = 0.7
    mix_seed: int = 1
    mix_layers: tuple[str, ...] = ()
    photo: AlignedFace | None = None
    refine: int = 8
    attributes: Mapping[str, float] = field(default_factory=dict)
    region: str = WHOLE
    system: str | None = None
    system_attributes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("seed", "mix_seed"):
            object.__setattr__(self, name, check_seed(getattr(self, name), name.replace("_", " ")))
        if not isinstance(self.psi, int | float) or not math.isfinite(self.psi) or not -2 <= self.psi <= 2:
            raise FacemugError(f"truncation {self.psi!r}: use a number from -2 to 2, 0.7 gives clean faces")
        if unknown := [name for name in self.mix_layers if name not in MIXED_GROUPS]:
            raise FacemugError(f"no group of codes is called {unknown[0]!r}: choose from {', '.join(MIXED_GROUPS)}")
        if isinstance(self.refine, bool) or not isinstance(self.refine, int) or not 1 <= self.refine <= 1000:
            raise FacemugError(f"{self.refine!r} steps to fit a photo: use 1 to 1000, 8 give a likeness")
        if self.region not in (WHOLE, OWN, *REGIONS):
            raise FacemugError(f"no region is called {self.region!r}: choose from {', '.join((WHOLE, *REGIONS))}")
        object.__setattr__(self, "mix_layers", tuple(name for name in MIXED_GROUPS if name in self.mix_layers))
        for name in ("attributes", "system_attributes"):
            object.__setattr__(self, name, {key: value for key, value in getattr(self, name).items() if value != 0})

    @property
    def sample(self) -> dict[str, Any]:
        """The arguments of :func:`~facemug_lib.editing.known_faces.sampled_face`."""
        mix = {"mix_seed": self.mix_seed, "mix_layers": list(self.mix_layers)} if self.mix_layers else {}
        return {"seed": self.seed, "psi": float(self.psi), **mix}

    def at(self, attribute: str, strength: float) -> View:
        """The same view with another strength of one attribute."""
        return replace(self, attributes={**self.attributes, attribute: strength})


class Exploration:
    """Paints views. What did not change since the last picture is not made again; for one thread at a time."""

    def __init__(self, editor: Editor, mask: Tensor | None = None) -> None:
        """``mask`` [1,1,256,256] in {0,1} is what the region :data:`OWN` stands for."""
        shape = (1, 1, FACE_SIZE, FACE_SIZE)
        if mask is not None and (tuple(mask.shape) != shape or not bool(((mask == 0) | (mask == 1)).all())):
            raise FacemugError(f"the mask has shape {list(mask.shape)} or values other than 0 and 1: give {list(shape)}")
        if mask is not None and not bool(mask.any()):
            raise FacemugError("the mask is empty: set to 1 what is to be altered")
        self.editor, self._own = editor, None if mask is None else mask.detach().to("cpu", torch.float32)
        self._painter = StagedPainter(editor.prior)
        self._faces: dict[Any, AlignedFace] = {}
        self._fitted: dict[Any, AlignedFace] = {}
        self._masks: dict[Any, Tensor] = {}
        self._near: _Detail | None = None  # of the last full picture
        self._start: tuple[Any, Tensor] | None = None  # of whom, the last sampled codes

    def check(self, view: View) -> None:
        """Raise :class:`FacemugError` for attributes that are not known; quick."""
        known = dict.fromkeys([*self.editor.directions, *component_names()])
        checked_strengths(view.attributes, known)
        if view.system is not None:
            system = self.editor.system(view.system)
            if view.system_attributes:
                system.check(view.system_attributes)

    # -- what a view means ------------------------------------------------------------------------------------------------

    def editor_for(self, view: View) -> Editor:
        """The editor that knows the view's attributes, principal components included."""
        if any(name.startswith("component ") for name in view.attributes):
            return with_components(self.editor)
        return self.editor

    def strengths(self, view: View) -> dict[str, float]:
        """The view's attributes, checked."""
        return checked_strengths(view.attributes, self.editor_for(view).directions)

    def has_face(self, view: View) -> bool:
        """Whether :meth:`face` is at hand."""
        return _key(view) in (self._faces if view.photo is None else self._fitted)

    def face(self, view: View, progress: Progress | None = None, check: Check = unchecked) -> AlignedFace:
        """The face that is altered, with its codes. A photo is fitted when it is first asked for: seconds; ``progress`` is called
        with (step, steps) and may raise."""
        key = _key(view)
        if view.photo is not None:
            if key not in self._fitted:  # kept for good: they cost most
                self._fitted[key] = self.editor.fit(view.photo, view.refine, progress or (lambda done, steps: None))
            return self._fitted[key]
        if key not in self._faces:
            made = sampled_face(self.editor.prior, **view.sample, paint=lambda codes: self._painter.paint(codes, 256, check))
            while len(self._faces) >= 12:  # a face is 1.5 MB
                self._faces.pop(next(iter(self._faces)))
            self._faces[key] = made
        return self._faces[key]

    def mask(self, view: View, check: Check = unchecked) -> Tensor:
        """What is altered, [1,1,256,256] in {0,1}. Raises :class:`FacemugError` where the face has no such region."""
        if view.region == WHOLE:
            return torch.ones(1, 1, FACE_SIZE, FACE_SIZE)
        if view.region == OWN:
            if self._own is None:
                raise FacemugError("no own mask was given: pass mask=, or choose a region")
            return self._own
        key = (*_key(view), view.region)
        if key not in self._masks:
            if len(self._masks) >= 64:
                self._masks.clear()
            self._masks[key] = region_mask(self.editor, self.face(view, check=check), view.region)
        return self._masks[key]

    def codes(self, view: View) -> Tensor:
        """The moved codes [1,t,512]."""
        if view.photo is None:  # known without painting the face
            if self._start is None or self._start[0] != _key(view):
                self._start = _key(view), sampled_codes(self.editor.prior, **view.sample)
            start = self._start[1]
        else:
            start = self.face(view).codes.to(self.editor.device)
        return moved(start, self.strengths(view), self.editor_for(view).directions)

    # -- pictures ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def preview(self, view: View, size: int = 64) -> Tensor:
        """Quickly about how the view looks, [1,3,256,256]: the prior's picture of ``size`` px (64 or 128), enlarged, with the
        fine detail of the last full picture wherever that still shows the same. The seam of a mask, and what a system does, are
        left to :meth:`picture`."""
        small = self._painter.paint(self.codes(view), size).cpu()
        small = self._near.lent_to(small) if self._near is not None and self._near.photo is view.photo else _enlarged(small)
        if view.region != WHOLE and self.has_face(view):
            face = self.face(view)
            small = torch.where(self.mask(view) > 0.5, small, face.image)
        return small.clamp(-1, 1)

    @torch.no_grad()
    def picture(self, view: View, check: Check = unchecked) -> Tensor:
        """The view [1,3,256,256] in [-1,1], equal to what the editor makes of it. ``check`` is called between the stages; it may
        raise to stop."""
        codes = self.codes(view)
        image = self._altered(view, codes, check) if self.strengths(view) else self.face(view, check=check).image
        self._near = _Detail(view.photo, image, self._painter.paint(codes, 64).cpu())
        check()
        return self._by_system(view, image, check)

    def _by_system(self, view: View, image: Tensor, check: Check) -> Tensor:
        """The picture after the view's system, if any: an edit of what the attributes left, as a script's second step is."""
        if view.system is None or not view.system_attributes:
            return image
        face, mask = self.face(view), self.mask(view)
        if self.strengths(view):
            face = face.repainted(face.paste_back(image, mask))
        edit = Edit(face, mask, attributes=view.system_attributes, guidance_frame="aligned", system=view.system)
        return self.editor.edit_many([edit], check=check)[0].image.cpu()

    def _altered(self, view: View, codes: Tensor, check: Check) -> Tensor:
        if view.photo is None and view.region == WHOLE:
            return self._painter.paint(codes, 256, check).clamp(-1, 1).cpu()
        face, mask = self.face(view, check=check), self.mask(view, check)
        raw = self._painter.paint(codes, 256, check)
        raw = shown_as(face, raw)
        check()
        return blend(raw.clamp(-1, 1), face.image.to(raw), mask.to(raw)).cpu()

    def sweep(self, view: View, attribute: str, strengths: Sequence[float], progress: Progress | None = None) -> Tensor:
        """The view at several strengths of one attribute: [n,3,256,256]. ``progress`` may raise to stop."""
        return torch.cat(list(self.frames(view, attribute, strengths, progress)))

    def frames(self, view: View, attribute: str, strengths: Sequence[float],
               progress: Progress | None = None) -> Iterator[Tensor]:
        """The pictures [1,3,256,256] of :meth:`sweep`, one after the other."""
        if not len(strengths):
            raise FacemugError("a sweep of no strengths: give at least one")
        checked = [view.at(attribute, float(strength)) for strength in strengths]
        for one in checked:
            self.strengths(one)
        for number, one in enumerate(checked, start=1):
            yield self.picture(one)
            if progress is not None:
                progress(number, len(checked))

    def thumbnails(self, seeds: Sequence[int], psi: float = 0.7) -> Iterator[Tensor]:
        """Sampled faces at 64 px, [1,3,64,64] each."""
        for seed in seeds:
            yield self.editor.prior.synthesize(sampled_codes(self.editor.prior, seed, psi), 64).float().clamp(-1, 1).cpu()

    # -- writing it down --------------------------------------------------------------------------------------------------

    def script(self, view: View) -> EditScript:
        """The view as an edit script, whose replay gives the same pixels."""
        face, wanted = self.face(view), self.strengths(view)
        steps = []
        if wanted:
            name = ", ".join(f"{attribute} {strength:+g}" for attribute, strength in wanted.items())[:200]
            steps = [Step(name=name, mask=_embedded_mask(self.mask(view)), attributes=wanted, guidance_frame="aligned",
                          refine=0 if view.photo is None else view.refine)]
        sample = None if view.photo is not None else SampleRecord(**view.sample)
        script = EditScript.begun(self.editor, face, sample, steps)
        if view.system is None or not view.system_attributes:
            return script
        step = Step(name=view.system, mask=_embedded_mask(self.mask(view)), attributes=dict(view.system_attributes),
                    guidance_frame="aligned", system=view.system)
        return script.added(step, self.editor.hashes_of(view.system))

    def save_script(self, view: View, path: Path | str) -> list[Path]:
        """Write the script to a .json file, and the principal components that it names, if any, to a file beside it that
        `facemug replay --directions` takes. Returns what was written."""
        path = checked_target(path, ".json")
        used = [one for name, one in self.editor_for(view).directions.items() if name in view.attributes
                and name not in self.editor.directions]
        written = [self.script(view).write(path)]
        if used:
            card = {"what": "principal components of sampled codes", "samples": PCA_SAMPLES, "seed": PCA_SEED}
            written.append(save_directions(path.with_name(f"{path.stem}_directions.safetensors"), used, card))
        return written

    def code(self, view: View) -> str:
        """Python code that makes the very same picture, and writes it to face.png."""
        wanted, device = self.strengths(view), self.editor.device.type
        has_components = self.editor_for(view) is not self.editor
        named = "".join(f", {name}={path!r}" for name, path in self.editor.loaded_from.items())
        imports, lines = ["import facemug_lib as fm"], [f'editor = fm.Editor.load("{device}"{named})']
        if has_components:
            imports.append("from facemug_lib.editing.script.exploring import with_components")
            lines.append("editor = with_components(editor)  # attributes \"component 1\" …")
        if view.photo is None:
            imports.append("from facemug_lib.editing.known_faces import sampled_face")
            lines.append(f"face = sampled_face(editor.prior, {', '.join(f'{k}={v!r}' for k, v in view.sample.items())})")
        else:
            aligned = ", aligned=True" if view.photo.landmarks is None else ""
            lines.append(f"face = fm.open_face({view.photo.photo.name!r}{aligned})")
            if wanted:
                lines.append(f"face = editor.fit(face, {view.refine})")
        by_system = view.system is not None and bool(view.system_attributes)
        if not wanted and not by_system:
            return "\n".join([*imports, "", *lines, 'fm.write_image("face.png", face.image)', ""])
        if view.region == WHOLE:
            imports.insert(0, "import torch\n")
            lines.append(f"mask = torch.ones(1, 1, {FACE_SIZE}, {FACE_SIZE})")
        elif view.region == OWN:
            imports.append("from facemug_lib.editing.script.edit_script import open_picture")
            lines.append(f'mask = open_picture(".", "{_embedded_mask(self.mask(view))}")')
        else:
            imports.append("from facemug_lib.editing.script.exploring import region_mask")
            lines.append(f"mask = region_mask(editor, face, {view.region!r})")
        if wanted:
            lines.append(f'result = editor.edit(face, mask, attributes={wanted!r}, guidance_frame="aligned")')
        if by_system:
            lines += ["face = face.repainted(result.paste_back())"] if wanted else []
            strengths = ", ".join(f"{name}={value!r}" for name, value in view.system_attributes.items())
            lines.append(f'result = fm.systems.load({view.system!r}).edit(face, mask, guidance_frame="aligned", {strengths})')
        return "\n".join([*sorted(imports, key=lambda line: line.startswith("from")), "", *lines,
                          'fm.write_image("face.png", result.image)', ""])


def _key(view: View) -> tuple[Any, ...]:
    """What a view's face depends on."""
    if view.photo is not None:
        return (view.photo, view.refine)
    sample = view.sample
    return tuple(sample.get(name) for name in ("seed", "psi", "mix_seed")) + (view.mix_layers,)


class _Detail:
    """What a full picture has more than ``small``, the prior's picture [1,3,64,64] of the same codes. Only previews of the same
    photo (none for sampled faces) may borrow it."""

    def __init__(self, photo: AlignedFace | None, image: Tensor, small: Tensor) -> None:
        self.photo, self._image, self._small = photo, image, small

    @cached_property
    def _surplus(self) -> Tensor:
        return self._image - _enlarged(self._small)

    def lent_to(self, preview: Tensor) -> Tensor:
        """A preview [1,3,s,s] at full size, with this detail wherever it still shows the same."""
        small, enlarged = preview, _enlarged(preview)
        coarse = enlarged
        if preview.shape != self._small.shape:
            small = F.avg_pool2d(preview, preview.shape[-1] // self._small.shape[-1])
            coarse = _enlarged(small)
        same = sameness(self._small, small, CHANGE_SIGMA * small.shape[-1] / FACE_SIZE)  # looked for where that is quick
        same = F.interpolate(same, (FACE_SIZE, FACE_SIZE), mode="bilinear", antialias=True)
        return torch.lerp(enlarged, coarse + self._surplus, same)


def _enlarged(picture: Tensor) -> Tensor:
    # PyTorch's anti-aliasing resampler is, of these, the quicker one on a CPU; enlarging, it has nothing to anti-alias.
    return F.interpolate(picture, (FACE_SIZE, FACE_SIZE), mode="bicubic", antialias=True)


def _embedded_mask(mask: Tensor) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray((mask[0, 0].numpy() * 255).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return embedded(buffer.getvalue())


@torch.no_grad()
def region_mask(editor: Editor, face: AlignedFace, region: str) -> Tensor:
    """A region of :data:`REGIONS` of a face as the expert parses it, a little grown: [1,1,256,256] in {0,1}."""
    if region not in REGIONS:
        raise FacemugError(f"no region is called {region!r}: choose from {', '.join(REGIONS)}")
    mask = semantic(editor.parse(face.image), REGIONS[region])
    if not bool(mask.any()):
        raise FacemugError(f"no {region} can be seen in this face: choose another region")
    return F.max_pool2d(mask, 2 * GROWN + 1, 1, GROWN)


# -- principal components -------------------------------------------------------------------------------------------------

_COMPONENTS: WeakKeyDictionary[Any, dict[str, Direction]] = WeakKeyDictionary()


def component_names() -> list[str]:
    """The names of the principal components that :func:`with_components` adds."""
    return [f"component {number}" for number in range(1, COMPONENTS + 1)]


def with_components(editor: Editor) -> Editor:
    """An editor that also knows "component 1" …: what codes of the prior differ by most (GANSpace). The prior decides them alone:
    they are fitted to the codes of fixed draws, once, and rounded as their file rounds them."""
    prior = editor.prior
    if prior not in _COMPONENTS:
        with torch.no_grad():
            w = prior.sample_w(PCA_SAMPLES, torch.Generator().manual_seed(PCA_SEED), 1.0).float().cpu()
        found = components(w, COMPONENTS)
        _COMPONENTS[prior] = {name: replace(one, name=name, vector=one.vector[:1].half().float().repeat(prior.num_codes, 1))
                              for name, one in zip(component_names(), found, strict=True)}
    return editor.with_directions(_COMPONENTS[prior])


def offered(names: Iterable[str]) -> list[str]:
    """Attributes in the order in which they are offered, the most useful ones first."""
    names = list(names)
    return [name for name in USEFUL if name in names] + [name for name in names if name not in USEFUL]
