"""The painter's kernel side, with messages as the browser sends them."""

from __future__ import annotations

import io
import json
import math
import warnings
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from bytes_held import bytes_held

from facemug_lib.editing.schedule import AUTO
from facemug_lib.editing.script.edit_script import EditScript
from facemug_lib.errors import FacemugError
from facemug_lib.widgets import uploads
from facemug_lib.widgets.painter import Painter


@pytest.fixture
def painter(editor, face) -> Painter:
    from facemug_lib.faces.alignment import open_face

    return Painter(editor, open_face(face, aligned=True))


def paint(painter: Painter, layer: str = "mask", left: int = 60, top: int = 70, value: int = 255) -> None:
    painter._receive(painter, {"kind": "stroke", "layer": layer, "box": [left, top, 50, 40]}, [memoryview(bytes([value]) * 2000)])


def say(painter: Painter, kind: str, **content) -> None:
    painter._receive(painter, {"kind": kind, **content}, [])
    assert painter.wait(30)


def test_an_edit_is_made_beside_the_kernel_and_changes_its_mask_alone(painter: Painter, editor) -> None:
    before = painter.photo.copy()
    paint(painter)
    paint(painter, "sketch", 70, 80)
    say(painter, "edit")
    assert painter.error == "" and painter.busy == "" and painter.current == 1
    changed = (painter.photo != before).any(axis=2)
    assert changed[70:110, 60:110].any()
    changed[70:110, 60:110] = False
    assert not changed.any()
    again = painter.script.replay(editor)
    assert torch.equal(again.face.image, painter.image) and np.array_equal(again.photo, painter.photo)
    shown = np.asarray(PIL.Image.open(io.BytesIO(painter.picture)))
    assert np.array_equal(shown, again.photo)  # this photo is its own aligned face
    assert [entry["name"] for entry in painter.history] == ["photo", "sketch"]
    assert not painter.layers.is_painted("mask")  # the next edit starts with empty layers


def test_undo_after_an_edit_is_the_picture_before_with_its_mask(painter: Painter) -> None:
    first = painter.picture
    painter.text, painter.attributes = "a smile", {"smile": 1.5}
    paint(painter)
    painter.text = ""
    say(painter, "edit")
    second, mask = painter.picture, painter._snapshots[1]["layers"]["mask"]
    assert painter.current == 1 and painter.attributes == {}
    say(painter, "undo")
    assert painter.current == 0 and painter.picture == first and painter.layers.packed()["mask"] == mask
    assert painter.attributes == {"smile": 1.5} and len(painter.history) == 2  # the branch stays in the strip
    say(painter, "redo")
    assert painter.current == 1 and painter.picture == second and painter.attributes == {}
    assert not painter.layers.is_painted("mask")
    say(painter, "go", number=0)
    say(painter, "undo")
    assert painter.current == 1
    for _ in range(2):  # the edit, and before it the stroke
        say(painter, "undo")
    assert painter.current == 0 and not painter.layers.is_painted("mask") and not painter.can_undo and painter.error == ""
    say(painter, "go", number=1)
    say(painter, "revise")
    assert painter.current == 0 and painter.layers.is_painted("mask")
    say(painter, "undo")
    assert painter.current == 1 and not painter.layers.is_painted("mask")


def test_what_is_set_while_an_edit_is_made_stays_set(painter: Painter) -> None:
    painter.attributes, painter.exemplar, painter.refine = {"smile": 1.0, "age": 1.0}, "", 400
    paint(painter)
    painter._receive(painter, {"kind": "edit"}, [])
    painter.attributes, painter.text = {"smile": 1.0, "age": 2.0}, "an old person"
    assert painter.wait(120) and painter.error == ""
    assert painter.attributes == {"age": 2.0} and painter.text == "an old person"


def test_a_page_is_told_which_of_its_strokes_have_come(painter: Painter) -> None:
    sent = []
    painter.send = lambda content, buffers=None: sent.append(content)
    stroke = {"kind": "stroke", "layer": "mask", "box": [0, 0, 1, 1], "page": "p"}
    painter._receive(painter, stroke | {"number": 1}, [memoryview(b"\xff")])
    assert sent == [{"kind": "stroke", "layer": "mask", "box": [0, 0, 1, 1], "page": "p", "number": 1}]
    painter._receive(painter, stroke | {"number": 2}, [memoryview(b"\x07")])
    assert "mean nothing" in painter.error and sent[-1]["seen"] == {"p": 2}


def test_what_is_set_counts_once_and_comes_back_with_the_edit(painter: Painter) -> None:
    painter.attributes, painter.influence, painter.refine = {"smile": 1.5, "age": 0}, {"sketch": 0.5, "image": 1}, 1
    painter.text_source = " "
    paint(painter)
    say(painter, "edit")
    (step,) = painter.script.script.steps
    assert step.attributes == {"smile": 1.5} and step.influence == {"sketch": 0.5} and step.refine == 1
    assert step.name == "smile +1.5" and step.text_source == "a person"
    assert painter.attributes == {}  # 1.5 more would be asked for otherwise
    say(painter, "revise")
    assert painter.current == 0 and painter.attributes == {"smile": 1.5, "age": 0} and painter.layers["mask"].sum() == 255 * 2000
    painter.attributes = {"smile": -1.0}
    say(painter, "edit")
    assert [entry["row"] for entry in painter.history] == [0, 0, 1] and painter.history[2]["parent"] == 0
    say(painter, "go", number=1)
    assert painter.current == 1
    say(painter, "go", number=0)
    say(painter, "revise")
    assert "no edit to change" in painter.error


def test_a_long_sitting_is_flat(painter: Painter, editor) -> None:
    """Of an edit stay what it changed, its script, its thumbnail and its paint, all compressed."""
    def held() -> int:
        kept = ("session", "layers", "history", "_snapshots", "_parses", "_thumbnails")
        return bytes_held(*(getattr(painter, name) for name in kept), without=[editor])

    def edit(number: int) -> None:
        paint(painter, left=20 + 10 * number)
        paint(painter, "sketch", 30 + 10 * number, 80)
        say(painter, "edit")

    edit(0)
    before = held()
    for number in range(1, 5):
        edit(number)
    assert painter.error == "" and len(painter.history) == 6
    assert (held() - before) / 4 < 30_000


def test_labels_are_painted_over_the_faces_own(painter: Painter) -> None:
    paint(painter)
    paint(painter, "semantics", 60, 70, 13)
    paint(painter, "semantics", 60, 110, 17)
    step = painter._step()
    picture = np.asarray(PIL.Image.open(io.BytesIO(__import__("base64").b64decode(step.semantics.partition(",")[2]))))
    own = np.frombuffer(painter.parse, np.uint8).reshape(256, 256)
    assert (picture[70:110, 60:110] == 13).all() and (picture[110:150, 60:110] == 17).all()
    rest = np.ones((256, 256), bool)
    rest[70:150, 60:110] = False
    assert np.array_equal(picture[rest], own[rest]) and set(np.unique(own)) == {1, 17}


@pytest.mark.parametrize(("content", "said"), [
    ({"kind": "edit"}, "no mask is painted"),
    ({"kind": "go", "number": 7}, "history has 0 … 0"),
    ({"kind": "undo"}, "nothing to undo"),
    ({"kind": "save", "name": "edit.png"}, "must end in .json"),
    ({"kind": "save", "name": "no/such/folder/edit.json"}, "folder"),
    ({"kind": "explode"}, "does not know"),
    ({"kind": "_failed"}, "does not know"),
    ({"kind": "stroke", "layer": "mask", "box": [0, 0, 300, 1]}, "within 256"),
    ({"kind": "stroke"}, "not understood"),
    ({"kind": "file", "what": "photo", "name": "x.png", "part": 3, "parts": 5}, "not understood"),
    ({}, "not understood"),
    (None, "not understood"),
])
def test_whatever_is_wrong_is_said_in_place_and_changes_nothing(painter: Painter, content, said: str) -> None:
    picture = painter.picture
    painter._receive(painter, content, [memoryview(b"\xff")])
    assert painter.wait(30)
    assert said in painter.error and "\n" not in painter.error
    assert painter.picture == picture and len(painter.history) == 1
    paint(painter)
    assert painter.error == ""  # it is gone with the next thing that works


def test_a_wrong_text_or_attribute_is_said_and_the_paint_stays(painter: Painter) -> None:
    paint(painter)
    painter.attributes = {"wisdom": 1}
    say(painter, "edit")
    assert "no attribute is called 'wisdom'" in painter.error and painter.layers.is_painted("mask")
    painter.attributes = {"smile": 99}
    say(painter, "edit")
    assert "attributes.smile" in painter.error and len(painter.history) == 1
    painter.attributes, painter.influence = {}, {"sketch": math.nan}
    say(painter, "edit")
    assert "influence of sketch" in painter.error
    painter.influence, painter.refine = {}, -3
    say(painter, "edit")
    assert "refine" in painter.error and "\n" not in painter.error
    assert painter.layers.is_painted("mask") and painter.busy == ""


def test_auto_refinement_is_kept_as_the_schedule_that_it_was(painter: Painter) -> None:
    assert painter.refine == 0
    painter.refine = "auto"
    paint(painter)
    say(painter, "edit")
    (step,) = painter.script.script.steps
    assert step.refine == AUTO and painter.refine == "auto" and not painter.error


def test_long_work_is_told_and_can_be_cancelled(painter: Painter) -> None:
    shares = []
    painter.observe(lambda change: shares.append(change["new"]), "share")
    paint(painter)
    painter.refine = 400
    painter._receive(painter, {"kind": "edit"}, [])
    while not any(shares):
        assert painter.busy == "editing"
    paint(painter, left=150)  # the page has painting off by now; what comes all the same is refused in words
    assert "painting goes on when it is done" in painter.error and not painter.layers["mask"][:, 150:].any()
    for kind in ("undo", "redo"):
        painter._receive(painter, {"kind": kind}, [])
        assert "painting goes on" in painter.error and painter.layers["mask"].any()
    painter._receive(painter, {"kind": "clear", "layers": []}, [])
    assert "painting goes on" in painter.error and painter.layers["mask"].any() and painter.is_off
    painter._receive(painter, {"kind": "edit"}, [])
    assert "being made" in painter.error
    with pytest.raises(FacemugError, match="being made"):
        painter.open_photo("me.png")  # it would take the place of the edit's result
    say(painter, "cancel")
    assert painter.note.startswith("cancelled") and painter.busy == "" and len(painter.history) == 1
    assert max(shares) < 1 and painter.layers.is_painted("mask") and not painter.is_off


def upload(painter: Painter, data: bytes, name: str, what: str = "photo", size: int = 1 << 16) -> None:
    parts = max(1, math.ceil(len(data) / size))
    for part in range(parts):
        content = {"kind": "file", "what": what, "name": name, "part": part, "parts": parts}
        painter._receive(painter, content, [memoryview(data[part * size : (part + 1) * size])])
    assert painter.wait(120)


@pytest.fixture(scope="module")
def astronaut() -> bytes:
    from skimage.data import astronaut

    buffer = io.BytesIO()
    PIL.Image.fromarray(astronaut()).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photo_that_is_dropped_comes_in_parts(painter: Painter, astronaut: bytes, tmp_path: Path, editor) -> None:
    paint(painter)
    upload(painter, astronaut, "../../astronaut.png")
    assert painter.error == "" and painter.photo.shape == (512, 512, 3) and not painter.layers.is_painted("mask")
    paint(painter)
    say(painter, "edit")
    say(painter, "save", name=str(tmp_path / "edit.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edit.json", "edit.png", "edit_photo.png"] and painter.error == ""
    from facemug_lib.editing.script.edit_script import Replayer

    again = Replayer.of(editor, tmp_path / "edit_photo.png").replay(EditScript.read(tmp_path / "edit.json"))
    assert again.notes == [] and np.array_equal(again.photo, painter.photo)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "edit.png")), painter.photo)


def test_another_photo_from_python(painter: Painter, astronaut: bytes, tmp_path: Path) -> None:
    (tmp_path / "me.png").write_bytes(astronaut)
    paint(painter)
    painter.open_photo(tmp_path / "me.png")
    assert painter.wait(120) and painter.error == "" and painter.busy == ""
    assert painter.photo.shape == (512, 512, 3) and not painter.layers.is_painted("mask") and len(painter.history) == 1
    painter.open_photo(tmp_path / "none.png")  # as with a dropped one: the fault is shown, and everything stays
    assert painter.wait(120) and "none.png" in painter.error and painter.photo.shape == (512, 512, 3)
    paint(painter)
    say(painter, "edit")
    written = painter.save(str(tmp_path / "edit.json"))  # the photo is a file already, and is not written again
    assert [path.name for path in written] == ["edit.json", "edit.png"]


def test_an_unusable_photo_leaves_everything_in_place(painter: Painter, astronaut: bytes) -> None:
    paint(painter)
    picture = painter.picture
    blank = io.BytesIO()
    PIL.Image.new("RGB", (300, 300), "grey").save(blank, "PNG")
    for data, said in ((astronaut[:5000], "holiday.png is damaged"), (b"no picture", "holiday.png is not an image"),
                       (blank.getvalue(), "no face found in holiday.png"), (b"", "holiday.png is empty")):
        upload(painter, data, "holiday.png")
        assert said in painter.error and "/" not in painter.error
        assert painter.picture == picture and painter.layers.is_painted("mask")
    upload(painter, astronaut[:5000], "other.png", "exemplar")
    assert "other.png is damaged" in painter.error and painter.exemplar == ""


@pytest.mark.parametrize(("name", "written"), [("../../etc/passwd.png", "passwd.png"), ("..", "photo"), ("", "photo"),
                                               ("C:\\me\\my face (1).jpg", "my face (1).jpg"), ("a\0b.png", "a_b.png"),
                                               ("ü" * 300 + ".png", "ü" * 96 + ".png")])
def test_names_of_files_that_are_dropped_lead_nowhere(name: str, written: str) -> None:
    assert uploads.file_name(name) == written


def file_part(painter: Painter, part: int, parts: int, data: bytes = bytes(600), what: str = "photo") -> str:
    """Send one part of huge.png; what is said of it."""
    content = {"kind": "file", "what": what, "name": "huge.png", "part": part, "parts": parts}
    painter._receive(painter, content, [memoryview(data)])
    return painter.error


def test_a_photo_too_large_to_hold_is_refused_to_its_last_part(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_FILE", 1000)
    assert file_part(painter, 0, 5) == ""
    for part in (1, 2, 3, 4):  # the browser sends them all, and the last line is the one that stays
        assert file_part(painter, part, 5) == "huge.png has more than 0 MiB: scale it down first"
    assert painter._uploads.parts == {} and painter._uploads.refused == set() and painter.photo.shape == (256, 256, 3)
    assert "not understood" in file_part(painter, 5, 6)  # nothing is left of it that would swallow another fault
    assert "more than" in file_part(painter, 0, 1, bytes(1001))
    assert "not understood" in file_part(painter, 1, 2)


def test_one_refused_file_stands_in_no_others_way(painter: Painter, astronaut: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as small:
        small.setattr(uploads, "LARGEST_FILE", 1000)
        file_part(painter, 0, 9)
        assert "more than" in file_part(painter, 1, 9)
    upload(painter, astronaut, "me.png", "exemplar")
    assert painter.error == "" and painter.exemplar
    upload(painter, astronaut, "me.png")  # the page was reloaded in the middle of the other one
    assert painter.error == "" and painter.photo.shape == (512, 512, 3)


@pytest.mark.parametrize("order", [(1,), (0, 2), (0, 1, 1)])
def test_a_part_out_of_its_turn_is_not_understood(painter: Painter, order: tuple[int, ...]) -> None:
    *first, last = order
    for part in first:
        assert file_part(painter, part, 4) == ""
    assert "not understood" in file_part(painter, last, 4) and "was due" in painter.error
    assert not painter._worker.is_busy and painter.photo.shape == (256, 256, 3)


def test_an_exemplar_is_shown_used_once_and_travels_in_the_script(painter: Painter, astronaut: bytes, editor) -> None:
    upload(painter, astronaut, "astronaut.png", "exemplar")
    assert painter.error == "" and painter.exemplar.startswith("data:image/png;base64,")
    paint(painter)
    say(painter, "edit")
    assert painter.error == "" and painter.exemplar == "" and painter.script.script.steps[0].exemplar is not None
    assert np.array_equal(painter.script.replay(editor).photo, painter.photo)
    upload(painter, astronaut, "astronaut.png", "exemplar")
    say(painter, "no_exemplar")
    assert painter.exemplar == ""


def test_headless_it_is_one_picture_without_a_word(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMUG_WIDGETS", "still")
    paint(painter)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data, _ = painter._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png"}
    shown = np.asarray(PIL.Image.open(io.BytesIO(data["image/png"]))).astype(int)
    plain = np.asarray(PIL.Image.open(io.BytesIO(painter.picture))).astype(int)
    assert (shown != plain).any(axis=2)[70:110, 60:110].mean() > 0.9 and np.array_equal(shown[:70], plain[:70])
    monkeypatch.setenv("FACEMUG_WIDGETS", "live")
    assert "application/vnd.jupyter.widget-view+json" in painter._repr_mimebundle_()[0]


def test_two_painters_do_not_know_of_each_other(editor, face) -> None:
    first, second = Painter(editor, seed=1), Painter(editor, seed=2)
    paint(first)
    assert first.layers.is_painted("mask") and not second.layers.is_painted("mask")
    say(first, "edit")
    assert len(first.history) == 2 and len(second.history) == 1 and first.picture != second.picture


def test_state_is_plain_data_that_a_reloaded_page_can_ask_for(painter: Painter) -> None:
    paint(painter)
    say(painter, "edit")
    state = painter.get_state()
    json.dumps([state[name] for name in ("history", "choices", "attributes", "influence", "text", "exemplar", "note")])
    assert len(state["parse"]) == 256 * 256 and state["current"] == 1
    sent = []
    painter.send = lambda content, buffers=None: sent.append((content, buffers))
    paint(painter)
    say(painter, "ready")
    assert [content["name"] for content, _ in sent] == ["mask", "sketch", "semantics", "colour"]
    assert np.array_equal(np.frombuffer(sent[0][1][0], np.uint8).reshape(256, 256), painter.layers["mask"])


def test_a_photo_without_a_face_is_no_start(editor) -> None:
    with pytest.raises(FacemugError, match="no face found"):
        Painter(editor, np.zeros((200, 200, 3), np.uint8))


def test_one_of_several_faces_is_chosen_on_the_page(painter: Painter, astronaut: bytes) -> None:
    one = PIL.Image.open(io.BytesIO(astronaut))
    both = PIL.Image.new("RGB", (1024, 512))
    both.paste(one, (0, 0))
    both.paste(one.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    held = io.BytesIO()
    both.save(held, "PNG")
    paint(painter)
    upload(painter, held.getvalue(), "two.png")
    assert painter.error == "" and painter.layers.is_painted("mask") and painter.offer["name"] == "two.png"
    (left, _, right, _), second = painter.offer["boxes"]
    assert 0 < left < right < 0.5 < second[0] < second[2] < 1
    say(painter, "face", number=None)
    assert painter.offer == {} and painter.photo.shape == (256, 256, 3)
    upload(painter, held.getvalue(), "two.png")
    say(painter, "face", number=1)
    assert painter.error == "" and painter.offer == {} and painter.photo.shape == (512, 1024, 3)
    assert painter.session.first.face.box[0] > 512
    upload(painter, held.getvalue(), "two.png", "exemplar")
    assert painter.offer["what"] == "exemplar" and painter.exemplar == ""
    say(painter, "face", number=0)
    assert painter.error == "" and painter.exemplar.startswith("data:image/png;base64,")


def test_everything_can_be_taken_away_and_made_again(painter: Painter, editor, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    paint(painter)
    say(painter, "edit")
    sent = []
    painter.send = lambda content, buffers=None: sent.append((content, buffers))
    say(painter, "download", page="p")
    assert painter.error == "" and sent[0][0] == {"kind": "download", "page": "p", "name": "edit.zip"}
    with zipfile.ZipFile(io.BytesIO(sent[0][1][0])) as held:
        assert sorted(held.namelist()) == ["edit.json", "edit.png", "edit_mask.png", "edit_photo.png"]
        held.extractall(tmp_path)
    mask = np.asarray(PIL.Image.open(tmp_path / "edit_mask.png"))[..., 0]
    assert (mask[75:105, 65:105] == 255).all() and mask.mean() < 20
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "edit.png")), painter.photo)
    # The code makes the same picture: a sampled face needs no file.
    sampled = Painter(editor, seed=4)
    paint(sampled)
    say(sampled, "edit")
    monkeypatch.setattr("facemug_lib.Editor.load", lambda *given, **more: editor)
    monkeypatch.chdir(tmp_path)
    exec(sampled.code(), {})
    assert np.array_equal(np.asarray(PIL.Image.open("edited.png")), sampled.photo)
