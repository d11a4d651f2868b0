"""FACEMUG's one pass, a function per step, to be read beside the paper (§II-A and Fig. 2; Eq. 1–8).

====  =======================================  ==========  =====================================================
step  what happens                             equation    here
====  =======================================  ==========  =====================================================
1     w_z = F(z), w_e = E_s(x_e)               §II-A1      :func:`random_codes`, :func:`exemplar_codes`
2     w̄ between w_z and w_e                    §II-A1      :func:`interpolated`
3     w_x = E_s(C)                             §II-A2      :func:`projected_codes`
4     w_warp = w̄ + T(w̄, w_x)                   Eq. 2       :func:`warped`
5     ŵ = w_warp + α·n                         Eq. 3       :func:`facemug_lib.editing.latent.directions.moved`
      or ŵ follows a text                      Eq. 3–5     :func:`facemug_lib.editing.latent.text_traits.follow_text`
6     {F^s}, I_rec = G_s(ŵ)                    §II-A5      :func:`bank`
7     F_a = A(C);  {F^en}, g = R_en(F_a)       Eq. 16, 17  :func:`refined_picture`
8     I_out = R_de({F^en}, g, ŵ, {F^s})        Eq. 1, 6–8  :func:`refined_picture`, :func:`correction`
9     I_out in the hole, the photo elsewhere   §II-A       :meth:`facemug_lib.modalities.conditions.Conditions.composite`
====  =======================================  ==========  =====================================================

:class:`facemug_lib.editing.editor.Editor` takes the steps in this order. The symbols are those of the paper: C the pixel-wise
modalities, x_e the exemplar, F and G_s the mapping and the synthesis network of the prior, E_s the style encoder, T the latent
warping network, A the aggregation, R_en and R_de the two halves of the refinement auto-encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.editing.inputs import Exemplars
from facemug_lib.editing.settings import PASS
from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.modalities.conditions import MODALITIES, Conditions, exemplar_input
from facemug_lib.models.generator import RefinementGenerator


class Codes(NamedTuple):
    """What steps 1 to 4 give: w_z [b,512]; w̄ and w_warp [b,t,512]; certainty [b], 1 where the photo decides everything."""

    w_z: Tensor
    w_bar: Tensor
    w_warp: Tensor
    certainty: Tensor


def read_codes(prior: CodeSpace, encoder: nn.Module, warping: nn.Module, conditions: Conditions, seeds: Sequence[int],
               exemplars: Exemplars | None = None, influence: Mapping[str, float] | None = None,
               variety: Sequence[float] | None = None) -> Codes:
    """Steps 1 to 4; ``variety`` [b], 0 … 1, is how much of the codes is random whatever the photo and the guidance decide.

    Without an exemplar the projected codes w_x stand in for w_e, and the certainty says how much of the random code is left. They
    have the pose already, so only exemplars and random faces are warped: on 16 faces with the face as the hole, LPIPS was 0.082
    without the warping and 0.094 with it.
    """
    influence = influence or {}
    w_z = random_codes(prior, seeds)
    w_x = projected_codes(encoder, conditions, influence)
    certainty, w_e = certainty_of(conditions), w_x
    share, is_foreign = certainty, torch.zeros_like(certainty, dtype=torch.bool)
    if exemplars is not None:
        is_foreign = exemplars.given
        w_e = torch.where(is_foreign[:, None, None], exemplar_codes(encoder, exemplars), w_x)
        share = torch.where(is_foreign, min(1.0, influence.get("exemplar", 1.0)), certainty)
    if variety is not None and any(variety):
        kept = 1 - torch.tensor(variety, device=certainty.device)
        certainty, share, is_foreign = certainty * kept, share * kept, is_foreign | (kept < 1)
    w_bar = interpolated(prior.broadcast(w_z), w_e, share)
    w_warp = torch.where(is_foreign[:, None, None], warped(warping, w_bar, w_x), w_bar) if bool(is_foreign.any()) else w_bar
    return Codes(w_z, w_bar, w_warp, certainty)


def random_codes(prior: CodeSpace, seeds: Sequence[int]) -> Float[Tensor, "b 512"]:
    """Step 1 (§II-A1): w_z = F(z), truncated. Each edit's z is drawn from its own seed."""
    return torch.cat([prior.sample_w(1, torch.Generator().manual_seed(seed), PASS.psi) for seed in seeds]).float()


def exemplar_codes(encoder: nn.Module, exemplars: Exemplars) -> Float[Tensor, "b t 512"]:
    """Step 1 (§II-A1): w_e = E_s(x_e), the 23 channels of the other modalities being zero."""
    return encoder(exemplar_input(exemplars.images)).float()


def interpolated(w_z: Float[Tensor, "b t 512"], w_e: Float[Tensor, "b t 512"],
                 share: Float[Tensor, " b"]) -> Float[Tensor, "b t 512"]:
    """Step 2 (§II-A1): w̄, ``share`` of the way from w_z to w_e. At a share of 1 it is w_e to the last bit."""
    return torch.lerp(w_z, w_e, share[:, None, None])


def certainty_of(conditions: Conditions) -> Float[Tensor, " b"]:
    """How far, 0 … 1, the photo and the guidance decide the codes; the seed decides the rest.

    1 − u^p, u being the share of the picture that is hole, or a part of it where guidance says something about the hole
    (:class:`facemug_lib.editing.settings.PassSettings`).
    """
    unknown = conditions.mask.mean((1, 2, 3))
    is_guided = conditions.present[:, 1:].any(dim=1)
    return 1 - torch.where(is_guided, unknown * PASS.guided_unknown, unknown) ** PASS.unknown_power


def projected_codes(encoder: nn.Module, conditions: Conditions,
                    influence: Mapping[str, float] | None = None) -> Float[Tensor, "b t 512"]:
    """Step 3 (§II-A2): w_x = E_s(C).

    A guidance of influence v counts v times: for v·(E_s(C) − E_s(C without it)). So does the weight of classifier-free guidance
    (Ho and Salimans, 2022): 0 leaves the guidance out, 2 goes as far beyond.
    """
    w_x = codes = encoder(conditions.encoder_input()).float()
    for place, name in enumerate(MODALITIES[1:], start=1):
        weight = (influence or {}).get(name, 1.0)
        if weight != 1 and bool(conditions.present[:, place].any()):
            without = conditions.select(other for other in MODALITIES if other != name)
            codes = codes + (weight - 1) * (w_x - encoder(without.encoder_input()).float())
    return codes


def warped(warping: nn.Module, w_bar: Float[Tensor, "b t 512"], w_x: Float[Tensor, "b t 512"]) -> Float[Tensor, "b t 512"]:
    """Step 4 (Eq. 2): w_warp = w̄ + Δw with Δw = T(w̄, w_x), the looks of w̄ in the pose of w_x."""
    return w_bar + warping(w_bar, w_x).float()


class Bank(NamedTuple):
    """What the facial feature bank gives: I_rec at 256 px [b,3,256,256] and at the generator's size [b,3,s,s]; features {F^s}."""

    picture: Tensor
    small: Tensor
    features: Mapping[int, Tensor]


def bank(prior: CodeSpace, codes: Float[Tensor, "b t 512"], size: int = 256) -> Bank:
    """Step 6 (§II-A5): (I_rec, {F^s}) = G_s(ŵ), the prior's own picture and the features of the facial feature bank."""
    picture, features = prior(codes)
    return Bank(picture.float(), prior.reduced(picture, features, codes, size).float(), features)


def refined_picture(generator: RefinementGenerator, conditions: Conditions, codes: Float[Tensor, "b t 512"], given: Bank,
                    influence: Mapping[str, float] | None = None,
                    ) -> tuple[Float[Tensor, "b 3 256 256"], Float[Tensor, "b 4 256 256"]]:
    """Steps 7 and 8 (Eq. 1): (I_out, not yet composited; each modality's share of every point, Eq. 16).

    :class:`facemug_lib.models.generator.RefinementGenerator` runs A (Eq. 16 and 17), R_en, and R_de (Eq. 6) with its style fusion
    blocks (Eq. 7 and 8). A generator that paints fewer pixels than the prior decides the coarse part of I_out; what is finer than
    its pixels is the prior's.
    """
    weights = {name: weight for name, weight in (influence or {}).items() if name in MODALITIES}
    size, side = given.small.shape[-1], given.picture.shape[-1]
    output = generator(conditions.reduced(size), codes, given.features, given.small, weights or None)
    if size == side:
        return output.image.float(), output.contributions
    correction = output.image.float() - F.adaptive_avg_pool2d(given.picture, size)
    picture = given.picture + F.interpolate(correction, size=(side, side), mode="bicubic", align_corners=False)
    return picture, F.interpolate(output.contributions.float(), size=(side, side), mode="nearest")


def correction(generator: RefinementGenerator, conditions: Conditions, codes: Float[Tensor, "b t 512"],
               features: Mapping[int, Tensor], base: Float[Tensor, "b 3 s s"], influence: Mapping[str, float] | None = None,
               ) -> tuple[Float[Tensor, "b 3 256 256"], Float[Tensor, "b 4 256 256"]]:
    """Steps 7 and 8 of a generator with the base "settled", which is ours: (I_out − ``base`` in the hole, 0 elsewhere; each
    modality's share of every point).

    ``base`` is the photo of the generator's size with I_rec settled in its hole (:mod:`.fill.settling`). What a smaller generator
    paints beside the hole nobody has taught it, so none of that bleeds into the hole.
    """
    weights = {name: weight for name, weight in (influence or {}).items() if name in MODALITIES}
    seen, sides = conditions.reduced(base.shape[-1]), conditions.mask.shape[-2:]
    output = generator(seen, codes, features, base, weights or None)
    added, hole = ((F.interpolate(one, size=sides, mode="bilinear", align_corners=False))
                   for one in ((output.image.float() - base) * seen.mask, seen.mask))
    shares = F.interpolate(output.contributions.float(), size=sides, mode="nearest")
    return added / hole.clamp_min(1e-3) * conditions.mask, shares
