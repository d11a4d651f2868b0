"""The guided settings of the paper's tables I, II, IV, V and VII, as methods to be scored like any other.

Each face has one mask, of a family that changes from face to face; guidance is taken from the true face, the exemplar is another
face. "+Ma" keeps the pixels outside the mask; without it the whole picture is made anew, from guidance alone. Text (Table I) is
not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facemug_lib.devices import batches
from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation.cases import Cases
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.evaluation.guided import edited, maps_of, planned

ABBREVIATIONS = {"Sk": "sketch", "Se": "semantics", "Co": "colour", "Ex": "exemplar", "Ma": "mask"}

PAPER_TABLES: dict[str, tuple[str, ...]] = {
    "I": ("+Se", "+Se+Ma"),
    "II": ("+Sk+Se", "+Sk+Se+Ma"),
    "IV": ("+Sk", "+Sk+Co", "+Sk+Ma"),
    "V": ("+Se", "+Se+Co", "+Se+Ma"),
    "VII": ("+Ex+Ma",),
}
"""The rows of the paper's tables that this system can fill in, by the modalities that it is given."""

TABLE_NOTES = {
    "I": "multimodal editing; the paper's rows add text",
    "II": "sketches and semantic maps",
    "IV": "sketch-guided",
    "V": "semantic-guided",
    "VII": "exemplar-guided; exemplars are other faces of the set, with whatever pose they have",
}


@dataclass(frozen=True, eq=False)
class Guided:
    """FACEMUG with the guidance that ``setting``, such as ``"+Sk+Ma"``, names; one feed-forward pass."""

    editor: Editor
    setting: str
    weights: dict[str, str]  # hashes of the editor's networks, by name

    @property
    def names(self) -> tuple[str, ...]:
        return (self.setting,)

    def describe(self) -> dict[str, Any]:
        return {"setting": self.setting, "weights": self.weights, "code": code_of(__name__)}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        wanted = [ABBREVIATIONS[part] for part in self.setting.split("+")[1:]]
        masks = cases.masks if "mask" in wanted else torch.ones_like(cases.masks)
        maps = maps_of(cases.images, cases.labels) | {"exemplar": cases.exemplars}
        guidance = {name: maps[name] for name in wanted if name != "mask"}
        pieces = [slice(places.start, places.stop) for places in batches(len(cases))]
        return {self.setting: torch.cat([
            edited(self.editor, planned(cases.images[piece], masks[piece], cases.seeds[piece],
                                        {name: map_[piece] for name, map_ in guidance.items()})) for piece in pieces])}
