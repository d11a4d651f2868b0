"""What directions do, measured on a prior whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib import pyplot
from torch import Tensor

from facemug_lib.editing.latent.directions import Direction, constant
from facemug_lib.evaluation.attributes import effects, masked_effect
from facemug_lib.figures import entanglement, sweeps
from facemug_lib.store import Store


def read(images: Tensor) -> dict[str, Tensor]:
    """Red and green of the picture's middle."""
    places = torch.tensor([111, 112, 143, 144])  # around the centres of the middle four of the prior's 8 × 8 cells
    middle = images[..., places, :][..., places]
    return {"red": middle[:, 0].mean((1, 2)), "green": middle[:, 1].mean((1, 2))}


def identity(images: Tensor) -> Tensor:
    return torch.nn.functional.normalize(torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1), dim=1)


@pytest.fixture(scope="module")
def known(editor) -> list[Direction]:
    """One direction that makes red brighter, one that makes green darker; neither touches the other colour."""
    paint = editor.prior.paint.view(17, 512, 3, 64)
    middle = torch.tensor([row * 8 + column for row in (3, 4) for column in (3, 4)])
    found = []
    for name, channel, sign in (("red", 0, 1), ("green", 1, -1)):
        rows = torch.linalg.pinv(paint[:, :, :, middle].mean(3).sum(0).T.double())[:, channel]  # [512]: this colour alone
        found.append(constant(name, (sign * 0.05 * rows).float(), "boundary", about={"trait": name, "deviation": 0.05}))
    return found


def test_effects_are_in_standard_deviations(editor, known, tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = effects(editor.prior, known, read, identity, count=24, keep=store.get)
    red, green = found
    # Less than one where a toy face is out of the range of a picture already.
    assert red.own.value == pytest.approx(1, abs=0.25) and green.own.value == pytest.approx(-1, abs=0.25)
    assert abs(red.change["green"].value) < 0.1 and abs(green.change["red"].value) < 0.1
    assert red.moved == 1 and green.moved == 0 and red.n == red.own.n == 24
    assert 0.5 < red.identity.value < 1 and red.row()["red"] == red.own.value
    assert store.made == 9  # three batches of faces, each as it is and moved twice …
    again = effects(editor.prior, known, read, identity, count=24, keep=store.get)
    assert store.made == 9 and [one.row() for one in again] == [one.row() for one in found]  # … and found again
    halves = effects(editor.prior, known, read, identity, count=4, strength=0.5)
    assert halves[0].own.value == pytest.approx(1, abs=0.25)
    wide = effects(editor.prior, known, read, identity, count=4, deviations={"red": 0.1})
    assert wide[0].own.value == pytest.approx(halves[0].own.value / 2, abs=0.05)


def test_traits_that_cannot_be_read_are_left_out(editor, known) -> None:
    def half_blind(images: Tensor) -> dict[str, Tensor]:
        found = read(images)
        return found | {"green": found["green"].masked_fill(torch.arange(len(images)) % 2 == 0, torch.nan)}

    red, green = effects(editor.prior, known, half_blind, identity, count=8)
    assert red.own.n == 8 and green.own.n == 4 and green.own.value == pytest.approx(-1, abs=0.25)


def test_masked_edits_are_read_and_their_outside_counted(editor, known, faces, monkeypatch) -> None:
    monkeypatch.setattr(editor, "_directions", {one.name: one for one in known})
    brighter, darker = (masked_effect(editor, faces, "red", strength, read, identity, count=6, family="centre")
                        for strength in (4, -4))
    assert brighter.n == 6 and brighter.changed_outside == darker.changed_outside == 0
    assert brighter.change.value > 0.5 and darker.change.value > 0.5  # each in the direction it was asked for
    assert brighter.reached == (brighter.values >= 1).mean() and 0 < brighter.identity.value <= 1
    assert brighter.row()["changed outside"] == 0


def test_faces_are_edited_away_from_what_they_are(editor, known, faces, monkeypatch) -> None:
    monkeypatch.setattr(editor, "_directions", {one.name: one for one in known})
    asked: list[float] = []
    edit_many = editor.edit_many
    monkeypatch.setattr(editor, "edit_many", lambda edits, **options: (
        asked.extend(edit.attributes["red"] for edit in edits), edit_many(edits, **options))[1])
    reds = read(faces.images(range(6)))["red"]
    middle = float(reds.median())
    effect = masked_effect(editor, faces, "red", 4, read, identity, count=6, family="centre", middle=middle)
    assert asked == [-4.0 if red > middle else 4.0 for red in reds.tolist()] and len(set(asked)) == 2
    assert effect.change.value > 0.5 and effect.changed_outside == 0


def test_the_pictures_show_every_direction(editor, known) -> None:
    found = effects(editor.prior, known, read, identity, count=4)
    figure = entanglement.draw(found, ["red", "green"])
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {f"{one.change[name].value:+.2f}" for one in found for name in ("red", "green")} == shown
    pyplot.close(figure)
    face = editor.prior.broadcast(editor.prior.sample_w(1, torch.Generator().manual_seed(0)))
    rows = sweeps.data(editor.prior, known, face, (-1, 0, 1))
    assert list(rows) == ["red", "green"] and rows["red"].shape == (3, 3, 256, 256)
    assert torch.equal(rows["red"][1], rows["green"][1]) and not torch.equal(rows["red"][0], rows["red"][2])
