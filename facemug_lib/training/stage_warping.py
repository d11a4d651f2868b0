"""Stage 2: the latent warping network T brings an exemplar's codes to the pose of a target (FACEMUG Algorithm 2).

Self-supervised: a face I_0 and its mirror image I_f give a source between two poses, an augmented I_0 gives the target codes, and
since target and I_0 share their pose, I_0 itself is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from facemug_lib.devices import BATCH
from facemug_lib.faces.dataset import FaceBatch, heldout_faces
from facemug_lib.modalities.conditions import exemplar_input
from facemug_lib.modalities.draws import uniform
from facemug_lib.models.latent_warping import LatentWarping, LatentWarpingConfig
from facemug_lib.pictures import picture_grid
from facemug_lib.training import losses
from facemug_lib.training.augmentation import augment_faces
from facemug_lib.training.profiles import RebuildingSettings, knob
from facemug_lib.training.rebuilding import rebuilt_and_target
from facemug_lib.training.stage import StepContext
from facemug_lib.training.start import frozen, start

TEST_SEED = 2


class WarpingSettings(RebuildingSettings):
    """Stage 2: the latent warping network T (Algorithm 2)."""

    network: Literal["compact", "paper"] = knob("compact", "widths: the shipped ones or the paper's")
    encoder: str = knob("shipped", "the frozen style encoder: shipped, or a weights file")
    lr: float = knob(5e-4, "Adam's learning rate (FFCLIP: 5e-4)", gt=0)
    clip_norm: float | None = knob(5.0, "largest gradient norm (FFCLIP: 5)", gt=0)
    identity_weight: float = knob(1.0, "weight of the identity loss", "paper", ge=0)
    lpips_weight: float = knob(1.0, "weight of LPIPS-VGG", "paper", ge=0)
    attribute_weight: float = knob(0.1, "weight of the attribute loss", "paper", ge=0)
    code_weight: float = knob(0.0, "weight of the regression on exactly known codes, in units of std(w)²", ge=0)
    lpips_net: Literal["alex", "vgg"] = knob("vgg", "network of LPIPS", "paper")
    scale_range: float = knob(0.25, "bilinear scaling by 2^±this", ge=0, le=2)
    translation: float = knob(0.125, "largest shift, as a share of the side", "DiffAugment", ge=0, le=0.5)
    brightness: float = knob(0.5, "brightness ± half the full range", "DiffAugment", ge=0)
    saturation: float = knob(1.0, "saturation × (1 ± this)", "DiffAugment", ge=0)
    contrast: float = knob(0.5, "contrast × (1 ± this)", "DiffAugment", ge=0)
    masked_share: float = knob(0.5, "probability that a region of the target is masked", ge=0, le=1)


class WarpingStage:
    """Stage 2 for :func:`facemug_lib.training.loop.train`."""

    settings_class = WarpingSettings
    name = "warping"
    ema = ("latent_warping",)
    image_source = "faces"

    def __init__(self, settings: WarpingSettings, warping: LatentWarping, encoder: nn.Module, prior: nn.Module,
                 identity: Callable[[Tensor], Tensor], perceptual: Callable[[Tensor, Tensor], Tensor]) -> None:
        """``encoder``, ``prior`` and the two experts of the losses are frozen, on the training device."""
        self.settings = settings
        self.modules: dict[str, nn.Module] = {"latent_warping": warping}
        self.encoder, self.prior, self.identity, self.perceptual = encoder, prior, identity, perceptual
        self._test: FaceBatch | None = None

    @classmethod
    def build(cls, settings: WarpingSettings, device: torch.device, init: str = "scratch") -> WarpingStage:
        """With the project's own experts, prior and style encoder."""
        from facemug_lib.experts.identity import ArcFace
        from facemug_lib.experts.perceptual import Lpips
        from facemug_lib.faces.bank import load_bank
        from facemug_lib.models.style_encoder import StyleEncoder

        encoder = frozen("style_encoder", settings.encoder, StyleEncoder.from_config, device)
        warping = LatentWarping(getattr(LatentWarpingConfig, settings.network)(encoder.config.num_codes))
        start(warping, "latent_warping", init)
        prior = load_bank(settings.bank, device)
        return cls(settings, warping, encoder, prior, ArcFace().to(device), Lpips(settings.lpips_net).to(device))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"warping": torch.optim.Adam(self.modules["latent_warping"].parameters(), lr=self.settings.lr)}

    @torch.no_grad()
    def _codes(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The initial codes w_0, the source codes and the target codes (Algorithm 2, lines 3 to 9), each [b,t,512]."""
        s = self.settings
        target = augment_faces(images, generator, scale_range=s.scale_range, translation=s.translation, brightness=s.brightness,
                               saturation=s.saturation, contrast=s.contrast, masked_share=s.masked_share)
        w_0, w_f, w_target = self.encoder(exemplar_input(torch.cat((images, images.flip(-1), target)))).float().chunk(3)
        r = uniform((len(images), 1, 1), 0, 1, generator).to(images.device)
        return w_0, (1 - r) * w_0 + r * w_f, w_target  # Eq. 9

    def step(self, batch: FaceBatch, context: StepContext) -> dict[str, float | Tensor]:
        s, images = self.settings, batch.images
        w_0, source, target = self._codes(images, context.generator)
        warped = source + self.modules["latent_warping"](source, target).float()  # Eq. 2
        # Eq. 10: L_id (Eq. 11) + L_lpips (Eq. 12) + 0.1·L_att (Eq. 13).
        terms = {"attribute": (s.attribute_weight, losses.attribute_loss(warped, w_0))}
        if s.code_weight and batch.codes is not None:
            terms["code"] = (s.code_weight, losses.code_regression_loss(warped, batch.codes, self.prior.std_w))
        if context.is_turn(s.image_loss_every):
            made, face = rebuilt_and_target(self.prior, warped[:s.image_loss_faces], images, batch.codes, s.image_loss_size)
            terms["identity"] = (s.identity_weight, losses.identity_loss(self.identity(made), self.identity(face)))
            terms["lpips"] = (s.lpips_weight, self.perceptual(made, face).mean())
        context.update("warping", sum(weight * value for weight, value in terms.values()))
        return {name: value.detach() for name, (_, value) in terms.items()}

    def _test_faces(self, count: int) -> FaceBatch:
        if self._test is None or len(self._test) < count:
            self._test = heldout_faces(self.prior, count)
        return FaceBatch(self._test.images[:count], self._test.codes[:count])

    def evaluate(self, modules: dict[str, nn.Module], count: int) -> dict[str, float]:
        """LPIPS, identity and code error to the unseen face, of the warped codes and of the source codes as they are."""
        faces = self._test_faces(count)
        generator = torch.Generator().manual_seed(TEST_SEED)
        sums: dict[str, float] = {}
        for images, known in zip(faces.images.split(BATCH), faces.codes.split(BATCH), strict=True):
            w_0, source, target = self._codes(images, generator)
            for name, codes in (("warped", source + modules["latent_warping"](source, target).float()), ("source", source)):
                made = self.prior.synthesize(codes).float().clamp(-1, 1)
                similarity = 1 - losses.identity_loss(self.identity(made), self.identity(images))
                for score, value in (("lpips", self.perceptual(made, images).mean()), ("identity", similarity),
                                     ("attribute", losses.attribute_loss(codes, w_0)),
                                     ("code_mse", losses.code_regression_loss(codes, known, self.prior.std_w))):
                    sums[f"{score}_{name}"] = sums.get(f"{score}_{name}", 0.0) + float(value) * len(images)
        return {name: total / count for name, total in sums.items()}

    def sample_grid(self, modules: dict[str, nn.Module]) -> np.ndarray:
        """Four unseen faces: face, the prior's picture of the source codes, of the target codes, of the warped ones."""
        faces = self._test_faces(4)
        _, source, target = self._codes(faces.images, torch.Generator().manual_seed(TEST_SEED))
        warped = source + modules["latent_warping"](source, target).float()
        return picture_grid([faces.images, *(self.prior.synthesize(codes) for codes in (source, target, warped))])

    def export(self, modules: dict[str, nn.Module]) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        warping = modules["latent_warping"]
        return {"latent_warping": (warping.state_dict(), warping.config_dict())}
