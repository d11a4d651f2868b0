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

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.evaluation.protocols import Cases, as_8_bit
from facemug_lib.modalities.colour import region_mean
from facemug_lib.modalities.sketch import pencil_sketch

ABBREVIATIONS = {"+Sk": "sketch", "+Se": "semantics", "+Co": "colour", "+Ex": "exemplar", "+Ma": "mask"}

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
    fingerprint: dict[str, Any]  # of the editor's weights

    @property
    def names(self) -> tuple[str, ...]:
        return (self.setting,)

    def describe(self) -> dict[str, Any]:
        return {"setting": self.setting, **self.fingerprint}

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        edits = guided_edits(cases, {ABBREVIATIONS[f"+{part}"] for part in self.setting.split("+")[1:]})
        return {self.setting: as_8_bit(torch.cat([result.image.cpu() for result in self.editor.edit_many(edits)]))}


def guided_edits(cases: Cases, modalities: set[str]) -> list[Edit]:
    """One edit per case with guidance from the true face; guidance that has nothing to say inside a hole is left out there."""
    masks = cases.masks if "mask" in modalities else torch.ones_like(cases.masks)
    maps = {"sketch": pencil_sketch(cases.images), "semantics": cases.labels, "colour": region_mean(cases.images, cases.labels)}
    edits = []
    for place in range(len(cases)):
        hole = masks[place : place + 1]
        given: dict[str, Tensor] = {}
        for name in modalities & maps.keys():
            guidance = maps[name][place : place + 1]
            is_said = ((guidance >= 0) if name == "semantics" else (guidance != 0).any(1)) & (hole[:, 0] > 0.5)
            if bool(is_said.any()):
                given[name] = guidance
        if "exemplar" in modalities:
            given["exemplar"] = cases.exemplars[place : place + 1]
        edits.append(Edit(cases.images[place : place + 1], hole, seed=cases.seeds[place], guidance_frame="aligned", **given))
    return edits
