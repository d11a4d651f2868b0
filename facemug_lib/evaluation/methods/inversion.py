"""GAN inversion: the masked picture's codes, painted by the prior and brought into the photo."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation.cases import Cases, completed, in_batches
from facemug_lib.evaluation.code_keys import code_of
from facemug_lib.evaluation.methods.poisson import poisson
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.weights import weights_hash


class Inversion:
    """GAN inversion of the masked picture in one pass: codes w_x = E_s(C) with the image as the only modality, painted by the
    prior and brought into the photo by plain pasting and by Poisson blending."""

    names = ("inversion, pasted", "inversion, Poisson")

    def __init__(self, editor: Editor) -> None:
        self.editor = editor

    def describe(self) -> dict[str, Any]:
        networks = {name: weights_hash(getattr(self.editor, name)) for name in ("prior", "encoder")}
        return {"method": "inversion", "weights": networks, "code": code_of(__name__)}

    @torch.no_grad()
    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        painted = []
        for piece in in_batches(cases):
            conditions = Conditions.build(piece.masks, piece.images).to(self.editor.device)
            codes = self.editor.encoder(conditions.encoder_input()).float()
            painted.append(self.editor.prior.synthesize(codes, FACE_SIZE).float().cpu())
        raw = torch.cat(painted).clamp(-1, 1)
        pasted, seamless = self.names
        return {pasted: completed(raw, cases), seamless: completed(poisson(raw, cases), cases)}
