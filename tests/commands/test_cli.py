"""The command line: help that is quick and has examples, one line and exit status 2 for bad input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer

from facemug_lib import cli
from facemug_lib.cli import main
from facemug_lib.commands import directions, edit
from facemug_lib.errors import FacemugError
from facemug_lib.faces.prior import FacePrior

COMMANDS = ["doctor", "assets", "run", "site", "train", "average", "edit", "pose", "replay", "directions", "systems", "sample",
            "app", "figures", "study", "align", "synthesize", "evaluate", "subsets", "influence", "gallery", "prompts", "bench"]


def stub(monkeypatch: pytest.MonkeyPatch, module: str, **functions: object) -> None:
    replacement = types.ModuleType(module)
    for name, function in functions.items():
        setattr(replacement, name, function)
    monkeypatch.setitem(sys.modules, module, replacement)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.startswith("facemug: error: ") and captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: facemug {command}" in " ".join(capsys.readouterr().out.split())


def test_the_commands_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(typer.main.get_command(cli.app).commands) == sorted(COMMANDS)
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS) and "..." not in shown.partition("Commands:")[2]


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys; from facemug_lib.cli import main; main(['--help']); "
            "sys.exit(bool({'torch', 'numpy', 'pandas', 'papermill', 'matplotlib'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (["edi"], "edit"),
    (["edit"], "PHOTO"),
    (["edit", "missing.jpg", "--mask", __file__, "--out", "o.png"], "missing.jpg"),
    (["edit", __file__, "--mask", "missing.png", "--out", "o.png"], "missing.png"),
    (["edit", __file__, "--mask", __file__], "--out"),
    (["edit", __file__, "--mask", __file__, "--out", "o.png", "--refine", "-3"], "--refine"),
    (["edit", __file__, "--mask", __file__, "--out", "o.png", "--guidance-frame", "sideways"], "--guidance-frame"),
    (["edit", __file__, "--mask", __file__, "--out", "o.png", "--text", ""], "an empty text for how the face shall look"),
    (["edit", __file__, "--mask", __file__, "--out", "o.png", "--text", "old", "--text-from", " "], "an empty text for what"),
    (["directions", "text", "", "--out", "o.safetensors"], "an empty text for how faces shall look"),
    (["subsets", __file__, "--out", "o.png"], "--mask"),
    (["subsets", __file__, "--mask", __file__, "--exemplar", "missing.jpg", "--out", "o.png"], "missing.jpg"),
    (["influence", "--out", "o.png", "--count", "0"], "--count"),
    (["influence", "--out", "o.gif"], "o.gif: the name must end in .png"),
    (["pose", __file__, "--out", "o.png"], "no pose is asked for: give one of --like"),
    (["pose", __file__, "--out", "o.png", "--frontal", "--yaw", "5"], "2 poses are asked for"),
    (["pose", __file__, "--out", "o.png", "--yaw", "200"], "yaw 200: use -60 to 60"),
    (["pose", __file__, "--out", "o.png", "--mirror", "--method", "magic"], "--method"),
    (["pose", __file__, "--out", "o.png", "--like", "missing.jpg"], "missing.jpg"),
    (["sample", "--out", "o.png", "--count", "0"], "--count"),
    (["sample", "--out", "o.png", "--count", "ten"], "--count"),
    (["sample", "--out", "o.png", "--size", "32"], "--size"),
    (["synthesize", "--out", "folder"], "--count"),
    (["align", "missing.jpg", "--out", "folder"], "missing.jpg"),
    (["train", "encoder", "--profile", "huge"], "--profile"),
    (["train", "encoder", "--images", "0"], "--images"),
    (["run", "no_such_notebook"], "no_such_notebook"),
    (["run", "no_such_notebook", "--set", "x"], "name=value"),
    (["run", "no_such_notebook", "--set", "x=1", "--set", "x=2"], "twice"),
    (["assets", "no_such_asset"], "no_such_asset"),
    (["bench", "--no-such-option"], "--no-such-option"),
])
def test_bad_input_gets_one_line_and_status_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in one_line(capsys)


def test_nothing_is_written_to_an_empty_name(tmp_path: Path) -> None:
    commands = [*cli.app.registered_commands, *directions.directions.registered_commands]
    hints = [typing.get_type_hints(command.callback, include_extras=True) for command in commands]
    outputs = [hint for found in hints for name, hint in found.items() if name in ("out", "script_out", "export")]
    assert len(outputs) >= 18
    for _, option in map(typing.get_args, outputs):
        with pytest.raises(FacemugError, match="empty name"):
            option.parser("")
        assert option.parser(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("command", [["sample"], ["replay", __file__], ["pose", __file__, "--frontal"]])
def test_a_slash_after_the_name_of_a_picture_means_a_folder(command: list[str], tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--out", f"{tmp_path / 'face.png'}/"]) == 2
    assert f"no folder {tmp_path / 'face.png'}: make it first" in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--influence", "--attribute"])
def test_weights_must_be_numbers(option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", __file__, "--mask", __file__, "--out", "o.png", option, "sketch=much"]) == 2
    assert "'much'" in one_line(capsys)


def test_the_exit_status_says_that_something_was_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    def open_face(photo: Path, **_: object) -> SimpleNamespace:
        if photo.stem == "wall":
            raise FacemugError("no face found in wall.png")
        return SimpleNamespace(image=torch.zeros(1, 3, 64, 64), photo=None)

    monkeypatch.setattr("facemug_lib.commands.many_photos.open_face", open_face)
    face, wall = tmp_path / "face.png", tmp_path / "wall.png"
    face.touch()
    wall.touch()
    assert main(["align", str(face), str(wall), "--out", str(tmp_path / "out")]) == 3
    assert "skipped: no face found in wall.png" in capsys.readouterr().out
    assert main(["align", str(face), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(("raised", "status", "words"), [
    (FacemugError("no face was found:\n use a photo with a face"), 2, "no face was found: use a photo"),
    (PermissionError(13, "Permission denied", "/root/o.png"), 2, "Permission denied: /root/o.png"),
    (KeyboardInterrupt(), 130, "interrupted"),
])
def test_errors_for_people_are_one_line(raised: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(FacePrior, "load", fail)
    assert main(["sample", "--out", "o.png"]) == status
    assert words in one_line(capsys)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_no_reason_to_fail(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    latin1 = os.fsdecode(b"caf\xe9.jpg")

    def say(*_: object, **__: object) -> None:
        print(f"edited 🙂.jpg and {latin1}")
        raise FacemugError(f"{latin1} and 🙂.jpg show no face")

    monkeypatch.setattr(FacePrior, "load", say)
    assert main(["sample", "--out", "o.png"]) == 2
    for stream in streams:
        stream.flush()
        shown = stream.buffer.getvalue().decode(encoding)
        assert r"caf\udce9.jpg" in shown and ("🙂" if encoding == "utf-8" else r"\U0001f642") in shown


def test_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FacePrior, "load", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["sample", "--out", "o.png"])


def test_options_reach_the_implementations(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(edit, "_edit", lambda *given: seen.update(given=given))
    planned = SimpleNamespace(config={}, device="cpu", folder="run")
    stub(monkeypatch, "facemug_lib.training.run", start_run=None,
         plan_run=lambda *given, **more: seen.update(given=given, **more) or planned)
    photo = str(Path(__file__))
    assert main(["edit", photo, "--mask", photo, "--color", photo, "--out", "o.png", "--refine", "5", "--influence", "sketch=0.5",
                 "--guidance-frame", "aligned", "--attribute", "smile=1.5", "--attribute", "age=-1",
                 "--script-out", "s.json", "--exemplar-face", "1", "--bank", photo,
                 "--text", "an old man", "--text-from", "a man", "--text-steps", "9", "--variety", "0.5",
                 "--size", "512", "--no-grain"]) == 0
    guidance = {"mask": Path(photo), "sketch": None, "semantics": None, "colour": Path(photo), "exemplar": None}
    values = {"attributes": {"smile": 1.5, "age": -1.0}, "influence": {"sketch": 0.5}, "refine": 5, "seed": 0,
              "guidance_frame": "aligned", "text": "an old man", "text_source": "a man", "text_steps": 9, "text_model": "small",
              "exemplar_face": 1, "system": None, "variety": 0.5, "size": 512, "grain": False}
    networks = {"device": "auto", "weights": None, "directions": None, "bank": Path(photo), "encoder": None}
    assert (vars(seen["given"][0]), *seen["given"][1:]) == (
        {"face": Path(photo)} | guidance | values, None, Path("o.png"), Path("s.json"), networks, None)
    seen.clear()
    assert main(["train", "encoder", "--data", "faces", "--batch", "6", "--set", "lr=1e-3", "--dry-run"]) == 0
    assert seen == {"given": ("encoder", "smoke", {"lr": "1e-3", "batch": 6}), "out": None, "data": "faces", "seed": 0,
                    "device": "auto", "init": "scratch"}


@pytest.mark.parametrize("command", [["evaluate"], ["gallery", "--out", "o.png"], ["influence", "--out", "o.png"],
                                     ["prompts", "--out", "o"], ["app"], ["bench"]], ids=lambda one: one[0])
def test_a_bank_reaches_whoever_loads_the_prior(command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    from facemug_lib.editing.editor import Editor

    (tmp_path / "bank.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)

    def load(device: object = "auto", weights: Path | None = None, *, bank: Path | None = None) -> None:
        raise FacemugError(f"asked for {weights} and {bank}")

    monkeypatch.setattr(Editor, "load", load)
    assert main([*command, "--weights", ".", "--bank", "bank.pt"]) == 2
    assert "asked for . and bank.pt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bank.pt"]


def test_doctor_reports_what_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert {name for name, check in report["checks"].items() if check["status"] == "broken"} == {"weights"}
    assert "bad.safetensors" in report["checks"]["weights"]["text"]
