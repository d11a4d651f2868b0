"""PSAM: its networks and losses against slow forms, its labels and makeup, what a run learns, what transfer carries over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from system_fakes import TintExpert
from torch import Tensor
from watched import watched

from facemug_lib import systems
from facemug_lib.errors import FacemugError
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.systems.common.rendering import TRAIT_NAMES
from facemug_lib.systems.common.targets import attribute_alone
from facemug_lib.systems.psam import losses, makeup
from facemug_lib.systems.psam.networks import PsamConfig, PsamDiscriminator, PsamDiscriminatorConfig, PsamGenerator
from facemug_lib.systems.psam.stage import PsamStage, TaskBatch, apply
from facemug_lib.systems.psam.system import ATTRIBUTES, Psam
from facemug_lib.systems.psam.tasks import REQUESTS, TASKS, readable, requested
from facemug_lib.systems.psam.transfer import images_to_reach, load_all_but_branches, transfer_saving
from facemug_lib.training.stages import settings

SHAPE = {"tasks": ("aging", "expression"), "attributes": (("younger", "older"), ("smile", "mouth_open"))}


def tiny(**more: object) -> PsamGenerator:
    torch.manual_seed(0)
    return PsamGenerator(PsamConfig(**SHAPE, **{"size": 64, "trunk": "residual", "width": 4, "blocks": 1,
                                                 "residual": False} | more)).eval()


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "plane", "trunk"), [
    *(("add", plane, trunk) for plane in (False, True) for trunk in ("residual", "unet")), ("concat", False, "residual"),
    ("attention", False, "residual"), ("no_b", False, "residual"), ("no_b", False, "unet")])
def test_every_mode_modulates_pixel_by_pixel(mode: str, plane: bool, trunk: str) -> None:
    """x̂ = tanh(conv(…)) against loops over faces, channels, rows and columns, for each way in which F, Γ and B meet."""
    generator, side = tiny(mode=mode, plane=plane, trunk=trunk), 8 if trunk == "residual" else 32
    image, labels = torch.rand(2, 3, side, side) * 2 - 1, torch.rand(2, 2)
    with torch.no_grad():
        made = generator(image, labels, "aging")
        features = generator.features(image, labels, "aging")
        assert made.gamma.shape == (2, 1 if plane else 4, side, side) and made.beta.shape == (2, 4, side, side)
        assert bool(((made.gamma >= 0) & (made.gamma <= 1)).all())
        assert bool((made.beta == 0).all()) == (mode == "no_b")
        wanted = torch.zeros(2, 8 if mode == "concat" else 4, side, side)
        for b in range(2):
            for c in range(4):
                for y in range(side):
                    for x in range(side):
                        f, shift = float(features[b, c, y, x]), float(made.beta[b, c, y, x])
                        scale = float(made.gamma[b, 0 if plane else c, y, x])
                        if mode == "concat":
                            wanted[b, c, y, x], wanted[b, 4 + c, y, x] = scale * f, shift
                        else:
                            wanted[b, c, y, x] = scale * f + (shift * (1 - scale) if mode == "attention" else shift)
        if mode == "concat":
            wanted = generator.merge(wanted)
        torch.testing.assert_close(made.image, generator.exit(wanted).tanh(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_normalised_fronts_hide_how_much() -> None:
    """Why the compact network leaves them out: half the light and half the strength look the same to the paper's front."""
    image, labels = torch.rand(1, 3, 32, 32) - 0.5, torch.tensor([[0.4, 0.8]])
    for norm in (True, False):
        generator = tiny(front_norm=norm, places=False)
        whole = generator.features(image, labels, "aging")
        for dimmed in (generator.features(0.5 * image, labels, "aging"), generator.features(image, 0.5 * labels, "aging")):
            assert (float((whole - dimmed).abs().mean() / whole.abs().mean()) > 0.05) != norm, norm


def test_a_residual_network_adds_its_picture_to_the_face() -> None:
    image, labels = torch.rand(2, 3, 8, 8) * 2 - 1, torch.rand(2, 2)
    whole, added = tiny(), tiny(residual=True)
    assert torch.equal(added(image, labels, "aging").image, image)  # at first, nothing is changed
    added.load_state_dict(whole.state_dict())
    share = whole(image, labels, "aging").image  # of the way to white, or to black
    torch.testing.assert_close(added(image, labels, "aging").image, image + torch.where(share > 0, share * (1 - image),
                                                                                      share * (1 + image)))


def test_labels_say_what_is_wanted_or_how_much_is_to_change() -> None:
    own, wanted = torch.tensor([[0.25, 1.0]]), torch.tensor([[1.0, 0.5]])
    assert tiny(relative=True).asked(own, wanted).tolist() == [[0.75, -0.5]]
    assert tiny(relative=False).asked(own, wanted).tolist() == wanted.tolist()


def test_the_two_sizes_build() -> None:
    compact = PsamGenerator(PsamConfig(tuple(TASKS), tuple(task.labels for task in TASKS.values())))
    assert 2 * sum(one.numel() for one in compact.parameters()) <= 3 * 2**20  # bytes in fp16
    assert PsamConfig.paper(**SHAPE).width == 64
    again = PsamGenerator.from_config(json.loads(json.dumps(compact.config_dict() | {"system": "psam"})))
    assert again.config == compact.config
    with pytest.raises(FacemugError, match="not trained for 'makeup': it has aging, expression"):
        tiny()(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2), "makeup")
    with pytest.raises(FacemugError, match=r"labels of aging have shape \(1, 3\): \[1, 2\] is needed, for younger, older"):
        tiny()(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3), "aging")
    with pytest.raises(FacemugError, match="no mode 'times'"):
        tiny(mode="times")


# -- losses -----------------------------------------------------------------------------------------------------------


def test_class_losses_against_slow_forms() -> None:
    logits, labels = torch.randn(3, 2), torch.rand(3, 2)
    slow = 0.0
    for i in range(3):
        for j in range(2):
            p = 1 / (1 + math.exp(-float(logits[i, j])))
            slow -= float(labels[i, j]) * math.log(p) + (1 - float(labels[i, j])) * math.log(1 - p)
    assert float(TASKS["aging"].class_loss(logits, labels)) == pytest.approx(slow / 3, rel=1e-5)
    logits, labels = torch.randn(3, 3), torch.rand(3, 3).softmax(1)
    slow = 0.0
    for i in range(3):
        total = sum(math.exp(float(value)) for value in logits[i])
        slow -= sum(float(labels[i, j]) * math.log(math.exp(float(logits[i, j])) / total) for j in range(3))
    assert float(TASKS["illumination"].class_loss(logits, labels)) == pytest.approx(slow / 3, rel=1e-5)


def test_gradient_penalty_of_a_critic_whose_gradient_is_known() -> None:
    direction = torch.randn(3, 4, 4)
    real, fake = torch.randn(2, 2, 3, 4, 4)
    found = losses.gradient_penalty(lambda x: (x * direction).sum(1), real, fake, torch.rand(2, 1, 1, 1))
    assert float(found) == pytest.approx((float(direction.norm()) - 1) ** 2, rel=1e-4)
    # ‖∇ ½x²‖ = ‖x‖ at the place between the two that the share says.
    found = losses.gradient_penalty(lambda x: 0.5 * x.square(), real, fake, torch.tensor([0.25, 1.0]).view(2, 1, 1, 1))
    places = 0.25 * real[0] + 0.75 * fake[0], real[1]
    assert float(found) == pytest.approx(sum((float(one.norm()) - 1) ** 2 for one in places) / 2, rel=1e-4)


def test_adversarial_losses() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 2.0])
    assert float(losses.generator_adversarial(fake, "wgan-gp")) == -0.5
    assert float(losses.discriminator_adversarial(real, fake, "wgan-gp")) == -1.5
    soft = [math.log1p(math.exp(-value)) for value in (-1.0, 2.0)]
    assert float(losses.generator_adversarial(fake, "logistic")) == pytest.approx(sum(soft) / 2, rel=1e-5)


def stage(tasks: str = "aging", **more: object) -> PsamStage:
    torch.manual_seed(0)
    chosen = settings(PsamStage, "smoke", {"tasks": tasks, "attributes": "smile", "width": 4} | more)
    return PsamStage.build(chosen, torch.device("cpu"))


def batch_of(paired: tuple[bool, ...] = (True, True, False, True)) -> TaskBatch:
    torch.manual_seed(1)
    return TaskBatch(torch.rand(4, 3, 64, 64) * 2 - 1, torch.rand(4, 2), torch.rand(4, 3, 64, 64) * 2 - 1, torch.rand(4, 2),
                     torch.tensor(paired))


def test_the_generators_total_against_slow_forms() -> None:
    """adversarial + class + cycle + pair, each written out over faces, under weights that tell them apart."""
    made = stage(adversarial_weight=0.3, class_weight=0.7, cycle_weight=11.0, pair_weight=5.0, fast_bf16=False)
    faces = batch_of()
    generator, discriminator = made.modules["psam"], made.modules["discriminator"]
    torch.nn.init.normal_(generator.exit.weight)  # a fresh one changes nothing, whatever the labels
    with torch.no_grad():
        fake, terms = made.generator_terms(TASKS["aging"], faces)
        edited = generator(faces.source, faces.wanted - faces.own, "aging").image
        back = generator(edited, faces.own - faces.wanted, "aging").image
        patches, classes = discriminator(edited, "aging")
    assert torch.equal(fake, edited)
    slow = {"adversarial": sum(math.log1p(math.exp(-float(value))) for value in patches.flatten()) / patches.numel(),
            "class": float(TASKS["aging"].class_loss(classes, faces.wanted)),
            "cycle": sum(float((back[i] - faces.source[i]).abs().mean()) for i in range(4)) / 4,
            "pair": sum(float(((edited[i] - faces.target[i]) ** 2 + 0.0025).sqrt().mean()) - 0.05 for i in (0, 1, 3))
            / sum(float(((faces.source[i] - faces.target[i]) ** 2 + 0.0025).sqrt().mean()) - 0.05 for i in (0, 1, 3))}
    weights = {"adversarial": 0.3, "class": 0.7, "cycle": 11.0, "pair": 5.0}
    assert {name: weight for name, (weight, _) in terms.items()} == weights
    for name, value in slow.items():
        assert float(terms[name][1]) == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("kind", ["logistic", "wgan-gp"])
def test_a_step_updates_each_network_as_often_as_its_settings_say(kind: str, tinted: Path) -> None:
    made = stage(adversarial=kind, generator_every=2, pair_images=8, cycle_every=1, fast_bf16=False, pairs_alone=0)
    source = made.source("prior", torch.device("cpu"))
    updates = []
    for seen in (0, 4, 8):
        context = watched(seen)
        logged = made.step(source.draw(range(seen, seen + 4), 0), context)
        assert all(math.isfinite(float(value)) for value in logged.values())
        updates.append({name: len(values) for name, values in context.totals.items()})
        assert ("pair_aging" in logged) == (seen == 0)  # the generator's turn, and pairs are still used
    penalties = (2, 1, 1) if kind == "logistic" else (2, 2, 2)  # lazy R1 on the first turn; the penalty in every one
    assert updates == [{"psam": 1, "discriminator": penalties[0]}, {"discriminator": penalties[1]},
                       {"psam": 1, "discriminator": penalties[2]}]


def test_the_warm_up_learns_from_known_pairs_alone(tinted: Path) -> None:
    made = stage(pairs_alone=4, still_share=0.0)
    batch = made.source("prior", torch.device("cpu")).draw(range(4), 0)
    context = watched(0)
    logged = made.step(batch, context)
    assert set(logged) == {"pair_aging"} and list(context.totals) == ["psam"]
    target = attribute_alone(batch.images, batch.extra["pair"])
    assert float((target - batch.images).abs().mean()) > 0.01
    assert context.totals["psam"][0] == pytest.approx(1, rel=1e-3)  # of a fresh network, which changes nothing
    batch.extra["has_pair"][:] = False
    assert made.step(batch, watched(0)) == {}  # photographs have nothing to say here
    assert {"class_aging", "discriminator_aging"} <= set(made.step(batch, watched(4)))


def test_without_pairs_the_labels_wanted_are_those_of_other_faces(tinted: Path) -> None:
    made = stage(still_share=0.0)
    batch = made.faces_of(TASKS["aging"]).draw(range(8), 0)
    paired = made.task_batch(TASKS["aging"], batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(paired.wanted, TASKS["aging"].read(readable(batch.extra["pair_traits"])))
    assert bool(paired.paired.all()) and not torch.equal(paired.own, paired.wanted)
    shuffled = made.task_batch(TASKS["aging"], batch, torch.Generator().manual_seed(0), use_pairs=False)
    assert not bool(shuffled.paired.any())
    torch.testing.assert_close(shuffled.wanted.sort(0).values, paired.own.sort(0).values)
    mixed = stage(still_share=0.5).task_batch(TASKS["aging"], batch, torch.Generator().manual_seed(0))
    stays = (mixed.wanted == mixed.own).all(1)
    assert 0 < int(stays.sum()) < 8  # what is to stay says so, in labels and picture
    assert torch.equal(mixed.target[stays], batch.images[stays]) and torch.equal(mixed.target[~stays], paired.target[~stays])


# -- labels and makeup ------------------------------------------------------------------------------------------------


def test_labels_say_what_was_read() -> None:
    traits = torch.zeros(3, len(TRAIT_NAMES))
    for name, values in {"age": (15.0, 35.0, 50.0), "light": (-0.18, 0.0, 0.09), "mouth_open": (0.0, 0.175, 0.5)}.items():
        traits[:, TRAIT_NAMES.index(name)] = torch.tensor(values)
    readings = readable(traits)
    torch.testing.assert_close(TASKS["aging"].read(readings), torch.tensor([[1.0, 0], [0, 0], [0, 0.5]]))
    torch.testing.assert_close(TASKS["illumination"].read(readings), torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0.5, 0.5]]))
    torch.testing.assert_close(TASKS["expression"].read(readings), torch.tensor([[0.5, 0], [0.5, 0.5], [0.5, 1]]))
    readings["light"][0] = torch.nan  # a face whose skin is not to be seen
    assert TASKS["illumination"].read(readings)[0].tolist() == [0, 0, 1]


def test_a_strength_moves_its_own_labels_from_where_the_face_is() -> None:
    assert set(REQUESTS) == set(ATTRIBUTES) and all(REQUESTS[name].task in TASKS for name in REQUESTS)
    own = torch.tensor([[0.2, 0.6]])
    torch.testing.assert_close(requested(own, "smile", 0.5), torch.tensor([[0.6, 0.6]]))
    torch.testing.assert_close(requested(own, "smile", -1.0), torch.tensor([[0.0, 0.6]]))
    torch.testing.assert_close(requested(own, "mouth_open", 1.0), torch.tensor([[0.2, 1.0]]))
    torch.testing.assert_close(requested(own, "age", -0.5), torch.tensor([[0.6, 0.3]]))
    assert torch.equal(requested(own, "smile", 0.0), own)
    for name, strength, said in (("nose", 1.0, "no attribute 'nose'"), ("smile", 1.5, "from -1 to 1"),
                                 ("soft_light", -0.5, "from 0 to 1")):
        with pytest.raises(FacemugError, match=said):
            requested(own, name, strength)


def drawn_faces() -> tuple[Tensor, Tensor]:
    """Two plain faces of 128 px with label maps: skin, two eyes, lips."""
    labels = torch.zeros(2, 128, 128, dtype=torch.long)
    labels[:, 30:115, 30:98] = SEMANTIC_CLASSES.index("skin")
    labels[:, 56:62, 40:56] = SEMANTIC_CLASSES.index("r_eye")
    labels[:, 56:62, 72:88] = SEMANTIC_CLASSES.index("l_eye")
    labels[:, 90:98, 50:78] = SEMANTIC_CLASSES.index("l_lip")
    images = torch.full((2, 3, 128, 128), -0.2)
    images[:, 0] += 0.3
    lips = labels == SEMANTIC_CLASSES.index("l_lip")
    images = torch.where(lips[:, None], images + torch.tensor([-0.05, -0.2, -0.1]).view(3, 1, 1), images)
    return images + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)), labels


def test_makeup_reaches_the_amount_that_was_asked_for_and_nothing_else() -> None:
    images, labels = drawn_faces()
    before = makeup.amounts(images, labels)
    for place, name in enumerate(makeup.PLACES):
        change = torch.zeros(2, 3)
        change[:, place] = 0.5
        edited = makeup.made_up(images, labels, change)
        after = makeup.amounts(edited, labels)
        assert (after[name] - before[name]).tolist() == pytest.approx([0.5, 0.5], abs=0.15)
        for other in makeup.PLACES:
            if other != name:
                assert (after[other] - before[other]).abs().max() < 0.12
        where = makeup.regions(labels)[:, place : place + 1]
        assert torch.equal(edited[(where == 0).expand_as(edited)], images[(where == 0).expand_as(images)])
        assert (edited - images).abs().amax() > 0.02
    assert torch.equal(makeup.made_up(images, labels, torch.zeros(2, 3)), images)
    bare = torch.zeros_like(labels)  # nobody to be seen
    assert all(bool((one == 0).all()) for one in makeup.amounts(images, bare).values())
    assert torch.equal(makeup.made_up(images, bare, torch.ones(2, 3)), images)


def test_the_look_is_measured() -> None:
    """Of many faces with known lips, the median and the mean of the reddest share are found again."""
    images, labels = (one[:1].repeat(20, *[1] * (one.ndim - 1)) for one in drawn_faces())
    lips = (labels == SEMANTIC_CLASSES.index("l_lip"))[:, None]
    reds = torch.linspace(0, 0.4, 20)
    images = torch.where(lips, images + reds.view(-1, 1, 1, 1) * torch.tensor([1.0, 0, 0]).view(3, 1, 1), images)
    look = makeup.measured_look(images, labels, share=0.1)
    base = makeup.relative_colours(images, labels)[:, 0]
    torch.testing.assert_close(look.usual[0], base.median(0).values)
    torch.testing.assert_close(look.made_up[0], base[18:].mean(0))
    assert float(look.made_up[0, 0] - look.usual[0, 0]) > 0.1


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_learns_its_tasks_and_the_system_edits(tinted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"tasks": "aging", "attributes": "smile", "images": 640, "width": 8, "adversarial_weight": 0.0, "lr": 5e-3,
               "pairs_alone": 640, "decay": 320, "ema_halflife": 16, "evaluate_count": 8, "stats_every": 640,
               "checkpoint_every": 640}
    run = systems.start_run("psam", "smoke", changed, device="cpu")
    result = run.train(report=lambda line: None)
    assert set(result.weights) == {"psam"}
    assert result.scores["age_pair"] < 0.95 * result.scores["age_pair_unedited"]  # 0.5 to 0.7, by the rounding
    assert result.scores["age_moved"] > 0.15
    monkeypatch.setattr("facemug_lib.experts.student.ExpertStudent.load", lambda device: TintExpert())
    system = systems.load_system("psam", run.folder, "cpu")
    assert set(system.attributes) == {"age"}
    faces = run.stage.faces_of(TASKS["aging"]).unseen("age", 4).images
    age = [float(TintExpert()(systems.edited(system, faces, {"age": strength})).attributes["age"].mean())
           for strength in (-1.0, 0.0, 1.0)]
    assert age[0] < age[1] < age[2]
    assert torch.equal(systems.edited(system, faces, {"age": 0.0}), faces)
    with pytest.raises(FacemugError, match="no attribute 'smile': these weights were not trained for it"):
        systems.edited(system, faces, {"smile": 1.0})


def test_own_labels_change_nothing() -> None:
    generator, image, labels = tiny(), torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 2)
    torch.testing.assert_close(apply(generator, image, labels, labels, "aging"), image, rtol=0, atol=1e-6)
    assert not torch.equal(apply(generator, image, labels, 1 - labels, "aging"), image)


def test_the_papers_profile_builds_and_makes_a_step(tinted: Path) -> None:
    chosen = settings(PsamStage, "paper", {"tasks": "aging", "size": 64, "batch": 2, "pool": 16, "generator_every": 1})
    made = PsamStage.build(chosen, torch.device("cpu"))
    assert made.modules["psam"].config.width == 64 and chosen.pair_images == 0 and chosen.cycle_weight == 10
    context = watched()
    context.optimizers, context.batch = made.optimizers(), 2
    logged = made.step(made.source("prior", torch.device("cpu")).draw(range(2), 0), context)
    assert {"adversarial_aging", "class_aging", "cycle_aging", "penalty"} <= set(logged) and "pair_aging" not in logged
    assert all(math.isfinite(float(value)) for value in logged.values())


# -- transfer ---------------------------------------------------------------------------------------------------------


def test_transfer_carries_over_all_but_branches_and_class_heads(tinted: Path) -> None:
    first = systems.start_run("psam", "smoke", {"tasks": "aging", "attributes": "smile", "images": 8}, device="cpu")
    first.train(report=lambda line: None)
    torch.manual_seed(7)
    chosen = settings(PsamStage, "smoke", {"tasks": "makeup", "attributes": "smile", "transfer_from": str(first.folder)})
    second = PsamStage.build(chosen, torch.device("cpu"))
    for name in ("psam", "discriminator"):
        before, after = (one.modules[name].state_dict() for one in (first.stage, second))
        assert set(before) & set(after)
        for key, value in after.items():
            is_shared = not key.startswith(("attribute_branches.", "attribute_codes.", "class_heads."))
            assert is_shared == (key in before and torch.equal(value, before[key])), key
    weights = PsamStage.build(chosen.model_copy(update={"transfer_from": str(first.folder / "weights" / "psam.safetensors")}),
                              torch.device("cpu"))
    torch.testing.assert_close(weights.modules["psam"].exit.weight, first.stage.modules["psam"].exit.weight, rtol=0.1, atol=0.05)
    with pytest.raises(FacemugError, match="does not fit this PSAM .* use the same width, mode and size"):
        load_all_but_branches(tiny(), PsamDiscriminator(PsamDiscriminatorConfig(**SHAPE, size=64, layers=4)), first.folder)
    with pytest.raises(FacemugError, match="holds no resume state"):
        load_all_but_branches(tiny(), second.modules["discriminator"], tinted)


def test_several_tasks_train_in_turns_and_are_asked_for_together(tinted: Path) -> None:
    changed = {"tasks": "makeup,aging", "attributes": "smile", "images": 16}
    run = systems.start_run("psam", "smoke", changed, device="cpu")
    scores = run.train(report=lambda line: None).scores
    assert {"makeup_pair", "makeup_pair_unedited", "age_pair", "age_right"} <= set(scores)
    lines = [json.loads(line) for line in (run.folder / "stats.jsonl").read_text().splitlines()]
    assert {"pair_makeup", "pair_aging", "real_class_makeup", "real_class_aging"} <= set(lines[0]["losses"])
    assert "smile" in run.source.describe() and "age" in run.source.describe()
    system = Psam(run.stage.modules["psam"], TintExpert())
    faces = run.stage.faces_of(TASKS["aging"]).unseen("age", 2).images
    aged, both = (systems.edited(system, faces, {"age": 1.0} | more) for more in ({}, {"lipstick": 0.5}))
    assert both.shape == faces.shape and not torch.equal(both, aged)


def curve(folder: Path, *points: tuple[int, float]) -> Path:
    folder.mkdir()
    lines = [{"images": 0, "losses": {}}, *({"images": images, "scores": {"pair": value}} for images, value in points)]
    (folder / "stats.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_what_transfer_saves_is_read_off_the_curves(tmp_path: Path) -> None:
    slow = [curve(tmp_path / f"slow{i}", (100, 0.5), (200, 0.3), (400, 0.1)) for i in range(2)]
    fast = [curve(tmp_path / "fast0", (100, 0.2)), curve(tmp_path / "fast1", (100, 0.4), (200, 0.2))]
    assert images_to_reach(slow[0], "pair", 0.2) == pytest.approx(300)
    assert images_to_reach(fast[0], "pair", 0.2) == 100 and images_to_reach(slow[0], "pair", 0.05) is None
    found = transfer_saving(slow, fast, "pair", 0.2)
    assert found["scratch"] == pytest.approx(300) and found["transferred"] == pytest.approx(150) and found["reached"] == 2
    assert found["saved_least"] == pytest.approx(1 / 3) and found["saved_most"] == pytest.approx(2 / 3)
    assert transfer_saving(slow, fast, "pair", 0.15)["reached"] == 0
    for arguments, said in (((slow, fast[:1], "pair", 0.2), "2 runs from scratch and 1 transferred"),
                            (([tmp_path], [tmp_path], "pair", 0.2), "holds no statistics"),
                            ((slow, fast, "other", 0.2), "was never scored by other")):
        with pytest.raises(FacemugError, match=said):
            transfer_saving(*arguments)
