"""DIAT and DIAT-A: networks and losses against slow forms, who becomes what, what each of the two stages learns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from facemug_lib import systems
from facemug_lib.errors import FacemugError
from facemug_lib.faces.dataset import FaceBatch
from facemug_lib.systems.common.rendering import TRAIT_NAMES
from facemug_lib.systems.diat import losses
from facemug_lib.systems.diat.networks import AttributeDiscriminator, DiatConfig, DiatNetworks, ReferenceNorm
from facemug_lib.systems.diat.references import REFERENCES, references_of, transfers
from facemug_lib.systems.diat.stage import DiatStage
from facemug_lib.systems.diat.system import Diat
from facemug_lib.training.checkpoints import newest_checkpoint
from facemug_lib.training.stages import settings

NAMES = ("smiling", "unsmiling", "older", "younger")


def stage(**more: object) -> DiatStage:
    torch.manual_seed(0)
    chosen = settings(DiatStage, "smoke", {"attributes": "smile,age", "width": 4, "fast_bf16": False} | more)
    return DiatStage.build(chosen, torch.device("cpu"))


# -- networks ---------------------------------------------------------------------------------------------------------


def test_each_reference_has_its_own_scale_and_shift() -> None:
    norm, x = ReferenceNorm(3, 2), torch.randn(2, 3, 5, 6)
    nn.init.normal_(norm.scale), nn.init.normal_(norm.shift)
    found = norm(x, torch.tensor([1, 0]))
    for b, reference in enumerate((1, 0)):
        for c in range(3):
            plane = x[b, c]
            mean = float(plane.sum()) / 30
            deviation = math.sqrt(float((plane - mean).square().sum()) / 30 + 1e-5)
            wanted = (plane - mean) / deviation * float(norm.scale[reference, c]) + float(norm.shift[reference, c])
            torch.testing.assert_close(found[b, c], wanted.detach(), rtol=1e-4, atol=1e-5)


def test_compact_networks_begin_by_changing_nothing_and_fit_their_file() -> None:
    networks = DiatNetworks(DiatConfig(tuple(REFERENCES)))
    assert 2 * sum(one.numel() for one in networks.parameters()) <= 3 * 2**20  # bytes in fp16
    faces = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(networks(faces, torch.tensor([0, 8])), faces)
    again = DiatNetworks.from_config(json.loads(json.dumps(networks.config_dict() | {"system": "diat"})))
    assert again.config == networks.config
    with pytest.raises(FacemugError, match="each once"):
        DiatConfig(("older", "older"))
    with pytest.raises(FacemugError, match="a residual trunk has 3"):
        DiatConfig(("older",), trunk="residual")
    with pytest.raises(FacemugError, match="cannot be halved 6 times: use a multiple of 64"):
        AttributeDiscriminator(2, 96)


def test_the_discriminator_judges_each_face_by_its_own_reference() -> None:
    discriminator, faces = AttributeDiscriminator(3, 64, (4, 4, 4, 4, 4, 4), 8), torch.randn(2, 3, 64, 64)
    assert [level.shape[-1] for level in discriminator.features(faces, 5)] == [32, 16, 8, 4, 2]
    scores = discriminator.scores(faces, torch.tensor([2, 0]))
    torch.testing.assert_close(scores, torch.stack((discriminator(faces)[0, 2], discriminator(faces)[1, 0])))


# -- losses -----------------------------------------------------------------------------------------------------------


def test_perceptual_identity_against_a_slow_form() -> None:
    made, source = ([torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)] for _ in range(2))
    slow = 0.0
    for weight, a, b in zip((1.0, 0.25), made, source, strict=True):
        _, c, h, w = a.shape
        slow += sum(weight / (2 * c * h * w) * sum(float(d) ** 2 for d in (a[i] - b[i]).flatten()) for i in range(2)) / 2
    assert float(losses.perceptual_identity(made, source, (1.0, 0.25))) == pytest.approx(slow, rel=1e-5)
    assert float(losses.perceptual_identity(made, source)) > slow  # every weight is 1 where none is given


def test_smoothness_and_enhancement_losses_against_slow_forms() -> None:
    image, made, enhanced = torch.rand(3, 1, 3, 16, 16) * 2 - 1
    made = torch.where(torch.arange(16) < 8, image, made)  # the left half is as it was
    slow = sum((float(a) - float(b)) ** 2 for a, b in zip(made.flatten(), enhanced.flatten(), strict=True)) / made.numel()
    assert float(losses.smoothness(made, enhanced)) == pytest.approx(slow, rel=1e-4)

    where = losses.changed(made, image)
    assert where.shape == (1, 1, 16, 16) and float(where[..., 0].max()) == 0 and float(where[..., -1].min()) == 1
    coarse = [losses.blurred(one) for one in (enhanced, made)]
    keep = follow = 0.0
    for c in range(3):
        for y in range(16):
            for x in range(16):
                m = float(where[0, 0, y, x])
                keep += (1 - m) * abs(float(enhanced[0, c, y, x]) - float(image[0, c, y, x])) / 768
                follow += m * abs(float(coarse[0][0, c, y, x]) - float(coarse[1][0, c, y, x])) / 768
    found = losses.enhancement_losses(enhanced, made, image)
    assert {name: float(value) for name, value in found.items()} == pytest.approx({"keep": keep, "follow": follow}, rel=1e-4)
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(losses.blurred(flat), flat)


def faces_of(made: DiatStage, count: int = 8) -> FaceBatch:
    return made.faces().draw(range(count), 0)


@pytest.mark.parametrize("kind", ["adaptive", "off"])
def test_the_transform_networks_total_against_slow_forms(kind: str, tinted: Path) -> None:
    made = stage(identity=kind, adversarial_weight=0.3, identity_weight=0.7, smooth_weight=2.0, pair_weight=5.0)
    faces = transfers(faces_of(made), made.faces_attributes, made.names, torch.Generator().manual_seed(0))
    discriminator, denoiser = made.modules["discriminator"], made.modules["denoiser"]
    nn.init.normal_(denoiser.layers[-1].weight, std=0.1)
    pictures = (faces.source + 0.1 * torch.randn(faces.source.shape)).clamp(-1, 1)
    with torch.no_grad():
        terms = made.transform_terms(faces, pictures)
        logits, cleaned = discriminator(pictures), denoiser(pictures)
        levels = [[level[i] for level in discriminator.features(one)[3:5]] for i in range(8) for one in (pictures, faces.source)]
    slow = {"attribute": sum(math.log1p(math.exp(-float(logits[i, faces.reference[i]]))) for i in range(8)) / 8,
            "smooth": float((pictures - cleaned).square().mean()),
            "pair": sum(float(((pictures[i] - faces.target[i]) ** 2 + 0.0025).sqrt().mean()) - 0.05 for i in range(8))
            / sum(float(((faces.source[i] - faces.target[i]) ** 2 + 0.0025).sqrt().mean()) - 0.05 for i in range(8))}
    weights = {"attribute": 0.3, "smooth": 2.0, "pair": 5.0}
    if kind == "adaptive":  # DIAT-A: the discriminator's fourth and fifth convolution
        slow["identity"] = sum(float((a - b).square().sum()) / (2 * a.numel()) for i in range(8)
                               for a, b in zip(levels[2 * i], levels[2 * i + 1], strict=True)) / 8
        weights["identity"] = 0.7
    assert {name: weight for name, (weight, _) in terms.items()} == weights
    assert {name: float(value) for name, (_, value) in terms.items()} == pytest.approx(slow, rel=1e-4)


def test_diats_own_identity_loss_asks_the_identity_network_on_its_turn_for_a_few_faces(tinted: Path) -> None:
    chosen = stage().settings.model_copy(update={"identity": "perceptual", "identity_faces": 3})
    plain = stage()
    asked: list[int] = []

    class Halves(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            asked.append(len(images))
            return [images[:, :, :32], images[:, :, 32:]]

    made = DiatStage(chosen, plain.modules["diat"], plain.modules["discriminator"], plain.modules["denoiser"], None, Halves())
    faces = transfers(faces_of(made), made.faces_attributes, made.names, torch.Generator().manual_seed(0))
    pictures = faces.source + 0.5
    terms = made.transform_terms(faces, pictures)
    assert asked == [3, 3] and float(terms["identity"][1]) == pytest.approx(2 * 0.5 * 0.25, rel=1e-4)
    assert "identity" not in made.transform_terms(faces, pictures, is_identity_turn=False)
    with pytest.raises(FacemugError, match="needs an identity network"):
        DiatStage(chosen, *plain.modules.values(), None, None)


# -- who becomes what -------------------------------------------------------------------------------------------------


def test_references_of_attributes() -> None:
    assert references_of(("smile", "age")) == NAMES
    assert references_of(("smile", "age"), "up") == ("smiling", "older") and references_of(("glasses",)) == ("no_glasses",)
    with pytest.raises(FacemugError, match="no reference upwards for 'glasses': use attributes of smile, mouth_open, glasses"):
        references_of(("smile", "glasses"), "up")
    with pytest.raises(FacemugError, match="no reference for 'beard'"):
        references_of(("beard",))


def test_a_face_becomes_what_its_pair_is(tinted: Path) -> None:
    made = stage()
    batch = faces_of(made)
    found = transfers(batch, made.faces_attributes, NAMES, torch.Generator().manual_seed(0))
    assert torch.equal(found.source, batch.images) and torch.equal(found.target, batch.extra["pair"])
    assert torch.equal(found.real, found.target) and bool(found.is_real.all() and found.paired.all())
    for row in range(8):
        attribute, side = REFERENCES[NAMES[found.reference[row]]]
        column = TRAIT_NAMES.index(attribute)
        assert float(batch.extra["strength"][row, ("smile", "age").index(attribute)]) * side > 0
        assert side * float(batch.extra["pair_traits"][row, column] - batch.extra["traits"][row, column]) > 0


def test_where_no_reference_leads_to_the_pair_the_two_change_places(tinted: Path) -> None:
    made = stage(side="up")
    batch = faces_of(made)
    found = transfers(batch, made.faces_attributes, made.names, torch.Generator().manual_seed(0))
    down = batch.extra["strength"].sum(1) < 0
    assert bool(down.any()) and not bool(down.all())
    assert torch.equal(found.source[down], batch.extra["pair"][down]) and torch.equal(found.target[down], batch.images[down])
    assert torch.equal(found.source[~down], batch.images[~down]) and bool(found.is_real.all())


def test_photographs_get_what_they_have_not_and_are_real_for_what_they_have() -> None:
    traits = torch.zeros(2, len(TRAIT_NAMES))
    traits[:, TRAIT_NAMES.index("smile")] = torch.tensor([3.0, -3.0])
    traits[:, TRAIT_NAMES.index("age")] = torch.tensor([60.0, 20.0])
    images = torch.rand(2, 3, 8, 8)
    batch = FaceBatch(images, extra={"strength": torch.zeros(2, 2), "pair": images, "traits": traits, "pair_traits": traits,
                                     "has_pair": torch.tensor([False, False])})
    wanted: list[set[str]] = [set(), set()]
    real: list[set[str]] = [set(), set()]
    for seed in range(12):
        found = transfers(batch, ("smile", "age"), NAMES, torch.Generator().manual_seed(seed))
        assert bool(found.is_real.all()) and not bool(found.paired.any()) and torch.equal(found.real, images)
        for row in range(2):
            wanted[row].add(NAMES[found.reference[row]])
            real[row].add(NAMES[found.real_reference[row]])
    assert wanted == [{"unsmiling", "younger"}, {"smiling", "older"}] and real == [{"smiling", "older"}, {"unsmiling", "younger"}]


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_learns_then_enhances_and_the_system_edits(tinted: Path) -> None:
    changed = {"attributes": "smile,age", "images": 400, "enhance_from": 360, "width": 8, "lr": 2e-3, "adversarial_weight": 0.0,
               "ema_halflife": 16, "evaluate_count": 8, "stats_every": 400, "checkpoint_every": 80, "pairs_alone": 240}
    run = systems.start_run("diat", "smoke", changed, device="cpu")
    result = run.train(report=lambda line: None)
    scores = result.scores
    for attribute in ("smile", "age"):
        assert scores[f"{attribute}_pair"] < 0.9 * scores[f"{attribute}_pair_unedited"]
        assert f"transform_{attribute}_moved" in scores and scores[f"{attribute}_moved"] > 0.3
    assert set(result.weights) == {"diat"} and newest_checkpoint(run.folder)[0] == 400
    logged = json.loads((run.folder / "stats.jsonl").read_text().splitlines()[0])["losses"]
    assert {"identity", "smooth", "denoiser", "enhance_keep", "enhance_follow"} <= set(logged)

    system = systems.load_system("diat", run.folder, "cpu")
    faces = run.stage.faces().unseen("smile", 4).images
    lower, whole, half = (systems.edited(system, faces, {"smile": strength}) for strength in (-1.0, 1.0, 0.5))
    redness = [float(one[:, 0].mean()) for one in (lower, faces, half, whole)]
    assert redness == sorted(redness)
    torch.testing.assert_close(half, (faces + whole) / 2, atol=1e-5, rtol=0)
    assert torch.equal(systems.edited(system, faces, {"age": 0.0}), faces)


def test_each_network_learns_in_its_own_part_of_the_run(tinted: Path) -> None:
    changed = {"attributes": "smile", "images": 16, "enhance_from": 8, "checkpoint_every": 8, "pairs_alone": 4}
    run = systems.start_run("diat", "smoke", changed, device="cpu")
    states = [{name: value.clone() for name, value in run.stage.modules["diat"].state_dict().items()}]
    step = run.stage.step

    def remembered(batch: FaceBatch, context: object) -> object:
        found = step(batch, context)
        states.append({name: value.clone() for name, value in run.stage.modules["diat"].state_dict().items()})
        return found

    run.stage.step = remembered
    run.train(report=lambda line: None)

    def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
        return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}

    assert moved(states[0], states[2]) == {"transform"} and moved(states[2], states[4]) == {"enhance"}


def test_one_sided_references_refuse_the_other_side() -> None:
    system = Diat(DiatNetworks(DiatConfig(("no_glasses", "older"), size=32, widths=(4, 4, 4, 4, 4))))
    face = torch.rand(1, 3, 32, 32)
    assert torch.equal(systems.edited(system, face, {"glasses": -1.0, "age": 1.0}), face)  # untrained
    for name, strength, said in (("glasses", 1.0, "diat takes -1 to 0"), ("age", -0.5, "diat takes 0 to 1")):
        with pytest.raises(FacemugError, match=said):
            systems.edited(system, face, {name: strength})
    with pytest.raises(FacemugError, match="these weights were not trained for it, choose from glasses, age"):
        systems.edited(system, face, {"smile": 1.0})


def test_the_papers_profile_builds_and_makes_a_step(tinted: Path) -> None:
    run = systems.start_run("diat", "paper", {"size": 64, "images": 2, "batch": 2, "pool": 16, "evaluate_count": 2}, device="cpu")
    assert run.stage.names == ("smiling",) and run.settings.pair_images == 0
    assert run.stage.modules["diat"].config.widths == (32, 64, 128) and not run.stage.modules["diat"].config.residual
    run.train(report=lambda line: None)
    logged = json.loads((run.folder / "stats.jsonl").read_text().splitlines()[0])["losses"]
    assert {"attribute", "identity", "smooth", "discriminator"} <= set(logged) and "pair" not in logged
