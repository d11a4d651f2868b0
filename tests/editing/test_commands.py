from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from facemug_lib.editing import commands
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.dataset import FaceFolder
from facemug_lib.faces.prior import FacePrior


class Parser:
    """Bright pixels are skin, dark ones cloth."""

    def parse(self, image: torch.Tensor) -> torch.Tensor:
        return torch.where(image.mean(1) > 0, 1, 18)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch, editor) -> None:
    monkeypatch.setattr(FacePrior, "load", lambda *arguments, **options: editor.prior)
    monkeypatch.setattr(ExpertStudent, "load", lambda *arguments, **options: Parser())
    monkeypatch.setattr(Editor, "load", lambda *arguments, **options: editor)


@pytest.fixture
def inputs(tmp_path, astronaut):
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    PIL.Image.fromarray(astronaut).save(photo)
    drawn = np.zeros(astronaut.shape[:2], np.uint8)
    drawn[90:140, 190:260] = 255
    PIL.Image.fromarray(drawn).save(mask)
    return photo, mask


def pixels(path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path))


def test_edit_writes_the_photo_and_says_what_changed(inputs, tmp_path, astronaut, capsys) -> None:
    photo, mask = inputs
    commands.edit_command(photo, mask, tmp_path / "out.png", refine=2, device="cpu")
    edited, hole = pixels(tmp_path / "out.png"), pixels(mask) > 0
    assert np.array_equal(edited[~hole], astronaut[~hole])
    changed = int((edited != astronaut).any(2).sum())
    said = capsys.readouterr().out
    assert changed > 0 and f"{changed:,} of {astronaut.shape[0] * astronaut.shape[1]:,} pixels changed" in said
    assert "2 refinement steps" in said and len(said.splitlines()) <= 5


def test_edit_refuses_targets_before_the_work(inputs, tmp_path) -> None:
    photo, mask = inputs
    for out, message in ((photo, "would overwrite an input"), (tmp_path / "out.gif", "must end in .png"),
                         (tmp_path / "none" / "out.png", "no folder")):
        with pytest.raises(FacemugError, match=message):
            commands.edit_command(photo, mask, out)


def test_samples_depend_on_their_own_seed_alone(tmp_path) -> None:
    commands.sample_command(tmp_path / "one.png", seed=9, size=64)
    commands.sample_command(tmp_path / "many", seed=5, count=10, size=64)
    commands.sample_command(tmp_path / "grid.png", seed=5, count=10, size=64)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [f"seed{n:06d}.png" for n in range(5, 15)]
    one = pixels(tmp_path / "one.png").astype(int)
    assert np.abs(one - pixels(tmp_path / "many" / "seed000009.png")).max() <= 1
    grid = pixels(tmp_path / "grid.png").astype(int)
    assert grid.shape == (3 * 64, 4 * 64, 3)
    assert np.abs(grid[64:128, :64] - one).max() <= 1  # the fifth of rows of four
    assert (grid[128:, 128:] == 255).all()
    with pytest.raises(FacemugError, match="cannot write faces.gif"):
        commands.sample_command(tmp_path / "faces.gif")


def test_align_skips_what_has_no_face(inputs, tmp_path, capsys) -> None:
    photo, mask = inputs
    commands.align_command([photo, mask], tmp_path / "aligned", size=128)
    assert [path.name for path in (tmp_path / "aligned").iterdir()] == ["photo.png"]
    assert pixels(tmp_path / "aligned" / "photo.png").shape == (128, 128, 3)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("skipped: no face found") and "1 of 2 photos aligned" in said[1]
    with pytest.raises(FacemugError, match="no face found"):
        commands.align_command([mask], tmp_path / "aligned")


def test_align_keeps_equal_names_apart(inputs, tmp_path) -> None:
    photo, _ = inputs
    (tmp_path / "b").mkdir()
    PIL.Image.open(photo).save(tmp_path / "b" / "photo.png")
    commands.align_command([photo, tmp_path / "b" / "photo.png"], tmp_path / "aligned")
    assert len(list((tmp_path / "aligned").iterdir())) == 2


def test_a_synthesized_set_is_one_to_train_on(tmp_path, editor) -> None:
    out = tmp_path / "faces"
    commands.synthesize_command(10, out, seed=3, device="cpu")
    for folder in ("img_path", "edge_root", "semantic_root", "color_root", "masks"):
        assert len(list((out / folder).glob("*.png"))) == 10
    codes = load_file(out / "img_path" / "codes.safetensors")["codes"]
    source = FaceFolder(out, split="all")
    assert len(source) == 10 and source.has_codes
    batch = source.draw(range(3), seed=0)
    with torch.no_grad():
        again = editor.prior.synthesize(batch.codes).clamp(-1, 1)
    assert (again - batch.images).abs().max() < 0.01
    assert torch.equal(batch.extra["labels"], Parser().parse(batch.images)) or (
        (batch.extra["labels"] != Parser().parse(batch.images)).float().mean() < 0.01)
    assert set(np.unique(pixels(out / "edge_root" / "000000.png"))) <= {0, 255}
    assert codes.shape == (10, 17, 512)


def test_synthesis_resumes_and_refuses_another_configuration(tmp_path, monkeypatch) -> None:
    out = tmp_path / "faces"
    commands.synthesize_command(4, out, size=64, device="cpu")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    whole = tmp_path / "whole"
    commands.synthesize_command(12, whole, size=64, device="cpu")
    commands.synthesize_command(12, out, size=64, device="cpu")
    for path in whole.rglob("*.png"):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()
    names = "codes.safetensors"
    assert torch.equal(load_file(whole / "img_path" / names)["codes"], load_file(out / "img_path" / names)["codes"])
    assert len(before) == 20
    # A complete chunk is not made again.
    stamp = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    commands.synthesize_command(12, out, size=64, device="cpu")
    assert stamp == {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    with pytest.raises(FacemugError, match="holds faces made with"):
        commands.synthesize_command(12, out, seed=1, size=64, device="cpu")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        commands.synthesize_command(1, tmp_path / "faces", size=64, device="cpu")
    assert [path.name for path in (tmp_path / "faces").rglob("*") if path.is_file()] == ["dataset.json"]
