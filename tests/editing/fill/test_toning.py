from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.fill import toning
from facemug_lib.editing.fill.toning import toned
from facemug_lib.editing.settings import TONING
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES

SIZE = 96


def classes(*areas: tuple[str, slice]) -> torch.Tensor:
    """Probabilities [1,19,SIZE,SIZE] of background, but for rows of other classes."""
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.long)
    for name, rows in areas:
        labels[:, rows] = SEMANTIC_CLASSES.index(name)
    return torch.nn.functional.one_hot(labels, len(SEMANTIC_CLASSES)).permute(0, 3, 1, 2).float()


@pytest.fixture
def hole() -> torch.Tensor:
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 20:60, :] = 1
    return mask


FACE = classes(("hair", slice(0, 20)), ("skin", slice(20, 60)), ("mouth", slice(50, 54)), ("neck", slice(60, 96)))


def test_a_neck_that_is_darker_than_painted_darkens_the_face_and_its_mouth_but_not_the_hair(hole) -> None:
    raw = torch.full((1, 3, SIZE, SIZE), 0.2)
    photo = raw.clone()
    photo[..., 60:, :] = torch.tensor([-0.1, -0.2, -0.3]).view(3, 1, 1)
    known = (96 - 61) * SIZE  # the neck, but for what is too near to the hole: 3 px of 256, so 1 of 96
    expected = torch.tensor([-0.3, -0.4, -0.5]) * known / (known + TONING.enough * (SIZE / 256) ** 2)
    made = toned(raw, photo, hole, FACE, FACE)
    for row in (30, 52, 80):
        assert torch.allclose(made[0, :, row, 40] - 0.2, expected, atol=1e-5), row
    assert torch.equal(made[..., :20, :], raw[..., :20, :])


def test_what_lies_under_the_mask_is_not_looked_at(hole) -> None:
    raw, photo = torch.rand(1, 3, SIZE, SIZE) - 0.5, torch.rand(1, 3, SIZE, SIZE) - 0.5
    assert torch.equal(toned(raw, photo, hole, FACE, FACE), toned(raw, torch.where(hole > 0.5, -photo, photo), hole, FACE, FACE))


def test_other_content_is_no_matter_of_tone(hole) -> None:
    """Where the photo shows cloth and the picture a neck, nothing can be learned about skin."""
    raw = torch.full((1, 3, SIZE, SIZE), 0.2)
    cloth = classes(("hair", slice(0, 20)), ("skin", slice(20, 60)), ("cloth", slice(60, 96)))
    assert torch.allclose(toned(raw, raw - 0.5, hole, FACE, cloth)[..., 20:, :], raw[..., 20:, :])


def test_nothing_known_leaves_the_picture() -> None:
    raw = torch.rand(1, 3, SIZE, SIZE) - 0.5
    assert torch.equal(toned(raw, -raw, torch.ones(1, 1, SIZE, SIZE), FACE, FACE), raw)


def test_every_sample_is_toned_by_itself(hole) -> None:
    raw, photo = torch.rand(2, 3, SIZE, SIZE) - 0.5, torch.rand(2, 3, SIZE, SIZE) - 0.5
    two, holes = FACE.expand(2, -1, -1, -1), hole.expand(2, -1, -1, -1)
    assert torch.allclose(toned(raw, photo, holes, two, two)[1:], toned(raw[1:], photo[1:], hole, FACE, FACE))


def test_only_what_is_the_persons_own_is_toned(editor, face, mask, monkeypatch) -> None:
    """An exemplar, attributes and texts bring their own complexion."""
    calls = []
    monkeypatch.setattr(toning, "toned", lambda raw, *_: calls.append(len(raw)) or raw - 0.5)
    known = Edit(face, mask, guidance_frame="aligned")
    strokes = (face.mean(1, keepdim=True) > 0).float()
    foreign = [replace(known, exemplar=face.flip(3)), replace(known, attributes={"smile": 1.0}, sketch=strokes)]
    toned_one, *others = editor.edit_many([known, *foreign])
    assert calls == [1]
    plain_one, *plain = (editor_without_parser(editor).edit_many([edit])[0] for edit in (known, *foreign))
    assert not torch.allclose(toned_one.image, plain_one.image, atol=0.01)
    assert all(torch.allclose(one.image, other.image, atol=1e-5) for one, other in zip(others, plain, strict=True))
    halfway = editor.edit_many([foreign[0]], influence={"exemplar": 0.5})[0].image
    assert calls == [1, 1] and torch.isfinite(halfway).all()


def editor_without_parser(editor: Editor) -> Editor:
    other = copy.copy(editor)
    other._experts = None
    return other
