from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import facemug_lib as fm
from facemug_lib.editing.drawing import read_face
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.direction_fit import components
from facemug_lib.editing.latent.directions import constant, load_directions
from facemug_lib.editing.script import exploring
from facemug_lib.editing.script.edit_script import EditScript, Replayer
from facemug_lib.editing.script.exploring import OWN, WHOLE, Exploration, View, region_mask, with_components
from facemug_lib.editing.script.filmstrip import strip, write_gif, write_strip
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace


@pytest.fixture
def lit(editor: Editor) -> Editor:
    """The tiny editor with two directions of its own."""
    light = constant("light", -editor.prior.paint.mean(1).view(17, 512).sum(0), "factor")
    other = constant("smile", torch.randn(512, generator=torch.Generator().manual_seed(4)), "factor").restricted("upper")
    return editor.with_directions({"light": light.scaled(0.05 / float(light.vector[0].norm()), "tests"), "smile": other})


@pytest.fixture
def exploration(lit: Editor, mask: torch.Tensor) -> Exploration:
    return Exploration(lit, mask)


@pytest.fixture
def photo(face: torch.Tensor) -> AlignedFace:
    """8-bit, so that its PNG is the same photo."""
    return read_face(face.add(1).mul(127.5).round().div(127.5).sub(1))


MOVED = {"smile": 0.1, "light": -2.0}
VIEWS = {
    "sampled, whole": View(seed=3, attributes=MOVED),
    "sampled, unchanged": View(seed=4, psi=0.5),
    "mixed, own mask": View(seed=3, mix_seed=8, mix_layers=("fine", "coarse"), attributes=MOVED, region=OWN),
    "component": View(seed=3, attributes={"component 2": 1.5, "light": 1.0}),
    "region": View(seed=3, attributes=MOVED, region="face"),
}


@pytest.mark.parametrize("what", VIEWS)
def test_the_picture_is_what_its_script_replays_to(exploration: Exploration, tmp_path: Path, what: str) -> None:
    view = VIEWS[what]
    shown = exploration.picture(view)
    assert shown.shape == (1, 3, 256, 256) and float(shown.abs().max()) <= 1
    written = exploration.save_script(view, tmp_path / "face.json")
    script = EditScript.read(tmp_path / "face.json")
    fresh = exploration.editor
    if len(written) > 1:
        fresh = fresh.with_directions(load_directions(written[1]))
    found = Replayer.of(fresh, None, tmp_path).replay(script)
    assert found.notes == [] and len(found.results) == bool(view.attributes)
    again = found.results[-1].image if found.results else found.face.image
    assert torch.equal(again, shown)
    if view.region == WHOLE:  # elsewhere the photo fades in at the mask's edge
        assert np.abs(found.photo.astype(int) - strip(shown).astype(int)).max() <= 1
    # The face's own PNG is recognised and gives the same pixels.
    png = fm.write_image(tmp_path / "face.png", exploration.face(view).image)
    known = Replayer.of(fresh, fm.open_face(png, aligned=True), tmp_path).replay(script)
    assert np.array_equal(known.photo, found.photo) and known.notes == []



@pytest.mark.parametrize("region", [WHOLE, OWN])
def test_a_photo_is_fitted_once_and_replays_to_the_same_pixels(exploration: Exploration, photo: AlignedFace, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    view = View(photo=photo, refine=2, attributes={"light": 2.0}, region=region)
    told: list[tuple[int, int]] = []
    exploration.face(view, lambda done, steps: told.append((done, steps)))
    assert told == [(1, 2), (2, 2)]
    monkeypatch.setattr(Editor, "fit", lambda *given: pytest.fail("fitted again"))
    shown = exploration.picture(view)
    assert torch.equal(exploration.picture(replace(view, attributes={})), photo.image)
    script = exploration.script(view)
    assert script.photo.sample is None and script.steps[0].refine == 2
    found = Replayer.of(exploration.editor, photo, tmp_path).replay(script)
    assert torch.equal(found.results[0].image, shown) and not torch.equal(shown, photo.image)
    with pytest.raises(FacemugError, match="made on a photograph: name one"):
        Replayer.of(exploration.editor, None, tmp_path).replay(script)


@pytest.mark.parametrize("what", [*VIEWS, "photo"])
def test_code_makes_the_very_same_picture(exploration: Exploration, photo: AlignedFace, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    fm.write_image(tmp_path / "photo.png", photo.image)
    opened = fm.open_face(tmp_path / "photo.png", aligned=True)
    view = VIEWS.get(what) or View(photo=opened, refine=1, attributes={"light": 1.0}, region=OWN)
    monkeypatch.setattr(Editor, "load", lambda device: exploration.editor)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(exploration.code(view), names)
    made = names["result"].image if view.attributes else names["face"].image
    assert torch.equal(made, exploration.picture(view)) and (tmp_path / "face.png").is_file()


def test_code_loads_the_editors_own_files(exploration: Exploration) -> None:
    assert 'fm.Editor.load("cpu")' in exploration.code(View(seed=3))
    exploration.editor.loaded_from = {"weights": "/data/run", "bank": "/data/it's g_ema.pt"}
    line = next(line for line in exploration.code(View(seed=3)).splitlines() if line.startswith("editor = "))
    assert line == """editor = fm.Editor.load("cpu", weights='/data/run', bank="/data/it's g_ema.pt")"""


def test_an_edit_of_a_known_face_asks_neither_encoder_nor_generator(exploration: Exploration, monkeypatch) -> None:
    face = exploration.face(View(seed=3))
    for name in ("encoder", "generator"):
        monkeypatch.setattr(getattr(exploration.editor, name), "forward", lambda *given: pytest.fail("was asked"))
    result = exploration.editor.edit(face, torch.ones(1, 1, 256, 256), attributes=MOVED)
    assert torch.equal(result.image, exploration.picture(View(seed=3, attributes=MOVED)))
    assert result.contributions.shape == (1, 4, 256, 256) and float(result.contributions.sum()) == 256 * 256
    assert result.known_loss is None


def test_a_preview_comes_near_and_nearer_with_the_last_picture(exploration: Exploration) -> None:
    view, soon = View(seed=3, attributes={"light": 1.0}), View(seed=3, attributes={"light": 1.1})
    wanted = Exploration(exploration.editor).picture(soon)
    alone = (exploration.preview(soon) - wanted).abs().mean()
    exploration.picture(view)
    helped = (exploration.preview(soon) - wanted).abs().mean()
    assert exploration.preview(soon).shape == (1, 3, 256, 256) and float(alone) < 0.1 and float(helped) < float(alone)
    assert (exploration.preview(soon, 128) - wanted).abs().mean() < alone
    assert (exploration.preview(view) - exploration.picture(view)).abs().max() < 1e-5  # nothing has changed: all of its detail


def test_a_preview_keeps_what_is_outside_of_the_mask(exploration: Exploration, mask: torch.Tensor) -> None:
    view = View(seed=3, attributes={"light": 2.0}, region=OWN)
    exploration.picture(view)
    known = (mask < 0.5).expand(-1, 3, -1, -1)
    assert torch.equal(exploration.preview(view)[known], exploration.face(view).image[known])


def test_sweeps_are_pictures(exploration: Exploration, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    view = View(seed=3, attributes={"smile": 0.1})
    frames = exploration.sweep(view, "light", [-1, 0, 2], lambda done, steps: told.append((done, steps)))
    assert told == [(1, 3), (2, 3), (3, 3)] and frames.shape == (3, 3, 256, 256)
    for frame, strength in zip(frames.split(1), (-1, 0, 2), strict=True):
        assert torch.equal(frame, exploration.picture(view.at("light", strength)))
    image = PIL.Image.open(write_strip(tmp_path / "strip.png", frames))
    assert image.size == (3 * 256 + 2 * 2, 256) and np.array_equal(np.asarray(image), strip(frames))
    moving = PIL.Image.open(write_gif(tmp_path / "sweep.gif", frames))
    assert moving.n_frames == 4 and moving.info["duration"] == 120 and moving.info["loop"] == 0
    for write, name, message in ((write_strip, "a.gif", "must end in .png"), (write_gif, "a.png", "must end in .gif"),
                                 (write_gif, "", "must end in .gif"), (write_strip, "none/a.png", "no folder")):
        with pytest.raises(FacemugError, match=message):
            write(str(tmp_path / name) if name else "", frames)
    with pytest.raises(FacemugError, match="at least one"):
        exploration.sweep(view, "light", [])


def test_work_stops_between_the_stages(exploration: Exploration) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        exploration.picture(View(seed=3, attributes=MOVED, region=OWN), stop)
    assert exploration.picture(View(seed=3, attributes=MOVED, region=OWN)).shape == (1, 3, 256, 256)


def test_components_are_decided_by_the_prior_alone(editor: Editor, lit: Editor) -> None:
    first, second = with_components(editor).directions, with_components(lit).directions
    assert list(first)[-10:] == [f"component {number}" for number in range(1, 11)] and "light" in second
    assert torch.equal(first["component 3"].vector, second["component 3"].vector)
    w = editor.prior.sample_w(4096, torch.Generator().manual_seed(0), 1.0)
    plain = components(w, 3)[2].vector
    assert torch.allclose(first["component 3"].vector, plain, atol=1e-3) and first["component 3"].vector.shape == (17, 512)
    assert "component 1" not in editor.directions


WRONG = {
    "seed": (dict(seed=-1), "seed -1: use a whole number"), "seed as text": (dict(seed="7"), "seed '7': use a whole number"),
    "second seed": (dict(mix_seed=2**63), "mix seed"), "psi": (dict(psi=float("nan")), "truncation nan"),
    "layers": (dict(mix_layers=("rough",)), "no group of codes is called 'rough'"), "steps": (dict(refine=0), "0 steps to fit"),
    "region": (dict(region="tail"), "no region is called 'tail'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_views_that_make_no_sense(what: str) -> None:
    values, message = WRONG[what]
    with pytest.raises(FacemugError, match=message) as caught:
        View(**values)
    assert "\n" not in str(caught.value)


def test_what_a_picture_cannot_be_made_of(lit: Editor, exploration: Exploration, tmp_path: Path) -> None:
    for view, message in ((View(attributes={"joy": 1.0}), "no attribute is called 'joy'"),
                          (View(attributes={"light": 99.0}), "use a number from -10 to 10"),
                          (View(attributes={"light": 1.0}, region="eyes"), "no eyes can be seen")):
        with pytest.raises(FacemugError, match=message):
            exploration.picture(view)
    with pytest.raises(FacemugError, match="no own mask was given"):
        Exploration(lit).picture(View(attributes={"light": 1.0}, region=OWN))
    for mask, message in ((torch.ones(1, 256, 256), "give \\[1, 1"), (torch.zeros(1, 1, 256, 256), "the mask is empty")):
        with pytest.raises(FacemugError, match=message):
            Exploration(lit, mask)
    with pytest.raises(FacemugError, match="must end in .json"):
        exploration.save_script(View(), tmp_path / "face.txt")


def test_regions_are_the_parsers_a_little_grown(exploration: Exploration) -> None:
    face = exploration.face(View(seed=3))
    bright = (face.image.mean(1, keepdim=True) > 0).float()  # the tiny parser's skin
    grown = torch.nn.functional.max_pool2d(bright, 17, 1, 8)
    assert torch.equal(region_mask(exploration.editor, face, "face"), grown)
    assert set(exploring.REGIONS) >= {"face", "hair", "eyes", "mouth"}
