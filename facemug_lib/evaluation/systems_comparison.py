"""The sibling systems on one task, beside the prior's directions and the editor: who changes what was asked for, and what else.

Every face is sent to the other side of an attribute: who smiles shall not, who does not shall. Sampled faces have a known pair,
the same face moved by the prior; photographs have none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.drawing import read_face
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.metrics import Score
from facemug_lib.experts.text_image import TextImage
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.faces.dataset import TEST_SEEDS, PriorFaces, read_square
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.pictures import as_8_bit, to_floats
from facemug_lib.progress import Tell, untold
from facemug_lib.systems import SystemEditor
from facemug_lib.systems.common.faces import SystemFaces
from facemug_lib.systems.common.rendering import SIDES, TRAIT_NAMES, Maker
from facemug_lib.systems.common.scores import changed_region

SIZE = 256
TASKS = ("smile", "age", "gender")
STATEMENTS = {"smile": ("a smiling person", "a serious person"), "age": ("an old person", "a young person"),
              "gender": ("a man", "a woman")}
"""What the second judge, the text–image model, is asked: of the side above the middle, and of the one below."""
UNITS = 2.0  # of a direction: about as far as a pair lies from the other side's middle
FEWEST = 50  # faces that a KID is estimated from; its floor is told beside it
SHARE = 0.5  # of the pairs that change at a point, from which on the point belongs to an attribute's region
PARTS = {"smile": ("mouth", "u_lip", "l_lip"), "mouth_open": ("mouth", "u_lip", "l_lip")}
"""What the editor's mask covers, grown by :data:`GROWN`; of other attributes all of the face and the hair."""
HEAD = ("skin", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "mouth", "u_lip", "l_lip", "hair", "l_ear", "r_ear")
GROWN = 25  # pixels, odd


@dataclass(frozen=True, eq=False)
class TestFaces:
    """Faces to be edited: aligned, of 256 px; ``traits`` [n,13] as the expert reads them, ``pairs`` attribute → [n,3,256,256]."""

    name: str
    faces: Sequence[AlignedFace]
    traits: Tensor
    pairs: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def images(self) -> Tensor:
        """The faces [n,3,256,256] in [-1,1]."""
        return torch.cat([face.image for face in self.faces])

    def signs(self, attribute: str) -> Tensor:
        """1 where a face is to go above the middle of an attribute, −1 where below: [n]."""
        sides = SIDES[attribute]
        return torch.where(self.traits[:, TRAIT_NAMES.index(sides.trait)] >= sides.middle, -1.0, 1.0)


def sampled_set(count: int, maker: Maker, attributes: Sequence[str] = TASKS, faces: SystemFaces | None = None) -> TestFaces:
    """The first ``count`` test faces, with their codes and their pairs along ``attributes``; ``maker`` paints 256 px."""
    faces = faces or SystemFaces(maker, attributes, pool=1)
    unseen = {name: faces.unseen(name, count) for name in attributes}
    first = unseen[attributes[0]]
    codes = PriorFaces(maker.prior, (0.7, 0.7), 0.0).codes(TEST_SEEDS[:count]).cpu()
    aligned = [replace(read_face(image.cpu()), codes=code, likeness=image.cpu())
               for image, code in zip(first.images.split(1), codes.split(1), strict=True)]
    return TestFaces("sampled faces", aligned, first.extra["traits"].cpu(),
                     {name: one.extra["pair"].cpu() for name, one in unseen.items()})


def photograph_set(files: Sequence[Path], maker: Maker, name: str) -> TestFaces:
    """Photographs of aligned faces."""
    if not files:
        raise FacemugError(f"no photograph in {name}: name a folder of aligned faces")
    images = torch.stack([to_floats(read_square(path, SIZE)) for path in files])
    return TestFaces(name, [read_face(image) for image in images.split(1)], maker.read(images.to(maker.device))[1].cpu())


# -- who edits ------------------------------------------------------------------------------------------------------------


class Way(Protocol):
    """Something that can move a face to the other side of an attribute."""

    name: str
    parameters: int
    images_seen: int | None

    def can(self, attribute: str, faces: TestFaces) -> bool:
        """Whether it knows the attribute, both ways, and has anything of its own to say of such faces."""
        ...

    def __call__(self, face: AlignedFace, attribute: str, sign: float) -> Tensor:
        """The edited face [1,3,256,256] in about [-1,1]."""
        ...


@dataclass(frozen=True)
class Unedited:
    """The face itself: the floor of every column."""

    name: str = "unedited"
    parameters: int = 0
    images_seen: int | None = None

    def can(self, attribute: str, faces: TestFaces) -> bool:
        return True

    def __call__(self, face: AlignedFace, attribute: str, sign: float) -> Tensor:
        return face.image


class OfSystem:
    """A sibling system at its whole strength, on the whole face."""

    def __init__(self, editor: SystemEditor, images_seen: int | None = None) -> None:
        self.editor, self.name, self.images_seen = editor, editor.name, images_seen
        self.parameters = sum(one.numel() for one in editor.system.networks.parameters())

    def can(self, attribute: str, faces: TestFaces) -> bool:
        known = self.editor.attributes.get(attribute)
        return known is not None and known.low <= -1 and known.high >= 1

    def __call__(self, face: AlignedFace, attribute: str, sign: float) -> Tensor:
        return self.editor.edit(face, guidance_frame="aligned", **{attribute: sign}).image.cpu()


class OfEditor:
    """The editor's attribute, :data:`UNITS` along the calibrated direction: on the whole face, or under a mask of the part that
    shows it. ``refine`` steps look for a photograph's codes first; those of sampled faces are known."""

    images_seen = None

    def __init__(self, editor: Editor, refine: int = 0, is_masked: bool = False) -> None:
        self.editor, self.refine, self.is_masked = editor, refine, is_masked
        self.name = ("FACEMUG, masked" if is_masked else "prior's direction") + (f", refined {refine}" if refine else "")
        self.parameters = sum(one.numel() for name in ("prior", "encoder", "warping", "generator")
                              if isinstance(network := getattr(editor, name), torch.nn.Module) for one in network.parameters())

    def can(self, attribute: str, faces: TestFaces) -> bool:
        return attribute in self.editor.directions and not (self.refine and faces.faces[0].codes is not None)

    def __call__(self, face: AlignedFace, attribute: str, sign: float) -> Tensor:
        mask = torch.ones(1, 1, SIZE, SIZE)
        if self.is_masked:
            mask = part_mask(self.editor.parse(face.image), attribute)
        edit = Edit(face, mask, attributes={attribute: UNITS * sign}, refine=self.refine, guidance_frame="aligned")
        return self.editor.edit_many([edit], progress=lambda *steps: None)[0].image.cpu()


def part_mask(labels: Tensor, attribute: str) -> Tensor:
    """[1,1,256,256] in {0,1} over the parts of label maps [1,256,256] in which an attribute shows; of a face without any, all."""
    parts = torch.tensor([SEMANTIC_CLASSES.index(name) for name in PARTS.get(attribute, HEAD)])
    shown = torch.isin(labels, parts)[:, None].float()
    if not shown.any():
        return torch.ones_like(shown)
    return torch.nn.functional.max_pool2d(shown, GROWN, 1, GROWN // 2)


# -- judging --------------------------------------------------------------------------------------------------------------


def region(faces: TestFaces, attribute: str) -> Tensor:
    """Where an attribute shows in aligned faces: [1,1,256,256] in {0,1}, from the known pairs of sampled ones."""
    return (changed_region(faces.images, faces.pairs[attribute]).mean(0, keepdim=True) >= SHARE).float()


@dataclass(frozen=True, eq=False)
class Judgement:
    """How the pictures of one way were judged: per face [n] by measure, NaN where it makes no sense; milliseconds an edit; and
    the KID · 1000 of all pictures to all pairs, where there are pairs and enough of them. The unedited faces' is its floor."""

    faces: str
    attribute: str
    way: str
    pictures: Tensor
    values: Mapping[str, Tensor]
    ms: float
    parameters: int
    images_seen: int | None
    kid: float | None = None

    def scores(self) -> dict[str, Score]:
        """Means with their errors over the faces."""
        found = {name: metrics.mean_score(value, range(len(value))) for name, value in self.values.items()}
        return {name: score for name, score in found.items() if score.n}


class Panel:
    """The judges, and what they need to know of each attribute. ``text`` is the second judge of attributes."""

    def __init__(self, judges: Judges, maker: Maker, text: TextImage, regions: Mapping[str, Tensor]) -> None:
        self.judges, self.maker, self.text, self.regions = judges, maker, text, regions

    @torch.no_grad()
    def statement(self, images: Tensor, attribute: str) -> Tensor:
        """How much more the text–image model sees of the side above than of the one below: [n]."""
        above, below = self.text.embed_texts(list(STATEMENTS[attribute]))
        pieces = [images[list(part)].to(self.maker.device) for part in batches(len(images))]
        return torch.cat([self.text.embed_images(piece).cpu() for piece in pieces]) @ (above - below).cpu()

    def judge(self, way: Way, faces: TestFaces, attribute: str) -> Judgement:
        """Edit all faces, and judge the pictures as an 8-bit file would keep them."""
        signs, images = faces.signs(attribute), as_8_bit(faces.images)
        started = time.perf_counter()
        made = torch.cat([way(face, attribute, float(sign)) for face, sign in zip(faces.faces, signs, strict=True)])
        ms = 1000 * (time.perf_counter() - started) / len(faces)
        made, sides = as_8_bit(made), SIDES[attribute]
        column = TRAIT_NAMES.index(sides.trait)
        after = self.maker.read(made.to(self.maker.device))[1][:, column].cpu()
        outside = 1 - self.regions[attribute]
        kept = torch.where(outside > 0.5, made, images)
        values = {
            "right": ((after - sides.middle) * signs > 0).float(),
            "moved": signs * (after - faces.traits[:, column]) / sides.deviation,
            "agreed": (signs * (self.statement(made, attribute) - self.statement(images, attribute)) > 0).float(),
            "arcface": metrics.cosine(self.judges.arcface(made), self.judges.arcface(images)),
            "facenet": metrics.cosine(self.judges.facenet(made), self.judges.facenet(images)),
            "kept_l1": ((made - images).abs().mean(1, keepdim=True) * outside).sum((1, 2, 3)) / outside.sum().clamp(min=1),
            "kept_lpips": self.judges.lpips(kept, images),
        }
        if attribute in faces.pairs:
            pair = faces.pairs[attribute]
            values |= {"pair_l1": (made - pair).abs().mean((1, 2, 3)), "pair_lpips": self.judges.lpips(made, pair)}
        kid = None
        if attribute in faces.pairs and len(faces) >= FEWEST:
            kid = 1000 * metrics.kid(self.judges.inception(faces.pairs[attribute]), self.judges.inception(made))
        return Judgement(faces.name, attribute, way.name, made, values, ms, way.parameters, way.images_seen, kid)


def compare(panel: Panel, sets: Sequence[TestFaces], ways: Sequence[Way], attributes: Sequence[str] = TASKS,
            tell: Tell = untold) -> list[Judgement]:
    """Every way that can, on every attribute of every set."""
    found = []
    for faces in sets:
        for attribute in attributes:
            for way in ways:
                if way.can(attribute, faces):
                    tell(f"{faces.name}: {attribute} by {way.name}")
                    found.append(panel.judge(way, faces, attribute))
    return found


COLUMNS = {"right": ("right side, expert", 2), "moved": ("moved, deviations", 2), "agreed": ("second judge agrees", 2),
           "arcface": ("ArcFace", 3), "facenet": ("FaceNet", 3), "kept_l1": ("L1 outside", 4), "kept_lpips": ("LPIPS outside", 4),
           "pair_l1": ("L1 to the pair", 4), "pair_lpips": ("LPIPS to the pair", 3)}
"""Measure → title and digits."""


def markdown(found: Sequence[Judgement]) -> str:
    """One table for each set and attribute."""
    blocks = []
    for faces, attribute in dict.fromkeys((one.faces, one.attribute) for one in found):
        rows = [one for one in found if (one.faces, one.attribute) == (faces, attribute)]
        used = [name for name in COLUMNS if any(name in one.scores() for one in rows)]
        kid_title = ["KID to the pairs"] if any(one.kid is not None for one in rows) else []
        titles = ["method", *(COLUMNS[name][0] for name in used), *kid_title, "ms an edit", "parameters", "images seen"]
        lines = [f"**{faces}, {attribute}** ({len(rows[0].pictures)} faces)", "", f"| {' | '.join(titles)} |"]
        lines.append("|---" * len(titles) + "|")
        for one in rows:
            scores = one.scores()
            cells = [f"{scores[name].value:.{COLUMNS[name][1]}f}" if name in scores else "–" for name in used]
            seen = "–" if one.images_seen is None else f"{one.images_seen:,}"
            size = f"{one.parameters / 1e6:.1f} M" if one.parameters else "–"
            cells += [f"{one.kid:.1f}"] if kid_title else []
            lines.append(f"| {' | '.join([one.way, *cells, f'{one.ms:.0f}', size, seen])} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
