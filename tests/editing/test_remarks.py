"""Words that come with an edit: what of it was not, or may not have been, meant."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.editing.inputs import Edit, read_edit
from facemug_lib.editing.latent.pose import Aim, turn
from facemug_lib.editing.script.edit_script import EditScript, Replayer, Step, embedded, photo_record
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, open_face


@pytest.fixture(scope="module")
def two(astronaut: np.ndarray) -> np.ndarray:
    """A large face on the left and a small one, number 1, on the right."""
    head = astronaut[:256, 96:352]
    photo = np.full((256, 512, 3), 128, np.uint8)
    photo[:, :256] = head
    photo[64:192, 320:448] = cv2.resize(head, (128, 128), interpolation=cv2.INTER_AREA)
    return photo


@pytest.fixture(scope="module")
def larger(two: np.ndarray) -> AlignedFace:
    return open_face(two)


@pytest.fixture(scope="module")
def equals(astronaut: np.ndarray) -> np.ndarray:
    """Two faces of one size, the right one mirrored."""
    head = astronaut[:256, 96:352]
    return np.concatenate([head, head[:, ::-1]], axis=1)


def rectangle(shape: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    mask[rows, columns] = 255
    return mask


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_mask_larger_than_the_crop(editor, larger: AlignedFace) -> None:
    everything = rectangle(larger.original.shape, slice(None), slice(None))
    result = editor.edit(larger, everything)
    changed = (result.paste_back() != larger.original).any(2)
    (said, *_) = result.remarks
    outside = int(said.split("%")[0]) / 100
    assert "of the mask lies outside of the square around the face that can be edited" in said
    left_alone = 1 - larger.mask_to_photo(torch.ones(1, 1, 256, 256)).mean()
    assert outside == pytest.approx(left_alone, abs=0.02) and changed.mean() <= 1 - outside + 0.01
    inside = rectangle(larger.original.shape, slice(90, 140), slice(90, 170))
    assert editor.edit(larger, inside).remarks == []


def test_a_mask_on_the_face_that_was_not_taken(editor, two: np.ndarray, larger: AlignedFace) -> None:
    on_small = rectangle(two.shape, slice(90, 150), slice(360, 410))
    with pytest.raises(FacemugError, match=r"outside of the face crop: .* or choose face 1, which the mask lies on \(--face 1\)"):
        read_edit(Edit(larger, on_small), {}, 17)
    wide = rectangle(two.shape, slice(90, 150), slice(200, 430))  # reaches into the crop
    assert any("lies on another face" in one and "face 1 at x=" in one and "(--face 1)" in one
               for one in editor.edit(larger, wide).remarks)
    chosen = open_face(two, face=1)
    assert chosen.others == {} and editor.edit(chosen, on_small).remarks == []
    assert list(larger.others) == [1] and replace(larger, others={}).face_under(wide) is None


@pytest.mark.parametrize("way", ["edit", "turn"])
def test_a_mask_file_is_read_once(editor, larger: AlignedFace, tmp_path: Path, way: str) -> None:
    """What is pasted back and said of it is of the mask that the edit was made with, whatever becomes of its file."""
    drawn, path = rectangle(larger.original.shape, slice(90, 256), slice(90, 512)), tmp_path / "mask.png"
    made = []
    for mask in (drawn, path):
        path.write_bytes(png(drawn))
        made.append(editor.edit(larger, mask) if way == "edit" else
                    turn(editor, larger, Aim(frontal=True), method="warping", mask=mask))
        path.unlink()
    assert np.array_equal(made[1].paste_back(), made[0].paste_back()) and made[1].remarks == made[0].remarks
    assert made[1].remarks and made[1].photo_mask.dtype == bool


def test_colours_on_a_grey_photo(editor, astronaut: np.ndarray) -> None:
    mask = rectangle(astronaut.shape, slice(90, 140), slice(190, 260))
    pink = np.zeros_like(astronaut)
    pink[100:130, 200:250] = (255, 80, 160)
    grey = open_face(np.asarray(PIL.Image.fromarray(astronaut).convert("L")))
    (said,) = editor.edit(grey, mask, colour=pink).remarks
    assert said.startswith("the photo is grey and stays so") and "RGB" in said
    assert editor.edit(grey, mask).remarks == editor.edit(open_face(astronaut), mask, colour=pink).remarks == []


def test_a_replayed_script_says_the_same(editor, larger: AlignedFace, tmp_path: Path) -> None:
    mask = embedded(png(rectangle(larger.original.shape, slice(None), slice(None))))
    script = EditScript(photo=photo_record(larger), steps=[Step(mask=mask)])
    notes = Replayer.of(editor, larger, tmp_path).replay(script).notes
    assert notes[0].startswith("step 1: ") and "of the mask lies outside" in notes[0]


# -- which face of another photo ------------------------------------------------------------------------------------------


def test_an_exemplar_with_two_faces(editor, astronaut: np.ndarray, equals: np.ndarray, tmp_path: Path) -> None:
    face, mask = open_face(astronaut), rectangle(astronaut.shape, slice(90, 140), slice(190, 260))
    with pytest.raises(FacemugError, match=r"exemplar: .*choose one with exemplar_face=N \(--exemplar-face N\)"):
        editor.edit(face, mask, exemplar=equals)
    left, right = (editor.edit(face, mask, exemplar=equals, exemplar_face=number) for number in (0, 1))
    wanted = editor.edit(face, mask, exemplar=open_face(equals, face=1))
    assert np.array_equal(right.image, wanted.image) and not np.array_equal(right.image, left.image)
    for number, exemplar, message in ((7, equals, "exemplar: there is no face 7"), (0, None, "a face of no exemplar")):
        with pytest.raises(FacemugError, match=message):
            editor.edit(face, mask, exemplar=exemplar, exemplar_face=number)
    step = Step(mask=embedded(png(mask)), exemplar=embedded(png(equals)), exemplar_face=1)
    path = EditScript(photo=photo_record(face), steps=[step]).write(tmp_path / "edit.json")
    assert json.loads(path.read_text())["steps"][0]["exemplar_face"] == 1
    again = Replayer.of(editor, face, tmp_path).replay(EditScript.read(path))
    assert np.array_equal(again.results[0].image, wanted.image)
    with pytest.raises(FacemugError, match="steps.1.exemplar_face"):
        path.write_text(path.read_text().replace('"exemplar_face": 1', '"exemplar_face": -1'))
        EditScript.read(path)


def test_a_pose_like_one_of_two_faces(editor, astronaut: np.ndarray, equals: np.ndarray) -> None:
    with pytest.raises(FacemugError, match=r"the face to be like: .*choose one with like_face=N \(--like-face N\)"):
        turn(editor, astronaut, Aim(like=equals), method="warping")
    left, right = (turn(editor, astronaut, Aim(like=equals, like_face=number), method="warping").wanted.yaw for number in (0, 1))
    assert left == pytest.approx(-right, abs=4) and abs(left - right) > 2
    with pytest.raises(FacemugError, match="like_face 1 picks a face of no photo"):
        Aim(frontal=True, like_face=1)


def test_a_script_with_a_byte_order_mark(larger: AlignedFace, tmp_path: Path) -> None:
    """Some editors on Windows put one before the text."""
    script = EditScript(photo=photo_record(larger), steps=[Step(mask=embedded(png(np.full((40, 40), 255, np.uint8))), name="é")])
    text = script.write(tmp_path / "edit.json").read_text(encoding="utf-8")
    (tmp_path / "edit.json").write_text(text, encoding="utf-8-sig")
    assert EditScript.read(tmp_path / "edit.json") == script
