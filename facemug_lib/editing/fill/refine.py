"""Latent optimisation on the known pixels: codes that one pass has read from a photo are fitted to it.

Codes are moved until the prior's picture agrees with the photo where the photo is known, and obeys the guidance in the hole. The
prior paints one face from them: if its known part is right, what it paints into the hole fits the rest.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from facemug_lib.editing.schedule import stages
from facemug_lib.editing.settings import RefineSettings
from facemug_lib.errors import FacemugError
from facemug_lib.experts.perceptual import Lpips
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.modalities.sketch import pencil_filter
from facemug_lib.progress import Progress


@dataclass(frozen=True, eq=False)
class Experts:
    """Frozen experts: LPIPS, a parser (picture → output with ``.semantics`` logits [b,19,h,w]) and an identity network (picture →
    unit vector [b,d]). Refining needs the first one, and the others for their modality."""

    perceptual: Lpips | None = None
    parser: nn.Module | None = None
    identity: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Refined:
    """codes [b,t,512]; image [b,3,256,256], the prior's picture of them; known_loss [steps+1,b], the start's first."""

    codes: Tensor
    image: Tensor
    known_loss: Tensor


def refine(
    prior: nn.Module,
    conditions: Conditions,
    photo: Tensor,
    starts: Sequence[Tensor],
    steps: int | str,
    experts: Experts,
    *,
    anchor: Tensor | None = None,
    exemplar: Tensor | None = None,
    has_exemplar: Tensor | None = None,
    influence: Mapping[str, float] | None = None,
    settings: RefineSettings | None = None,
    progress: Progress | None = None,
    show: bool = False,
) -> Refined:
    """Move the codes for ``steps`` steps of Adam; a batch of edits is refined at once, each by itself.

    Parameters
    ----------
    prior : face prior with heads for the sizes of the steps, ``settings.coarse_size`` and 256 px.
    conditions : the edits, [b,…,256,256]. Guidance outside the mask is not looked at.
    photo : the faces, [b,3,256,256] in [-1,1]; nothing under the mask is looked at.
    steps : a number, on pictures of the sizes that ``settings`` say, or a schedule (:mod:`facemug_lib.editing.schedule`).
    starts : candidate codes [b,t,512]; each edit starts from the one with the lowest loss.
    anchor : w [b,512] or [512] that the codes are pulled to; the mean w by default.
    exemplar : faces [b,3,256,256] whose identity and colours are wanted.
    has_exemplar : bool [b], which edits have one; all by default.
    influence : modality → weight of its term; 1 by default.
    progress, show : a callback per step, and a bar (a line per quarter where there is no terminal).
    """
    objective = _Objective(prior, conditions, photo, experts, anchor, exemplar, has_exemplar, influence or {},
                           settings or RefineSettings())
    s = objective.settings
    is_number = isinstance(steps, int)
    sizes = _sizes(steps, s) if is_number else _scheduled_sizes(steps)
    steps = len(sizes) - 1
    start = _best_start(objective, starts, s.coarse_size if is_number else s.start_size)  # small pictures tell starts apart
    shared = torch.zeros_like(start[:, :1], requires_grad=True)
    own = torch.zeros_like(start, requires_grad=True)
    groups = [{"params": [shared], "lr": s.lr_shared}, {"params": [own], "lr": s.lr_codes}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]

    best, best_loss = start, torch.full((len(start),), math.inf, device=start.device)
    history = []
    report = _reporter(steps) if show else None
    for step in range(steps + 1):
        size = sizes[step]
        if step > 0 and size != sizes[step - 1]:
            # Losses at two sizes cannot be compared: the best codes so far are where the finer steps start.
            with torch.no_grad():
                own += best - (start + shared + own)
            best_loss.fill_(math.inf)
        codes = start + shared + own
        with torch.set_grad_enabled(step < steps):
            total, known = objective(codes, size)
        history.append(known.detach())
        better = total.detach() < best_loss
        best_loss = torch.where(better, total.detach(), best_loss)
        best = torch.where(better[:, None, None], codes.detach(), best)
        if step == steps:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _ramp((step + 0.5) / steps, s.ramp_up, s.ramp_down)
        optimizer.zero_grad(set_to_none=True)
        total.sum().backward()
        optimizer.step()
        for tell in (report, progress):
            if tell is not None:
                tell(step + 1, steps)
    with torch.no_grad():
        image = prior.synthesize(best, 256).float()
    return Refined(best, image, torch.stack(history).cpu())


def _reporter(steps: int) -> Progress:
    """A bar on a terminal; elsewhere (a log, a notebook) one plain line per quarter."""
    if sys.stderr.isatty():
        bar = tqdm(total=steps, desc="refining", unit="step", leave=False)

        def draw(done: int, total: int) -> None:
            bar.update()
            if done == total:
                bar.close()

        return draw
    started = time.perf_counter()

    def write(done: int, total: int) -> None:
        if done * 4 // total > (done - 1) * 4 // total:
            print(f"refining: step {done} of {total}, {time.perf_counter() - started:.0f} s", flush=True)

    return write


def _sizes(steps: int, settings: RefineSettings) -> list[int]:
    """The picture size of each step, the last one's also for the result: steps + 1 numbers."""
    start, fine = round(steps * settings.start_share), round(steps * settings.fine_share)
    sizes = [settings.start_size] * start + [settings.coarse_size] * max(0, steps - start - fine) + [256] * fine
    return [*sizes[:steps], 256 if fine else settings.coarse_size]


def _scheduled_sizes(schedule: str) -> list[int]:
    """The same of a schedule."""
    sizes = [size for size, count in stages(schedule) for _ in range(count)]
    return [*sizes, sizes[-1]]


def _ramp(t: float, up: float, down: float) -> float:
    """Learning-rate factor at ``t`` in 0…1: linear rise, plateau, cosine fall (Karras et al., StyleGAN2's projector)."""
    falling = min(1.0, (1.0 - t) / down) if down else 1.0
    return min(1.0, t / up if up else 1.0) * (0.5 - 0.5 * math.cos(math.pi * falling))


@torch.no_grad()
def _best_start(objective: _Objective, starts: Sequence[Tensor], size: int) -> Tensor:
    """Per edit the candidate of lowest loss at this picture size: [b,t,512]."""
    if len(starts) == 1:
        return starts[0].detach().clone()
    losses = torch.stack([objective(codes, size)[0] for codes in starts])
    pick = losses.argmin(dim=0)
    return torch.stack([starts[int(which)][edit] for edit, which in enumerate(pick)]).detach()


class _Objective:
    """The loss of codes [b,t,512] at a picture size: (total [b], LPIPS + pixel error on the known pixels [b])."""

    def __init__(self, prior: nn.Module, conditions: Conditions, photo: Tensor, experts: Experts, anchor: Tensor | None,
                 exemplar: Tensor | None, has_exemplar: Tensor | None, influence: Mapping[str, float],
                 settings: RefineSettings) -> None:
        self.prior, self.experts, self.settings = prior, experts, settings
        self.anchor = prior.mean_w if anchor is None else anchor
        self.mask, self.photo, self.exemplar = conditions.mask, photo, exemplar
        self.is_all_hole = conditions.mask.flatten(1).all(dim=1)
        self.weights = {name: getattr(settings, name) * influence.get(name, 1.0) for name in ("semantics", "sketch", "colour")}
        self.exemplar_weight = influence.get("exemplar", 1.0) * (1.0 if has_exemplar is None else has_exemplar.float())
        present = conditions.present.any(dim=0).tolist()
        self.wanted = {name: on and self.weights[name] > 0
                       for name, on in zip(("sketch", "semantics", "colour"), present[1:], strict=True)}
        if self.wanted["semantics"] and experts.parser is None:
            raise FacemugError("refining with a label map needs the expert: train it with `facemug train expert --install`")
        if exemplar is not None and experts.identity is None:
            raise FacemugError("refining with an exemplar needs the identity network: pass experts.identity")
        self.conditions = conditions
        self._views: dict[int, dict[str, Tensor]] = {}
        self._features: dict[tuple[int, str], list[Tensor]] = {}
        if exemplar is not None:
            everyone = torch.ones(len(exemplar), dtype=torch.bool, device=exemplar.device)
            self.followers = (everyone if has_exemplar is None else has_exemplar.bool()).nonzero()[:, 0]
            with torch.no_grad():
                self.embedding = experts.identity(exemplar)

    def _view(self, size: int) -> dict[str, Tensor]:
        """What does not change from step to step, at this size; made when first needed."""
        if size in self._views:
            return self._views[size]
        factor = self.mask.shape[-1] // size
        hole = F.max_pool2d(self.mask, factor)  # a pixel that is partly hole is not known
        photo = F.avg_pool2d(self.photo, factor)
        # Pixels near the hole say most about it; the prior cannot paint a photo's far background anyway.
        far = _distance(hole) * factor
        s = self.settings
        weight = (1 - hole) * (s.far_weight + (1 - s.far_weight) * torch.exp(-far / s.nearness))
        view = {"hole": hole, "photo": photo, "weight": weight / weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6),
                "area": hole.sum((1, 2, 3)).clamp_min(1)}
        conditions = self.conditions
        if self.wanted["sketch"]:
            strokes = F.max_pool2d(conditions.sketch * self.mask, factor)
            view["strokes"] = _soft(strokes, size)
        if self.wanted["semantics"]:
            labels = conditions.semantics * self.mask
            labels = labels[:, :, ::factor, ::factor]
            view["classes"], view["labelled"] = labels.argmax(1), labels.sum(1)
        if self.wanted["colour"]:
            painted = ((conditions.colour != 0).any(1, keepdim=True) * self.mask).float()
            share = F.avg_pool2d(painted, 8)
            view["paint"] = F.avg_pool2d(conditions.colour * painted, 8) / share.clamp_min(1e-6)
            view["painted"] = share
        if self.exemplar is not None:
            view["exemplar"] = F.avg_pool2d(self.exemplar, factor)
        self._views[size] = view
        return view

    @torch.no_grad()
    def _embedded(self, size: int, name: str) -> list[Tensor]:
        """LPIPS features of the photo's known part, or of the exemplars' in the hole; made when first needed."""
        if (size, name) not in self._features:
            view = self._view(size)
            shown = view["photo"] * (1 - view["hole"]) if name == "photo" else (view["exemplar"] * view["hole"])[self.followers]
            self._features[size, name] = self.experts.perceptual.embed(shown)
        return self._features[size, name]

    def __call__(self, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
        s, view = self.settings, self._view(size)
        image = self.prior.synthesize(codes, size).float()
        # Both pictures are blank in the hole, so that the perceptual distance compares known content only. It is taken at the
        # coarse size, where it costs a quarter of what it does at 256 px; the detail comes from the squared error.
        coarse_size = min(size, s.coarse_size)
        coarse, embedded = self._view(coarse_size), self._embedded(coarse_size, "photo")
        seen = F.avg_pool2d(image, size // coarse_size) * (1 - coarse["hole"])
        lpips = self.experts.perceptual
        distance = lpips.distance(lpips.embed(seen), embedded, coarse["weight"])
        pixel = ((image - view["photo"]).square() * view["weight"]).sum((1, 2, 3)) / 3
        known = torch.where(self.is_all_hole, torch.zeros_like(pixel), s.perceptual * distance + s.pixel * pixel)

        deviation = self.prior.std_w
        middle = codes.mean(dim=1)
        pull = ((middle - self.anchor) / deviation).square().mean(dim=1)
        spread = ((codes - middle[:, None]) / deviation).square().mean(dim=(1, 2))
        total = known + s.pull * pull + s.spread * spread
        if any(self.wanted.values()) or self.exemplar is not None:
            total = total + self._guidance(torch.where(view["hole"] > 0.5, image, view["photo"]), view, size)
        return total, known

    def _guidance(self, edited: Tensor, view: dict[str, Tensor], size: int) -> Tensor:
        """The modalities' terms on the edit as it would look, pasted into the photo: [b]."""
        total = edited.new_zeros(len(edited))
        if self.wanted["sketch"]:
            # Strokes are made from the pencil filter's response. Both are blurred: a line may be a pixel or two off.
            response = _soft((255 - pencil_filter(edited)) / 255 * view["hole"], size)
            agreement = F.cosine_similarity(response.flatten(1), view["strokes"].flatten(1), eps=1e-4)
            total = total + self.weights["sketch"] * (1 - agreement)
        if self.wanted["semantics"]:
            entropy = F.cross_entropy(self.experts.parser(edited).semantics, view["classes"], reduction="none")
            labelled = view["labelled"]
            total = total + self.weights["semantics"] * (entropy * labelled).sum((1, 2)) / labelled.sum((1, 2)).clamp_min(1)
        if self.wanted["colour"]:
            error = (F.avg_pool2d(edited, 8 * size // 256) - view["paint"]).square().mean(1, keepdim=True)
            painted = view["painted"]
            total = total + self.weights["colour"] * (error * painted).sum((1, 2, 3)) / painted.sum((1, 2, 3)).clamp_min(1)
        if self.exemplar is not None:
            alike = 1 - F.cosine_similarity(self.experts.identity(edited), self.embedding)
            mean, deviation = _moments(edited, view["hole"], view["area"])
            wanted_mean, wanted_deviation = _moments(view["exemplar"], view["hole"], view["area"])
            colours = (mean - wanted_mean).square().mean(1) + (deviation - wanted_deviation).square().mean(1)
            total = total + self.exemplar_weight * (self.settings.identity * alike + self.settings.likeness * colours
                                                    + self.settings.resemblance * self._resemblance(edited, size))
        return total

    def _resemblance(self, edited: Tensor, size: int) -> Tensor:
        """LPIPS with the exemplar inside the hole at the coarse size, 0 for edits without one: [b]."""
        coarse_size, chosen, lpips = min(size, self.settings.coarse_size), self.followers, self.experts.perceptual
        hole = self._view(coarse_size)["hole"][chosen]
        shown = F.avg_pool2d(edited[chosen], size // coarse_size) * hole
        distance = lpips.distance(lpips.embed(shown), self._embedded(coarse_size, "exemplar"), hole)
        return edited.new_zeros(len(edited)).index_copy(0, chosen, distance)


def _soft(lines: Tensor, size: int) -> Tensor:
    """Lines [b,1,s,s] smeared by about 1 % of the picture."""
    side = max(3, 2 * round(size / 100) + 1)
    for _ in range(2):
        lines = F.avg_pool2d(lines, side, 1, side // 2)
    return lines


def _moments(image: Tensor, hole: Tensor, area: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [b,3] of the colours in the hole."""
    mean = (image * hole).sum((2, 3)) / area[:, None]
    variance = ((image - mean[:, :, None, None]).square() * hole).sum((2, 3)) / area[:, None]
    return mean, (variance + 1e-6).sqrt()


def _distance(hole: Tensor) -> Tensor:
    """Distance in pixels from each pixel to the nearest hole pixel, [b,1,s,s]; large where there is no hole."""
    outside = (hole < 0.5).to("cpu", torch.uint8).numpy()
    distances = [torch.from_numpy(cv2.distanceTransform(one[0], cv2.DIST_L2, cv2.DIST_MASK_5)) for one in outside]
    return torch.stack(distances)[:, None].to(hole)
