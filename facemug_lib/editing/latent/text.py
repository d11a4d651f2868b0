"""Edits told in words: codes follow the direction from one text to another (FACEMUG §II-C, Eq. 4 and 5).

    ŵ = argmin  λ1·L_dir(ŵ) + λ2·‖ŵ − w‖²,    L_dir = 1 − cos(ΔI, ΔT),
    ΔI = E_I(I_edit) − E_I(I),    ΔT = E_T(target) − E_T(source)

and, beside them, StyleCLIP's own 1 − cos(E_I(I_edit), E_T(target)); by gradient descent through everything that paints: the
networks, and the mask. The text–image model is one of :mod:`facemug_lib.experts.text_image`. What a text says of traits that
have a direction is followed before (:mod:`facemug_lib.editing.latent.text_traits`), and the descent does the rest.

Taught in `notebooks/07_text_editing.ipynb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import TextImage, text_direction
from facemug_lib.faces.code_space import code_groups
from facemug_lib.modalities.draws import uniform
from facemug_lib.pictures import similarity_grid
from facemug_lib.progress import Progress
from facemug_lib.seeds import check_seed

TEXT_SOURCE, TEXT_STEPS = Edit.text_source, Edit.text_steps


@dataclass(frozen=True, eq=False)
class Followed:
    """codes [1,t,512], the best found; losses: one per step, the start's first, none where there was nothing to descend;
    agreement: cos(ΔI, ΔT) at the best step; strengths: direction → how far it was followed before, in its unit."""

    codes: Tensor
    losses: tuple[float, ...]
    agreement: float
    strengths: Mapping[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps of the descent were made."""
        return max(0, len(self.losses) - 1)


def follow(paint: Callable[[Tensor], Tensor], codes: Tensor, model: TextImage, target: str, source: str = TEXT_SOURCE, *,
           steps: int = TEXT_STEPS, seed: int = 0, identity: Callable[[Tensor], Tensor] | None = None,
           settings: TextEditSettings | None = None, progress: Progress | None = None) -> Followed:
    """Move ``codes`` [1,t,512] until what ``paint`` makes of them has gone from ``source`` to ``target``.

    ``paint``: codes → picture [1,3,h,w] in [-1,1], differentiable.

    ``identity``: picture → face embedding [1,d], needed where its weight is above 0. ``progress`` is called with (step, steps);
    raise from it to stop. Raises :class:`FacemugError` for texts that the model cannot tell apart or does not understand.
    """
    with torch.no_grad():
        difference = text_direction(model, target, source)
    return descend(paint, codes, codes, model, difference, steps=steps, seed=seed, identity=identity, settings=settings,
                   progress=progress)


def descend(paint: Callable[[Tensor], Tensor], codes: Tensor, start: Tensor, model: TextImage,
            difference: tuple[Tensor, Tensor] | None, *, steps: int, seed: int = 0,
            identity: Callable[[Tensor], Tensor] | None = None, hold: Callable[[Tensor], Tensor] | None = None,
            settings: TextEditSettings | None = None, progress: Progress | None = None) -> Followed:
    """The descent of :func:`follow` from ``start`` [1,t,512], to where directions have led ``codes`` already.

    It keeps near ``codes``, and to who their picture shows. ``difference``: where the picture of ``start`` is to go, as
    :func:`facemug_lib.experts.text_image.text_direction` gives it; None: nowhere. ``hold``: picture → a loss [] of what it must
    not lose on the way.
    """
    s = settings or TextEditSettings()
    if steps < 1:
        raise FacemugError(f"{steps} text steps: use 1 or more")
    codes, start = codes.detach(), start.detach()
    with torch.no_grad():
        before = paint(start)
        whose = identity(before if start is codes else paint(codes)) if identity is not None and s.identity else None
    draw = torch.Generator().manual_seed(check_seed(seed))
    offset = (start - codes).requires_grad_(True)
    velocity, may_move = torch.zeros_like(codes), torch.zeros_like(codes)
    may_move[:, slice(*code_groups(codes.shape[1])[s.code_group or model.code_group])] = 1
    best, losses, agreements = start, [], []
    with torch.enable_grad():
        for step in range(steps + 1):
            image = paint(codes + offset)
            agreement, loss = torch.zeros(()), s.latent * offset.square().sum()
            if difference is not None:
                there, wanted = difference
                shown = views(torch.cat((before, image)), s.views, s.tilt, draw)
                now, then = model.embed_images(shown[1]), model.embed_images(shown[0])
                agreement = F.cosine_similarity(now - then, wanted[None], dim=1, eps=1e-4).mean()
                loss = s.direction * (1 - agreement) + s.target * (1 - (now @ there).mean()) + loss
            if whose is not None:
                loss = loss + s.identity * (1 - F.cosine_similarity(identity(image), whose, dim=1).mean())
            if hold is not None:
                loss = loss + hold(image)
            losses.append(loss.item())
            agreements.append(agreement.item())
            if not math.isfinite(losses[-1]):
                raise FacemugError("the text edit ran away: use a smaller learning rate")
            if losses[-1] <= min(losses):
                best = (codes + offset).detach()
            if step == steps or (step >= s.patience and min(losses[-s.patience:]) > min(losses[:-s.patience]) - s.least):
                break
            (gradient,) = torch.autograd.grad(loss, offset)
            with torch.no_grad():
                gradient = gradient * may_move
                velocity = s.momentum * velocity + gradient / gradient.norm().clamp_min(1e-12)
                offset -= s.lr * (1 - step / steps) * velocity
            if progress is not None:
                progress(step + 1, steps)
    return Followed(best, tuple(losses), agreements[losses.index(min(losses))])


@torch.no_grad()
def agreement(model: TextImage, before: Tensor, after: Tensor, target: str, source: str = TEXT_SOURCE) -> float:
    """cos(ΔI, ΔT) of two pictures [1,3,h,w] and two texts (Eq. 5)."""
    went = model.embed_images(after) - model.embed_images(before)
    return float(F.cosine_similarity(went, text_direction(model, target, source)[1][None], dim=1, eps=1e-4).mean())


def views(images: Tensor, count: int, tilt: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    """``count`` slightly turned, zoomed, shifted and lit views of each of several images [n,3,h,w], the same for all of them.

    One [count,3,h,w] per image. The first view is the picture as it is. Many views keep the descent from finding a pattern of
    pixels that only the model takes for the text.
    """
    n, device = len(images), images.device

    def draws(low: float, high: float) -> Tensor:
        values = uniform((count,), low, high, generator)
        values[0] = 0
        return values.to(device)

    angle, zoom, light = draws(-tilt, tilt), draws(-tilt, tilt), draws(-0.1, 0.1)
    shift = torch.stack((draws(-tilt, tilt), draws(-tilt, tilt)), -1)
    grid = similarity_grid(images, angle, torch.exp2(zoom), shift)
    return tuple(F.grid_sample(images[place:place + 1].expand(count, -1, -1, -1), grid, padding_mode="reflection",
                               align_corners=False) + light[:, None, None, None] for place in range(n))
