"""The prior's picture in stages: small first, then larger from the same features, and nothing twice that did not change."""

from __future__ import annotations

import torch
from torch import Tensor

from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.progress import Check, unchecked

SIZES = (64, 128, 256)


class StagedPainter:
    """Pictures of codes [1,t,512] by a bank with picture heads, bit for bit those of its ``synthesize``.

    The features of the last codes are kept. A larger picture of the same codes goes on from them; of other codes, those below
    the first code that differs are used again. A bank without heads paints its whole picture each time.
    """

    def __init__(self, prior: CodeSpace) -> None:
        self.prior = prior
        self.has_stages = getattr(prior, "heads", None) is not None
        self._codes: Tensor | None = None
        self._features: dict[int, Tensor] = {}
        self._small: Tensor | None = None  # the 64-px picture of the last codes

    @torch.no_grad()
    def paint(self, codes: Tensor, size: int = 256, check: Check = unchecked) -> Tensor:
        """Picture [1,3,size,size] in about [-1,1], size one of :data:`SIZES`. ``check`` is called between the stages; what it
        raises ends the work, and what has been made is kept."""
        if not self.has_stages:
            return self.prior.synthesize(codes, size).float()
        self._keep(codes)
        for resolution in (64, 128):
            if resolution <= size:
                self._features = self.prior.features(codes, resolution, self._features)
                check()
        if size == 256 and 256 not in self._features:
            self._features[256] = self.prior.detail(self._features[128], codes[:, self.prior.head_code(256)])
            check()
        if size > 64:
            return self.prior.paint(self._features, codes, size).float()
        if self._small is None:
            self._small = self.prior.paint(self._features, codes, size).float()
        return self._small

    def _keep(self, codes: Tensor) -> None:
        """Forget the features that these codes change."""
        if self._codes is not None and torch.equal(self._codes, codes):
            return
        first = 0
        if self._codes is not None and self._codes.shape == codes.shape:
            first = int((self._codes != codes).any(dim=2)[0].nonzero()[0])
        kept: dict[int, Tensor] = {}
        layers = self.prior.code_layers | {256: (self.prior.head_code(256),)}
        for resolution, used in sorted(layers.items()):
            if resolution not in self._features or max(used) >= first:
                break
            kept[resolution] = self._features[resolution]
        self._codes, self._features, self._small = codes.clone(), kept, None
