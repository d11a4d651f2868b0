"""Text and pictures in one space: what :mod:`facemug_lib.editing.latent.text` asks whether a face looks like a sentence.

Two back-ends behind one interface. :class:`SmallTextImage` is this project's own: open_clip's CLIP at a small width, taught on
sampled faces whose captions are known to be true or false (:mod:`facemug_lib.modalities.captions`); it ships, works offline and
knows about a hundred words. :class:`OpenClip` takes any pretrained model of open_clip, where its weights are at hand.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertConfig, ExpertStudent, what_and_where
from facemug_lib.modalities import captions, claims
from facemug_lib.weights import load_module

CONTEXT = 40  # tokens of a text, its two ends included
COLOUR_GRID = 8
PAD, FIRST = 0, 2  # ids: 0 pads, 1 begins, words follow, the largest ends (open_clip's text tower looks at the largest)
FILLERS = frozenset((
    *("make", "made", "let", "give", "turn", "change", "into", "have", "has", "having", "wearing", "wear", "wears", "be"),
    *("is", "are", "look", "looks", "very", "more", "really", "please", "her", "his", "him", "them", "their", "she", "he"),
    *("they", "it", "this", "that", "who", "which", "should", "would", "like", "as", "in", "on", "at", "for", "but"),
))
"""Words that an instruction is wrapped in: dropped where the vocabulary does not have them."""
SYNONYMS = {
    **dict.fromkeys(("girls", "daughter"), "girl"), **dict.fromkeys(("boys", "son"), "boy"), "men": "man", "women": "woman",
    **dict.fromkeys(("baby", "toddler", "children", "kids"), "child"), **dict.fromkeys(("senior", "ancient"), "old"),
    **dict.fromkeys(("teenager", "teenage", "teen"), "young"), **dict.fromkeys(("bespectacled", "sunglasses"), "glasses"),
    **dict.fromkeys(("bearded", "moustache", "mustache"), "beard"), **dict.fromkeys(("smiles", "grin"), "smiling"),
    **dict.fromkeys(("laugh", "laughs"), "laughing"), "cheerful": "happy", **dict.fromkeys(("angry", "frowning"), "serious"),
    "brunet": "brunette", "yellow": "golden", "without": "no", "backdrop": "background", "makeup": "lipstick",
    "eye": "eyes", "lip": "lips", "tooth": "teeth", "leftwards": "left", "rightwards": "right", "&": "and", "+": "and",
    **claims.COMPARATIVES,
}
"""Words that are read as another one."""
PUNCTUATION = re.compile(r"[\s,.;:!?()\[\]/\"“”„«»–—…]+")
EDGES = "-'‘’"  # punctuation at either end of a word, a part of it within
EMPTY = frozenset(("a", "an", "the", "of", "and", "with", "to", "photo", "portrait", "picture", "face"))

SAME = 1e-3  # distance of unit vectors below which two texts mean the same


class TextImage(Protocol):
    """Embeds texts and faces so that they can be compared; gradients flow through the pictures.

    ``code_group``: the codes that its words are about, a group of :func:`facemug_lib.faces.code_space.code_groups`.
    """

    name: str
    code_group: str

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [n,d]. Raises :class:`FacemugError` for a text that the model cannot understand."""
        ...

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [b,d] of images [b,3,h,w] in [-1,1]."""
        ...


@dataclass(frozen=True)
class TextImageConfig:
    """Shape of the small model; ``vocabulary`` are its words and phrases, in the order of their tokens."""

    vocabulary: tuple[str, ...] = field(default_factory=lambda: (*captions.words(), *captions.phrases()))
    embed_dim: int = 128
    image_size: int = 128
    head_width: int = 192  # of the image tower, as in the expert
    hidden: int = 160
    text_width: int = 128
    text_heads: int = 4
    text_layers: int = 3


class FaceTower(nn.Module):
    """The image tower [b,3,s,s] → [b,d]: the expert's trunk and attribute branch, the colours of an 8×8 thumbnail (on aligned
    faces, where a colour is says whose it is; the trunk was taught to look past light and colour), and a projection."""

    def __init__(self, config: TextImageConfig) -> None:
        super().__init__()
        like = ExpertStudent(ExpertConfig(head_width=config.head_width, hidden=config.hidden))
        self.trunk, self.branch, self.place = like.trunk, like.branch, like.place
        self.read = like.read[:2]
        self.project = nn.Linear(config.hidden, config.embed_dim)
        self.colours = nn.Sequential(nn.Linear(3 * COLOUR_GRID**2, config.hidden), nn.ReLU(inplace=True),
                                     nn.Linear(config.hidden, config.embed_dim))
        self.image_size = config.image_size

    def init_from_expert(self, expert: ExpertStudent) -> None:
        """Start from what the expert sees, which its attributes are linear in, instead of from noise."""
        for name in ("trunk", "branch", "place"):
            getattr(self, name).load_state_dict(getattr(expert, name).state_dict())
        self.read.load_state_dict(expert.read[:2].state_dict())

    def forward(self, images: Tensor) -> Tensor:
        return self.told(*self.seen(images))

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the expert's part sees [b,hidden], and the thumbnail's colours [b,192]."""
        return (self.read(what_and_where(self.branch(self.trunk(images)[-1]), self.place)),
                F.adaptive_avg_pool2d(images, COLOUR_GRID).flatten(1))

    def told(self, seen: Tensor, thumbnail: Tensor) -> Tensor:
        """The embedding [b,d] of what :meth:`seen` gave."""
        return self.project(seen) + self.colours(thumbnail)


class SmallTextImage(nn.Module):
    """open_clip's CLIP at 1.7 M parameters: its causal text transformer and its contrastive head (sigmoid scores, as in SigLIP)
    over the project's own image trunk."""

    name = "small"
    # It names colours, but does not mind how strong they are: with the fine codes free, faces turned orange or white.
    code_group = "upper"

    def __init__(self, config: TextImageConfig | None = None) -> None:
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

        super().__init__()
        self.config = c = config or TextImageConfig()
        vision = CLIPVisionCfg(layers=1, width=64, image_size=32, patch_size=32)  # gives way to the tower
        text = CLIPTextCfg(context_length=CONTEXT, vocab_size=FIRST + len(c.vocabulary) + 1, width=c.text_width,
                           heads=c.text_heads, layers=c.text_layers)
        self.clip = CLIP(c.embed_dim, vision, text, init_logit_scale=2.3, init_logit_bias=0.0)
        self.clip.visual = FaceTower(c)
        self._ids = {word: FIRST + place for place, word in enumerate(c.vocabulary)}
        self._phrases = [word for word in c.vocabulary if " " in word]
        self._nouns = {phrase.split()[1] for phrase in self._phrases}
        self._adjectives: dict[str, list[str]] = {}
        for phrase in self._phrases:
            self._adjectives.setdefault(phrase.split()[0], []).append(phrase)
        self._words = {word for phrase in self._ids for word in phrase.split()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SmallTextImage:
        """Rebuild from the dictionary of a weights file's header."""
        return cls(TextImageConfig(**{**config, "vocabulary": tuple(config["vocabulary"])}))

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> SmallTextImage:
        """The shipped model, frozen."""
        return load_module("text_image", cls.from_config, device)

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self.config)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids [n, CONTEXT] of texts. Raises :class:`FacemugError` for unknown words, with the nearest known ones."""
        rows = torch.full((len(texts), CONTEXT), PAD, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            ids = [self._ids[word] for word in self.bound(self.understood(text))]
            if len(ids) > CONTEXT - 2:
                raise FacemugError(f"{text!r} has {len(ids)} words: up to {CONTEXT - 2} are read, say it shorter")
            row[:len(ids) + 2] = torch.tensor([1, *ids, FIRST + len(self._ids)])
        return rows.to(self.clip.positional_embedding.device)

    def understood(self, text: str) -> list[str]:
        """The words of ``text`` as the model reads them: synonyms replaced, fillers dropped.

        Raises :class:`FacemugError` that names whatever else stands there, in any script: words, numbers, symbols.
        """
        found, unknown = [], []
        for word in _typed(text):
            word = word if word in self._words else SYNONYMS.get(word, word)
            if word in self._words:
                found.append(word)
            elif word not in FILLERS:
                unknown.append(word)
        if unknown:
            raise FacemugError(f"the small text model does not know {' or '.join(map(repr, unknown))}: {self._hint(unknown)}")
        if not set(found) - EMPTY:
            raise FacemugError(f"{text!r} says nothing that the small text model knows: try \"blond hair\" or \"an old man\"")
        return found

    def said(self, text: str) -> claims.Said:
        """What ``text`` claims of a face. Raises :class:`FacemugError` as :meth:`tokens` does."""
        words = " ".join(self.bound(self.understood(text))).split()
        return claims.said(words, claims.comparatives(_typed(text)))

    def bound(self, words: Sequence[str]) -> list[str]:
        """Words as the vocabulary has them, adjectives bound to nouns: "long", "black", "hair" are "long hair", "black hair".

        Most of these adjectives are said of several nouns. A small causal transformer, which reads them before the noun, did not
        learn to tell them apart: all its colours ended up at one point.
        """
        bound: list[str] = []
        waiting: list[str] = []
        for word in (*words, None):
            if word in self._adjectives:
                waiting.append(word)
                continue
            is_said = False
            for adjective in waiting:
                possible = self._adjectives[adjective]
                here = f"{adjective} {word}"
                before = f"{adjective} {bound[-1].split()[-1]}" if bound else None  # "her hair is black"
                if here in possible:
                    bound.append(here)
                    is_said = True
                elif before in possible:
                    bound[-1:] = [before] if bound[-1] in self._nouns else [bound[-1], before]
                elif len(possible) == 1 and adjective in captions.HAIR_COLOURS:  # "a blond woman"
                    bound.append(possible[0])
                elif adjective in self._ids:
                    bound.append(adjective)
                else:
                    raise FacemugError(f"the small text model does not know what is {adjective}: say {' or '.join(possible)}")
            waiting = []
            if word is not None and not is_said:
                bound.append(word)
        if alone := [word for word in bound if word not in self._ids]:
            known = [phrase for phrase in self._phrases if phrase.endswith(f" {alone[0]}")]
            raise FacemugError(f"the small text model does not know what {alone[0]} is meant: say {' or '.join(known)}")
        return bound

    def _hint(self, unknown: Sequence[str]) -> str:
        known = [*self._words, *SYNONYMS]
        near = dict.fromkeys(near for word in unknown for near in difflib.get_close_matches(word, known, n=2, cutoff=0.7))
        return f"did you mean {' or '.join(near)}?" if near else f"it has words for {', '.join(captions.ASPECTS)}"

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return self.clip.encode_text(self.tokens(texts), normalize=True)

    def embed_images(self, images: Tensor) -> Tensor:
        size = (self.config.image_size, self.config.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return self.clip.encode_image(images, normalize=True)

    def scores(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logits [b,n] that text n is true of image b, from unit vectors."""
        return self.clip.logit_scale.exp() * images @ texts.t() + self.clip.logit_bias


def _typed(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation."""
    parts = PUNCTUATION.split(unicodedata.normalize("NFKC", text).lower())
    return [word for part in parts if (word := part.strip(EDGES))]


class OpenClip:
    """A pretrained model of open_clip: ``"ViT-B-32:openai"``, or ``"ViT-B-32:/path/to/checkpoint.pt"``."""

    code_group = "all"

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        import open_clip

        architecture, _, weights = name.partition(":")
        known = open_clip.list_models()
        if architecture not in known:
            near = difflib.get_close_matches(architecture, known, n=3) or ["ViT-B-32", "RN50"]
            raise FacemugError(f"open_clip has no model {architecture!r}: try {', '.join(near)}")
        if not weights:
            raise FacemugError(f"text model {name!r} names no weights: write {architecture}:openai or {architecture}:FILE")
        if ("/" in weights or "." in weights) and not Path(weights).is_file():
            raise FacemugError(f"no checkpoint {weights}: give a file of {architecture}'s weights, or a published name")
        try:
            model = open_clip.create_model(architecture, pretrained=weights, device=device)
        except Exception as error:  # downloads and checkpoints fail in many ways; the user can do one of two things
            raise FacemugError(f"the weights {weights} of {architecture} cannot be had ({type(error).__name__}): give a file of "
                               "them, or use the small model") from error
        self.name, self.model = name, model.eval().requires_grad_(False)
        self._tokenize, self._device = open_clip.get_tokenizer(architecture), device
        mean, std = (getattr(model.visual, f"image_{what}", None) or default for what, default in (
            ("mean", open_clip.OPENAI_DATASET_MEAN), ("std", open_clip.OPENAI_DATASET_STD)))
        self._mean, self._std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
        size = model.visual.image_size
        self._size = tuple(size) if isinstance(size, tuple | list) else (size, size)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            # The tokenizer cuts off without a word what is too long; its two ends are tokens too.
            length = len(self._tokenize.encode(text)) + 2 if hasattr(self._tokenize, "encode") else 0
            if length > self._tokenize.context_length:
                raise FacemugError(f"{text[:40]!r}… has {length - 2} tokens: up to {self._tokenize.context_length - 2} are read, "
                                   "say it shorter")
        return self.model.encode_text(self._tokenize(list(texts)).to(self._device), normalize=True)

    def embed_images(self, images: Tensor) -> Tensor:
        images = F.interpolate(images, self._size, mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)
        return self.model.encode_image(((images + 1) / 2 - self._mean) / self._std, normalize=True)


def text_direction(model: TextImage, target: str, source: str) -> tuple[Tensor, Tensor]:
    """(E_T(target) [d], ΔT = E_T(target) − E_T(source) [d]): where a face shall go, and how from where it is (Eq. 5). Raises
    :class:`FacemugError` where the model sees no difference."""
    there, here = model.embed_texts([target, source])
    wanted = there - here
    if float(wanted.norm()) < SAME:
        raise FacemugError(f"{target!r} and {source!r} mean the same to the text model: name a change")
    return there, wanted


def load_text_image(name: str = SmallTextImage.name, device: torch.device | str = "cpu") -> TextImage:
    """The back-end called ``name``: ``"small"``, or open_clip's ``ARCHITECTURE:WEIGHTS``."""
    return SmallTextImage.load(device) if name == SmallTextImage.name else OpenClip(name, device)
