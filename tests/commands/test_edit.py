from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
import typer
from safetensors.torch import load_file

from facemug_lib.commands import directions as direction_commands
from facemug_lib.commands.edit import edit, pose, replay
from facemug_lib.commands.faces import align, sample, synthesize
from facemug_lib.commands.options import SKIPPED
from facemug_lib.commands.program import main
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.latent.direction_sources import codes_of_photos
from facemug_lib.editing.latent.directions import constant, load_directions, moved
from facemug_lib.editing.script.exploring import Exploration, View
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.dataset import FaceFolder
from facemug_lib.faces.photos import write_image
from facemug_lib.faces.prior import FacePrior
from facemug_lib.pictures import pixels_of


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
    edit(photo, tmp_path / "out.png", mask, refine=2, device="cpu")
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
            edit(photo, out, mask)


def test_samples_depend_on_their_own_seed_alone(tmp_path) -> None:
    sample(tmp_path / "one.png", seed=9, size=64)
    sample(tmp_path / "many", seed=5, count=10, size=64)
    sample(tmp_path / "grid.png", seed=5, count=10, size=64)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [f"seed{n:06d}.png" for n in range(5, 15)]
    one = pixels(tmp_path / "one.png").astype(int)
    assert np.abs(one - pixels(tmp_path / "many" / "seed000009.png")).max() <= 1
    grid = pixels(tmp_path / "grid.png").astype(int)
    assert grid.shape == (3 * 64, 4 * 64, 3)
    assert np.abs(grid[64:128, :64] - one).max() <= 1  # the fifth of rows of four
    assert (grid[128:, 128:] == 255).all()
    with pytest.raises(FacemugError, match="cannot write faces.gif"):
        sample(tmp_path / "faces.gif")


def test_align_skips_what_has_no_face(inputs, tmp_path, capsys) -> None:
    photo, mask = inputs
    with pytest.raises(typer.Exit) as ended:
        align([photo, mask], tmp_path / "aligned", size=128)
    assert ended.value.exit_code == SKIPPED
    assert [path.name for path in (tmp_path / "aligned").iterdir()] == ["photo.png"]
    assert pixels(tmp_path / "aligned" / "photo.png").shape == (128, 128, 3)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("skipped: no face found") and "1 of 2 photos aligned" in said[1]
    with pytest.raises(FacemugError, match="no face found"):
        align([mask], tmp_path / "aligned")


def test_align_goes_on_after_damaged_files_and_keeps_the_author(inputs, tmp_path, astronaut, capsys) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "somebody"
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(astronaut))).save(tmp_path / "phone.jpg", exif=exif.tobytes())
    damaged = []
    for name in ("first.tif", "second.webp"):
        PIL.Image.fromarray(astronaut).save(tmp_path / name)
        damaged.append(tmp_path / name)
        damaged[-1].write_bytes(damaged[-1].read_bytes()[:5000])
    with pytest.raises(typer.Exit):
        align([damaged[0], tmp_path / "phone.jpg", damaged[1]], tmp_path / "aligned")
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == ["skipped", "skipped", "1 of 3 photos aligned to 256 px"]
    assert all(str(path) in said.out for path in damaged) and not said.err
    with PIL.Image.open(tmp_path / "aligned" / "phone.png") as crop:
        assert crop.getexif()[0x013B] == "somebody" and crop.getexif().get(0x0112, 1) == 1


def test_align_keeps_equal_names_apart(inputs, tmp_path) -> None:
    photo, _ = inputs
    (tmp_path / "b").mkdir()
    PIL.Image.open(photo).save(tmp_path / "b" / "photo.png")
    align([photo, tmp_path / "b" / "photo.png"], tmp_path / "aligned")
    assert len(list((tmp_path / "aligned").iterdir())) == 2


def test_align_keeps_equal_names_in_equal_folders_apart(inputs, tmp_path) -> None:
    photo, _ = inputs
    copies = [tmp_path / year / "summer" / "photo.png" for year in ("1990", "1991")]
    for number, copy in enumerate(copies):
        copy.parent.mkdir(parents=True)
        PIL.Image.open(photo).rotate(10 * number).save(copy)
    align(copies, tmp_path / "aligned", size=64)
    assert sorted(path.name for path in (tmp_path / "aligned").iterdir()) == [
        "1990_summer_photo.png.png", "1991_summer_photo.png.png"]
    with pytest.raises(FacemugError, match="would overwrite an input"):
        align([photo], photo.parent, size=64)


def test_a_folder_with_a_dot_is_a_folder(inputs, tmp_path) -> None:
    photo, mask = inputs
    out = tmp_path / "results.v2"
    with pytest.raises(FacemugError, match="must end in .png, .tif or .jpg, or be that of a folder that is there"):
        sample(out, size=64)
    out.mkdir()
    sample(out, seed=3, size=64)
    align([photo], out, size=64)
    edit(photo, out / "edited.png", mask, script_out=tmp_path / "edit.json")
    before = (out / "photo.png").read_bytes()
    edit(photo, out, mask)  # beside the aligned one's place: a folder, so called like the photo
    replay(tmp_path / "edit.json", out, [photo])
    assert sorted(path.name for path in out.iterdir()) == ["edited.png", "photo.png", "seed000003.png"]
    assert (out / "photo.png").read_bytes() != before and np.array_equal(pixels(out / "photo.png"), pixels(out / "edited.png"))


def test_what_cannot_be_written_is_said_before_the_work(inputs, tmp_path, monkeypatch) -> None:
    photo, mask = inputs
    edit(photo, tmp_path / "out.png", mask, script_out=tmp_path / "edit.json")
    PIL.Image.open(photo).convert("RGBA").save(tmp_path / "clear.png")
    (tmp_path / "a.jpg").mkdir()
    monkeypatch.setattr(Editor, "load", lambda *given, **more: pytest.fail("began to work"))
    clear, file = tmp_path / "clear.png", tmp_path / "mask.png"
    for command, message in (
        (lambda: edit(photo, tmp_path / "out.v2", mask), "must end in"),
        (lambda: replay(tmp_path / "edit.json", tmp_path / "out.v2", [photo]), "must end in"),
        (lambda: replay(tmp_path / "edit.json", file / "folder", [photo]), "is a file: name a folder"),
        (lambda: edit(clear, tmp_path / "b.jpg", mask), "is transparent and b.jpg would lose that"),
        (lambda: pose(clear, tmp_path / "b.jpg", frontal=True, mask=mask), "is transparent and b.jpg"),
        (lambda: align([photo], file), "is a file: name a folder"),
        (lambda: sample(file / "folder"), "is a file: name a folder"),
    ):
        with pytest.raises(FacemugError, match=message):
            command()
    assert not list((tmp_path / "a.jpg").iterdir()) and not (tmp_path / "b.jpg").exists()


def test_jpeg_is_not_said_to_keep_the_rest(inputs, tmp_path, capsys) -> None:
    photo, mask = inputs
    with pytest.warns(UserWarning, match="JPEG changes every pixel"):
        edit(photo, tmp_path / "out.jpg", mask)
    said = capsys.readouterr().out
    assert "by the edit, all inside the mask; JPEG then changes all of them a little" in said


def test_a_synthesized_set_is_one_to_train_on(tmp_path, editor) -> None:
    out = tmp_path / "faces"
    synthesize(10, out, seed=3, device="cpu")
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
    synthesize(4, out, size=64, device="cpu")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    whole = tmp_path / "whole"
    synthesize(12, whole, size=64, device="cpu")
    synthesize(12, out, size=64, device="cpu")
    for path in whole.rglob("*.png"):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()
    names = "codes.safetensors"
    assert torch.equal(load_file(whole / "img_path" / names)["codes"], load_file(out / "img_path" / names)["codes"])
    assert len(before) == 20
    # A complete chunk is not made again.
    stamp = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    synthesize(12, out, size=64, device="cpu")
    assert stamp == {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    with pytest.raises(FacemugError, match="holds faces made with"):
        synthesize(12, out, seed=1, size=64, device="cpu")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        synthesize(1, tmp_path / "faces", size=64, device="cpu")
    assert [path.name for path in (tmp_path / "faces").rglob("*") if path.is_file()] == ["dataset.json"]


# -- scripts --------------------------------------------------------------------------------------------------------------


def test_a_recorded_script_replays_to_the_same_pixels(inputs, tmp_path, astronaut, capsys) -> None:
    photo, mask = inputs
    script = tmp_path / "edit.json"
    for number, seed in ((1, 3), (2, 4)):
        edit(photo, tmp_path / f"out{number}.png", mask, seed=seed, device="cpu", script_out=script)
        assert f"step {number} of the script" in capsys.readouterr().out
    assert (tmp_path / "edit_step2_mask.png").read_bytes() == mask.read_bytes()
    replay(script, tmp_path / "again.png", [photo])
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(tmp_path / "out2.png"))
    replay(script, tmp_path / "first.png", [photo], without=[2])
    assert np.array_equal(pixels(tmp_path / "first.png"), pixels(tmp_path / "out1.png"))
    assert "1 of 2 steps" in capsys.readouterr().out
    other = tmp_path / "others"
    other.mkdir()
    PIL.Image.fromarray(astronaut[:, ::-1].copy()).save(other / "mirrored.png")
    replay(script, tmp_path / "several", [other, photo])
    assert {path.name for path in (tmp_path / "several").iterdir()} == {"mirrored.png", "photo.png"}
    assert "note: another photo" in capsys.readouterr().out


def test_a_face_of_the_exemplar_is_chosen_and_recorded(inputs, tmp_path, astronaut) -> None:
    photo, mask = inputs
    head = astronaut[:256, 96:352]
    pair, script = tmp_path / "pair.png", tmp_path / "edit.json"
    PIL.Image.fromarray(np.concatenate([head, head[:, ::-1]], axis=1)).save(pair)
    with pytest.raises(FacemugError, match=r"exemplar: .*pair\.png shows 2 faces.*--exemplar-face N"):
        edit(photo, tmp_path / "out.png", mask, exemplar=pair, script_out=script)
    assert not script.exists() and not (tmp_path / "out.png").exists()
    edit(photo, tmp_path / "out.png", mask, exemplar=pair, exemplar_face=1, script_out=script)
    replay(script, tmp_path / "again.png", [photo])
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(tmp_path / "out.png"))


def test_what_was_left_alone_is_said(inputs, tmp_path, astronaut, capsys) -> None:
    photo, mask = inputs
    PIL.Image.fromarray(np.full(astronaut.shape[:2], 255, np.uint8)).save(mask)
    edit(photo, tmp_path / "out.png", mask, script_out=tmp_path / "edit.json")
    replay(tmp_path / "edit.json", tmp_path / "again.png", [photo])
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(said) == 2 and all("of the mask lies outside of the square around the face" in line for line in said)


def test_scripts_are_not_mixed_up(inputs, tmp_path, astronaut) -> None:
    photo, mask = inputs
    edit(photo, tmp_path / "out.png", mask, script_out=tmp_path / "edit.json")
    before = (tmp_path / "edit.json").read_text()
    PIL.Image.fromarray(astronaut[:, ::-1].copy()).save(tmp_path / "other.png")
    with pytest.raises(FacemugError, match="belongs to another photo"):
        edit(tmp_path / "other.png", mask, tmp_path / "no.png", script_out=tmp_path / "edit.json")
    assert (tmp_path / "edit.json").read_text() == before and not (tmp_path / "no.png").exists()
    with pytest.raises(FacemugError, match="must end in .json"):
        edit(photo, tmp_path / "no.png", mask, script_out=tmp_path / "edit.txt")
    for photos, out, options, message in (
        ([photo], photo, {}, "would overwrite"), ([photo, tmp_path / "other.png"], tmp_path / "one.png", {}, "name a folder"),
        ([photo], tmp_path / "no.png", {"without": [7]}, "there is no step 7"),
        ([photo], tmp_path / "no.png", {"attribute": ["smile=1.0"]}, "no step of the script changes smile"),
    ):
        with pytest.raises(FacemugError, match=message):
            replay(tmp_path / "edit.json", out, photos, **options)
    assert not (tmp_path / "no.png").exists()


def test_a_script_of_a_sampled_face_needs_no_photo(tmp_path, editor, capsys) -> None:
    exploration = Exploration(editor.with_directions({"light": constant("light", torch.ones(512) * 0.01, "factor")}))
    view = View(seed=3, attributes={"component 1": 1.0})
    script, directions = exploration.save_script(view, tmp_path / "face.json")
    monkey = editor.with_directions(load_directions(directions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editor, "load", lambda *, directions, **_: editor if directions is None else monkey)
        replay(script, tmp_path / "again.png", [], directions=directions)
        replay(script, tmp_path / "folder", [], directions=directions)
        wanted = exploration.picture(view)
        assert np.abs(pixels(tmp_path / "again.png").astype(int) - pixels_of(wanted[0])).max() <= 1
        assert (tmp_path / "folder" / "face.png").is_file()
        assert "1 of 1 steps replayed on the sampled face" in capsys.readouterr().out
        own = write_image(tmp_path / "own.png", exploration.face(view).image)
        replay(script, tmp_path / "third.png", [own], directions=directions)
        assert np.array_equal(pixels(tmp_path / "third.png"), pixels(tmp_path / "again.png"))
        with pytest.raises(FacemugError, match="no attribute is called 'component 1'"):
            replay(script, tmp_path / "no.png", [])


def test_a_script_of_a_photo_needs_one(inputs, tmp_path) -> None:
    photo, mask = inputs
    edit(photo, tmp_path / "out.png", mask, script_out=tmp_path / "edit.json")
    with pytest.raises(FacemugError, match="was made on a photograph: name one with --photo"):
        replay(tmp_path / "edit.json", tmp_path / "no.png", [])


def test_a_folder_is_replayed_without_what_shows_no_face(inputs, tmp_path, astronaut, capsys) -> None:
    photo, mask = inputs
    edit(photo, tmp_path / "out.png", mask, script_out=tmp_path / "edit.json")
    folder = tmp_path / "holiday"
    folder.mkdir()
    PIL.Image.open(mask).save(folder / "a wall.png")
    PIL.Image.open(photo).save(folder / "me.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "._me.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    capsys.readouterr()
    with pytest.raises(typer.Exit) as ended:
        replay(tmp_path / "edit.json", tmp_path / "several", [folder])
    assert ended.value.exit_code == SKIPPED
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("skipped: a wall.png: no face found") and said[1].startswith("skipped: broken.jpg: ")
    assert "1 of 1 steps replayed on me.png" in said[2] and len(said) == 3
    assert np.array_equal(pixels(tmp_path / "several" / "me.png"), pixels(tmp_path / "out.png"))
    assert [path.name for path in (tmp_path / "several").iterdir()] == ["me.png"]
    (folder / "me.png").unlink()
    with pytest.raises(FacemugError, match="none of 2 photos could be edited, the first: no face found"):
        replay(tmp_path / "edit.json", tmp_path / "none", [folder])
    assert not (tmp_path / "none").exists()


# -- directions -----------------------------------------------------------------------------------------------------------


def test_a_direction_from_folders_and_from_a_table(tmp_path, editor, capsys) -> None:
    draw = torch.Generator().manual_seed(0)
    for name, light in (("bright", 40), ("dark", -40)):
        (tmp_path / name).mkdir()
        for number in range(6):
            coarse = torch.rand(9, 9, 3, generator=draw).numpy() * 120 + 68 + light
            PIL.Image.fromarray(coarse.astype(np.uint8)).resize((256, 256)).save(tmp_path / name / f"{number}.png")
    bright, dark, out = tmp_path / "bright", tmp_path / "dark", tmp_path / "light.safetensors"
    direction_commands.directions_new("light", out, bright, dark, aligned=True)
    table = tmp_path / "labels.csv"
    rows = [f"{folder.name}/{path.name},{int(folder is bright)}"
            for folder in (bright, dark) for path in sorted(folder.iterdir())]
    table.write_text("\n".join(["file,label", *rows]))
    direction_commands.directions_new("same", out, labels=table, aligned=True)
    found = load_directions(out)
    assert list(found) == ["light", "same"] and torch.equal(found["light"].vector, found["same"].vector)
    direction_commands.directions_list(out)
    said = capsys.readouterr().out
    assert "12 photographs" in said and "same" in said.splitlines()[-1]
    (bright / "broken.png").write_bytes(b"no picture")
    with pytest.raises(typer.Exit) as ended:
        direction_commands.directions_new("same", out, bright, dark, aligned=True)
    assert ended.value.exit_code == SKIPPED and "broken.png is not an image" in capsys.readouterr().out
    (bright / "broken.png").unlink()
    codes, kept = codes_of_photos(editor, sorted(bright.iterdir()), aligned=True)
    assert codes.shape == (6, 17, 512) and kept == list(range(6))


@pytest.mark.parametrize(("text", "message"), [
    ("name,label\na.png,1", "columns name, label: name them file and label"), ("file,label\nnone.png,1", "line 2: no file"),
    ("file,label\n", "has no rows"), ("file,label\nlabels.csv,yes", "line 2: label 'yes' is not a number"),
])
def test_tables_of_labels_are_checked(text, message, tmp_path) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(FacemugError, match=message):
        direction_commands.directions_new("x", tmp_path / "x.safetensors", labels=tmp_path / "labels.csv")
    assert not (tmp_path / "x.safetensors").exists()


def test_directions_want_two_folders_or_a_table(tmp_path) -> None:
    out = tmp_path / "x.safetensors"
    for arguments, message in (((), "name two folders"), ((tmp_path,), "name two folders"),
                               ((tmp_path, tmp_path, tmp_path / "t.csv"), "name two folders"),
                               ((tmp_path, tmp_path), "no picture in")):
        with pytest.raises(FacemugError, match=message):
            direction_commands.directions_new("x", out, *arguments)
    with pytest.raises(FacemugError, match=r"must end in \.safetensors"):
        direction_commands.directions_new("x", tmp_path / "x.pt", tmp_path, tmp_path)


def test_a_published_direction_is_taken_over(tmp_path, editor, capsys) -> None:
    own, out = torch.randn(512, generator=torch.Generator().manual_seed(1)), tmp_path / "published.safetensors"
    np.save(tmp_path / "age.npy", own.numpy())
    torch.save(own[None, None].expand(1, 18, 512).contiguous(), tmp_path / "pose.pt")
    assert main(["directions", "import", str(tmp_path / "age.npy"), "--out", str(out)]) == 0
    assert main(["directions", "import", str(tmp_path / "pose.pt"), "--name", "turn", "--out", str(out)]) == 0
    assert "turn: 17 codes, 1 unit is as published" in capsys.readouterr().out
    found = load_directions(out)
    assert list(found) == ["age", "turn"] and torch.allclose(found["age"].vector, own.expand(17, -1), rtol=1e-3, atol=1e-3)
    codes = torch.zeros(1, 17, 512)
    assert torch.equal(moved(codes, {"age": 2.0}, found), 2 * found["age"].vector[None])


@pytest.mark.parametrize(("content", "words"), [
    (np.zeros(3), "an array of 512 or 18 × 512 numbers is needed"), (np.zeros((17, 512)), "18 × 512"),
    (np.full(512, np.nan), "not finite"), (b"no array", "is not a readable .pt or .npy array"),
])
def test_a_file_that_is_no_published_direction_gets_one_line(content, words, tmp_path, capsys) -> None:
    file, out = tmp_path / "bad.npy", tmp_path / "published.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    assert main(["directions", "import", str(file), "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and words in said[0] and not out.exists()
