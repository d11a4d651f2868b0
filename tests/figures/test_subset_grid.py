"""One photograph, 32 subsets: what is asked of the editor, what is measured, what is written, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from stubs import StubJudges

from facemug_lib.commands.figures import subsets as subsets_command
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.inputs import INFLUENCES, Edit
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import judges
from facemug_lib.evaluation.guided import SUBSETS
from facemug_lib.faces.alignment import AlignedFace, open_face
from facemug_lib.figures import plotting, subset_grid
from facemug_lib.figures.subset_grid import BANDS, SUBSET_COLUMNS, SubsetGrid
from facemug_lib.pictures import as_8_bit


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut; beside it masks over the face, over nothing and of another size, and strokes elsewhere."""
    from skimage.data import astronaut

    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(astronaut()).save(folder / "photo.png")
    hole = np.zeros((512, 512), np.uint8)
    Image.fromarray(hole).save(folder / "nothing.png")
    Image.fromarray(hole[:100]).save(folder / "small.png")
    hole[80:150, 190:260] = 255
    Image.fromarray(hole).save(folder / "mask.png")
    strokes = np.full((512, 512), 255, np.uint8)
    strokes[20:24, 180:280] = 0
    Image.fromarray(strokes).save(folder / "elsewhere.png")
    strokes[100:104, 200:250] = 0
    Image.fromarray(strokes).save(folder / "strokes.png")
    return folder / "photo.png"


@pytest.fixture(scope="module")
def face(photo: Path) -> AlignedFace:
    return open_face(photo)


class Painter:
    """An editor that paints holes grey, and notes what it was asked for."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.asked: list[list[Edit]] = []

    def edit_many(self, edits: list[Edit], **options: object) -> list[SimpleNamespace]:
        self.asked.append(edits)
        self.options = options
        return [SimpleNamespace(image=torch.where(edit.mask > 0.5, torch.zeros(()), edit.face)) for edit in edits]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    """The editor and the judges that commands load."""
    painter = Painter()
    monkeypatch.setattr(Editor, "load", lambda device, weights, bank: painter)
    monkeypatch.setattr(judges, "Judges", lambda device: StubJudges())
    return painter


@pytest.fixture(scope="module")
def grid(face: AlignedFace, photo: Path) -> SubsetGrid:
    return subset_grid.data(Painter(), StubJudges(), face, photo.with_name("mask.png"))


def test_every_subset_has_its_place_in_the_figure() -> None:
    places = [frozenset(common) | frozenset(own) for common in BANDS for own in SUBSET_COLUMNS]
    assert len(places) == 32 and set(places) == {frozenset(subset) for subset in SUBSETS.values()}


def test_the_photos_own_guidance_is_asked_for_as_named(painter, face, photo) -> None:
    told = []
    found = subset_grid.data(painter, StubJudges(), face, photo.with_name("mask.png"), seed=4, tell=told.append)
    assert [len(plan) for plan in painter.asked] == [8] * 4 and told[-1] == "32 of 32 subsets"
    for subset, edit in zip(SUBSETS.values(), sum(painter.asked, []), strict=True):
        assert {name for name in INFLUENCES[1:] if getattr(edit, name) is not None} == set(subset) - {"image"}
        assert bool(edit.mask.all()) == ("image" not in subset) and edit.seed == 4
        assert edit.exemplar is None or torch.equal(edit.exemplar, as_8_bit(face.image).flip(-1))
    assert set(found.sources.values()) == {"the photo's own", "the photo's mirror image"}


def test_every_picture_keeps_the_known_pixels_and_is_compared_with_the_photo(grid) -> None:
    known = (grid.mask < 0.5).expand(-1, 3, -1, -1)
    assert list(grid.pictures) == list(grid.scores) == list(SUBSETS)
    for name, subset in SUBSETS.items():
        assert torch.equal(grid.pictures[name][known], grid.face[known]) == ("image" in subset)
        squared = (grid.pictures[name] - grid.face).square().mean()
        assert grid.scores[name]["lpips_alex"] == pytest.approx(float(squared), rel=1e-4)


def test_the_editor_accepts_what_it_is_asked(editor, face, photo, monkeypatch) -> None:
    names = ("none", "image + sketch + semantics + colour + exemplar")
    monkeypatch.setattr(subset_grid, "SUBSETS", {name: SUBSETS[name] for name in names})
    found = subset_grid.data(editor, StubJudges(), face, photo.with_name("mask.png"), refine=1)
    nothing, everything = (found.pictures[name] for name in names)
    known = (found.mask < 0.5).expand(-1, 3, -1, -1)
    assert torch.equal(everything[known], found.face[known]) and not torch.equal(nothing[known], found.face[known])


def test_given_guidance_replaces_the_photos_own(painter, face, photo) -> None:
    found = subset_grid.data(painter, StubJudges(), face, photo.with_name("mask.png"), refine=3, given={
        "sketch": photo.with_name("strokes.png"), "exemplar": torch.zeros(1, 3, 256, 256)})
    edit = painter.asked[-1][-1]  # all five but the image
    assert 0 < edit.sketch.sum() < found.mask.sum() and not edit.exemplar.any() and painter.options["refine"] == 3
    assert found.sources == {"sketch": "strokes.png", "semantics": "the photo's own", "colour": "the photo's own",
                             "exemplar": "given"} and found.how == "3 refinement steps, seed 0"


def test_the_command_writes_a_figure_and_a_table(painter, photo, tmp_path, capsys) -> None:
    subsets_command(photo, photo.with_name("mask.png"), tmp_path / "grid.png", sketch=None)
    assert Image.open(tmp_path / "grid.png").width > 2000
    rows = list(csv.DictReader((tmp_path / "grid.csv").open()))
    assert [row["subset"] for row in rows] == list(SUBSETS)
    assert all(tuple(name for name in INFLUENCES if row[name] == "1") == SUBSETS[row["subset"]] for row in rows)
    assert all(np.isfinite(float(row[name])) for row in rows for name in ("lpips_alex", "hole_lpips_alex", "arcface"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.csv", "grid.png"]
    assert f"32 subsets on photo.png, one feed-forward pass, seed 0: {tmp_path / 'grid.png'}" in capsys.readouterr().out


def test_texts_of_the_figure_do_not_overlap(grid) -> None:
    figure = subset_grid.draw(grid)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for axis in figure.axes for text in axis.texts] \
        + [text.get_window_extent() for text in figure.texts] + [axis.get_window_extent() for axis in figure.axes]
    assert len(boxes) == 2 * 38 + len(BANDS) + 2 + 38
    page = figure.bbox
    for place, box in enumerate(boxes):
        assert box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[place + 1:] if box.width and other.width)


def test_a_table_that_cannot_be_followed_by_its_figure_is_not_left(painter, photo, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plotting, "save_figure", full)
    with pytest.raises(OSError, match="No space"):
        subsets_command(photo, photo.with_name("mask.png"), tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mask", "given", "out", "message"), [
    ("mask.png", {}, "grid.gif", r"cannot write grid.gif: the name must end in .png or .jpg"),
    ("mask.png", {}, "none/grid.png", "no folder .*none"),
    ("mask.png", {}, "mask.png", "mask.png would overwrite an input"),
    ("nothing.png", {}, "grid.png", "the mask is empty"),
    ("small.png", {}, "grid.png", "the mask is 512x100 but the photo has 512x512"),
    ("mask.png", {"sketch": "elsewhere.png"}, "grid.png", "the sketch guidance says nothing inside the mask"),
    ("mask.png", {"exemplar": "nothing.png"}, "grid.png", "exemplar: no face found"),
])
def test_bad_input_gets_one_line_and_leaves_nothing(mask, given, out, message, painter, photo, tmp_path) -> None:
    target = photo.with_name("mask.png") if out == "mask.png" else tmp_path / out
    with pytest.raises(FacemugError, match=message) as caught:
        subsets_command(photo, photo.with_name(mask), target, **{name: photo.with_name(file) for name, file in given.items()})
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_unknown_guidance_is_named(painter, face) -> None:
    with pytest.raises(FacemugError, match="guidance names 'text': choose from sketch, semantics, colour, exemplar"):
        subset_grid.data(painter, StubJudges(), face, torch.ones(1, 1, 256, 256), {"text": "a beard"})

