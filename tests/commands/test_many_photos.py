"""Many photographs, shared out among processes, as the command line does it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.commands import many_photos
from facemug_lib.commands.options import SKIPPED
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript, Step
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face

KIT = Path(__file__).resolve().parent.parent / "kit"
# Workers import this file as their main module, so that they have the small editor too.
PROGRAM = f"""
import os, signal, sys
sys.path.insert(0, {str(KIT)!r})
import tiny
from facemug_lib import cli
from facemug_lib.commands import many_photos
from facemug_lib.editing.editor import Editor
Editor.load = lambda *arguments, **options: tiny.tiny_editor()
opened = many_photos.open_face

def open_face(photo, **options):
    if photo.name.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(photo, **options)

many_photos.open_face = open_face
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray, editor: Editor) -> Path:
    """Photographs, two without a face that can be read, and beside them a script that was made on the first."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    photo = PIL.Image.fromarray(astronaut)
    photo.save(folder / "b.png")
    photo.rotate(10).save(folder / "d.png")
    (folder / "a.jpg").write_bytes(b"no picture")
    PIL.Image.new("RGB", (64, 64)).save(folder / "c.png")
    drawn = np.zeros(astronaut.shape[:2], np.uint8)
    drawn[90:140, 190:260] = 255
    PIL.Image.fromarray(drawn).save(tmp_path / "mask.png")
    EditScript.begun(editor, open_face(folder / "b.png"), steps=[Step(mask="mask.png", seed=3)]).write(tmp_path / "edit.json")
    return folder


def replayed(folder: Path, out: Path) -> tuple[int, list[str]]:
    """Exit status and lines of the command, with two workers."""
    program = folder.parent / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), "replay", str(folder.parent / "edit.json"), "--photo", str(folder),
               "--out", str(out), "--device", "cpu", "--workers", "2"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    return done.returncode, done.stdout.splitlines() or done.stderr.splitlines()


def test_two_processes_give_the_pictures_and_the_lines_of_one(folder: Path, tmp_path: Path, editor: Editor) -> None:
    script = EditScript.read(tmp_path / "edit.json")
    jobs = [(path, tmp_path / "alone" / f"{path.stem}.png") for path in sorted(folder.iterdir())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editor, "load", lambda **_: editor)
        work = many_photos.Replays(script, tmp_path, {"device": "cpu"})
        alone = list(many_photos.outcomes(work.start, jobs, 1))
    PIL.Image.open(folder / "b.png").save(folder / "deadly.png")
    status, said = replayed(folder, tmp_path / "together")
    assert status == SKIPPED
    expected = []
    for (photo, _), outcome in zip(jobs, alone, strict=True):  # in the order of the photographs, whoever was done first
        expected += outcome.result or [f"skipped: {photo.name}: {outcome.error}"]
    assert [line.replace("together", "alone") for line in said[:-1]] == expected
    assert said[-1].startswith("skipped: deadly.png: its worker was ended by SIGKILL")
    assert sorted(path.name for path in (tmp_path / "together").iterdir()) == ["b.png", "d.png"]
    for path in (tmp_path / "together").iterdir():
        own = np.asarray(PIL.Image.open(tmp_path / "alone" / path.name))
        assert np.array_equal(np.asarray(PIL.Image.open(path)), own)


def test_crops_are_the_same_from_two_processes(folder: Path, tmp_path: Path) -> None:
    jobs = [(folder / name, tmp_path / name) for name in ("b.png", "c.png", "d.png")]
    work = many_photos.Alignments(64)
    made = [outcome.error is None for outcome in many_photos.outcomes(work.start, jobs, 2)]
    assert made == [True, False, True]
    alone = open_face(folder / "d.png", size=64).image
    crop = torch.from_numpy(np.asarray(PIL.Image.open(tmp_path / "d.png")).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    assert (crop - alone).abs().max() < 0.02


def test_a_gpu_is_not_shared_out() -> None:
    many_photos.require_shareable(torch.device("cuda"), 1)
    with pytest.raises(FacemugError, match="--workers 2 shares a CPU out"):
        many_photos.require_shareable(torch.device("cuda"), 2)
