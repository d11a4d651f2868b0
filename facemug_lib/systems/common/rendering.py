"""Sampled faces with their pairs, rendered and read by the expert: what the streams of :mod:`.faces` are made of."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facemug_lib.assets import ASSETS
from facemug_lib.devices import batches, has_fast_bf16
from facemug_lib.editing.latent.directions import Direction, load_directions
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.experts.traits import TRAITS, skin_traits
from facemug_lib.faces.bank import load_bank
from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.faces.dataset import TEST_SEEDS, PriorFaces, training_seed
from facemug_lib.files import file_hash
from facemug_lib.pictures import to_pixels
from facemug_lib.store import Arrays, digest
from facemug_lib.weights import weights_path

VERSION = 1  # raise when other faces would be made for the same settings
SHARD = 16  # faces of one file, made together: few enough for a run of seconds
TRAIT_NAMES = tuple(TRAITS)
"""Columns of ``traits``."""


class Sides(NamedTuple):
    """What parts the two sides of an attribute: the value of its ``trait`` between them, and one standard deviation of it.

    A pair is moved by at most ``largest`` deviations, and in the codes ``group`` alone
    (:func:`facemug_lib.faces.code_space.code_groups`).
    """

    trait: str
    middle: float
    deviation: float
    largest: float = 3.0
    group: str = "all"


SIDES = {
    "smile": Sides("smile", 0.0, 2.65), "mouth_open": Sides("mouth_open", 0.12, 0.0776),
    "age": Sides("age", 35.0, 12.8, 1.8, "upper"), "gender": Sides("gender", 0.0, 2.45), "glasses": Sides("glasses", 0.0, 4.76),
    "eyes_open": Sides("eyes_open", 0.255, 0.0322, 1.8, "middle"), "light": Sides("light", 0.0, 0.116),
}
"""Attributes that have a stream. Logits part at 0; deviations are those of the shipped directions; other middles are ours. Age
breaks beyond ± 2, and its finest codes carry the colours of everything. The eyes' coarse codes move hair and head instead."""
NEAREST, FARTHEST = 0.7, 1.6  # deviations from the middle: where a pair is meant to lie


def other_side(values: Tensor, sides: Sides, draws: Tensor) -> Tensor:
    """By how many deviations [n] faces whose trait reads ``values`` [n] are moved to lie on the other side of the average.

    ``draws`` [n] in 0 … 1 choose where between :data:`NEAREST` and :data:`FARTHEST` deviations from the middle.
    """
    now = (values - sides.middle) / sides.deviation
    wanted = -torch.where(now >= 0, 1.0, -1.0) * (NEAREST + (FARTHEST - NEAREST) * draws)
    return (wanted - now).clamp(-sides.largest, sides.largest)


class Maker:
    """Renders and reads faces; the prior and the expert are loaded when something is made for the first time."""

    def __init__(self, size: int, psi: tuple[float, float], mixing: float, device: torch.device | str = "cpu", *,
                 prior: CodeSpace | None = None, expert: ExpertStudent | None = None,
                 directions: Mapping[str, Direction] | None = None) -> None:
        """``prior``, ``expert`` and ``directions`` take the place of the shipped ones."""
        self.size, self.psi, self.mixing, self.device = size, psi, mixing, torch.device(device)
        self.directions = load_directions() if directions is None else directions
        self._given = {"prior": prior, "expert": expert}

    @cached_property
    def prior(self) -> CodeSpace:
        return self._given["prior"] or load_bank(None, self.device)

    @cached_property
    def expert(self) -> ExpertStudent:
        return self._given["expert"] or ExpertStudent.load(self.device)

    @cached_property
    def networks(self) -> dict[str, str]:
        """What the faces depend on besides the settings, by content; no network has to be loaded for it."""
        if self._given["prior"] is not None:
            return {"networks": "given"}
        return {"prior": ASSETS["prior"].content} | {name: file_hash(weights_path(name)) for name in ("prior_heads", "expert")}

    def describe(self, attribute: str, unseen: bool, shard: int) -> dict[str, Any]:
        """Everything that a shard depends on."""
        # Faces that no training sees are those of the other protocols: one truncation, no mixing.
        how = {"psi": [0.7, 0.7], "mixing": 0.0} if unseen else {"psi": list(self.psi), "mixing": self.mixing}
        return {"what": "face pairs", "version": VERSION, "attribute": attribute, "sides": list(SIDES[attribute]),
                "unseen": unseen, "shard": shard, "size": self.size, "direction": digest(self.directions[attribute].vector),
                **how, **self.networks}

    @torch.no_grad()
    def shard(self, attribute: str, unseen: bool, shard: int) -> Arrays:
        """:data:`SHARD` faces of a stream with their pairs."""
        first = shard * SHARD
        stream = 7_000_000 + zlib.crc32(attribute.encode()) % 1_000_000  # far from any run's seed
        if unseen:
            seeds, faces = list(TEST_SEEDS[first : first + SHARD]), PriorFaces(self.prior, (0.7, 0.7), 0.0)
        else:
            seeds = [training_seed(stream, first + place) for place in range(SHARD)]
            faces = PriorFaces(self.prior, self.psi, self.mixing)
        codes = faces.codes(seeds)
        images = self._painted(codes)
        labels, traits = self.read(images)
        sides = SIDES[attribute]
        draws = torch.from_numpy(np.random.default_rng((stream, unseen, shard)).random(SHARD, np.float32)).to(self.device)
        strength = other_side(traits[:, TRAIT_NAMES.index(sides.trait)], sides, draws).nan_to_num()
        step = self.directions[attribute].restricted(sides.group).vector.to(codes)
        moved = self._painted(codes + strength[:, None, None] * step)
        moved_labels, moved_traits = self.read(moved)
        return {"images": to_pixels(images).numpy(), "labels": label_bytes(labels), "traits": traits.cpu().numpy(),
                "pair": to_pixels(moved).numpy(), "pair_labels": label_bytes(moved_labels),
                "pair_traits": moved_traits.cpu().numpy(), "strength": strength.cpu().numpy()}

    def _painted(self, codes: Tensor) -> Tensor:
        """Pictures [n,3,s,s]; in bf16 where that is faster and no grey level away on average."""
        half = codes.device.type == "cuda" or has_fast_bf16()
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=half):
            made = [self.prior.synthesize(codes[list(part)], self.size) for part in batches(len(codes))]
        return torch.cat(made).float().clamp(-1, 1)

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(labels long [n,h,w], traits [n,13]) of faces [n,3,h,w] in [-1,1], as the expert sees them."""
        labels, traits = [], []
        for part in batches(len(images)):
            output = self.expert(images[list(part)])
            labels.append(output.semantics.argmax(1))
            found = dict(output.attributes) | skin_traits(images[list(part)], labels[-1])
            traits.append(torch.stack([found[name] for name in TRAIT_NAMES], 1))
        return torch.cat(labels), torch.cat(traits)


def label_bytes(labels: Tensor) -> np.ndarray:
    """Label maps as they are kept."""
    return labels.to("cpu", torch.uint8).numpy()
