"""The student: its outputs, its training step, and the shipped weights on a real photograph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from facemug_lib.experts.student import ATTRIBUTES, ExpertConfig, ExpertOutput, ExpertStudent
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.training.distillation.agreement import FREQUENT_CLASSES, compare
from facemug_lib.training.stage import FaceBatch, StepContext
from facemug_lib.training.stage_expert import ExpertStage, FormerExpert, augment
from facemug_lib.training.stages import settings

LABEL = {name: index for index, name in enumerate(SEMANTIC_CLASSES)}
SMALL = ExpertConfig(working_size=64, width=16, head_width=16, hidden=16)


@pytest.fixture
def small() -> ExpertStudent:
    torch.manual_seed(0)
    return ExpertStudent(SMALL)


def test_outputs_have_the_inputs_size_and_physical_units(small: ExpertStudent) -> None:
    small.eval()
    small.set_attribute_scale(torch.full((10,), 30.0), torch.full((10,), 0.01))
    output = small(torch.zeros(2, 3, 80, 96))
    assert output.semantics.shape == (2, 19, 80, 96)
    assert set(output.attributes) == set(ATTRIBUTES)
    assert output.attributes["age"].shape == (2,)
    assert (output.attributes["age"] - 30).abs().max() < 0.1  # scaled
    assert output.attributes["gender"].abs().max() < 5  # a logit: neither shifted nor scaled


def test_gradients_reach_the_image_from_both_branches(small: ExpertStudent) -> None:
    small.eval().requires_grad_(False)
    for pick in (lambda o: o.semantics.logsumexp(1).mean(), lambda o: o.attributes["smile"].sum()):
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        pick(small(image)).backward()
        assert image.grad.abs().max() > 0


def test_the_shipped_size_stays_small() -> None:
    assert sum(parameter.numel() for parameter in ExpertStudent().parameters()) < 1_500_000


def test_augmentation_moves_labels_with_the_image_and_flips_signs() -> None:
    # The picture *is* the label map, so wherever a label is known the two must still agree.
    labels = torch.full((16, 64, 64), LABEL["skin"])
    labels[:, 10:50, 40:60] = LABEL["hair"]
    labels[:, 20:40, 5:20] = LABEL["l_eye"]
    light = torch.where(labels == LABEL["hair"], 1.0, torch.where(labels == LABEL["skin"], 0.0, -1.0))
    images = light[:, None].expand(-1, 3, -1, -1)
    attributes = torch.ones(16, len(ATTRIBUTES))
    sign = torch.tensor([-1.0 if a.odd else 1.0 for a in ATTRIBUTES.values()])
    moved_images, moved, changed = augment(images, labels, attributes, sign, torch.Generator().manual_seed(0), turn=10, zoom=0.2,
                                           shift=0.05)
    assert (moved == -1).any()  # pixels from outside are unknown
    for face, label in zip(moved_images, moved, strict=True):
        hair, skin = face[:, label == LABEL["hair"]].mean(), face[:, label == LABEL["skin"]].mean()
        eye = face[:, (label == LABEL["l_eye"]) | (label == LABEL["r_eye"])].mean()
        assert hair > skin > eye
    yaw = changed[:, list(ATTRIBUTES).index("yaw")]
    mirrored = (moved == LABEL["r_eye"]).any((1, 2))
    assert torch.equal(yaw < 0, mirrored)
    assert 3 < mirrored.sum() < 13
    assert (changed[:, 0] == 1).all()


def test_a_few_steps_learn_and_unknown_attributes_teach_nothing(small: ExpertStudent) -> None:
    stage = ExpertStage(settings("expert", "smoke", {"lr": 1e-3}), small.train())
    accelerator = Accelerator(cpu=True)
    generator = torch.Generator().manual_seed(0)
    labels = torch.full((4, 64, 64), LABEL["background"])
    labels[:, 16:, 16:48] = LABEL["skin"]
    images = torch.where(labels == LABEL["skin"], 0.8, -0.8)[:, None].expand(-1, 3, -1, -1).contiguous()
    attributes = torch.full((4, 10), torch.nan)
    optimizers = stage.optimizers()
    losses = []
    for step in range(12):
        context = StepContext(accelerator, torch.device("cpu"), optimizers, generator, generator, 4 * step + 10**6, 4)
        losses.append(stage.step(FaceBatch(images, None, {"labels": labels, "attributes": attributes}), context))
    assert float(losses[-1]["parse"]) < 0.7 * float(losses[0]["parse"])
    assert float(losses[0]["attributes"]) == 0
    assert all(np.isfinite(float(value)) for value in losses[-1].values())


class _Photographs:
    """Two photographs: a light face on a dark ground, with label maps that call the ground hat."""

    def __len__(self) -> int:
        return 2

    def draw(self, indices, seed: int) -> FaceBatch:
        labels = torch.full((len(indices), 64, 64), LABEL["hat"])
        labels[:, 16:, 16:48] = LABEL["skin"]
        images = torch.where(labels == LABEL["skin"], 0.8, -0.8)[:, None].expand(-1, 3, -1, -1).contiguous()
        return FaceBatch(images, None, {"labels": labels})


def test_photographs_teach_their_maps_and_the_former_weights_all_else(small: ExpertStudent) -> None:
    small.set_attribute_scale(torch.zeros(10), torch.ones(10))
    former = FormerExpert(small)
    stage = ExpertStage(settings("expert", "smoke", {"lr": 2e-3, "small_share": 0.0}), small.train(), former, _Photographs())
    batch = _Photographs().draw(range(4), 0)
    batch.extra["labels"][2:] = -1  # two faces without a map, as sampled ones are in a mixed batch
    labels, attributes = stage._targets(batch)
    assert torch.equal(labels[:2], batch.extra["labels"][:2]) and torch.equal(labels[2:], former.parse(batch.images[2:]))
    read = former._expert.attributes(batch.images)
    assert torch.allclose(attributes[:, list(ATTRIBUTES).index("yaw")], read["yaw"])
    assert torch.allclose(attributes[:, list(ATTRIBUTES).index("smile")], read["smile"].sigmoid())  # a probability
    before = stage._evaluate_photographs(small.eval())
    accelerator, optimizers, generator = Accelerator(cpu=True), stage.optimizers(), torch.Generator().manual_seed(0)
    small.train()
    for step in range(40):
        context = StepContext(accelerator, torch.device("cpu"), optimizers, generator, generator, 4 * step, 4)
        stage.step(_Photographs().draw(range(4), step), context)
    after = stage._evaluate_photographs(small.eval())
    assert after["photo_pixel_accuracy"] > max(0.7, before["photo_pixel_accuracy"]) and after["photo_miou"] > before["photo_miou"]
    assert torch.equal(former.parse(batch.images[2:]), labels[2:])  # the former weights stay as they were


class _Echo(torch.nn.Module):
    """Parses an image whose first channel is the label, and reads every attribute off the second."""

    def forward(self, image: torch.Tensor) -> ExpertOutput:
        labels = image[:, 0].round().long()
        logits = torch.nn.functional.one_hot(labels, 19).permute(0, 3, 1, 2).float()
        return ExpertOutput(logits, {name: image[:, 1, 0, 0] for name in ATTRIBUTES})


def test_agreement_counts_by_hand() -> None:
    truth = torch.arange(12).view(12, 1, 1).expand(12, 1, 8).clone()
    truth = torch.tensor([LABEL[name] for name in FREQUENT_CLASSES])[truth]
    guess = truth.clone()
    guess[0, 0, :2] = LABEL["hat"]  # two of the background's eight pixels called hat
    truth[1, 0, :4] = -1  # unknown pixels do not count
    read = torch.linspace(-1, 1, 12)
    images = torch.zeros(12, 3, 1, 8)
    images[:, 0] = guess.float()
    images[:, 1] = read.view(-1, 1, 1)
    targets = (read > 0).float()[:, None].expand(-1, 10).clone()
    targets[3] = torch.nan
    result = compare(_Echo(), images, truth, targets, batch=5)
    assert result.iou["background"] == pytest.approx(6 / 8)
    assert result.iou["hat"] == 0
    assert result.miou == pytest.approx((11 + 6 / 8) / 12)
    assert result.accuracy == pytest.approx(90 / 92)
    assert result.attributes["gender"] == 1
    known = [i for i in range(12) if i != 3]
    assert result.attributes["age"] == pytest.approx(np.corrcoef(read[known], targets[known, 0])[0, 1], abs=1e-6)


def test_the_shipped_expert_reads_a_real_photograph() -> None:
    from skimage.data import astronaut

    from facemug_lib.faces.alignment import open_face

    face = open_face(astronaut()).image
    expert = ExpertStudent.load()
    labels = expert.parse(face)[0]
    rows = torch.arange(256).view(-1, 1).expand(256, 256).float()
    columns = torch.arange(256).view(1, -1).expand(256, 256).float()

    def at(name: str) -> tuple[float, float]:
        here = labels == LABEL[name]
        assert here.any(), f"no {name}"
        return float(rows[here].mean()), float(columns[here].mean())

    assert labels[140, 96] == labels[140, 160] == LABEL["skin"]  # cheeks of an aligned face
    assert at("hair")[0] < at("nose")[0] < at("u_lip")[0] < at("l_lip")[0]
    assert at("r_eye")[1] < at("nose")[1] < at("l_eye")[1]  # l_ is the subject's left, the image's right
    assert at("r_brow")[0] < at("r_eye")[0]
    assert 0.1 < (labels == LABEL["skin"]).float().mean() < 0.5
    read = {name: float(value) for name, value in expert.attributes(face).items()}
    assert read["glasses"] < 0 < read["smile"]
    assert 15 < read["age"] < 60
    assert abs(read["yaw"]) < 12  # she looks at the camera
    turned = {name: float(value) for name, value in expert.attributes(face.flip(-1)).items()}
    assert turned["age"] == pytest.approx(read["age"], abs=8)
    mirrored = expert.parse(face.flip(-1))[0]
    agree = (mirrored.flip(-1) == labels) | torch.isin(labels, torch.tensor([4, 5, 6, 7, 8, 9]))
    assert agree.float().mean() > 0.9
