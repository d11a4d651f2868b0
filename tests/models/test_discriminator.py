from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.models import count_parameters
from facemug_lib.models.discriminator import Discriminator, DiscriminatorConfig, LatentDiscriminator, minibatch_stddev

TINY = DiscriminatorConfig(widths=(8, 6, 4))


def test_logits_and_r1(generator: torch.Generator) -> None:
    net = Discriminator(TINY)
    image = torch.randn(4, 3, 16, 16, generator=generator, requires_grad=True)
    logits = net(image)
    assert logits.shape == (4, 1)
    (slope,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    slope.square().sum().backward()
    assert all(p.grad is not None for name, p in net.named_parameters() if name != "logit.bias")
    net.zero_grad()
    net(image.detach()).square().sum().backward()
    assert all(p.grad.any() for p in net.parameters())


def test_minibatch_stddev(generator: torch.Generator) -> None:
    x = torch.randn(8, 3, 2, 2, generator=generator)
    y = minibatch_stddev(x, group=4)
    assert torch.equal(y[:, :3], x)
    for i in range(8):
        group = x[i % 2 :: 2]  # samples 2 apart share a group when 8 are split in groups of 4
        expected = ((group - group.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[i, 3], expected.expand(2, 2))
    three = minibatch_stddev(x[:3], group=4)
    torch.testing.assert_close(three[0, 3, 0, 0], (x[:3].var(dim=0, unbiased=False) + 1e-8).sqrt().mean())
    assert minibatch_stddev(torch.ones(4, 1, 2, 2))[:, 1].max() < 1e-3


def test_sizes() -> None:
    with torch.device("meta"):
        assert count_parameters(Discriminator()) <= 4_000_000
        paper = Discriminator(DiscriminatorConfig.paper())
    assert 28_000_000 < count_parameters(paper) < 30_000_000
    assert count_parameters(LatentDiscriminator()) == 3 * (512 * 512 + 512) + 513


def test_latent_discriminator_takes_w_and_codes() -> None:
    net = LatentDiscriminator(dim=8)
    assert net(torch.zeros(3, 8)).shape == (3, 1) and net(torch.zeros(3, 5, 8)).shape == (3, 5, 1)


def test_wrong_size_is_refused() -> None:
    with pytest.raises(FacemugError, match="16, 16"):
        Discriminator(TINY)(torch.zeros(1, 3, 32, 32))
