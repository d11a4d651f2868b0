"""The editor as a method among others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.evaluation.cases import Cases, completed, in_batches
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.progress import silent
from facemug_lib.weights import weights_hash


class Facemug:
    """One feed-forward pass of the editor, mask only, with the cases' seeds; with ``refine`` also followed by that many steps of
    latent optimisation."""

    def __init__(self, editor: Editor, refine: int = 0) -> None:
        self.editor, self.refine = editor, refine
        self.names = ("FACEMUG", f"FACEMUG + {refine} steps") if refine else ("FACEMUG",)

    def describe(self) -> dict[str, Any]:
        description = {"method": "FACEMUG", "weights": self.editor.hashes(), "code": code_of(__name__), "refine": self.refine}
        if self.refine:
            description["perceptual"] = weights_hash(self.editor.experts(False, False).perceptual)
        return description

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for piece in in_batches(cases):
            edits = [Edit(face[None], mask[None], seed=seed, guidance_frame="aligned")
                     for face, mask, seed in zip(piece.images, piece.masks, piece.seeds, strict=True)]
            for name, steps in zip(self.names, (0, self.refine), strict=False):
                results = self.editor.edit_many(edits, refine=steps, progress=silent)
                found[name] += [one.image.cpu() for one in results]
        return {name: completed(torch.cat(images), cases) for name, images in found.items()}
