"""A StyleGAN2 checkpoint as it is published, with random numbers."""

from __future__ import annotations

import torch


def rosinality_state(native_size: int, widest: int = 512, seed: int = 0) -> dict[str, torch.Tensor]:
    """A random state dict with exactly the published layout's names and shapes, written out independently of the loader; no layer
    has more than ``widest`` channels."""
    generator = torch.Generator().manual_seed(seed)

    def channels_at(resolution: int) -> int:
        return min(widest, 512, 32768 // resolution)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    octaves = native_size.bit_length() - 1
    state = {f"style.{i}.weight": randn(512, 512) * 100 for i in range(1, 9)} | {
        f"style.{i}.bias": randn(512) for i in range(1, 9)
    }
    state["input.input"] = randn(1, channels_at(4), 4, 4)

    def styled(name, cin, cout, up):
        state[f"{name}.conv.weight"] = randn(1, cout, cin, 3, 3)
        state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.modulation.bias"] = randn(cin, 512), torch.ones(cin)
        if up:
            state[f"{name}.conv.blur.kernel"] = torch.ones(4, 4)
        state[f"{name}.noise.weight"], state[f"{name}.activate.bias"] = torch.zeros(1), torch.zeros(cout)

    def rgb(name, cin, up):
        state[f"{name}.conv.weight"], state[f"{name}.bias"] = randn(1, 3, cin, 1, 1), torch.zeros(1, 3, 1, 1)
        state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.modulation.bias"] = randn(cin, 512), torch.ones(cin)
        if up:
            state[f"{name}.upsample.kernel"] = torch.ones(4, 4)

    styled("conv1", channels_at(4), channels_at(4), up=False)
    rgb("to_rgb1", channels_at(4), up=False)
    state["noises.noise_0"] = randn(1, 1, 4, 4)
    for block, octave in enumerate(range(3, octaves + 1)):
        cin, cout = channels_at(2 ** (octave - 1)), channels_at(2**octave)
        styled(f"convs.{2 * block}", cin, cout, up=True)
        styled(f"convs.{2 * block + 1}", cout, cout, up=False)
        rgb(f"to_rgbs.{block}", cout, up=True)
        for index in (1 + 2 * block, 2 + 2 * block):
            state[f"noises.noise_{index}"] = randn(1, 1, 2**octave, 2**octave)
    return state
