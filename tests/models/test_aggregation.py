from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.conditions import MODALITIES
from facemug_lib.models.aggregation import AggregationConfig, MultimodalAggregation, shares_from_scores


def test_eq_16_and_17_at_stride_1(given, generator: torch.Generator) -> None:
    net = MultimodalAggregation(AggregationConfig(width=3, hidden=4, score_hidden=4, stride=1))
    aggregated, shares = net(given.maps(), given.present)
    f = {name: net.extract[name](given.tensors[name]) for name in MODALITIES}
    powers = {name: net.score(f[name]).exp() for name in MODALITIES}
    total = sum(powers.values())
    torch.testing.assert_close(aggregated, sum(powers[name] / total * f[name] for name in MODALITIES))
    torch.testing.assert_close(shares, torch.cat([powers[name] / total for name in MODALITIES], dim=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_shapes(stride: int, given) -> None:
    aggregated, shares = MultimodalAggregation(AggregationConfig(width=3, hidden=4, stride=stride))(given.maps(), given.present)
    assert aggregated.shape == (2, 3, 32, 32) and shares.shape == (2, 4, 32, 32)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 32, 32))


def test_absent_modalities_get_nothing(given) -> None:
    net = MultimodalAggregation(AggregationConfig(width=3, hidden=4))
    given.present = torch.tensor([[True, False, True, False], [False, False, False, True]])
    aggregated, shares = net(given.maps(), given.present)
    assert not shares[0, [1, 3]].any() and shares[0, [0, 2]].all()
    assert (shares[1, 3] == 1).all()
    given.tensors["sketch"] = given.tensors["sketch"] + 5.0
    torch.testing.assert_close(net(given.maps(), given.present)[0], aggregated)


@pytest.mark.parametrize("mask_absent", [True, False])
@pytest.mark.parametrize(("present", "influence"), [
    ([[True, False, True, False], [True, True, False, False]], {}), ([[True, False, True, True]] * 2, {"semantics": 0.0}),
    ([[True, False, False, False], [False] * 4], {}), ([[True, True, False, False]] * 2, {"image": 0.0, "sketch": 0.0}),
])
def test_what_has_no_share_is_not_looked_at_and_changes_no_bit(present, influence, mask_absent, given) -> None:
    torch.manual_seed(0)
    net = MultimodalAggregation(AggregationConfig(width=3, hidden=4, mask_absent=mask_absent))
    given.present = torch.tensor(present)
    aggregated, shares = net(given.maps(), given.present, influence)
    looked_at = []
    for name, block in net.extract.items():
        block.register_forward_hook(lambda *_, name=name: looked_at.append(name))
    with torch.no_grad():
        quick, quick_shares = net(given.maps(), given.present, influence)
    assert torch.equal(quick, aggregated) and torch.equal(quick_shares, shares)
    has_share = [name for k, name in enumerate(MODALITIES) if shares[:, k].any()]
    assert looked_at == (has_share if mask_absent else list(MODALITIES))
    with torch.no_grad():
        assert torch.equal(net.contributions(given.maps(), given.present, influence), shares)


def test_paper_lets_absent_modalities_compete(given) -> None:
    net = MultimodalAggregation(AggregationConfig(width=3, hidden=4, mask_absent=False))
    _, shares = net(given.maps(), torch.zeros(2, 4, dtype=torch.bool))
    assert (shares > 0).all() and shares.std() > 0


def test_influence_multiplies_exp_score(generator: torch.Generator) -> None:
    scores = torch.randn(1, 4, 2, 2, generator=generator)
    present = torch.ones(1, 4, dtype=torch.bool)
    weights = torch.tensor([1.0, 2.5, 0.0, 1.0])[:, None, None]
    expected = weights * scores.exp()
    torch.testing.assert_close(shares_from_scores(scores, present, {"sketch": 2.5, "semantics": 0.0}),
                               expected / expected.sum(dim=1, keepdim=True))
    assert torch.equal(shares_from_scores(scores, present, {"image": 1.0}), shares_from_scores(scores, present))


def test_nothing_usable_is_uniform_with_finite_gradients(generator: torch.Generator) -> None:
    scores = torch.randn(2, 4, 2, 2, generator=generator, requires_grad=True)
    present = torch.tensor([[False] * 4, [True, False, False, False]])
    shares = shares_from_scores(scores, present, {"image": 0.0})
    torch.testing.assert_close(shares, torch.full_like(shares, 0.25))
    shares.square().sum().backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("influence", [{"text": 1.0}, {"sketch": -0.1}, {"sketch": float("nan")}, {"sketch": float("inf")}])
def test_bad_influence_is_refused(influence: dict[str, float]) -> None:
    with pytest.raises(FacemugError, match="influence"):
        shares_from_scores(torch.zeros(1, 4, 1, 1), torch.ones(1, 4, dtype=torch.bool), influence)
