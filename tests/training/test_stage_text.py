"""The text–image model learns which captions are true, from faces that say it plainly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import FakePrior
from runs import QUIET, FourFaces, train
from torch import Tensor

from facemug_lib.experts.text_image import SmallTextImage, TextImageConfig
from facemug_lib.modalities.captions import NUMBERS, statements
from facemug_lib.training import stage_text
from facemug_lib.training.stage_text import TextStage, is_held_out, recalls, sigmoid_loss, truths
from facemug_lib.training.stages import settings


def plain_traits(expert: object, images: Tensor) -> dict[str, Tensor]:
    """Smiling where the picture is bright, a woman where its left half is brighter; nothing else is known."""
    light = images.mean((1, 2, 3))
    side = images[..., : images.shape[-1] // 2].mean((1, 2, 3)) - light
    unknown = torch.full_like(light, torch.nan)
    return dict.fromkeys(NUMBERS, unknown) | {"smile": light * 100, "gender": -side * 100}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> TextStage:
    monkeypatch.setattr(stage_text, "all_traits", plain_traits)
    torch.manual_seed(0)
    model = SmallTextImage(TextImageConfig(embed_dim=16, image_size=64, head_width=16, hidden=16, text_width=32, text_layers=1))
    return TextStage(settings("text", "smoke", {"lr": 3e-3, "photographed_share": 0.0}), model, torch.nn.Identity(), FakePrior())


def test_it_learns_what_is_true(stage: TextStage, tmp_path: Path) -> None:
    options = QUIET | {"stats_every": 80, "ema_halflife": 40}
    result = train(stage, FourFaces(stage.prior), tmp_path, images=480, batch=8, **options)
    assert set(result.weights) == {"text_image"}
    model = stage.modules["text_image"].eval()
    faces = FourFaces(stage.prior).draw(range(4), 0)
    said = stage.said(faces.images)
    assert all(said), "these faces say something"
    claims = [{"smile": "smiling"}, {"smile": "serious"}, {"gender": "man"}, {"gender": "woman"}]
    truth = truths(said, claims)
    from facemug_lib.modalities.captions import sentence

    with torch.no_grad():
        scores = model.scores(model.embed_images(faces.images), model.embed_texts([sentence(one) for one in claims]))
    assert truth.isfinite().all() and len(truth[:, 2].unique()) == 2
    # Of two rivals the true one scores higher; how far above 0 hangs on the processor's rounding.
    assert torch.equal(scores[:, ::2] > scores[:, 1::2], truth[:, ::2] > truth[:, 1::2])


def test_a_frozen_trunk_sees_each_picture_once(stage: TextStage, tmp_path: Path) -> None:
    stage.settings = settings("text", "smoke", {"lr": 3e-3, "photographed_share": 0.0, "trunk_rate": 0.0})
    tower, looked = stage.modules["text_image"].clip.visual, []
    before = {name: value.clone() for name, value in tower.trunk.state_dict().items()}
    tower.trunk.register_forward_pre_hook(lambda module, inputs: looked.append(len(inputs[0])))
    train(stage, FourFaces(stage.prior), tmp_path, images=480, batch=8, **QUIET | {"stats_every": 80, "evaluate_count": 2})
    assert sum(looked) < 60  # not 480: four faces and their mirror images, some twice in the first batch; scores; the grid
    assert all(torch.equal(value, before[name]) for name, value in tower.trunk.state_dict().items())
    faces = FourFaces(stage.prior).draw(range(4), 0)
    kept = stage.modules["text_image"].eval().embed_images(faces.images)
    parts = [stage._seen[key, False] for key in stage_text._keys(faces.images)]
    again = tower.told(*(torch.stack(part) for part in zip(*parts, strict=True)))
    assert torch.allclose(kept, torch.nn.functional.normalize(again, dim=1), atol=1e-5)


def test_rivals_differ_in_one_claim(stage: TextStage) -> None:
    draw = torch.Generator().manual_seed(0)
    said = statements({"smile": 3.0, "gender": 2.0, "age": 70.0, "yaw": 20.0})
    for _ in range(20):
        claims = stage.claims(said, draw)
        assert claims and set(claims.items()) <= set(said.items()) and not is_held_out(claims)
        rival = stage.rival(claims, draw)
        assert list(rival) == list(claims) and sum(rival[name] != word for name, word in claims.items()) == 1


def test_sigmoid_loss_skips_what_is_unknown_and_weighs_both_kinds_alike() -> None:
    scores = torch.tensor([[2.0, -1.0, 9.0, -3.0]])
    truth = torch.tensor([[1.0, 0.0, torch.nan, 0.0]])
    true, false = (torch.nn.functional.softplus(torch.tensor(values)).mean() for values in ([-2.0], [-1.0, -3.0]))
    assert torch.allclose(sigmoid_loss(scores, truth), (true + false) / 2)
    assert sigmoid_loss(scores, torch.full_like(truth, torch.nan)) == 0


def test_recalls_against_counting() -> None:
    order = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.7], [0.1, 0.2, 0.0]])
    assert recalls(order, "recall") == {"recall_1": pytest.approx(1 / 3), "recall_5": 1.0}
