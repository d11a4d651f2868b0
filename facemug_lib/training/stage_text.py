"""The small text–image model: which sentences are true of which faces.

A face sampled from the prior is described by what the expert reads off it, so every pair of a face and a caption in a batch has a
known truth value, not only the pairs on the diagonal. The loss is SigLIP's sigmoid loss with these values as targets; pairs whose
truth is doubtful are left out. Each caption has a rival that differs in one word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.devices import BATCH, batches
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.text_image import SmallTextImage
from facemug_lib.experts.traits import all_traits
from facemug_lib.faces.dataset import FaceBatch, heldout_faces
from facemug_lib.modalities.captions import ASPECTS, NUMBERS, holds, mirrored, sentence, statements
from facemug_lib.modalities.draws import chance, integers
from facemug_lib.training.augmentation import photograph
from facemug_lib.training.profiles import StageSettings, knob
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import start

Said = Mapping[str, str]
HELD_OUT_EVERY = 10  # one in so many sets of claims is never trained on
COLOURS = frozenset(("skin", "hair", "lips", "clothes", "background", "light"))
"""Aspects of which nothing is known any more once a face's exposure and colours have been changed."""


class TextSettings(StageSettings):
    """The small text–image model."""

    batch: int = knob(32, "images of one step, over all processes", ge=2)
    weight_decay: float = knob(0.05, "AdamW's weight decay", ge=0)
    trunk_rate: float = knob(
        0.3, "learning rate of the trunk, which starts from the expert's, over the others; 0 = frozen, and each face "
        "is looked at only once if photographed_share is 0 too", ge=0)
    claims: int = knob(5, "most statements of a training caption", ge=1)
    photographed_share: float = knob(0.3, "share of faces whose exposure, colour, softness and noise are varied", ge=0, le=1)


class TextStage:
    """The text–image model's stage for :func:`facemug_lib.training.loop.train`."""

    settings_class = TextSettings
    name = "text"
    ema = ("text_image",)
    image_source = "faces"

    def __init__(self, settings: TextSettings, model: SmallTextImage, expert: nn.Module, prior: nn.Module) -> None:
        """``expert`` and ``prior`` are frozen, on the training device."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"text_image": model}
        self.expert, self.prior = expert, prior
        self._said: dict[bytes, Said] = {}
        self._seen: dict[tuple[bytes, bool], tuple[Tensor, Tensor]] = {}
        self._test: tuple[Tensor, list[Said]] | None = None

    @classmethod
    def build(cls, settings: TextSettings, device: torch.device, init: str = "scratch") -> TextStage:
        """With the project's own expert and prior."""
        from facemug_lib.faces.bank import load_bank

        model, expert = SmallTextImage(), ExpertStudent.load(device)
        if init == "scratch":
            model.clip.visual.init_from_expert(expert)
        start(model, "text_image", init)
        return cls(settings, model.to(device), expert, load_bank(settings.bank, device))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        model, rate = self.modules["text_image"], self.settings.lr
        tower = model.clip.visual
        seen = [parameter for part in (tower.trunk, tower.branch, tower.place, tower.read) for parameter in part.parameters()]
        rest = [parameter for parameter in model.parameters() if all(parameter is not other for other in seen)]
        # The image tower arrives trained; the rest is new.
        groups = [{"params": rest, "lr": rate}, {"params": seen, "lr": self.settings.trunk_rate * rate}]
        if self.settings.trunk_rate == 0:
            for parameter in groups.pop()["params"]:
                parameter.requires_grad_(False)
        return {"text": torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=self.settings.weight_decay)}

    # -- what is true of a face -------------------------------------------------------------------------------------------

    def said(self, images: Tensor) -> list[Said]:
        """What is clear of each face; kept, since a folder's faces come again and again."""
        keys = _keys(images)
        new = [place for place, key in enumerate(keys) if key not in self._said]
        for places in (new[part.start:part.stop] for part in batches(len(new))):
            read = all_traits(self.expert, images[places])
            rows = torch.stack([read[name] for name in NUMBERS], dim=1).tolist()
            for place, row in zip(places, rows, strict=True):
                self._said[keys[place]] = statements(dict(zip(NUMBERS, row, strict=True)))
        return [self._said[key] for key in keys]

    def claims(self, said: Said, generator: torch.Generator) -> Said:
        """Some of what is true of a face: one to ``settings.claims`` statements that no test asks for."""
        for _ in range(20):
            count = min(len(said), int(integers((), 1, self.settings.claims + 1, generator)))
            order = torch.randperm(len(said), generator=generator)[:count].tolist()
            chosen = {name: said[name] for name in (list(said)[place] for place in order)}
            if not is_held_out(chosen):
                break
        return chosen

    def rival(self, claims: Said, generator: torch.Generator) -> Said:
        """The same claims but for one, which says another thing."""
        name = list(claims)[int(integers((), 0, len(claims), generator))]
        others = [word for word in ASPECTS[name].options if word != claims[name]]
        return {**claims, name: others[int(integers((), 0, len(others), generator))]}

    # -- training ---------------------------------------------------------------------------------------------------------

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s, model, draw = self.settings, self.modules["text_image"], context.generator
        said = self.said(batch.images)
        is_flipped = chance((len(said),), 0.5, draw)
        said = [mirrored(one) if flip else one for one, flip in zip(said, is_flipped.tolist(), strict=True)]
        if s.trunk_rate == 0 and s.photographed_share == 0:
            return self._step_of_seen(batch.images, said, is_flipped.tolist(), context)
        images = torch.where(is_flipped.to(batch.images.device).view(-1, 1, 1, 1), batch.images.flip(-1), batch.images)
        side = model.config.image_size
        images = F.interpolate(images, (side, side), mode="area")
        is_photographed = chance((len(said),), s.photographed_share, draw)
        if bool(is_photographed.any()):
            images = torch.where(is_photographed.to(images.device).view(-1, 1, 1, 1), photograph(images, draw), images)
            said = [{name: word for name, word in one.items() if name not in COLOURS} if changed else one
                    for one, changed in zip(said, is_photographed.tolist(), strict=True)]
        return self._match(model.embed_images(images), said, context)

    def _step_of_seen(self, images: Tensor, said: Sequence[Said], flipped: Sequence[bool],
                      context: StepContext) -> dict[str, float | Tensor]:
        """A step with a frozen trunk on pictures that never change: what it sees of them is kept, and costs nothing again."""
        tower, side = self.modules["text_image"].clip.visual, self.modules["text_image"].config.image_size
        keys = list(zip(_keys(images), flipped, strict=True))
        if new := [place for place, key in enumerate(keys) if key not in self._seen]:
            turned = torch.stack([images[place].flip(-1) if flipped[place] else images[place] for place in new])
            tower.eval()  # its normalisation is frozen with it
            with torch.no_grad(), context.full_precision():
                parts = zip(*tower.seen(F.interpolate(turned, (side, side), mode="area")), strict=True)
            tower.train()
            self._seen.update(zip((keys[place] for place in new), parts, strict=True))
        seen, thumbnails = (torch.stack(parts) for parts in zip(*(self._seen[key] for key in keys), strict=True))
        return self._match(F.normalize(tower.told(seen, thumbnails), dim=1), said, context)

    def _match(self, faces: Tensor, said: Sequence[Said], context: StepContext) -> dict[str, float | Tensor]:
        """The loss between embedded faces and captions of each, and their rivals."""
        model, draw = self.modules["text_image"], context.generator
        claims = [self.claims(one, draw) for one in said if one]
        claims += [self.rival(one, draw) for one in claims]
        truth = truths(said, claims).to(faces.device)
        scores = model.scores(faces, model.embed_texts([sentence(one, draw) for one in claims])).float()
        loss = sigmoid_loss(scores, truth)
        context.update("text", loss)
        known = truth.isfinite()
        right = ((scores.detach() > 0) == (truth > 0.5))[known].float().mean()
        return {"pairs": loss.detach(), "right": right}

    # -- judged on unseen faces -------------------------------------------------------------------------------------------

    def _test_faces(self, count: int) -> tuple[Tensor, list[Said]]:
        if self._test is None or len(self._test[0]) < count:
            images = heldout_faces(self.prior, count, psi=0.8).images
            self._test = images, self.said(images)
        return self._test[0][:count], self._test[1][:count]

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """On unseen faces: ``right``, how often a single statement is judged rightly (mean over aspects of the balanced accuracy
        between a true word and the aspect's others); ``recall_1`` and ``recall_5``, how often the face is among the first faces
        found by a caption of all that is clear of it, and ``caption_1``, ``caption_5``, the caption by the face. No training
        caption says the same."""
        images, said = self._test_faces(count)
        model = modules["text_image"]
        faces = torch.cat([model.embed_images(part) for part in images.split(BATCH)])
        right = {}
        for name, aspect in ASPECTS.items():
            words = list(aspect.options)
            about = model.embed_texts([sentence({name: word}) for word in words])
            guess = (faces @ about.t()).argmax(1).tolist()
            hits: dict[str, list[float]] = {word: [] for word in words}
            for one, place in zip(said, guess, strict=True):
                if name in one:
                    hits[one[name]].append(float(words[place] == one[name]))
            seen = [float(np.mean(values)) for values in hits.values() if values]
            if len(seen) > 1:
                right[f"right_{name.replace(' ', '_')}"] = float(np.mean(seen))
        captions = model.embed_texts([sentence(one) for one in said])
        order = captions @ faces.t()
        mean = float(np.mean(list(right.values())))
        return {"right": mean, **recalls(order, "recall"), **recalls(order.t(), "caption"), **right}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four sentences and, beside each, the six of 32 unseen faces that suit it best, as a picture."""
        from facemug_lib.pictures import picture_grid

        images, _ = self._test_faces(32)
        model = modules["text_image"]
        faces = torch.cat([model.embed_images(part) for part in images.split(BATCH)])
        best = (model.embed_texts(["a smiling woman", "an old man", "blond hair", "glasses"]) @ faces.t()).topk(6, dim=1).indices
        return picture_grid([images[row] for row in best])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        model = modules["text_image"]
        return {"text_image": (model.state_dict(), model.config_dict())}


def _keys(images: Tensor) -> list[bytes]:
    return [hashlib.sha1(image[:, ::8, ::8].contiguous().cpu().numpy().tobytes()).digest() for image in images]


def is_held_out(claims: Said) -> bool:
    """Whether a set of two or more claims is kept for tests, by its hash."""
    text = repr(sorted(claims.items())).encode()
    return len(claims) > 1 and hashlib.sha1(text).digest()[0] % HELD_OUT_EVERY == 0


def truths(said: Sequence[Said], claims: Sequence[Said]) -> Tensor:
    """[b,n]: 1 where claims n hold for face b, 0 where they do not, NaN where it is not known."""
    values = [[holds(claim, one) for claim in claims] for one in said]
    return torch.tensor([[torch.nan if value is None else float(value) for value in row] for row in values])


def sigmoid_loss(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the true pairs and mean over the false ones of SigLIP's −log σ(±score), half and half; NaN pairs do not count."""
    true, false = truth == 1, truth == 0
    losses = [F.softplus(sign * scores[which]).mean() for sign, which in ((-1, true), (1, false)) if bool(which.any())]
    return torch.stack(losses).mean() if losses else scores.sum() * 0


def recalls(order: Tensor, name: str) -> dict[str, float]:
    """Share of the rows of a similarity matrix [n,n] whose own column is the first, or among the first five."""
    rank = (order > order.diagonal()[:, None]).sum(1)
    return {f"{name}_{k}": float((rank < k).float().mean()) for k in (1, 5)}
