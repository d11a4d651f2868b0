"""L2M-GAN: learning to manipulate latent space semantics for facial attribute editing (Yang et al., CVPR 2021).

A face's style code is factorised, end to end with the generator, into a part that an attribute has to do with and a part that it
has not; orthogonality holds them apart before the attribute is changed and after. Networks in :mod:`.networks`, losses in
:mod:`.losses`, settings and stage in :mod:`.stage`.

Taught in `notebooks/13_l2m_gan.ipynb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.systems.common.contract import SystemAttribute, load_networks
from facemug_lib.systems.l2m_gan.networks import L2MNetworks
from facemug_lib.systems.l2m_gan.stage import L2MStage

STRONGEST = 1.5  # the degree is a way between two codes; a little beyond its end is an exaggeration, more is nonsense
ATTRIBUTES = {
    "smile": SystemAttribute("1 smiles, -1 does not", -STRONGEST, STRONGEST, "smile"),
    "mouth_open": SystemAttribute("1 opens the mouth, -1 closes it", -STRONGEST, STRONGEST, "mouth_open"),
    "gender": SystemAttribute("1 makes the face look male, -1 female", -STRONGEST, STRONGEST, "gender"),
    "age": SystemAttribute("1 makes the face look older than 35, -1 younger", -STRONGEST, STRONGEST, "age"),
    "glasses": SystemAttribute("1 puts glasses on, -1 takes them off", -STRONGEST, STRONGEST, "glasses"),
    "eyes_open": SystemAttribute("1 opens the eyes wide, -1 narrows them", -STRONGEST, STRONGEST, "eyes_open"),
}


class L2MGan:
    """The trained system."""

    name = "l2m_gan"
    title = "L2M-GAN: learning to manipulate latent space semantics for facial attribute editing (CVPR 2021)"
    stage = L2MStage
    all_attributes = ATTRIBUTES

    def __init__(self, networks: L2MNetworks) -> None:
        self.networks = networks
        self.size = networks.config.size
        self.attributes = {name: ATTRIBUTES[name] for name in networks.config.attributes}

    @classmethod
    def load(cls, path: Path, device: torch.device) -> L2MGan:
        """The system of a weights file. Raises :class:`FacemugError` for one that is missing or does not fit."""
        return cls(load_networks(cls.name, path, L2MNetworks.from_config, device))

    def edit(self, images: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """One attribute after the other, in the order given: the sign says to which side, the size how far (the degree)."""
        for name, strength in strengths.items():
            which = torch.full((len(images),), list(self.attributes).index(name), device=images.device)
            images, _ = self.networks(images, which, torch.full_like(which, int(strength > 0)), abs(strength))
        return images


SYSTEM = L2MGan
