"""Stage 0: distil picture heads for 64, 128 and 256 px from the prior's own 1024-px output.

The teacher is the full network reduced by area averaging; the students paint from features of its trunk
(:class:`~facemug_lib.faces.prior.PictureHead`). Their linear part is solved in closed form (ridge regression), the
modulated part is trained by L1, squared error and LPIPS on crops.

Rendering 1024 px dominates the cost on a CPU, so each batch is used for several updates on random crops (``crops_per_batch``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from facemug_lib.errors import FacemugError
from facemug_lib.experts.fidelity import psnr
from facemug_lib.faces.prior import HEAD_SIZES, FacePrior, PictureHeads
from facemug_lib.pictures import picture_grid
from facemug_lib.training.profiles import StageSettings, knob
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.start import start

FIT_SEED = 20_000_000  # far from the seeds of training and test faces
TEST_SEED = 30_000_000


class HeadSettings(StageSettings):
    """Stage 0: the prior's picture heads for 64, 128 and 256 px."""

    lr: float = knob(1e-3, "Adam's learning rate; larger ones undo the closed-form start", gt=0)
    warmup: int = knob(200, "images over which the learning rates rise from 0", ge=0)
    lpips_weight: float = knob(0.2, "weight of LPIPS-VGG beside L1", ge=0)
    crop: int = knob(48, "side of the training crops, in feature pixels", ge=8, le=128)
    crops_per_batch: int = knob(4, "updates on each rendered batch", ge=1)
    l2_weight: float = knob(2.0, "weight of the squared error beside L1", ge=0, is_later=True)
    ridge: float = knob(1e-5, "ridge of the closed-form fit, as a share of the features' mean square", ge=0, is_later=True)
    fit_faces: int = knob(32, "faces of the closed-form fit that precedes training; 0 = none", ge=0)


def sample_codes(prior: FacePrior, count: int, generator: torch.Generator, mixed: float = 0.5) -> Tensor:
    """Codes [count, 17, 512] for the closed-form fit and for scores: ψ ~ U(0.5, 1), a share ``mixed`` of them style-mixed."""
    psi = torch.rand(2, count, 1, generator=generator).to(prior.mean_w.device) * 0.5 + 0.5
    first, second = (prior.truncate(prior.sample_w(count, generator, 1.0), p) for p in psi)
    crossover = torch.randint(1, prior.num_codes, (count, 1, 1), generator=generator).to(prior.mean_w.device)
    keep = torch.rand(count, 1, 1, generator=generator).to(prior.mean_w.device) >= mixed
    index = torch.arange(prior.num_codes, device=prior.mean_w.device)[None, :, None]
    return torch.where(keep | (index < crossover), prior.broadcast(first), prior.broadcast(second))


@torch.no_grad()
def render_targets(
    prior: FacePrior, codes: Tensor, sizes: Iterable[int] = HEAD_SIZES
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """(features by resolution, teacher pictures by size): one pass of the 1024-px network, reduced by area averaging."""
    image, features = prior.render_full(codes)
    targets = {size: functional.avg_pool2d(image, 1024 // size) for size in sizes}
    return {size: features[size] for size in sizes}, targets


@torch.no_grad()
def fit_linear_heads(
    heads: PictureHeads, renders: Iterable[tuple[dict[int, Tensor], dict[int, Tensor]]], ridge: float
) -> None:
    """Solve every head's linear part by ridge regression: features → the teacher's picture. ``ridge`` as in the settings."""
    normal: dict[int, Tensor] = {}
    moments: dict[int, Tensor] = {}
    for features, targets in renders:
        for size in map(int, heads):
            x = features[size].float().flatten(2).transpose(1, 2).flatten(0, 1)
            x = torch.cat((x, torch.ones_like(x[:, :1])), dim=1)
            y = targets[size].float().flatten(2).transpose(1, 2).flatten(0, 1)
            normal[size] = normal.get(size, 0) + (x.T @ x).double()
            moments[size] = moments.get(size, 0) + (x.T @ y).double()
    for size, gram in normal.items():
        penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        penalty[-1, -1] = 0.0  # the bias is free
        solution = torch.linalg.solve(gram + penalty, moments[size]).T.float()
        linear = heads[str(size)].linear
        linear.weight.copy_(solution[:, :-1, None, None] / heads[str(size)].gain)
        linear.bias.copy_(solution[:, -1])


def crop_pair(features: Tensor, target: Tensor, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same random window of features [b, c, s, s] and picture [b, 3, s, s], ``crop`` pixels wide or all of a smaller one."""
    size = features.shape[-1]
    crop = min(crop, size)
    top, left = (int(torch.randint(0, size - crop + 1, (), generator=generator)) for _ in range(2))
    window = (..., slice(top, top + crop), slice(left, left + crop))
    return features[window], target[window]


class HeadStage:
    """Stage 0 for :func:`facemug_lib.training.loop.train`."""

    settings_class = HeadSettings
    name = "head"
    image_source = "codes"
    ema = ("prior_heads",)

    def __init__(self, settings: HeadSettings, prior: FacePrior, heads: PictureHeads,
                 perceptual: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        """``perceptual`` is LPIPS-VGG on [−1, 1] pictures; None: only L1 and squared error."""
        self.settings, self.prior, self.perceptual = settings, prior, perceptual
        self.modules: dict[str, nn.Module] = {"prior_heads": heads}

    @classmethod
    def build(cls, settings: HeadSettings, device: torch.device, init: str = "scratch") -> HeadStage:
        """On the project's own prior. Fresh heads paint nothing sensible before :meth:`fit`."""
        from facemug_lib.experts.perceptual import Lpips

        heads = PictureHeads().to(device)
        start(heads, "prior_heads", init)
        if settings.bank is not None:
            raise FacemugError("stage head paints the default prior's pictures: a StyleGAN2 paints its own, leave --bank away")
        return cls(settings, FacePrior.load(device, heads=False), heads, Lpips("vgg").to(device))

    def fit(self) -> None:
        """Solve the heads' linear parts on ``settings.fit_faces`` faces; training then begins from there."""
        if self.settings.fit_faces:
            generator = torch.Generator().manual_seed(FIT_SEED)
            renders = (render_targets(self.prior, sample_codes(self.prior, 1, generator)) for _ in range(self.settings.fit_faces))
            fit_linear_heads(self.modules["prior_heads"], renders, self.settings.ridge)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"heads": torch.optim.Adam(self.modules["prior_heads"].parameters(), lr=self.settings.lr, betas=(0.9, 0.99))}

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        features, targets = render_targets(self.prior, batch.codes)
        heads = self.modules["prior_heads"]
        logged: dict[str, float | Tensor] = {}
        for _ in range(self.settings.crops_per_batch):
            loss = torch.zeros((), device=context.device)
            for name, head in heads.items():
                size = int(name)
                window, target = crop_pair(features[size], targets[size], self.settings.crop, context.generator)
                image = head(window, batch.codes[:, self.prior.head_code(size)])
                l1 = functional.l1_loss(image, target)
                loss = loss + l1 + self.settings.l2_weight * functional.mse_loss(image, target)
                logged[f"l1_{size}"] = l1.detach()
                if self.perceptual is not None and size == max(HEAD_SIZES):
                    distance = self.perceptual(image.clamp(-1, 1), target.clamp(-1, 1)).mean()
                    loss = loss + self.settings.lpips_weight * distance
                    logged["lpips"] = distance.detach()
            context.update("heads", loss)
        return logged

    @torch.no_grad()
    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """PSNR (dB) per size and LPIPS at 256 px against the reduced 1024-px picture on ``count`` unseen faces."""
        generator = torch.Generator().manual_seed(TEST_SEED)
        scores: dict[str, list[Tensor]] = {}
        for _ in range(count):
            codes = sample_codes(self.prior, 1, generator)
            features, targets = render_targets(self.prior, codes)
            for name, head in modules["prior_heads"].items():
                size = int(name)
                image = head(features[size], codes[:, self.prior.head_code(size)])
                scores.setdefault(f"psnr_{size}", []).append(psnr(image, targets[size]))
                if self.perceptual is not None and size == max(HEAD_SIZES):
                    scores.setdefault("lpips_vgg", []).append(
                        self.perceptual(image.clamp(-1, 1), targets[size].clamp(-1, 1)).reshape(1)
                    )
        return {name: float(torch.cat(values).mean()) for name, values in scores.items()}

    @torch.no_grad()
    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four unseen faces: teacher above, head below."""
        generator = torch.Generator().manual_seed(TEST_SEED)
        codes = sample_codes(self.prior, 4, generator)
        features, targets = render_targets(self.prior, codes)
        image = modules["prior_heads"]["256"](features[256], codes[:, self.prior.head_code(256)])
        return picture_grid((targets[256], image))

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        heads = modules["prior_heads"]
        return {"prior_heads": (heads.state_dict(), heads.config)}
