"""A published e4e encoder for FFHQ faces, as it is downloaded: it reads whole photographs into W+.

The default prior's W is StyleGAN2-FFHQ's own, so the codes of an encoder that was trained for that network paint the same face
here. Ours has to read holes and guidance too; where neither is given, a larger network that has seen 70,000 photographs can read
a face better. :class:`WholeFaces` asks each for what it can do.

Layers and names of the checkpoint are those of encoder4editing (Tov et al. 2021, "Designing an encoder for StyleGAN image
manipulation"), whose trunk is IR-SE-50.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import SG2_CODES, CodeSpace, sg2_codes_of
from facemug_lib.models.ir_se50 import IrSe50
from facemug_lib.models.style_encoder import GradualStyleBlock

WIDTH = 512
COARSE_CODES, MIDDLE_CODES = 3, 7  # codes below the first number read the level at 1/16, below the second at 1/8, the rest at 1/4
POOLINGS = (4, 5, 6)  # halvings from those levels of a 256-px picture down to one pixel
SIZE = 256
# The checkpoint's names, and ours.
NAMES = ((r"^input_layer\.", "trunk.stem."), (r"^body\.(\d+)\.res_layer\.5\.fc1\.", r"trunk.blocks.\1.residual.5.gate.1."),
         (r"^body\.(\d+)\.res_layer\.5\.fc2\.", r"trunk.blocks.\1.residual.5.gate.3."),
         (r"^body\.(\d+)\.res_layer\.", r"trunk.blocks.\1.residual."),
         (r"^body\.(\d+)\.shortcut_layer\.", r"trunk.blocks.\1.skip."),
         (r"^styles\.(\d+)\.convs\.", r"heads.\1.convolutions."), (r"^styles\.(\d+)\.linear\.", r"heads.\1.linear."),
         (r"^latlayer([12])\.", r"lateral\1."))


class PublishedEncoder(nn.Module):
    """e4e's encoder: aligned faces [b,3,256,256] in [-1,1] → codes [b,18,512] of StyleGAN2-FFHQ at 1024 px."""

    def __init__(self, mean_codes: Float[Tensor, "18 512"] | None = None) -> None:
        super().__init__()
        self.trunk = IrSe50(3)
        self.lateral1, self.lateral2 = nn.Conv2d(256, WIDTH, 1), nn.Conv2d(128, WIDTH, 1)
        levels = [0 if i < COARSE_CODES else 1 if i < MIDDLE_CODES else 2 for i in range(SG2_CODES)]
        self.heads = nn.ModuleList(GradualStyleBlock(WIDTH, POOLINGS[level], WIDTH) for level in levels)
        self.levels = levels
        self.register_buffer("mean_codes", torch.zeros(SG2_CODES, WIDTH) if mean_codes is None else mean_codes)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> PublishedEncoder:
        """The encoder of a checkpoint such as ``e4e_ffhq_encode.pt``, frozen. Nothing in the file is run.

        Raises :class:`FacemugError` for a file that cannot be read, or that holds another network.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise FacemugError(f"no file {path}: --encoder takes the checkpoint of an e4e encoder, such as e4e_ffhq_encode.pt")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # pickles fail in many ways, and none of them matters here
            raise FacemugError(f"{path} is not a readable PyTorch checkpoint ({type(error).__name__}): fetch it again") from error
        state = content.get("state_dict") if isinstance(content, Mapping) else None
        mean = content.get("latent_avg") if isinstance(content, Mapping) else None
        if not isinstance(state, Mapping) or not isinstance(mean, Tensor):
            raise FacemugError(f"{path} holds no encoder: a checkpoint with `state_dict` and `latent_avg` is needed, as e4e's is")
        if mean.shape[-1] != WIDTH or mean.numel() not in (WIDTH, SG2_CODES * WIDTH):
            raise FacemugError(f"{path} has a mean code of shape {list(mean.shape)}: an encoder for StyleGAN2 at 1024 px, "
                               f"{SG2_CODES} codes of {WIDTH}, is needed")
        encoder = cls(mean.float().reshape(-1, WIDTH).expand(SG2_CODES, -1).clone())
        own = {_our_name(name.removeprefix("encoder.")): value for name, value in state.items() if name.startswith("encoder.")}
        own["mean_codes"] = encoder.mean_codes
        try:
            encoder.load_state_dict(own)
        except (RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise FacemugError(f"{path} is not e4e's encoder for 1024-px faces: {reason}") from error
        return encoder.to(device).eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "b 3 256 256"]) -> Float[Tensor, "b 18 512"]:
        fine, middle, coarse = self.trunk(images)
        joined = [coarse]
        for lateral, level in ((self.lateral1, middle), (self.lateral2, fine)):
            grown = F.interpolate(joined[-1], size=level.shape[2:], mode="bilinear", align_corners=True)
            joined.append(grown + lateral(level))
        offsets = torch.stack([head(joined[level]) for head, level in zip(self.heads, self.levels, strict=True)], dim=1)
        # w_i = w_0 + Δ_i: the first head's answer is part of every code.
        offsets = torch.cat((offsets[:, :1], offsets[:, 1:] + offsets[:, :1]), dim=1)
        return self.mean_codes + offsets


def _our_name(name: str) -> str:
    for pattern, ours in NAMES:
        renamed, count = re.subn(pattern, ours, name)
        if count:
            return renamed
    return name


class WholeFaces(nn.Module):
    """The style encoder E_s with a published one for faces of which nothing is hidden and of which no guidance speaks.

    Those are exemplars, and photographs that an attribute or a text alters. ``config`` and ``mean_w`` are E_s's.
    """

    def __init__(self, own: nn.Module, published: PublishedEncoder, bank: CodeSpace) -> None:
        """Raises :class:`FacemugError` where codes of StyleGAN2 at 1024 px have no counterpart in ``bank``."""
        super().__init__()
        self.own, self.published, self.config = own, published, own.config
        self.register_buffer("mean_w", own.mean_w)
        self.picked = list(sg2_codes_of(bank.num_codes))

    def forward(self, x: Float[Tensor, "b 26 h w"]) -> Float[Tensor, "b t 512"]:
        """Codes of conditions as :meth:`facemug_lib.modalities.conditions.Conditions.encoder_input` lays them out."""
        image, guidance = x[:, :3], x[:, 3:]
        # A hidden pixel is zero in all channels. One of a photograph is not: 8 bits have no level that becomes zero.
        is_whole = ((image != 0).any(1).flatten(1).all(1)) & (guidance == 0).flatten(1).all(1)
        if not bool(is_whole.any()):
            return self.own(x)
        codes = x.new_empty(len(x), len(self.picked), WIDTH)
        seen = image[is_whole]
        if seen.shape[-1] != SIZE:
            seen = F.interpolate(seen, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        codes[is_whole] = self.published(seen)[:, self.picked].to(codes)
        if not bool(is_whole.all()):
            codes[~is_whole] = self.own(x[~is_whole]).to(codes)
        return codes
