"""The editor: one pure function from a face, a mask and guidance to a picture (FACEMUG's forward pass).

Taught in `notebooks/00_quickstart.ipynb`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import resolve_device
from facemug_lib.editing.drawing import FaceLike, Picture, read_face
from facemug_lib.editing.fill.blending import altered, blend
from facemug_lib.editing.fill.recolouring import recoloured
from facemug_lib.editing.fill.refine import Experts, Progress, Refined, RefineSettings, refine
from facemug_lib.editing.fill.toning import toned
from facemug_lib.editing.inputs import (
    Edit,
    Exemplars,
    Inputs,
    checked_influence,
    one_of,
    read_edit,
    stack,
    stack_exemplars,
    unmasked,
)
from facemug_lib.editing.known_faces import seamless, shown_as
from facemug_lib.editing.latent.directions import Direction, checked_strengths, load_directions, moved
from facemug_lib.editing.latent.text import SOURCE, STEPS, Followed, TextEditSettings, follow
from facemug_lib.editing.networks import Judges, require, weights_files
from facemug_lib.editing.remarks import remarks
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import TextImage, load_text_image
from facemug_lib.faces.alignment import AlignedFace, Frame
from facemug_lib.faces.prior import FacePrior, PictureHeads
from facemug_lib.modalities.conditions import MODALITIES, Conditions, exemplar_input
from facemug_lib.models.generator import RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping
from facemug_lib.models.style_encoder import StyleEncoder
from facemug_lib.weights import load_module, weights_hash

PSI = 0.7  # truncation of the random code


@dataclass(frozen=True, eq=False)
class EditResult:
    """A finished edit.

    image [1,3,256,256] in [-1,1]: the aligned face with the edit; outside the mask it is the photo's crop bit for bit.
    raw [1,3,256,256]: the whole picture as painted. codes [1,t,512]: what it was painted from. contributions
    [1,4,256,256]: each modality's share of every point (Eq. 16), all of it the image's where the prior alone altered a face of
    known codes. known_loss [steps+1]: the refinement's error on the known pixels. followed: how a text was followed. seconds,
    timings: the wall time, in all and by part; of edits made together, that of all of them.
    """

    image: Tensor
    raw: Tensor
    codes: Tensor
    conditions: Conditions
    contributions: Tensor
    face: AlignedFace
    photo_mask: Picture | None  # as given, where it was drawn on the photo
    known_loss: Tensor | None = None
    followed: Followed | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(self.timings.values())

    @property
    def remarks(self) -> list[str]:
        """What should be known about the edit, a line each: that part of the mask cannot be edited, say."""
        return remarks(self.face, self.photo_mask, bool(self.conditions.present[0, MODALITIES.index("colour")]))

    def paste_back(self, **options: Any) -> np.ndarray:
        """The whole photo with the edit, in the photo's layout and dtype; every pixel outside the mask is the original's.

        ``options`` are those of :meth:`facemug_lib.faces.alignment.AlignedFace.paste_back` (feather, keep_detail, colour).
        """
        if self.photo_mask is not None:
            return self.face.paste_back(self.image.cpu(), self.photo_mask, frame="photo", **options)
        return self.face.paste_back(self.image.cpu(), self.conditions.mask.cpu(), **options)


class Editor:
    """The networks of a whole pipeline, ready to edit. Make one with :meth:`load`.

    Editing is a pure function: the same inputs give the same pixels on the same device.
    """

    def __init__(self, prior: nn.Module, encoder: nn.Module, warping: nn.Module, generator: nn.Module, *,
                 device: torch.device | str = "cpu", experts: Callable[[bool, bool, bool], Experts] | None = None,
                 directions: Mapping[str, Direction] | None = None,
                 text_models: Mapping[str, TextImage] | None = None) -> None:
        """Networks frozen, in evaluation mode and on ``device``. ``experts(parser, identity, perceptual)`` gives the judges;
        ``directions`` are what attributes can be named, the shipped ones by default; ``text_models`` are text–image models
        that are at hand already, by name."""
        self.prior, self.encoder, self.warping, self.generator = prior, encoder, warping, generator
        self.device = torch.device(device)
        self._experts = experts
        self._directions = directions
        self._text_models = dict(text_models or {})

    @property
    def directions(self) -> Mapping[str, Direction]:
        """The attributes that an edit can name; read when they are first asked for."""
        if self._directions is None:
            self._directions = load_directions()
        return self._directions

    def with_directions(self, more: Mapping[str, Direction]) -> Editor:
        """An editor with the same networks that knows further attributes."""
        other = copy.copy(self)
        other._directions = {**self.directions, **more}
        return other

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each network that an edit goes through, as it is in memory."""
        networks = {name: getattr(self, name) for name in ("prior", "encoder", "warping", "generator")}
        if self._experts is not None:
            networks["parser"] = self._parser
        return {name: weights_hash(network) for name, network in networks.items()}

    @classmethod
    def load(cls, device: str | torch.device = "auto", weights: Path | str | None = None,
             directions: Path | str | None = None) -> Editor:
        """The shipped networks. ``weights`` is a folder (a run's, say) whose files are taken instead where it has them;
        ``directions`` is a file of further attributes, such as `facemug directions new` and `text` write."""
        device = resolve_device(device)
        files = weights_files(weights)
        for name in ("prior_heads", "style_encoder", "latent_warping", "generator"):
            require(files, name)
        prior = FacePrior.load(device, heads=False)
        prior.heads = load_module(files["prior_heads"], PictureHeads.from_config, device)
        modules = [load_module(files[name], build, device) for name, build in (
            ("style_encoder", StyleEncoder.from_config), ("latent_warping", LatentWarping.from_config),
            ("generator", RefinementGenerator.from_config))]
        named = None if directions is None else load_directions() | load_directions(directions)
        return cls(prior.to(memory_format=torch.channels_last), *modules, device=device, experts=Judges(files, device),
                   directions=named)

    @torch.no_grad()
    def edit(self, face: FaceLike, mask: Picture, sketch: Picture | None = None, semantics: Picture | None = None,
             colour: Picture | None = None, exemplar: FaceLike | None = None, attributes: Mapping[str, float] | None = None,
             influence: Mapping[str, float] | None = None, refine: int = 0, seed: int = 0, guidance_frame: Frame = "photo",
             text: str | None = None, text_source: str = SOURCE, text_steps: int = STEPS, text_model: str = "small",
             exemplar_face: int | None = None, progress: Progress | None = None) -> EditResult:
        """Edit ``face`` (a photo, an :class:`AlignedFace`, or a tensor [1,3,256,256] of an aligned one) where ``mask`` is white.

        ``influence``: modality (image, sketch, semantics, colour, exemplar) → weight from 0 (ignored) over 1 to 2. ``refine``:
        steps of latent optimisation on top of the feed-forward pass. ``text_steps``: most steps in which a text is followed, as
        the text–image model called ``text_model`` understands it (``"small"``, or open_clip's ``ARCHITECTURE:WEIGHTS``).
        ``progress`` is called with (step, steps). The other arguments are those of :class:`Edit`. Raises :class:`FacemugError`
        for anything that does not fit.
        """
        only = Edit(face, mask, sketch, semantics, colour, exemplar, seed, guidance_frame, attributes, text, text_source,
                    exemplar_face)
        return self.edit_many([only], influence=influence, refine=refine, text_steps=text_steps, text_model=text_model,
                              progress=progress)[0]

    @torch.no_grad()
    def edit_many(self, edits: Sequence[Edit], *, influence: Mapping[str, float] | None = None, refine: int = 0,
                  settings: RefineSettings | None = None, text_steps: int = STEPS, text_model: str = "small",
                  text_settings: TextEditSettings | None = None, progress: Progress | None = None) -> list[EditResult]:
        """Make several edits in one batch, of one face or of many: much cheaper than one by one when refining. Texts are
        followed one after the other. Where attributes or a text are all that is asked of a face whose codes are known, nothing
        is left to refine: such edits are painted one by one, each by a pass of the prior."""
        if not edits:
            raise FacemugError("no edit was given: pass at least one")
        if refine < 0:
            raise FacemugError(f"{refine} refinement steps: use 0 or more")
        influence = checked_influence(influence)
        words = self._checked_texts(edits, text_model)
        clock = _Clock(self.device)
        with clock("read"):
            inputs = [read_edit(edit, influence) for edit in edits]
            strengths = [checked_strengths(edit.attributes, self.directions) if edit.attributes else {} for edit in edits]
        is_known = [one.face.codes is not None and one.is_unguided and bool(wanted or edit.text)
                    for wanted, one, edit in zip(strengths, inputs, edits, strict=True)]
        if any(is_known):
            rest = [replace(edit, face=one.face) for edit, one, known in zip(edits, inputs, is_known, strict=True) if not known]
            others = iter(self.edit_many(rest, influence=influence, refine=refine, settings=settings, text_steps=text_steps,
                                         text_model=text_model, text_settings=text_settings, progress=progress) if rest else ())
            return [self._edit_known(one, edit, wanted, words, text_steps, text_settings, progress) if known else next(others)
                    for known, one, edit, wanted in zip(is_known, inputs, edits, strengths, strict=True)]
        with clock("read"):
            photo = torch.cat([one.face.image for one in inputs]).to(self.device)
            conditions = stack([one.conditions for one in inputs]).to(self.device)
            exemplars = stack_exemplars([one.exemplar for one in inputs], self.device)
            # Where attributes are all that is asked for, the face under the mask is known, and stays whose it is.
            is_altered = torch.tensor([one.is_unguided and bool(wanted or edit.text)
                                       for wanted, one, edit in zip(strengths, inputs, edits, strict=True)], device=self.device)
            shown = unmasked(conditions, photo, is_altered)
        with clock("encode"):
            draws = [torch.Generator().manual_seed(edit.seed) for edit in edits]
            w_z = torch.cat([self.prior.sample_w(1, draw, PSI) for draw in draws]).float()
            codes, source, certainty = self._codes(shown, exemplars, w_z, influence)
        refined: Refined | None = None
        if refine:
            with clock("refine"):
                refined = self._refine(shown, photo, codes, source, w_z, certainty, exemplars, influence, refine, settings,
                                       progress)
                codes = refined.codes
        followed: list[Followed | None] = [None] * len(edits)
        with clock("paint"):
            unmoved, codes = codes, torch.cat([moved(one, wanted, self.directions) if wanted else one
                                               for one, wanted in zip(codes.split(1), strengths, strict=True)])
            before = None
            if bool(is_altered.any()):
                before = self._paint(conditions, unmoved, influence)[0] if refined is None else refined.image

            def shown_as(raw: Tensor, first: int = 0) -> Tensor:
                """What is painted under the mask of edits ``first`` …: the raw picture, or the face altered by it."""
                which = slice(first, first + len(raw))
                if before is None:
                    return raw
                return torch.where(is_altered[which, None, None, None], altered(photo[which], before[which], raw), raw)

            def painted(place: int, codes: Tensor) -> Tensor:
                """Edit ``place`` as it would look with these codes, but for the seam."""
                one = one_of(conditions, place)
                raw = self.prior.synthesize(codes, 256).float() if refined else self._paint(one, codes, influence)[0]
                return one.composite(shown_as(raw, place).clamp(-1, 1), photo[place : place + 1])

        if words is not None:
            with clock("text"):
                followed = [self._follow(partial(painted, place), codes[place : place + 1], edit, words, text_steps,
                                         text_settings, progress) if edit.text else None for place, edit in enumerate(edits)]
                codes = torch.cat([one if how is None else how.codes for one, how in zip(codes.split(1), followed, strict=True)])
        with clock("paint"):
            raw, contributions, prior_image = self._paint(conditions, codes, influence)
            # Refined codes were fitted to the prior's own picture.
            raw = shown_as(raw if refined is None else prior_image)
        with clock("blend"):
            own = torch.tensor([_own_tones(edit, wanted, influence) for wanted, edit in zip(strengths, edits, strict=True)],
                               device=self.device)
            image = blend(self._toned(raw.clamp(-1, 1), photo, conditions, own), photo, conditions.mask)
            image = conditions.composite(image, photo)
        if bool(conditions.present[:, MODALITIES.index("colour")].any()) and self._experts is not None:
            with clock("recolour"):
                image = self._recoloured(image, conditions, photo, influence)
        return [
            EditResult(image[i : i + 1], raw[i : i + 1], codes[i : i + 1], one_of(conditions, i), contributions[i : i + 1],
                       one.face, one.photo_mask, None if refined is None else refined.known_loss[:, i], followed[i],
                       dict(clock.seconds))
            for i, one in enumerate(inputs)
        ]

    @torch.no_grad()
    def fit(self, face: FaceLike, refine: int, progress: Progress | None = None) -> AlignedFace:
        """Find the codes of a face once, by the encoder and ``refine`` steps on the whole picture, and keep them with it.

        Editing the answer's attributes gives what editing ``face`` with the same ``refine`` gives, without fitting it again.
        """
        if refine < 1:
            raise FacemugError(f"{refine} steps to fit a face: use 1 or more, 8 give a likeness")
        face = read_face(face)
        photo = face.image.to(self.device)
        conditions = Conditions.build(torch.zeros_like(photo[:, :1]), photo)
        # All of the face is seen: the seed, which decides what is not, decides nothing.
        w_z = self.prior.sample_w(1, torch.Generator().manual_seed(0), PSI).float()
        codes, source, certainty = self._codes(conditions, None, w_z, {})
        refined = self._refine(conditions, photo, codes, source, w_z, certainty, None, {}, refine, None, progress)
        return replace(face, codes=refined.codes.cpu(), likeness=refined.image.cpu())

    def _edit_known(self, one: Inputs, edit: Edit, wanted: Mapping[str, float], words: TextImage | None, text_steps: int,
                    text_settings: TextEditSettings | None, progress: Progress | None) -> EditResult:
        """Alter a face whose codes are known: the prior's own picture of the moved codes, and what its likeness had missed."""
        clock, conditions = _Clock(self.device), one.conditions.to(self.device)
        photo, followed = one.face.image.to(self.device), None
        codes = moved(one.face.codes.to(self.device), wanted, self.directions)

        def look(codes: Tensor) -> Tensor:
            return shown_as(one.face, self.prior.synthesize(codes, 256).float())

        def painted(codes: Tensor) -> Tensor:
            return conditions.composite(look(codes).clamp(-1, 1), photo)

        if edit.text:
            with clock("text"):
                followed = self._follow(painted, codes, edit, words, text_steps, text_settings, progress)
                codes = followed.codes
        with clock("paint"):
            raw = look(codes)
        with clock("blend"):
            image = seamless(raw, photo, conditions.mask)
        shares = torch.zeros(1, len(MODALITIES), *photo.shape[2:], device=self.device)
        shares[:, 0] = 1
        return EditResult(image, raw, codes, conditions, shares, one.face, one.photo_mask, None, followed, dict(clock.seconds))

    # -- the forward pass, numbered as in the notebooks -------------------------------------------------------------------

    def _codes(self, conditions: Conditions, exemplars: Exemplars | None, w_z: Tensor,
               influence: Mapping[str, float]) -> tuple[Tensor, Tensor, Tensor]:
        """(ŵ, w̄, certainty [b]) from steps 1 to 4: w_z, w_e, w̄ = lerp(w_z, w_e), w_x = E_s(C), ŵ = w̄ + T(w̄, w_x) (Eq. 2).

        Without an exemplar the projected codes stand in for w_e, and the seed decides what nothing else can: w_z gets the
        sixth power of the share of the picture that is hole, or of half of it where guidance says something about the hole.
        These codes have the pose already, so only exemplars' codes are warped: on 16 faces with the face as the hole, LPIPS was
        0.082 without and 0.094 with it.
        """
        w_x = self._read_codes(conditions, influence)
        unknown = conditions.mask.mean((1, 2, 3))
        unknown = torch.where(conditions.present[:, 1:].any(dim=1), unknown / 2, unknown)
        certainty = 1 - unknown**6
        random = self.prior.broadcast(w_z)
        source = torch.lerp(random, w_x, certainty[:, None, None])
        if exemplars is None:
            return source, source, certainty
        w_e = self.encoder(exemplar_input(exemplars.images)).float()
        given = exemplars.given[:, None, None]
        source = torch.where(given, torch.lerp(random, w_e, min(1.0, influence.get("exemplar", 1.0))), source)
        return torch.where(given, source + self.warping(source, w_x).float(), source), source, certainty

    def _read_codes(self, conditions: Conditions, influence: Mapping[str, float]) -> Tensor:
        """w_x = E_s(C). A guidance of influence v counts for E_s(C) − E_s(C without it) v times, as the weight of
        classifier-free guidance (Ho and Salimans, 2022) does: 0 leaves it out, 2 goes as far beyond."""
        w_x = codes = self.encoder(conditions.encoder_input()).float()
        for place, name in enumerate(MODALITIES[1:], start=1):
            weight = influence.get(name, 1.0)
            if weight != 1 and bool(conditions.present[:, place].any()):
                without = conditions.select(other for other in MODALITIES if other != name)
                codes = codes + (weight - 1) * (w_x - self.encoder(without.encoder_input()).float())
        return codes

    def _paint(self, conditions: Conditions, codes: Tensor, influence: Mapping[str, float]) -> tuple[Tensor, Tensor, Tensor]:
        """(I_out before compositing, contributions, the prior's picture) from steps 6 to 8: bank, aggregation, refinement."""
        prior_image, features = self.prior(codes)
        output = self.generator(conditions, codes, features, prior_image.float(),
                                {name: weight for name, weight in influence.items() if name in MODALITIES} or None)
        return output.image.float(), output.contributions, prior_image.float()

    def _toned(self, raw: Tensor, photo: Tensor, conditions: Conditions, shares: Tensor) -> Tensor:
        """``raw``, moved by ``shares`` [b] of the way into the photo's tones. An editor without a parser cannot tell hair from
        skin, and leaves everything as it is."""
        some = shares > 0
        if self._experts is None or not bool(some.any()):
            return raw
        pictures, photos, masks = raw[some], photo[some], conditions.mask[some]
        filled = torch.where(masks > 0.5, pictures, photos)
        painted, shown = (self._parser(one).semantics.softmax(dim=1) for one in (pictures, filled))
        made = raw.clone()
        made[some] = torch.lerp(pictures, toned(pictures, photos, masks, painted, shown), shares[some, None, None, None])
        return made

    def _recoloured(self, image: Tensor, conditions: Conditions, photo: Tensor, influence: Mapping[str, float]) -> Tensor:
        """The finished pictures in the colours that were asked for. What a stroke was painted on is what the labels under it say,
        and else what the photo shows there; an editor without a parser would not know, and leaves the pictures as they are."""
        wanted = conditions.present[:, MODALITIES.index("colour")]
        pictures, drawn = image[wanted], conditions.semantics[wanted]
        meant = torch.where(drawn.any(dim=1), drawn.argmax(dim=1), self._parser(photo[wanted]).semantics.argmax(dim=1))
        made = recoloured(pictures, conditions.colour[wanted], conditions.mask[wanted],
                          self._parser(pictures).semantics.softmax(dim=1), meant)
        image = image.clone()
        image[wanted] = torch.lerp(pictures, made, min(1.0, influence.get("colour", 1.0)))
        return image

    def _refine(self, conditions: Conditions, photo: Tensor, codes: Tensor, source: Tensor, w_z: Tensor, certainty: Tensor,
                exemplars: Exemplars | None, influence: Mapping[str, float], steps: int, settings: RefineSettings | None,
                progress: Progress | None) -> Refined:
        # What is unknown is the seed's to decide here too: the codes are pulled to the mean face, or to the random one.
        anchor = torch.lerp(w_z, self.prior.mean_w.expand_as(w_z), certainty[:, None])
        starts = [codes, self.prior.broadcast(anchor)]
        if exemplars is not None:
            starts.append(source)
        with torch.enable_grad():
            has_labels = bool(conditions.present[:, MODALITIES.index("semantics")].any())
            return refine(self.prior, conditions, photo, starts, steps, self.experts(has_labels, exemplars is not None),
                          anchor=anchor, exemplar=None if exemplars is None else exemplars.images,
                          has_exemplar=None if exemplars is None else exemplars.given, influence=influence,
                          settings=settings, progress=progress, show=progress is None)

    def _checked_texts(self, edits: Sequence[Edit], name: str) -> TextImage | None:
        """The text–image model if any edit has a text; all texts are tried on it before anything else is done."""
        texts = [text for edit in edits if edit.text for text in (edit.text, edit.text_source)]
        if not texts:
            return None
        if name not in self._text_models:
            self._text_models[name] = load_text_image(name, self.device)
        self._text_models[name].embed_texts(texts)
        return self._text_models[name]

    def _follow(self, paint: Callable[[Tensor], Tensor], codes: Tensor, edit: Edit, words: TextImage, steps: int,
                settings: TextEditSettings | None, progress: Progress | None) -> Followed:
        settings = settings or TextEditSettings()
        identity = self.experts(parser=False, identity=True, perceptual=False).identity if settings.identity else None
        return follow(paint, codes, words, edit.text, edit.text_source, steps=steps, seed=edit.seed, identity=identity,
                      settings=settings, progress=progress)

    @torch.no_grad()
    def parse(self, image: Tensor) -> Tensor:
        """The expert's labels, long [b,256,256] in CelebAMask-HQ order, of aligned faces [b,3,256,256]."""
        return self._parser(image.to(self.device)).semantics.argmax(dim=1).cpu()

    @property
    def _parser(self) -> nn.Module:
        return self.experts(parser=True, identity=False, perceptual=False).parser

    def experts(self, parser: bool, identity: bool, perceptual: bool = True) -> Experts:
        """Those of the judges that are asked for: the parser, the identity network, LPIPS-VGG; each is loaded once."""
        if self._experts is None:
            raise FacemugError("this editor was made without experts: make it with Editor.load, or use refine=0")
        return self._experts(parser, identity, perceptual)


def _own_tones(edit: Edit, strengths: Mapping[str, float], influence: Mapping[str, float]) -> float:
    """How far, 0 … 1, the photo's tones are wanted in the hole: not by who asks for another face, another age or another skin."""
    if strengths or edit.text:
        return 0.0
    return 1.0 if edit.exemplar is None else 1 - min(1.0, influence.get("exemplar", 1.0))


class _Clock:
    """Wall time by part, the device's work included."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
