"""The comparison of the systems: the pair itself is right, the face itself changes nothing, and everyone gets the same faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stubs import StubJudges
from system_fakes import fake_maker
from tiny import steerable_editor
from torch import Tensor

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import systems_comparison as comparison
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.figures import systems_sheet
from facemug_lib.store import Store
from facemug_lib.systems.common.faces import SystemFaces

COUNT = 6


class RedIsSmile:
    """A text–image model that knows one thing: how red a picture is."""

    def embed_texts(self, texts: list[str]) -> Tensor:
        return torch.tensor([[1.0], [-1.0]])

    def embed_images(self, images: Tensor) -> Tensor:
        return images[:, :1].mean((2, 3))


@dataclass(frozen=True)
class ToThePair:
    """Paints the known pair, or as much of the way there as ``share`` says."""

    faces: comparison.TestFaces
    share: float = 1.0
    name: str = "pair"
    parameters: int = 5
    images_seen: int | None = 7

    def can(self, attribute: str, faces: comparison.TestFaces) -> bool:
        return attribute in faces.pairs

    def __call__(self, face: AlignedFace, attribute: str, sign: float) -> Tensor:
        place = [one is face for one in self.faces.faces].index(True)
        return torch.lerp(face.image, self.faces.pairs[attribute][place : place + 1], self.share)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> comparison.TestFaces:
    maker = fake_maker(256)
    faces = SystemFaces(maker, ("smile", "age"), 1, store=Store(tmp_path_factory.mktemp("faces")))
    return comparison.sampled_set(COUNT, maker, ("smile", "age"), faces)


@pytest.fixture(scope="module")
def panel(sampled: comparison.TestFaces) -> comparison.Panel:
    regions = {name: comparison.region(sampled, name) for name in ("smile", "age")}
    return comparison.Panel(StubJudges(), fake_maker(256), RedIsSmile(), regions)


def test_the_pair_is_right_and_the_face_itself_changes_nothing(sampled: comparison.TestFaces, panel: comparison.Panel) -> None:
    ways = [comparison.Unedited(), ToThePair(sampled), ToThePair(sampled, 0.3, "a third")]
    idle, whole, part = comparison.compare(panel, [sampled], ways, ["smile"])
    assert float(whole.values["right"].mean()) == 1 and float(whole.values["agreed"].mean()) == 1
    assert float(whole.values["pair_l1"].max()) < 0.01 < float(idle.values["pair_l1"].min())
    assert float(idle.values["right"].mean()) == 0 == float(idle.values["agreed"].mean())
    assert float(idle.values["kept_l1"].max()) == 0
    assert float(idle.values["arcface"].min()) > 0.999 > float(whole.values["arcface"].min())
    assert bool((part.values["moved"] > 0).all()) and bool((part.values["moved"] < whole.values["moved"]).all())
    assert whole.scores()["right"].n == COUNT and whole.ms > 0 and whole.kid is None


def test_pictures_like_the_pairs_are_nearer_to_them_than_the_faces(sampled, panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "FEWEST", COUNT)
    idle, whole = comparison.compare(panel, [sampled], [comparison.Unedited(), ToThePair(sampled)], ["smile"])
    assert whole.kid < idle.kid and f"| {idle.kid:.1f} |" in comparison.markdown([idle, whole])


def test_the_table_has_a_row_for_everyone_who_can(sampled: comparison.TestFaces, panel: comparison.Panel) -> None:
    photographs = comparison.TestFaces("photographs", sampled.faces[:3], sampled.traits[:3])
    ways = [comparison.Unedited(), ToThePair(sampled)]
    found = comparison.compare(panel, [sampled, photographs], ways, ["smile", "age"])
    assert [(one.faces, one.attribute, one.way) for one in found] == [
        ("sampled faces", "smile", "unedited"), ("sampled faces", "smile", "pair"), ("sampled faces", "age", "unedited"),
        ("sampled faces", "age", "pair"), ("photographs", "smile", "unedited"), ("photographs", "age", "unedited")]
    table = comparison.markdown(found)
    assert "| pair | 1.00 |" in table and "L1 to the pair" not in table.partition("**photographs, smile** (3 faces)")[2]
    assert "| 7 |" in table and table.count("| unedited |") == 4
    drawn = systems_sheet.draw(sampled, found)
    assert len(drawn.axes) == 3 * COUNT  # the face, its pair, the one way that changes anything


def test_faces_are_sent_to_the_other_side(sampled: comparison.TestFaces) -> None:
    smiles = sampled.traits[:, list(comparison.TRAIT_NAMES).index("smile")]
    assert torch.equal(sampled.signs("smile"), torch.where(smiles >= 0, -1.0, 1.0))
    assert sampled.faces[0].codes.shape == (1, 17, 512) and len(sampled) == COUNT


def test_the_editor_moves_along_its_direction_whole_or_masked(sampled: comparison.TestFaces) -> None:
    editor, face = steerable_editor(), sampled.faces[0]
    whole, masked = comparison.OfEditor(editor), comparison.OfEditor(editor, is_masked=True)
    assert whole.can("smile", sampled) and not whole.can("a wink", sampled)
    assert not comparison.OfEditor(editor, refine=2).can("smile", sampled)  # its codes are known
    photographs = comparison.TestFaces("photographs", [AlignedFace(face.image, face.photo, face.matrix)], sampled.traits[:1])
    assert comparison.OfEditor(editor, refine=2).can("smile", photographs)
    labels = torch.zeros(1, 256, 256, dtype=torch.long)
    labels[:, 170:190, 100:150] = comparison.SEMANTIC_CLASSES.index("mouth")
    mask = comparison.part_mask(labels, "smile")
    assert float(mask.sum()) == (20 + 24) * (50 + 24) and float(comparison.part_mask(labels * 0, "smile").mean()) == 1
    moved = whole(face, "smile", 1.0)
    assert not torch.equal(moved, face.image) and masked.name == "FACEMUG, masked" and whole.parameters > 0


def test_photographs_are_read_and_none_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 300, 3), 200, np.uint8)).save(tmp_path / "a.png")
    found = comparison.photograph_set([tmp_path / "a.png"], fake_maker(256), "mine")
    assert found.images.shape == (1, 3, 256, 256) and found.traits.shape == (1, 13) and not found.pairs
    with pytest.raises(FacemugError, match="no photograph in mine"):
        comparison.photograph_set([], fake_maker(256), "mine")
