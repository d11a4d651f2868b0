from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from facemug_lib.editing.edit import Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.known_faces import sampled_face
from facemug_lib.editing.script import edit_script
from facemug_lib.editing.script.edit_script import (
    EditScript,
    PhotoRecord,
    Replayer,
    SampleRecord,
    Step,
    embedded,
    photo_record,
)
from facemug_lib.editing.script.history import History
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, open_face


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> AlignedFace:
    return open_face(astronaut)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def stroke(shape: tuple[int, ...], left: int) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    mask[90:130, left : left + 30] = 255
    return mask


@pytest.fixture
def folder(tmp_path: Path, face: AlignedFace) -> Path:
    """A script of three steps with its pictures: one beside it, one embedded, one drawn on the aligned face."""
    shape = face.original.shape
    aligned = np.zeros((256, 256), np.uint8)
    aligned[180:220, 100:150] = 255
    script = EditScript(photo=photo_record(face), steps=[
        Step(name="cheek", mask="cheek.png", seed=3),
        Step(mask=embedded(png(stroke(shape, 230))), influence={"image": 0.5}, refine=1),
        Step(mask="mouth.png", guidance_frame="aligned", attributes={}),
    ])
    script.write(tmp_path / "edit.json", {"cheek.png": stroke(shape, 190), "mouth.png": aligned})
    return tmp_path


def test_a_script_survives_its_file(folder: Path, face: AlignedFace) -> None:
    script = EditScript.read(folder / "edit.json")
    assert [step.mask[:9] for step in script.steps] == ["cheek.png", "data:imag", "mouth.png"]
    assert script.steps[1].influence == {"image": 0.5} and script.photo == photo_record(face)
    text = json.loads((folder / "edit.json").read_text())
    assert text["steps"][0] == {"name": "cheek", "mask": "cheek.png", "seed": 3}  # readable: defaults are left out
    assert EditScript.read(script.write(folder / "again.json")) == script


def test_replaying_gives_the_same_pixels(editor, face: AlignedFace, astronaut: np.ndarray, folder: Path) -> None:
    script = EditScript.read(folder / "edit.json")
    first, second = (Replayer.of(editor, photo, folder).replay(script) for photo in (face, astronaut))
    assert np.array_equal(first.photo, second.photo) and first.notes == second.notes == []
    assert len(first.results) == 3 and first.photo.shape == astronaut.shape and first.photo.dtype == astronaut.dtype
    untouched = (stroke(astronaut.shape, 190) == 0) & (stroke(astronaut.shape, 230) == 0)
    untouched &= ~face.mask_to_photo(first.results[2].mask)
    assert np.array_equal(first.photo[untouched], astronaut[untouched]) and (first.photo != astronaut).any()
    one = Replayer.of(editor, face, folder).replay(script, upto=1)
    assert len(one.results) == 1 and not np.array_equal(one.photo, first.photo)


def test_changing_a_late_step_repeats_no_early_one(editor, face: AlignedFace, folder: Path, monkeypatch) -> None:
    script, replayer = EditScript.read(folder / "edit.json"), Replayer.of(editor, face, folder)
    whole = replayer.replay(script)
    made = []
    edit_many = editor.edit_many
    monkeypatch.setattr(editor, "edit_many", lambda *given, **more: made.append(1) or edit_many(*given, **more))
    assert np.array_equal(replayer.replay(script).photo, whole.photo) and not made
    other = replayer.replay(script.changed(3, seed=9))
    assert len(made) == 1 and other.results[0] is whole.results[0]
    off = replayer.replay(script.changed(2, enabled=False))
    assert len(off.results) == 2 and len(made) == 2


def test_steps_are_dropped_reordered_and_changed(folder: Path) -> None:
    script = EditScript.read(folder / "edit.json")
    assert [step.seed for step in script.dropped(1).steps] == [0, 0]
    assert [step.mask[:5] for step in script.reordered([3, 1, 2]).steps] == ["mouth", "cheek", "data:"]
    assert script.changed(1, attributes={"smile": 2.0}).steps[0].attributes == {"smile": 2.0} and not script.steps[0].attributes
    assert len(script.added(script.steps[0]).steps) == 4
    for change, message in ((lambda: script.dropped(4), "there is no step 4: the script has 3"),
                            (lambda: script.reordered([1, 1, 2]), "name each of the steps 1 … 3 once"),
                            (lambda: script.changed(1, attributes={"smile": float("nan")}), "step 1, attributes.smile"),
                            (lambda: script.changed(1, seed="7"), "step 1, seed"),
                            (lambda: script.changed(1, colour_of_eyes="green"), "step 1, colour_of_eyes")):
        with pytest.raises(FacemugError, match=message):
            change()


def test_history_undoes_and_redoes(folder: Path) -> None:
    script = EditScript.read(folder / "edit.json")
    history = History(script)
    shorter = history.do(script.dropped(1))
    shortest = history.do(shorter.dropped(1))
    assert history.undo() is shorter and history.undo() is script and history.redo() is shorter and history.redo() is shortest
    with pytest.raises(FacemugError, match="nothing to redo"):
        history.redo()
    history.undo()
    other = history.do(shorter.dropped(2))
    assert history.script is other and history.undo() is shorter and history.undo() is script
    with pytest.raises(FacemugError, match="nothing to undo"):
        history.undo()


def test_a_script_fits_another_photo(editor, face: AlignedFace, astronaut: np.ndarray, folder: Path) -> None:
    script = EditScript.read(folder / "edit.json")
    smaller = np.ascontiguousarray(astronaut[::2, ::2])  # the same person, a quarter of the pixels: holes must land on the face
    found = Replayer.of(editor, smaller, folder).replay(script)
    assert "another photo" in found.notes[0] and found.photo.shape == smaller.shape
    here, there = (one.results[0].mask for one in (Replayer.of(editor, face, folder).replay(script), found))
    overlap = (here & there).sum() / (here | there).sum()
    assert overlap > 0.8


def test_other_weights_are_noted(editor, face: AlignedFace, folder: Path) -> None:
    script = EditScript.read(folder / "edit.json").model_copy(update={"weights": {"generator": "0" * 64, "gone": "1" * 64}})
    found = Replayer.of(editor, face, folder).replay(script, upto=1)
    assert found.notes == ["the weights of generator are not those that the script was made with"]


HOSTILE = {
    "no JSON": ("{", "not a JSON text"),
    "NaN": ('{"format": "facemug edit script", "version": 1, "photo": NaN}', "not a JSON text"),
    "a list": ("[1, 2]", "no edit script"),
    "another format": ('{"format": "recipe"}', "no edit script"),
    "a later version": ('{"format": "facemug edit script", "version": 2}', "reads version 1"),
    "deep": ("[" * 100_000, "not a JSON text"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_that_are_no_scripts(what: str, tmp_path: Path) -> None:
    text, message = HOSTILE[what]
    (tmp_path / "edit.json").write_text(text)
    with pytest.raises(FacemugError, match=message) as caught:
        EditScript.read(tmp_path / "edit.json")
    assert "\n" not in str(caught.value)


CHANGES = {
    "path upwards": ("mask", "../secret.png", "leads out of the script's folder"),
    "absolute path": ("mask", "/etc/passwd", "leads out of the script's folder"),
    "Windows path": ("sketch", "..\\secret.png", "leads out of the script's folder"),
    "missing file": ("exemplar", "nobody.png", "no file nobody.png beside the script"),
    "other data": ("mask", "data:text/html;base64,AAAA", "embedded pictures start with"),
    "number as picture": ("mask", 5, "steps.1.mask"),
    "huge strength": ("attributes", {"smile": 1e300}, "steps.1.attributes.smile"),
    "negative seed": ("seed", -1, "steps.1.seed"),
    "endless refining": ("refine", 10**9, "steps.1.refine"),
    "text as number": ("refine", "40", "steps.1.refine"),
    "unknown frame": ("guidance_frame", "moon", "steps.1.guidance_frame"),
    "unknown field": ("run", "rm", "steps.1.run"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_hostile_steps_get_one_line(what: str, folder: Path) -> None:
    name, value, message = CHANGES[what]
    data = json.loads((folder / "edit.json").read_text())
    data["steps"][0][name] = value
    (folder / "edit.json").write_text(json.dumps(data))
    with pytest.raises(FacemugError, match=message) as caught:
        EditScript.read(folder / "edit.json")
    assert "\n" not in str(caught.value)


def test_links_and_broken_pictures_are_refused(editor, face: AlignedFace, folder: Path, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "mask.png"
    outside.write_bytes(b"secret")
    (folder / "link.png").symlink_to(outside)
    script = EditScript.read(folder / "edit.json")
    with pytest.raises(FacemugError, match="leads out of"):
        EditScript.read(script.changed(1, mask="link.png").write(folder / "linked.json"))
    for broken in (embedded(b"no picture"), "data:image/png;base64,", "data:image/png;base64,%%%"):
        with pytest.raises(FacemugError, match="step 1 .*no readable PNG"):
            Replayer.of(editor, face, folder).replay(script.changed(1, mask=broken), upto=1)
    with pytest.raises(FacemugError, match="photo.matrix"):
        data = json.loads((folder / "edit.json").read_text())
        data["photo"]["matrix"] = [[0.0] * 100_000] * 2
        (folder / "edit.json").write_text(json.dumps(data))
        EditScript.read(folder / "edit.json")


# -- sampled faces --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sampled(tmp_path: Path, editor) -> Path:
    """A script of one step on a sampled face."""
    sample = SampleRecord(seed=4, psi=0.6, mix_seed=5, mix_layers=["fine"])
    aligned = sampled_face(editor.prior, **sample.model_dump())
    mask = embedded(png(stroke((256, 256), 100)))
    return EditScript(photo=photo_record(aligned, sample), steps=[Step(mask=mask, seed=2)]).write(tmp_path / "sampled.json")


def test_a_sampled_face_needs_no_photo(editor, sampled: Path, face: AlignedFace) -> None:
    script = EditScript.read(sampled)
    assert script.photo.sample == SampleRecord(seed=4, psi=0.6, mix_seed=5, mix_layers=["fine"])
    found = Replayer.of(editor, None, sampled.parent).replay(script)
    assert found.notes == [] and len(found.results) == 1
    own = sampled_face(editor.prior, 4, 0.6, 5, ["fine"])
    assert (found.photo != own.original).any()
    again = Replayer.of(editor, open_face(own.original, aligned=True), sampled.parent).replay(script)
    assert np.array_equal(again.photo, found.photo) and again.notes == []
    other = Replayer.of(editor, face, sampled.parent).replay(script)
    assert "another photo" in other.notes[0] and other.photo.shape == face.original.shape


def test_a_sample_of_another_prior_is_noted(editor, sampled: Path) -> None:
    script = EditScript.read(sampled)
    script = script.model_copy(update={"photo": script.photo.model_copy(update={"sha256": "0" * 64})})
    assert "differs from the script's" in Replayer.of(editor, None, sampled.parent).replay(script).notes[0]


def test_known_codes_belong_to_their_own_crop(editor, sampled: Path) -> None:
    script, own = EditScript.read(sampled), sampled_face(editor.prior, 4, 0.6, 5, ["fine"])
    turned = script.photo.model_copy(update={"matrix": [[-1.0, 0.0, 255.0], [0.0, 1.0, 0.0]]})
    found = Replayer.of(editor, own, sampled.parent).replay(script.model_copy(update={"photo": turned, "steps": []}))
    assert found.face.codes is None and not np.array_equal(found.face.image, own.image)


def test_scripts_without_a_sample_want_a_photo(editor, folder: Path) -> None:
    with pytest.raises(FacemugError, match="was made on a photograph: name one"):
        Replayer.of(editor, None, folder).replay(EditScript.read(folder / "edit.json"))


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("seed", "7"), ("psi", 1e9), ("psi", "0.7"), ("mix_layers", ["rough"]),
                                             ("mix_layers", ["fine"] * 9), ("mix_seed", 2**70), ("run", "rm")])
def test_hostile_samples_get_one_line(sampled: Path, name: str, value: object) -> None:
    data = json.loads(sampled.read_text())
    data["photo"]["sample"][name] = value
    sampled.write_text(json.dumps(data))
    with pytest.raises(FacemugError, match=f"photo.sample.{name}") as caught:
        EditScript.read(sampled)
    assert "\n" not in str(caught.value)


def test_texts_of_old_scripts_are_followed_as_they_were(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step.of_edit(Edit("face.png", "mask.png", text="blond hair"), {"mask": "mask.png"})
    assert step.text_traits and step.model_dump(exclude_defaults=True)["text_traits"] is True
    old = Step.of(mask="mask.png", text="blond hair")
    assert not old.text_traits and not Step.of_edit(Edit("face.png", "mask.png"), {"mask": "mask.png"}).text_traits
    given = []

    def edit_many(self: Editor, edits: object, *, text_settings: TextEditSettings, **more: object) -> None:
        given.append(text_settings)
        raise FacemugError("seen")

    monkeypatch.setattr(Editor, "edit_many", edit_many)
    monkeypatch.setattr(edit_script, "open_picture", lambda folder, reference: reference)
    for one in (step, old):
        with pytest.raises(FacemugError, match="seen"):
            Replayer.of(editor, None).make(None, one)
    assert [one.traits for one in given] == [True, False]


def test_another_text_is_followed_as_texts_are_now(editor: Editor) -> None:
    script = EditScript(photo=PhotoRecord(sha256="0" * 64, width=64, height=64, matrix=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
                        steps=[Step(mask="mask.png", text="blond hair")])
    assert not script.changed(1, seed=3).steps[0].text_traits
    assert script.changed(1, text="black hair").steps[0].text_traits
