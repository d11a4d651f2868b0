"""Identity: ArcFace embeddings of aligned faces, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.assets import asset_bytes

INPUT_SIDE = 112
# Left eye, right eye (image's sides), nose, mouth corners. ArcFace's frame, in pixels of its 112-pixel training crops …
ARCFACE_POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# … and where the same detector finds those points on FFHQ-aligned faces, in units of the side: medians over 25 portraits
# and 25 prior samples, made symmetric.
ALIGNED_POINTS = ((0.3754, 0.4718), (0.6246, 0.4718), (0.5, 0.6196), (0.3891, 0.7256), (0.6109, 0.7256))


def _similarity() -> tuple[float, float, float]:
    """(scale, x, y) of the least-squares zoom and shift from ArcFace pixels to aligned units: p ↦ scale·p + (x, y).

    Both frames are upright, so there is no rotation to fit.
    """
    source = torch.tensor(ARCFACE_POINTS, dtype=torch.float64)
    target = torch.tensor(ALIGNED_POINTS, dtype=torch.float64)
    centred, aimed = source - source.mean(0), target - target.mean(0)
    scale = (centred * aimed).sum() / centred.square().sum()
    x, y = (target.mean(0) - scale * source.mean(0)).tolist()
    return float(scale), x, y


class ArcFace(nn.Module):
    """MobileFaceNet trained with ArcFace (Deng et al. 2019): aligned faces to unit vectors [b,512].

    ``forward`` takes FFHQ-aligned images [b,3,h,w] in [-1,1] of any square size and cuts ArcFace's 112-pixel crop out of
    them by one differentiable resampling. The dot product of two embeddings is their cosine similarity: a mirrored or
    recoloured photo keeps 0.95 and more, two people have 0.1 on average. Frozen; gradients reach the image.
    """

    def __init__(self) -> None:
        super().__init__()
        import onnx  # slow to import, as is the other one, and only this class needs them
        from onnx2torch import convert

        self.network = convert(onnx.load_from_string(asset_bytes("arcface")))
        scale, x, y = _similarity()
        # affine_grid speaks of [-1, 1] on both sides: u = 2·p/side - 1.
        zoom = scale * INPUT_SIDE
        theta = torch.tensor([[zoom, 0.0, 2 * x + zoom - 1], [0.0, zoom, 2 * y + zoom - 1]])
        self.register_buffer("theta", theta, persistent=False)
        self.eval().requires_grad_(False)

    def crop(self, image: Tensor) -> Tensor:
        """ArcFace's view [b,3,112,112] of aligned images [b,3,h,w]."""
        # About 1.3 source pixels per target pixel at 256: larger images are first reduced so that nothing aliases.
        if image.shape[-1] > 256:
            image = F.interpolate(image, (256, 256), mode="bilinear", align_corners=False, antialias=True)
        theta = self.theta.to(image.dtype).expand(len(image), -1, -1)
        grid = F.affine_grid(theta, [len(image), 3, INPUT_SIDE, INPUT_SIDE], align_corners=False)
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        # The network was trained on (x - 127.5) / 127.5, RGB: our own range.
        return F.normalize(self.network(self.crop(image)), dim=1)
