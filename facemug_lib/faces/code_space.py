"""The half of a face prior that both banks share: what happens to codes before any picture is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from facemug_lib.errors import FacemugError
from facemug_lib.seeds import check_seed

CODE_DIM = 512
DEFAULT_CODES = 17  # of the default prior at 256 px
SG2_CODES = 18  # of StyleGAN2 at 1024 px
MEAN_W_SAMPLES = 4096
MEAN_W_SEED = 0
Feature = Float[Tensor, "b _ _ _"]
"""What a bank has of a face at one resolution."""


def code_groups(num_codes: int = DEFAULT_CODES) -> dict[str, tuple[int, int]]:
    """Groups of a bank's codes by resolution, as (first, one past the last).

    Coarse codes (up to 8²) decide pose, head shape and hair style, middle ones (16² and 32²) the features, fine ones colours,
    light and skin. The default prior has three codes per resolution after the first, StyleGAN2 two.
    """
    coarse, middle = (4, 10) if num_codes == DEFAULT_CODES else (3, 7)
    return {"all": (0, num_codes), "coarse": (0, coarse), "middle": (coarse, middle), "fine": (middle, num_codes),
            "upper": (0, middle), "lower": (coarse, num_codes)}


def sg2_codes_of(num_codes: int) -> tuple[int, ...]:
    """For each code of a bank the code of StyleGAN2 at 1024 px that acts at the same resolution.

    The default prior has 17: up-sampling and first convolution of octave i share StyleGAN2's 2i + 1, the second convolution has
    2i + 2. A StyleGAN2 has its own first ones. Raises :class:`FacemugError` for a number of codes that no such bank has.
    """
    if num_codes == DEFAULT_CODES:
        octaves = [(2 * i + 1, 2 * i + 1, 2 * i + 2) for i in range(5)]
        return (0, *(code for octave in octaves for code in octave), 11)
    if num_codes > SG2_CODES or num_codes % 2:
        raise FacemugError(f"a bank of {num_codes} codes has no counterpart in the {SG2_CODES} of StyleGAN2 at 1024 px")
    return tuple(range(num_codes))


def pixel_norm(z: Float[Tensor, "b 512"]) -> Float[Tensor, "b 512"]:
    """Scale each vector to unit mean square, StyleGAN's input normalisation. [b, 512] → [b, 512]."""
    return z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-8)


class CodeSpace(nn.Module):
    """W and W+ of a style-based generator whose mapping network is :meth:`map`.

    Attributes
    ----------
    num_codes : int
        Codes of W+ that act on the picture.
    mean_w, std_w : Tensor [512]
        Mean and standard deviation of w over 4,096 draws.
    """

    code_dim = CODE_DIM
    image_size = 256

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.register_buffer("mean_w", torch.zeros(CODE_DIM), persistent=False)
        self.register_buffer("std_w", torch.ones(CODE_DIM), persistent=False)

    def map(self, z: Float[Tensor, "b 512"]) -> Float[Tensor, "b 512"]:
        """Mapping network F, z ~ N(0, I) [b, 512] → w [b, 512] (FACEMUG §II-A1)."""
        raise NotImplementedError

    def measure_w(self) -> None:
        """Set ``mean_w`` and ``std_w`` from a fixed draw; call once the weights are in place, on the CPU."""
        generator = torch.Generator().manual_seed(MEAN_W_SEED)
        with torch.no_grad():
            w = self.map(torch.randn(MEAN_W_SAMPLES, CODE_DIM, generator=generator))
        self.mean_w.copy_(w.mean(dim=0))
        self.std_w.copy_(w.std(dim=0))

    def truncate(self, w: Float[Tensor, "*n 512"], psi: float | Float[Tensor, "*p"] = 0.7) -> Float[Tensor, "*n 512"]:
        """Pull w (or codes) towards the mean: w̄ + ψ·(w − w̄). ψ = 1 changes nothing, 0.7 gives clean faces."""
        mean = self.mean_w.to(w.dtype)
        return mean + psi * (w - mean)

    def sample_w(self, count: int, generator: torch.Generator | None = None, psi: float = 0.7) -> Float[Tensor, "{count} 512"]:
        """Draw ``count`` codes w [count, 512] on the prior's device, from a CPU ``generator``: the same faces anywhere."""
        z = torch.randn(count, CODE_DIM, generator=generator)
        return self.truncate(self.map(z.to(self.mean_w.device)), psi)

    @torch.no_grad()
    def w_of_seeds(self, seeds: Iterable[int], psi: float = 0.7) -> Float[Tensor, "n 512"]:
        """w [n, 512] of the faces with these seeds; one depends on its own seed alone, whatever it is made together with."""
        return torch.cat([self.sample_w(1, torch.Generator().manual_seed(check_seed(seed)), psi) for seed in seeds])

    def broadcast(self, w: Float[Tensor, "b 512"]) -> Float[Tensor, "b {self.num_codes} 512"]:
        """Repeat w [b, 512] for every layer: codes [b, num_codes, 512]."""
        return w[:, None].expand(-1, self.num_codes, -1)

    def mix(self, coarse: Float[Tensor, "b t 512"] | Float[Tensor, "b 512"],
            fine: Float[Tensor, "b t 512"] | Float[Tensor, "b 512"], crossover: int) -> Float[Tensor, "b {self.num_codes} 512"]:
        """Style mixing: codes before ``crossover`` from ``coarse``, the rest from ``fine`` ([b, num_codes, 512] or [b, 512])."""
        first, second = (self.broadcast(x) if x.ndim == 2 else x for x in (coarse, fine))
        return torch.cat((first[:, :crossover], second[:, crossover:]), dim=1)

    def reduced(self, picture: Float[Tensor, "b 3 h h"], features: Mapping[int, Tensor], codes: Float[Tensor, "b t 512"],
                size: int) -> Float[Tensor, "b 3 {size} {size}"]:
        """The bank's picture [b, 3, size, size] of the same codes, at no more than the side of ``picture``: averaged here."""
        return functional.adaptive_avg_pool2d(picture, size) if picture.shape[-1] != size else picture

    def style_affines(self) -> list[Float[Tensor, "_ 512"]]:
        """Weights [c, 512] of the layers that turn a code into styles, one per code: what SeFa factorises."""
        raise NotImplementedError

    def _checked(self, codes: Tensor, *other_counts: int) -> Tensor:
        if codes.ndim != 3 or codes.shape[1] not in (self.num_codes, *other_counts) or codes.shape[2] != CODE_DIM:
            raise FacemugError(f"codes have shape {tuple(codes.shape)}: expected [b, {self.num_codes}, {CODE_DIM}]")
        return codes
