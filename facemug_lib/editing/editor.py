"""The editor: one pure function from a face, a mask and guidance to a picture (FACEMUG §II-A).

Its steps are numbered in :mod:`facemug_lib.editing.forward`. Taught in `notebooks/00_quickstart.ipynb`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemug_lib.devices import resolve_device
from facemug_lib.editing import forward
from facemug_lib.editing.drawing import FaceLike, read_face
from facemug_lib.editing.edit import Edit, takes_an_edit
from facemug_lib.editing.fill.recolouring import recoloured_like
from facemug_lib.editing.fill.refine import Experts, Refined, RefineSettings, refine
from facemug_lib.editing.fill.settling import settled
from facemug_lib.editing.inputs import Batch, Exemplars, Inputs, made_together, read_edit
from facemug_lib.editing.known_faces import is_the_priors_own
from facemug_lib.editing.latent.directions import Direction, load_directions, moved
from facemug_lib.editing.latent.text import Followed, TextEditSettings
from facemug_lib.editing.latent.text_traits import follow_text
from facemug_lib.editing.networks import ExpertLoader, check_fits, require, weights_files
from facemug_lib.editing.result import EditResult, SystemEditor
from facemug_lib.editing.sharp import SIZES, Sharp, sharpened, size_for
from facemug_lib.editing.steps import Clock, Painted, Start, stoppable
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import TextImage, load_text_image
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.faces.bank import load_bank
from facemug_lib.faces.prior import PictureHeads
from facemug_lib.modalities.conditions import MODALITIES, Conditions, exemplar_input
from facemug_lib.models.generator import RefinementGenerator
from facemug_lib.models.latent_warping import LatentWarping
from facemug_lib.models.published_encoder import PublishedEncoder, WholeFaces
from facemug_lib.models.style_encoder import StyleEncoder
from facemug_lib.pictures import reduced
from facemug_lib.progress import Check, Progress, unchecked
from facemug_lib.weights import load_module, weights_hash


class Editor:
    """The networks of a whole pipeline, ready to edit. Make one with :meth:`load`.

    Editing is a pure function. The same inputs give equal bits on one machine, with the same number of threads and the same edits
    in the batch. Elsewhere (another processor, another number of threads, :meth:`edit_many` in place of :meth:`edit`) sums are
    rounded in another order, and pixels agree within about 1/255.
    """

    def __init__(self, prior: nn.Module, encoder: nn.Module, warping: nn.Module, generator: nn.Module, *,
                 device: torch.device | str = "cpu", experts: Callable[[bool, bool, bool], Experts] | None = None,
                 directions: Mapping[str, Direction] | None = None,
                 text_models: Mapping[str, TextImage] | None = None) -> None:
        """Networks frozen, in evaluation mode and on ``device``. ``experts(parser, identity, perceptual)`` gives the
        :class:`Experts`; ``directions`` are what attributes can be named, the shipped ones by default; ``text_models``
        are text–image models that are at hand already, by name."""
        self.prior, self.encoder, self.warping, self.generator = prior, encoder, warping, generator
        self.device = torch.device(device)
        self.loaded_from: dict[str, str] = {}  # which files :meth:`load` was given, as absolute paths
        self._experts = experts
        self._directions = directions
        self._text_models = dict(text_models or {})
        self._systems: Callable[[str], SystemEditor] | None = None

    @classmethod
    def load(cls, device: str | torch.device = "auto", weights: Path | str | None = None,
             directions: Path | str | None = None, bank: Path | str | None = None,
             encoder: Path | str | None = None) -> Editor:
        """The shipped networks. ``weights`` is a folder (a run's, say) whose files are taken instead where it has them;
        ``directions`` is a file of further attributes, such as `facemug directions new` and `text` write; ``bank`` is a StyleGAN2
        checkpoint in place of the default prior, for weights that were trained with it; ``encoder`` is a published e4e encoder's,
        which then reads what is shown whole, exemplars and faces that are only altered. Raises :class:`FacemugError` where the
        weights belong to another bank."""
        device = resolve_device(device)
        files = weights_files(weights)
        for name in ("prior_heads", "style_encoder", "latent_warping", "generator")[0 if bank is None else 1:]:
            require(files, name)
        prior = load_bank(bank, device, heads=False)
        if bank is None:
            prior.heads = load_module(files["prior_heads"], PictureHeads.from_config, device)
            prior.to(memory_format=torch.channels_last)  # its depthwise convolutions take less than half the time there
        published = None if encoder is None else PublishedEncoder.load(encoder, device)
        own, warping, generator = (load_module(files[name], build, device) for name, build in (
            ("style_encoder", StyleEncoder.from_config), ("latent_warping", LatentWarping.from_config),
            ("generator", RefinementGenerator.from_config)))
        check_fits(prior, own, warping, generator, files)
        known = None if bank is None else {}  # the shipped directions move the codes of the default prior
        if directions is not None:
            known = (load_directions() if bank is None else {}) | load_directions(directions)
        reader = own if published is None else WholeFaces(own, published, prior).eval()
        editor = cls(prior, reader, warping, generator, device=device, experts=ExpertLoader(files, device), directions=known)
        given = {"weights": weights, "directions": directions, "bank": bank, "encoder": encoder}
        editor.loaded_from = {name: str(Path(path).absolute()) for name, path in given.items() if path is not None}
        return editor

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

    def with_warping(self, warping: nn.Module) -> Editor:
        """An editor that differs in the latent warping network T alone."""
        other = copy.copy(self)
        other.warping = warping
        return other

    def with_systems(self, systems: Callable[[str], SystemEditor]) -> Editor:
        """An editor with the same networks that hands edits which name a system to it; ``systems`` gives a system by its name, as
        :class:`facemug_lib.systems.Systems` does."""
        other = copy.copy(self)
        other._systems = systems
        return other

    @property
    def knows_systems(self) -> bool:
        """Whether it was made with :meth:`with_systems`."""
        return self._systems is not None

    def system(self, name: str) -> SystemEditor:
        """The sibling system called ``name``. Raises :class:`FacemugError` where this editor knows none."""
        if self._systems is None:
            raise FacemugError(f"the edit is one of system {name}, and this editor knows no system: make it with "
                               "Editor.load().with_systems(facemug_lib.systems.Systems())")
        return self._systems(name)

    def hashes_of(self, system: str | None) -> dict[str, str]:
        """SHA-256 of the networks of a system, by its name; nothing where an edit is the editor's own."""
        return {} if system is None else {system: self.system(system).hash}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each network that an edit goes through, as it is in memory."""
        networks = {name: getattr(self, name) for name in ("prior", "encoder", "warping", "generator")}
        if self._experts is not None:
            networks["parser"] = self._parser
        return {name: weights_hash(network) for name, network in networks.items()}

    # -- editing ----------------------------------------------------------------------------------------------------------

    @takes_an_edit
    def edit(self, edit: Edit, *, progress: Progress | None = None, check: Check = unchecked) -> EditResult:
        """Edit ``face`` where ``mask`` is white. The arguments are those of :class:`Edit`, which says what each means.

        ``progress`` is called with (step, steps) of long work, ``check`` before each part of the pass and each layer; raise from
        either to stop. Raises :class:`FacemugError` for anything that does not fit.
        """
        return self.edit_many([edit], progress=progress, check=check)[0]

    @torch.no_grad()
    def edit_many(self, edits: Sequence[Edit], *, settings: RefineSettings | None = None,
                  text_settings: TextEditSettings | None = None, progress: Progress | None = None, check: Check = unchecked,
                  **common: Any) -> list[EditResult]:
        """Make several edits of one face or of many; what fits together goes through the networks as one batch.

        ``common`` are fields of :class:`Edit` that all of them shall have: ``edit_many(edits, refine=40)``. Edits of the same
        influence and refinement are one batch, which is much cheaper than one by one when refining. Texts are followed one after
        the other, and a face whose codes are known is altered by itself.
        """
        if not edits:
            raise FacemugError("no edit was given: pass at least one")
        edits = [replace(edit, **common) for edit in edits] if common else list(edits)
        results = {place: self.system(edit.system).edit_many([edit], progress=progress, check=check)[0]
                   for place, edit in enumerate(edits) if edit.system is not None}
        own = [place for place in range(len(edits)) if place not in results]
        self._check_texts([edits[place] for place in own])
        clock = Clock(self.device, check)
        with clock("read"):
            inputs = [read_edit(edits[place], self.directions, self.prior.num_codes) for place in own]
        with stoppable(check, self.prior, self.encoder, self.warping, self.generator):
            for places in made_together(inputs):
                made = self._edited([inputs[place] for place in places], clock.copy(), settings, text_settings, progress)
                results |= zip([own[place] for place in places], made, strict=True)
        return [results[place] for place in range(len(edits))]

    def _edited(self, inputs: Sequence[Inputs], clock: Clock, settings: RefineSettings | None,
                text_settings: TextEditSettings | None, progress: Progress | None) -> list[EditResult]:
        """One batch, in the steps of :mod:`facemug_lib.editing.forward`."""
        with clock("read"):
            batch = Batch.of(inputs, self.device)
        start = self._start(batch, clock, settings, progress)  # steps 1 to 4
        codes = torch.cat([moved(one, wanted.strengths, self.directions)  # step 5, Eq. 3
                           for one, wanted in zip(start.codes.split(1), inputs, strict=True)])
        followed: list[Followed | None] = [None] * len(batch)
        if any(one.edit.text for one in inputs):
            with clock("text"):  # step 5, Eq. 4 and 5
                followed = [self._follow(batch[i], start[i], one, text_settings, progress) if inputs[i].edit.text else None
                            for i, one in enumerate(codes.split(1))]
            codes = torch.cat([one if how is None else how.codes for one, how in zip(codes.split(1), followed, strict=True)])
        with clock("paint"):
            painted = self._painted(batch, start, codes)  # steps 6 to 8
        with clock("blend"):
            image = self._in_the_photo(batch, painted.raw)  # step 9
        if painted.features is not None:
            with clock("paint"):
                painted, image = self._corrected(batch, codes, painted, image)  # steps 7 and 8
        if self._experts is not None and bool(batch.conditions.present[:, MODALITIES.index("colour")].any()):
            with clock("recolour"):
                weight = batch.influence.get("colour", 1.0)
                image = recoloured_like(self._parser, image, batch.photo, batch.conditions, weight)
        sharp = [self._sharp(one, batch.conditions.mask[i : i + 1], image[i : i + 1], codes[i : i + 1], start[i], clock)
                 for i, one in enumerate(inputs)]
        losses = [None] * len(batch) if start.known_loss is None else start.known_loss.unbind(1)
        return [EditResult(image[i : i + 1], painted.raw[i : i + 1], codes[i : i + 1], batch.conditions_of(i),
                           painted.shares[i : i + 1], one.face, one.photo_mask, losses[i], followed[i], sharp[i], one.edit.size,
                           dict(clock.seconds)) for i, one in enumerate(inputs)]

    def _start(self, batch: Batch, clock: Clock, settings: RefineSettings | None, progress: Progress | None) -> Start:
        """Steps 1 to 4, and the refinement of their codes. A face whose codes are known has been through them."""
        if (face := batch.known_face) is not None:
            likeness = None if is_the_priors_own(face) else face.likeness.to(self.device)
            return Start(face.codes.to(self.device), likeness, by_prior=True)
        seen = batch.seen()
        with clock("encode"):
            codes = forward.read_codes(self.prior, self.encoder, self.warping, seen, batch.seeds, batch.exemplars,
                                       batch.influence, batch.variety)
        if not batch.refine:
            start = Start(codes.w_warp)
            with clock("paint"):
                return replace(start, likeness=self._painted(batch, start, start.codes).raw) if batch.has_altered else start
        with clock("refine"):
            refined = self._refine(seen, batch.photo, codes, batch.refine, batch.exemplars, batch.influence, settings, progress)
        return Start(refined.codes, refined.image if batch.has_altered else None, by_prior=True, known_loss=refined.known_loss)

    def _painted(self, batch: Batch, start: Start, codes: Tensor) -> Painted:
        """Steps 6 to 8; of a generator that corrects the settled photo, step 6 alone."""
        if batch.known_face is not None:
            return Painted(start.shown(batch, self.prior.synthesize(codes, 256).float()), self._all_image(batch))
        if self.generator.config.base == "settled":
            given = forward.bank(self.prior, codes)  # the smaller picture would be the settled one's
            raw, shares = start.shown(batch, given.picture), self._all_image(batch)
            return Painted(raw, shares, None if start.by_prior else given.features)
        given = forward.bank(self.prior, codes, self.generator.config.size)
        image, shares = forward.refined_picture(self.generator, batch.conditions, codes, given, batch.influence)
        return Painted(start.shown(batch, given.picture if start.by_prior else image), shares)

    def _all_image(self, batch: Batch) -> Tensor:
        """The shares of a picture that no aggregation had a part in: all of it the image's."""
        shares = torch.zeros(len(batch), len(MODALITIES), *batch.photo.shape[2:], device=self.device)
        shares[:, 0] = 1
        return shares

    def _corrected(self, batch: Batch, codes: Tensor, painted: Painted, image: Tensor) -> tuple[Painted, Tensor]:
        """Steps 7 and 8 after step 9, for a generator that corrects the settled photo: both with what it adds.

        It is shown that photo as it was in training, settled at its own size. A face that is only altered keeps its own
        detail and gets nothing added.
        """
        size = self.generator.config.size
        base = self._settled(batch, reduced(painted.raw, size), reduced(batch.photo, size),
                             batch.conditions.reduced(size).mask)
        added, shares = forward.correction(self.generator, batch.conditions, codes, painted.features, base, batch.influence)
        added = torch.where(batch.is_altered[:, None, None, None], 0.0, added)
        return Painted(painted.raw + added, shares), batch.conditions.composite((image + added).clamp(-1, 1), batch.photo)

    def _in_the_photo(self, batch: Batch, raw: Tensor) -> Tensor:
        """Step 9: the painted hole in the photo, in its tones and without a seam; known pixels are copied."""
        return batch.conditions.composite(self._settled(batch, raw, batch.photo, batch.conditions.mask), batch.photo)

    def _settled(self, batch: Batch, raw: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
        """``raw`` settled in the hole of ``photo``; without a parser, which tells hair from skin, in the tones that it has."""
        tones = torch.tensor([one.own_tones for one in batch.inputs], device=self.device)
        parser = self._parser if self._experts is not None and bool((tones > 0).any()) else None
        return settled(parser, raw, photo, mask, tones)

    def _sharp(self, one: Inputs, mask: Tensor, image: Tensor, codes: Tensor, start: Start,
               clock: Clock) -> Sharp | None:
        """The finished ``image`` at the photo's own size, if that is larger."""
        size = size_for(one.face, one.edit.size, getattr(self.prior, "native_size", SIZES[-1]))
        if size == image.shape[-1]:
            return None
        before = start.codes if one.is_alteration else None
        with clock("enlarge"):
            return sharpened(one.face, one.photo_mask, mask, image, size, one.edit.seed, self.prior.synthesize, codes, before,
                             grain=one.edit.grain, check=clock.check)

    def _follow(self, batch: Batch, start: Start, codes: Tensor, settings: TextEditSettings | None,
                progress: Progress | None) -> Followed:
        """Step 5 for a text: along the directions of the traits that it names (Eq. 3), then by its similarity (Eq. 4 and 5).
        ``batch`` is one edit."""
        edit, settings = batch.inputs[0].edit, settings or TextEditSettings()

        def look(codes: Tensor) -> Tensor:
            """The edit as it would look, but for the seam."""
            if start.by_prior:
                raw = start.shown(batch, self.prior.synthesize(codes, 256).float())
            else:
                raw = self._painted(batch, start, codes).raw
            return batch.conditions.composite(raw.clamp(-1, 1), batch.photo)

        identity = self.experts(parser=False, identity=True, perceptual=False).identity if settings.identity else None
        return follow_text(look, codes, self._text_models[edit.text_model], edit, identity=identity, settings=settings,
                           expert=None if self._experts is None else self._parser, directions=self.directions, progress=progress)

    def _refine(self, conditions: Conditions, photo: Tensor, codes: forward.Codes, steps: int | str, exemplars: Exemplars | None,
                influence: Mapping[str, float], settings: RefineSettings | None, progress: Progress | None) -> Refined:
        """The codes after ``steps`` steps towards the known pixels and the guidance."""
        # What is unknown is the seed's to decide here too: the codes are pulled to the mean face, or to the random one.
        anchor = torch.lerp(codes.w_z, self.prior.mean_w.expand_as(codes.w_z), codes.certainty[:, None])
        starts = [codes.w_warp, self.prior.broadcast(anchor)]
        if exemplars is not None:
            starts.append(codes.w_bar)
        has_labels = bool(conditions.present[:, MODALITIES.index("semantics")].any())
        with torch.enable_grad():
            return refine(self.prior, conditions, photo, starts, steps, self.experts(has_labels, exemplars is not None),
                          anchor=anchor, exemplar=None if exemplars is None else exemplars.images,
                          has_exemplar=None if exemplars is None else exemplars.given, influence=influence,
                          settings=settings, progress=progress, show=progress is None)

    def _check_texts(self, edits: Sequence[Edit]) -> None:
        """Load the text–image models that are needed, and try all texts on them before anything else is done."""
        for edit in edits:
            if edit.text:
                if edit.text_model not in self._text_models:
                    self._text_models[edit.text_model] = load_text_image(edit.text_model, self.device)
                self._text_models[edit.text_model].embed_texts([edit.text, edit.text_source])

    # -- reading faces ----------------------------------------------------------------------------------------------------

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
        codes = forward.read_codes(self.prior, self.encoder, self.warping, conditions, seeds=[0])
        refined = self._refine(conditions, photo, codes, refine, None, {}, None, progress)
        return replace(face, codes=refined.codes.cpu(), likeness=refined.image.cpu())

    @torch.no_grad()
    def read(self, image: Tensor) -> Tensor:
        """Codes [b,t,512] of aligned faces [b,3,256,256] of which nothing is hidden, as the encoder reads them."""
        return self.encoder(exemplar_input(image.to(self.device))).float()

    @torch.no_grad()
    def parse(self, image: Tensor) -> Tensor:
        """The expert's labels, long [b,256,256] in CelebAMask-HQ order, of aligned faces [b,3,256,256]."""
        return self._parser(image.to(self.device)).semantics.argmax(dim=1).cpu()

    @property
    def _parser(self) -> nn.Module:
        return self.experts(parser=True, identity=False, perceptual=False).parser

    def experts(self, parser: bool, identity: bool, perceptual: bool = True) -> Experts:
        """Those of the experts that are asked for: the parser, the identity network, LPIPS-VGG; each is loaded once."""
        if self._experts is None:
            raise FacemugError("this editor was made without experts: make it with Editor.load, or use refine=0")
        return self._experts(parser, identity, perceptual)
