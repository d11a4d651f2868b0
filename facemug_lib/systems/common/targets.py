"""What of a known pair is worth learning."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from facemug_lib.systems.common.scores import AROUND, CHANGED


def attribute_alone(images: Tensor, pair: Tensor) -> Tensor:
    """The pair where it clearly differs from the face, the face elsewhere, softly in between; all [b,3,h,w] in [-1,1].

    A direction of the prior also moves a background a little, each time otherwise. Nobody could foresee that, and an edit
    should leave it alone. Clearly is :data:`.scores.CHANGED` on average around a point, as for the scores.
    """
    side = AROUND * images.shape[-1] // 128 | 1

    def around(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)

    share = around((around((images - pair).abs().mean(1, keepdim=True)) / CHANGED).clamp(0, 1))
    return images.lerp(pair, share)
