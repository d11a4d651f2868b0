from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import ipywidgets
import numpy as np
import PIL.Image
import pytest
import torch
from skimage.data import astronaut

from facemug_lib import systems
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript, Replayer
from facemug_lib.editing.script.exploring import OWN, WHOLE, View
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face
from facemug_lib.pictures import pixels_of
from facemug_lib.weights import save_weights
from facemug_lib.widgets import still
from facemug_lib.widgets.explorer import Explorer
from facemug_lib.widgets.guard import KeyGuard

WAIT = 30.0  # seconds; all of these take a fraction of one


@pytest.fixture(autouse=True)
def _headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*still.LIVE, still.WIDGETS_VARIABLE, "SERVER_SOFTWARE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def panel(editor: Editor) -> Iterator[Explorer]:
    explorer = Explorer(editor, seed=3)
    assert explorer.wait(WAIT)
    yield explorer
    explorer.wait(WAIT)


@pytest.fixture
def portrait() -> torch.Tensor:
    """An aligned face tensor."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(-1, 1)


def shown(image: ipywidgets.Image) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(image.value)))


def controls_in(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from controls_in(child)


def held(explorer: Explorer) -> tuple[threading.Event, Callable[[], None]]:
    """Make the explorer's worker wait; (set once it does, let it go on)."""
    waits, may_go = threading.Event(), threading.Event()

    def job(turn: object) -> None:
        waits.set()
        may_go.wait(WAIT)

    explorer._desk.ask("code", job)
    assert waits.wait(WAIT)
    return waits, may_go.set


def test_it_shows_the_face_first(panel: Explorer) -> None:
    assert panel.state == View(seed=3) and panel.error == ""
    assert panel.image.shape == (1, 3, 256, 256)
    assert np.array_equal(shown(panel.controls.image), pixels_of(panel.image[0]))
    assert panel.controls.caption.value == "seed 3, truncation 0.7"


def test_a_slider_moves_the_picture_and_the_state(panel: Explorer) -> None:
    before = panel.image
    panel.controls.sliders["light"].value = 2.0
    assert panel.state.attributes == {"light": 2.0}  # at once
    assert panel.wait(WAIT) and not torch.equal(panel.image, before)
    assert "light +2.00" in panel.controls.caption.value and "preview after" in panel.controls.status.value


def test_values_are_what_the_slider_shows(panel: Explorer) -> None:
    panel.controls.sliders["light"].value = 24 * 0.05  # pages count like this: 1.2000000000000002
    panel.controls.psi.value = 3 * 0.1
    assert panel.wait(WAIT) and panel.state == View(seed=3, psi=0.3, attributes={"light": 1.2})
    assert "'light': 1.2}" in panel.code()


def test_of_many_changes_only_the_last_is_painted_at_full_size(panel: Explorer) -> None:
    pictures = panel.messages["pictures"]
    _, go_on = held(panel)
    for step in range(1, 41):
        panel.controls.sliders["light"].value = step / 20
    go_on()
    assert panel.wait(WAIT) and panel.messages["pictures"] == pictures + 1
    panel_alone = Explorer(panel._exploration.editor, seed=3)
    panel_alone.set(attributes={"light": 2.0})
    assert panel_alone.wait(WAIT) and torch.equal(panel.image, panel_alone.image)


def test_a_full_picture_gives_way_to_a_newer_choice(panel: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    paint, changed = panel._exploration._painter.paint, []

    def slow(codes: torch.Tensor, size: int = 256, check: Callable[[], None] = lambda: None) -> torch.Tensor:
        if size == 256 and not changed:
            changed.append(True)
            panel.controls.sliders["light"].value = -1.0
        check()
        return paint(codes, size)

    monkeypatch.setattr(panel._exploration._painter, "paint", slow)
    stale = panel.messages["stale"]
    panel.controls.sliders["light"].value = 1.0
    assert panel.wait(WAIT) and panel.messages["stale"] == stale + 1 and panel.state.attributes == {"light": -1.0}
    monkeypatch.undo()
    assert torch.equal(panel.image, panel._exploration.picture(View(seed=3, attributes={"light": -1.0})))


def test_the_script_makes_what_is_on_the_screen(panel: Explorer, tmp_path: Path) -> None:
    panel.set(attributes={"light": 1.5, "component 1": 0.5}, mix_seed=9, mix_layers=("fine",))
    assert panel.wait(WAIT)
    c = panel.controls
    assert c.sliders["component 1"].value == 0.5 and c.groups["fine"].value and c.mix_seed.value == 9
    c.script_name.value = str(tmp_path / "face.json")
    c.write_script.click()
    assert panel.wait(WAIT) and "--directions" in c.saved.value and (tmp_path / "face_directions.safetensors").is_file()
    script = EditScript.read(tmp_path / "face.json")
    (made,) = Replayer.of(panel._exploration.editor_for(panel.state), None, tmp_path).replay(script).results
    assert np.array_equal(pixels_of(made.image[0]), shown(c.image)) and torch.equal(made.image, panel.image)
    assert panel.script == script
    c.copy.click()
    assert panel.wait(WAIT) and c.text.value == panel.code() and "with_components" in c.text.value


FURTHER = Path(__file__).parent.parent / "kit" / "further_systems"


def test_a_system_edits_what_the_attributes_left(editor: Editor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(FURTHER)])
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path))
    config = {"system": "sixth", "attributes": ["smile", "age"]}
    save_weights(tmp_path / "sixth.safetensors", {"colours": torch.tensor([[0.3, 0, 0], [0, 0.3, 0]])}, config=config, card={})
    explorer = Explorer(editor, seed=3)
    c = explorer.controls
    assert explorer.wait(WAIT) and [value for _, value in c.system.options] == [None, "sixth"]
    before = explorer.image
    c.system.value = "sixth"
    assert list(c.system_sliders) == ["smile", "age"] and c.system_sliders["smile"].max == 2
    c.system_sliders["smile"].value = 0.5
    assert explorer.wait(WAIT) and explorer.state.system_attributes == {"smile": 0.5}
    assert float((explorer.image - before)[:, 0].mean()) > 0.05 and "smile +0.50 by sixth" in c.caption.value
    explorer.set(attributes={"light": 1.0})
    assert explorer.wait(WAIT) and len(explorer.script.steps) == 2 and explorer.script.steps[1].system == "sixth"
    (_, made) = Replayer.of(explorer._exploration.editor, None, tmp_path).replay(explorer.script).results
    assert torch.equal(made.image, explorer.image)
    assert "fm.systems.load('sixth').edit(face, mask, guidance_frame=\"aligned\", smile=0.5)" in explorer.code()
    with pytest.raises(FacemugError, match="takes -2 to 2"):
        explorer.set(system_attributes={"smile": 7.0})
    c.reset.click()
    assert explorer.wait(WAIT) and explorer.state.system is None and not c.system_sliders


def test_errors_are_said_in_place_and_the_picture_stays(panel: Explorer, tmp_path: Path) -> None:
    c, before = panel.controls, shown(panel.controls.image)
    c.path.value = str(tmp_path / "<nobody>.jpg")
    c.open.click()
    assert panel.wait(WAIT) and "no file" in panel.error and "\n" not in panel.error
    assert 'role="alert"' in c.error.value and "&lt;nobody&gt;" in c.error.value and c.error.layout.display is None
    assert np.array_equal(shown(c.image), before) and panel.state.photo is None
    c.script_name.value = "face.txt"
    c.write_script.click()
    assert panel.wait(WAIT) and "must end in .json" in panel.error
    c.seed.value = 4
    assert panel.wait(WAIT) and panel.error == "" and c.error.layout.display == "none"


def test_faults_of_ours_leave_the_panel_alive(panel: Explorer, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(panel._exploration, "preview", lambda view: 1 / 0)
    panel.controls.seed.value = 5
    assert panel.wait(WAIT) and "should not have happened" in panel.error
    monkeypatch.undo()
    panel.controls.seed.value = 6
    assert panel.wait(WAIT) and panel.error == "" and panel.state.seed == 6


def test_choices_that_make_no_sense_are_refused_at_once(panel: Explorer, editor: Editor) -> None:
    for changes, message in ((dict(attributes={"joy": 1.0}), "no attribute is called 'joy'"), (dict(seed=-3), "seed -3"),
                             (dict(colour="red"), "nothing is called colour: choose from seed")):
        with pytest.raises(FacemugError, match=message):
            panel.set(**changes)
    assert panel.state == View(seed=3)
    with pytest.raises(FacemugError, match="no region is called 'tail'"):
        Explorer(editor, mask="tail")
    with pytest.raises(FacemugError, match="no file"):
        Explorer(editor, photo="nowhere.png")


def test_strengths_beyond_the_slider_are_kept(panel: Explorer) -> None:
    panel.set(attributes={"light": 4.5})
    assert panel.wait(WAIT) and panel.state.attributes == {"light": 4.5} and panel.controls.sliders["light"].value == 4.5


def test_comparing(panel: Explorer) -> None:
    c = panel.controls
    panel.set(attributes={"light": 2.0})
    c.compare.value = "beside"
    assert panel.wait(WAIT) and c.left.layout.display is None and c.right.layout.display is None
    face = panel._exploration.face(panel.state).image
    assert np.array_equal(shown(c.original), pixels_of(face[0])) and not np.array_equal(shown(c.image), shown(c.original))
    c.compare.value = "original"
    assert panel.wait(WAIT) and c.right.layout.display == "none"
    panel.set(seed=8)
    assert panel.wait(WAIT) and not np.array_equal(shown(c.original), pixels_of(face[0]))
    c.compare.value = "off"
    assert panel.wait(WAIT) and c.left.layout.display == "none" and c.right.layout.display is None


def test_pins_bring_a_picture_back(panel: Explorer) -> None:
    panel.set(attributes={"light": 2.0})
    panel.controls.pin.click()
    assert panel.wait(WAIT) and len(panel.controls.pins) == 1
    kept = panel.image
    panel.controls.reset.click()
    assert panel.wait(WAIT) and panel.state == View(seed=3) and panel.controls.sliders["light"].value == 0
    panel.controls.seed.value = 11
    panel.controls.pins._row.children[0].click()
    assert panel.wait(WAIT) and panel.state == View(seed=3, attributes={"light": 2.0}) and torch.equal(panel.image, kept)


def test_faces_to_choose_from(panel: Explorer) -> None:
    c = panel.controls
    assert len(c.grid) == 0
    c.tabs.selected_index = list(c.tabs.titles).index("Face")
    assert panel.wait(WAIT) and len(c.grid) == 12
    c.grid._row.children[2].click()
    assert panel.state.seed == 5 and c.seed.value == 5
    c.more.click()
    assert panel.wait(WAIT) and c.grid._row.children[0].description == "15"


def test_sweeps_are_shown_and_written(panel: Explorer, tmp_path: Path) -> None:
    c = panel.controls
    c.write_gif.click()
    assert panel.wait(WAIT) and "press Make filmstrip first" in panel.error
    c.swept.value, c.count.value = "light", 3
    c.film.click()
    assert panel.wait(WAIT) and panel.error == "" and shown(c.strip).shape == (96, 3 * 96 + 4, 3)
    assert c.strip.layout.display is None and panel.state == View(seed=3) and c.working.layout.display == "none"
    c.strip_name.value, c.gif_name.value = str(tmp_path / "a.png"), str(tmp_path / "a.gif")
    for button in (c.write_strip, c.write_gif):
        button.click()
        assert panel.wait(WAIT) and f"wrote {tmp_path}" in c.swept_to.value
    assert PIL.Image.open(tmp_path / "a.png").width == 3 * 256 + 4 and PIL.Image.open(tmp_path / "a.gif").n_frames == 4


def test_a_random_walk_starts_and_stops(panel: Explorer) -> None:
    previews = panel.messages["previews"]
    panel.controls.walk.value = True
    for _ in range(500):
        if panel.messages["previews"] > previews + 3:
            break
        threading.Event().wait(0.01)
    panel.controls.sliders["smile"].value = 1.0  # still listens
    panel.controls.walk.value = False
    assert panel.wait(WAIT) and panel.messages["previews"] > previews + 3
    assert panel.state.attributes and panel.controls.sliders["light"].value == panel.state.attributes.get("light", 0.0)
    assert torch.equal(panel.image, panel._exploration.picture(panel.state))


def test_a_photo_is_fitted_and_edited(editor: Editor, portrait: torch.Tensor) -> None:
    explorer = Explorer(editor, photo=portrait)
    assert explorer.wait(WAIT) and explorer.state.photo is not None and torch.equal(explorer.image, portrait)
    explorer.set(attributes={"light": 2.0})
    assert explorer.wait(WAIT)
    wanted = editor.edit(portrait, torch.ones(1, 1, 256, 256), attributes={"light": 2.0}, refine=8, progress=lambda *steps: None)
    assert torch.equal(explorer.image, wanted.image)
    explorer.controls.seed.value = 7
    assert explorer.wait(WAIT) and explorer.state.photo is None and explorer.state.attributes == {"light": 2.0}


def test_fitting_can_be_cancelled(panel: Explorer, portrait: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    c, steps = panel.controls, []
    working = panel._working

    def watched(what: str | None, done: int = 0, total: int = 1) -> None:
        working(what, done, total)
        if what == "fitting" and done:
            steps.append(done)
            assert c.working.layout.display is None and c.progress.max == 200
            c.cancel.click()

    monkeypatch.setattr(panel, "_working", watched)
    panel.set(photo=portrait, refine=200)
    assert panel.wait(WAIT) and steps == [1] and panel.state.photo is None and panel.error == ""
    assert "cancelled" in c.status.value or "256 px" in c.status.value
    assert c.working.layout.display == "none"


def test_uploads(panel: Explorer, portrait: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels_of(portrait[0])).save(buffer, "PNG")
    monkeypatch.setattr("facemug_lib.widgets.explorer_photos.read_face", lambda photo, face: open_face(photo, aligned=True))

    def upload(name: str, content: bytes) -> None:
        panel.controls.upload.set_trait("value", ({"name": name, "type": "image/png", "size": len(content), "content":
                                                   memoryview(content), "last_modified": datetime.now(UTC)},))

    panel.controls.refine.value = 1
    upload("me.png", buffer.getvalue())
    assert panel.wait(WAIT) and panel.state.photo.photo.name == "me.png" and "me.png" in panel.controls.caption.value
    photo = panel.state.photo
    upload("you.png", b"no picture")
    assert panel.wait(WAIT) and "you.png is not an image" in panel.error and panel.state.photo is photo


def test_one_of_several_faces_is_clicked(panel: Explorer, tmp_path: Path) -> None:
    both = np.hstack([astronaut(), astronaut()[:, ::-1]])
    PIL.Image.fromarray(both).save(tmp_path / "two.png")
    panel.controls.refine.value = 1
    panel.controls.path.value = str(tmp_path / "two.png")
    panel.controls.open.click()
    assert panel.wait(WAIT) and panel.error == "" and panel.state.photo is None and len(panel.controls.choice) == 2
    first, second = panel.controls.choice._row.children
    second.click()
    assert panel.wait(WAIT) and panel.error == "" and panel.state.photo.face.box[0] > 512 and len(panel.controls.choice) == 0


def test_a_film_is_told_as_the_file_holds_it(panel: Explorer, tmp_path: Path) -> None:
    panel.controls.count.value = 5
    panel.controls.film.click()
    assert panel.wait(WAIT)
    panel.controls.gif_name.value = str(tmp_path / "film.gif")
    panel.controls.write_gif.click()
    assert panel.wait(WAIT) and "8 frames, there and back" in panel.controls.swept_to.value
    panel.controls.strip_name.value = str(tmp_path / "film.png")
    panel.controls.write_strip.click()
    assert panel.wait(WAIT) and "5 pictures" in panel.controls.swept_to.value


def test_masks(editor: Editor, panel: Explorer) -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 90:170, 70:200] = 1
    explorer = Explorer(editor, seed=3, mask=mask)
    explorer.set(attributes={"light": 2.0})
    assert explorer.wait(WAIT) and explorer.state.region == OWN
    known = (mask < 0.5).expand(-1, 3, -1, -1)
    assert torch.equal(explorer.image[known], panel.image[known]) and not torch.equal(explorer.image, panel.image)
    explorer.controls.region.value = WHOLE
    assert explorer.wait(WAIT) and not torch.equal(explorer.image[known], panel.image[known])
    explorer.controls.region.value = "hair"  # which the tiny parser never sees
    assert explorer.wait(WAIT) and "no hair can be seen" in explorer.error


def test_two_explorers_do_not_meet(editor: Editor, panel: Explorer) -> None:
    other = Explorer(editor, seed=9)
    other.set(attributes={"light": -2.0})
    panel.set(attributes={"light": 1.0})
    assert other.wait(WAIT) and panel.wait(WAIT)
    assert panel.state == View(seed=3, attributes={"light": 1.0}) and other.state == View(seed=9, attributes={"light": -2.0})
    assert not torch.equal(other.image, panel.image)
    panel.controls.pin.click()
    other.controls.pin.click()
    assert other.wait(WAIT) and panel.wait(WAIT)
    first, second = (set(explorer.controls.pins._row.children[0]._dom_classes) for explorer in (panel, other))
    assert first != second  # each has its own picture


def test_a_headless_kernel_shows_one_picture_without_a_warning(editor: Editor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Explorer(editor, seed=3)._repr_mimebundle_()
    assert set(found) == {"text/plain", "image/png"} and found["text/plain"] == "Explorer: seed 3, truncation 0.7"
    assert PIL.Image.open(io.BytesIO(found["image/png"])).size == (256, 256)


def test_a_live_kernel_shows_the_panel_as_often_as_wanted(panel: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMUG_WIDGETS", "live")
    first, second = panel._repr_mimebundle_(), panel._repr_mimebundle_()
    view = "application/vnd.jupyter.widget-view+json"
    assert first[view]["model_id"] == second[view]["model_id"] == panel.model_id and "image/png" in first


def test_every_control_has_a_word_and_a_tip_and_a_class(panel: Explorer) -> None:
    found = 0
    for one in controls_in(panel):
        if isinstance(one, ipywidgets.Box | ipywidgets.HTML | ipywidgets.Image | ipywidgets.IntProgress | KeyGuard):
            continue
        found += 1
        assert one.description, one
        assert one.tooltip, one.description
        assert any(name.startswith("facemug-") for name in one._dom_classes), one.description
    assert found > 35 and {"facemug-slider-smile", "facemug-slider-component-1"} <= {
        name for one in controls_in(panel) for name in one._dom_classes}
