"""The losses of stages 2 and 3 against slow forms written from the paper's equations: Eq. 9, 10, 12–14, 18–21."""

from __future__ import annotations

import math

import pytest
import torch
from accelerate import Accelerator
from fakes import FakeEncoder, fake_identity, fake_perceptual, generator_stage, warping_stage
from torch import Tensor
from watched import watched

from facemug_lib.faces.dataset import FaceBatch, PriorFaces
from facemug_lib.modalities.conditions import exemplar_input
from facemug_lib.training.stage import StepContext
from facemug_lib.training.stage_generator import GeneratorStage

FACES, CODES = 4, 17


def naive_code_distance(a: Tensor, b: Tensor) -> float:
    """Mean over faces, codes and their entries of the squared difference, added one code at a time."""
    total = sum(float((a[i, j] - b[i, j]).double().square().sum()) for i in range(len(a)) for j in range(a.shape[1]))
    return total / a.numel()


def naive_identity(made: Tensor, person: Tensor) -> float:
    """1 − cos of the embeddings, a mean over the faces."""
    pairs = zip(fake_identity(made), fake_identity(person), strict=True)
    return sum(1 - float(x @ y / (x.norm() * y.norm())) for x, y in pairs) / len(made)


def share_of(codes: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """r [b] of codes = (1 − r)·start + r·end, by least squares over each face's codes."""
    along, moved = (end - start).flatten(1), (codes - start).flatten(1)
    return (moved * along).sum(1) / along.square().sum(1)


# -- stage 3 ----------------------------------------------------------------------------------------------------------


def stage_3(**overrides: object) -> tuple[GeneratorStage, Tensor]:
    """Stage 3 with an encoder that reads every face exactly, and four faces."""
    stage = generator_stage(**{"projected_share": 0.0, "full_mask_share": 0.0} | overrides)
    stage.encoder = FakeEncoder(stage.prior)
    for module in stage.modules.values():
        module.eval()  # no dropout: two passes see the same
    return stage, PriorFaces(stage.prior).faces(range(FACES)).images


def drawn(stage: GeneratorStage, images: Tensor) -> tuple:
    return stage._draw(images, stage.expert.parse(images), watched())


def edit(stage: GeneratorStage, images: Tensor, conditions, codes: Tensor) -> Tensor:
    """I_out: the generator's picture in the hole, the face around it."""
    with torch.no_grad():
        prior_image, features = stage.prior(codes)
        made = stage.modules["generator"](conditions, codes, features, prior_image).image
    return made * conditions.mask + images * (1 - conditions.mask)


def test_eq_20_interpolates_between_mixed_and_exemplar_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, images = stage_3(foreign_share=1.0)
    mixes = []
    mix = stage.prior.mix
    monkeypatch.setattr(stage.prior, "mix", lambda *given: mixes.append(given) or mix(*given), raising=False)
    _, exemplars, codes, is_foreign = drawn(stage, images)
    assert is_foreign
    assert all(not torch.equal(exemplar, face) for exemplar, face in zip(exemplars, images, strict=True))
    ((first, second, crossover),) = mixes
    w_mix = torch.stack([torch.stack([first[i] if j < crossover else second[i] for j in range(CODES)]) for i in range(FACES)])
    assert 1 <= crossover < CODES and not torch.equal(first, second)
    w_e = stage.encoder(exemplar_input(exemplars))
    r = share_of(codes, w_mix, w_e)
    assert ((r > 0) & (r < 1)).all() and r.std() > 0.01  # one number for each face
    naive = torch.stack([(1 - r[i]) * w_mix[i] + r[i] * w_e[i] for i in range(FACES)])
    torch.testing.assert_close(codes, naive, rtol=1e-4, atol=1e-4)


def test_eq_20_takes_the_exemplar_codes_where_the_exemplar_is_the_face() -> None:
    stage, images = stage_3(foreign_share=0.0)
    _, exemplars, codes, is_foreign = drawn(stage, images)
    assert not is_foreign and torch.equal(exemplars, images)
    torch.testing.assert_close(codes, stage.encoder(exemplar_input(images)))  # r = 1


def test_ablation_d_takes_the_exemplar_codes_of_other_faces_too() -> None:
    stage, images = stage_3(foreign_share=1.0, attribute="plain")
    _, exemplars, codes, is_foreign = drawn(stage, images)
    assert is_foreign and all(not torch.equal(exemplar, face) for exemplar, face in zip(exemplars, images, strict=True))
    torch.testing.assert_close(codes, stage.encoder(exemplar_input(exemplars)))
    diverse, _ = stage_3(foreign_share=1.0)
    assert (drawn(diverse, images)[2] - codes).abs().max() > 0.1


@pytest.mark.parametrize("attribute", ["diverse", "plain"])
@pytest.mark.parametrize("foreign_share", [0.0, 1.0])
def test_eq_14_of_stage_3_term_by_term(attribute: str, foreign_share: float) -> None:
    stage, images = stage_3(attribute=attribute, foreign_share=foreign_share)
    s, context = stage.settings, watched()
    told = stage.step(FaceBatch(images), context)
    conditions, exemplars, codes, is_foreign = drawn(stage, images)
    edited = edit(stage, images, conditions, codes)
    with torch.no_grad():
        scores = stage.modules["discriminator"](edited).flatten().tolist()
    naive = {
        "attribute": naive_code_distance(stage.encoder(exemplar_input(edited)), codes),  # Eq. 21
        "identity": naive_identity(edited, exemplars),  # Eq. 18
        "adversarial": sum(math.log(1 + math.exp(-score)) for score in scores) / FACES,  # Eq. 22, the generator's side
    }
    weights = {"attribute": s.attribute_weight, "identity": s.identity_weight, "adversarial": s.adversarial_weight}
    if not is_foreign:  # the answer is known only here
        hole = conditions.mask.expand_as(images) > 0.5
        naive |= {"lpips": float(fake_perceptual(edited, images).mean()),  # Eq. 19
                  "pixel": float((edited - images)[hole].abs().mean())}
        weights |= {"lpips": s.lpips_weight, "pixel": s.pixel_weight}
    for name, value in naive.items():
        assert float(told[name]) == pytest.approx(value, rel=1e-3, abs=1e-5), name
    assert ("lpips" in told) == ("pixel" in told) == (not is_foreign)
    assert context.totals["generator"] == pytest.approx([sum(weights[name] * naive[name] for name in naive)], rel=1e-3)


def test_eq_21_teaches_the_generator_inside_the_hole_alone() -> None:
    stage, images = stage_3(foreign_share=1.0)
    conditions, _, codes, _ = drawn(stage, images)
    made = edit(stage, images, conditions, codes).requires_grad_()
    edited = conditions.composite(made, images)
    (stage.encoder(exemplar_input(edited)) - codes).square().mean().backward()
    hole = conditions.mask.expand_as(made) > 0.5
    assert (made.grad[~hole] == 0).all()
    with torch.no_grad():  # a step against it brings the codes nearer
        nearer = conditions.composite(made - 0.02 * made.grad / made.grad.abs().max(), images)
        before, after = (naive_code_distance(stage.encoder(exemplar_input(x)), codes) for x in (edited, nearer))
    assert after < before


@pytest.mark.parametrize("overrides", [{}, {"fusion": "addition"}, {"fusion": "gated"}, {"attribute": "plain"},
                                       {"use_bank": False}], ids=["A", "B", "C", "D", "E"])
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_small_step_of_one_network_lowers_its_loss(overrides: dict, network: str) -> None:
    """Eq. 24 under each ablation of Table VI: the step goes down, and the other network's parameters do not move."""
    stage, images = stage_3(foreign_share=1.0, r1_gamma=0.0, **overrides)
    losses = []
    for _ in range(2):
        context = watched()
        stage.step(FaceBatch(images), context)
        losses.append(context.totals[network][0])
        before = {name: [p.detach().clone() for p in module.parameters()] for name, module in stage.modules.items()}
        context = watched()
        rates = {name: 1e-3 if name == network else 0.0 for name in stage.modules}
        optimizers = {name: torch.optim.SGD(module.parameters(), lr=rates[name]) for name, module in stage.modules.items()}
        stage.step(FaceBatch(images), StepContext(Accelerator(cpu=True), context.device, optimizers, context.generator,
                                                  context.generator, 0, FACES))
        for name, module in stage.modules.items():
            has_moved = any(not torch.equal(old, new) for old, new in zip(before[name], module.parameters(), strict=True))
            assert has_moved == (name == network), name
    assert losses[1] < losses[0]


# -- stage 2 ----------------------------------------------------------------------------------------------------------


def test_eq_9_and_10_of_stage_2() -> None:
    stage = warping_stage()
    images = PriorFaces(stage.prior).faces(range(FACES)).images
    torch.manual_seed(0)
    warping = stage.modules["latent_warping"]
    with torch.no_grad():  # a fresh network warps nothing
        for parameter in warping.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    context = watched()
    told = stage.step(FaceBatch(images), context)

    w_0, source, target = stage._codes(images, watched().generator)
    w_f = stage.encoder(exemplar_input(images.flip(-1)))
    torch.testing.assert_close(w_0, stage.encoder(exemplar_input(images)))
    r = share_of(source, w_0, w_f)
    assert ((r >= 0) & (r <= 1)).all() and r.std() > 0.01
    naive_source = torch.stack([(1 - r[i]) * w_0[i] + r[i] * w_f[i] for i in range(FACES)])  # Eq. 9
    torch.testing.assert_close(source, naive_source, rtol=1e-4, atol=1e-4)

    with torch.no_grad():
        w_warp = source + warping(source, target)  # Eq. 2
        warped_image = stage.prior.synthesize(w_warp)
    assert (w_warp - source).abs().max() > 0.01
    naive = {"identity": naive_identity(warped_image, images),
             "lpips": float(fake_perceptual(warped_image, images).mean()),  # Eq. 12
             "attribute": naive_code_distance(w_warp, w_0)}  # Eq. 13
    for name, value in naive.items():
        assert float(told[name]) == pytest.approx(value, rel=1e-3, abs=1e-6), name
    total = naive["identity"] + naive["lpips"] + 0.1 * naive["attribute"]  # Eq. 10; 0.1 is the paper's
    assert context.totals["warping"] == pytest.approx([total], rel=1e-3)
