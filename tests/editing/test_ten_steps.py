"""Ten edits in a row, kept in files, are made again in a new process: every pixel of the whole photo is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript, Step, photo_record
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.photos import read_photo

KIT = Path(__file__).resolve().parent.parent / "kit"
REPLAY = """
import sys
sys.path.insert(0, sys.argv[1])
import tiny
from facemug_lib import cli
from facemug_lib.editing.editor import Editor
Editor.load = lambda *arguments, **options: tiny.tiny_editor()
sys.exit(cli.main(["replay", *sys.argv[2:], "--device", "cpu"]))
"""
HOLES = {"brow": (60, 190, 90, 270), "eyes": (92, 195, 118, 262), "nose": (112, 215, 140, 245), "mouth": (135, 200, 160, 255),
         "hair": (20, 180, 62, 280)}
"""Top, left, bottom and right of a box in the astronaut's photograph."""
STEPS: list[dict] = [
    {"mask": "eyes", "attributes": {"smile": 1.0, "age": -0.5}},
    {"mask": "mouth", "sketch": True, "seed": 3},
    {"mask": "hair", "colour": True, "seed": 1},
    {"mask": "nose", "semantics": True, "influence": {"semantics": 2.0}},
    {"mask": "brow", "exemplar": True, "seed": 7, "influence": {"exemplar": 0.5}},
    {"mask": "mouth", "sketch": True, "colour": True, "refine": 2},
    {"mask": "eyes", "seed": 2**40},
    {"mask": "hair", "semantics": True, "colour": True, "sketch": True, "exemplar": True},
    {"mask": "nose", "colour": True, "attributes": {"beard": 2.0}},
    {"mask": "cheek", "guidance_frame": "aligned", "seed": 5, "influence": {"image": 0.5}},
]


def inputs(photo: np.ndarray) -> dict[str, np.ndarray]:
    """Every picture that the steps name, by its file's name."""
    pictures = {"exemplar.png": np.ascontiguousarray(photo[:, ::-1])}
    rows, columns = np.mgrid[:512, :512]
    for name, (top, left, bottom, right) in HOLES.items():
        hole = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        across = hole & (abs(rows - (top + bottom) // 2) < 3)
        pictures |= {f"{name}.png": (hole * 255).astype(np.uint8),
                     f"{name}_sketch.png": np.where(across, 0, 255).astype(np.uint8),
                     f"{name}_semantics.png": np.where(hole, 1 + (columns > 230), 255).astype(np.uint8),
                     f"{name}_colour.png": np.dstack([hole * (200 - rows), hole * 90, hole * 60]).astype(np.uint8)}
    cheek = np.zeros((256, 256), np.uint8)
    cheek[150:180, 60:90] = 255
    return pictures | {"cheek.png": cheek}


def files_of(step: dict) -> dict[str, str]:
    """The step with the names of its pictures' files."""
    names = {name: "exemplar.png" if name == "exemplar" else f"{step['mask']}_{name}.png"
             for name in ("sketch", "semantics", "colour", "exemplar") if name in step}
    return step | names | {"mask": f"{step['mask']}.png"}


def test_ten_steps_are_equal_bit_for_bit_in_a_new_process(editor: Editor, astronaut: np.ndarray, tmp_path: Path) -> None:
    PIL.Image.fromarray(astronaut).save(tmp_path / "photo.png")
    pictures = inputs(astronaut)
    face = open_face(tmp_path / "photo.png")
    script = EditScript(photo=photo_record(face), weights=editor.hashes(), steps=[Step(**files_of(step)) for step in STEPS])
    script.write(tmp_path / "ten.json", pictures)
    touched, seen = np.zeros(astronaut.shape[:2], bool), [astronaut]
    for step in script.steps:  # as somebody at the screen makes them, without the replayer
        given = {name: tmp_path / file for name, file in step.pictures().items()}
        result = editor.edit(face, **given, attributes=step.attributes or None, influence=step.influence, refine=step.refine,
                             seed=step.seed, guidance_frame=step.guidance_frame, progress=lambda done, total: None)
        touched |= (pictures[step.mask] > 0) if step.guidance_frame == "photo" else face.mask_to_photo(
            torch.from_numpy(pictures[step.mask][None, None] / 255))
        face = face.repainted(result.paste_back())
        seen.append(face.original)
    assert len(script.steps) == 10 and not any(np.array_equal(a, b) for a, b in zip(seen, seen[1:], strict=False))

    command = [sys.executable, "-c", REPLAY, str(KIT), str(tmp_path / "ten.json"),
               "--photo", str(tmp_path / "photo.png"), "--out", str(tmp_path / "again.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stdout.splitlines() if line.startswith("note:")]
    assert "10 of 10 steps replayed" in done.stdout
    assert all("of the mask lies outside" in note for note in notes), notes  # none says that pixels may differ
    again = read_photo(tmp_path / "again.png").pixels
    assert again.shape == astronaut.shape and again.dtype == astronaut.dtype
    assert np.array_equal(again, seen[-1])
    assert np.array_equal(again[~touched], astronaut[~touched])
    assert (again != astronaut)[touched].any(-1).mean() > 0.9
