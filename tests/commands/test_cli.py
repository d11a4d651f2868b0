"""The command line: help that is quick and has examples, one line and exit status 2 for bad input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import typer

from facemug_lib import cli
from facemug_lib.cli import main
from facemug_lib.commands.bodies import doctor
from facemug_lib.errors import FacemugError

COMMANDS = ["doctor", "assets", "run", "train", "average", "edit", "pose", "replay", "directions", "sample", "app", "align",
            "synthesize", "evaluate", "subsets", "influence", "gallery", "prompts", "bench"]


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


@pytest.mark.parametrize("option", ["--influence", "--attribute"])
def test_weights_must_be_numbers(option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stub(monkeypatch, "facemug_lib.commands.bodies.edit", edit_command=lambda **_: None)
    assert main(["edit", __file__, "--mask", __file__, "--out", "o.png", option, "sketch=much"]) == 2
    assert "'much'" in one_line(capsys)


@pytest.mark.parametrize(("arguments", "body"), [
    (["align", "a.png"], "edit.align_command"), (["replay", "a.png"], "scripts.replay_command"),
    (["directions", "new", "x"], "directions.new_command")])
def test_the_exit_status_says_that_something_was_skipped(arguments: list[str], body: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    for skipped, status in ((2, 3), (0, 0)):
        monkeypatch.setattr(f"facemug_lib.commands.bodies.{body}", lambda *given, skipped=skipped, **more: skipped)
        assert main([*arguments, "--out", "out"]) == status


@pytest.mark.parametrize(("raised", "status", "words"), [
    (FacemugError("no face was found:\n use a photo with a face"), 2, "no face was found: use a photo"),
    (PermissionError(13, "Permission denied", "/root/o.png"), 2, "Permission denied: /root/o.png"),
    (KeyboardInterrupt(), 130, "interrupted"),
])
def test_errors_for_people_are_one_line(raised: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise raised

    stub(monkeypatch, "facemug_lib.commands.bodies.edit", sample_command=fail)
    assert main(["sample", "--out", "o.png"]) == status
    assert words in one_line(capsys)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_no_reason_to_fail(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    latin1 = os.fsdecode(b"caf\xe9.jpg")

    def say(**_: object) -> None:
        print(f"edited 🙂.jpg and {latin1}")
        raise FacemugError(f"{latin1} and 🙂.jpg show no face")

    stub(monkeypatch, "facemug_lib.commands.bodies.edit", sample_command=say)
    assert main(["sample", "--out", "o.png"]) == 2
    for stream in streams:
        stream.flush()
        shown = stream.buffer.getvalue().decode(encoding)
        assert r"caf\udce9.jpg" in shown and ("🙂" if encoding == "utf-8" else r"\U0001f642") in shown


def test_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "facemug_lib.commands.bodies.edit", sample_command=lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["sample", "--out", "o.png"])


def test_options_reach_the_implementations(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    stub(monkeypatch, "facemug_lib.commands.bodies.edit", edit_command=lambda **given: seen.update(given))
    stub(monkeypatch, "facemug_lib.commands.bodies.train", train_command=lambda **given: seen.update(given))
    photo = str(Path(__file__))
    assert main(["edit", photo, "--mask", photo, "--color", photo, "--out", "o.png", "--refine", "5", "--influence", "sketch=0.5",
                 "--guidance-frame", "aligned", "--attribute", "smile=1.5", "--attribute", "age=-1",
                 "--script-out", "s.json", "--exemplar-face", "1",
                 "--text", "an old man", "--text-from", "a man", "--text-steps", "9"]) == 0
    assert seen == {"photo": Path(photo), "mask": Path(photo), "out": Path("o.png"), "sketch": None, "semantics": None,
                    "colour": Path(photo), "exemplar": None, "refine": 5, "seed": 0, "face": None, "guidance_frame": "aligned",
                    "influence": {"sketch": 0.5}, "attributes": {"smile": 1.5, "age": -1.0}, "script_out": Path("s.json"),
                    "weights": None, "device": "auto", "directions": None, "text": "an old man", "text_source": "a man",
                    "text_steps": 9, "text_model": "small", "exemplar_face": 1}
    seen.clear()
    assert main(["train", "encoder", "--minutes", "0.5", "--set", "lr=1e-3", "--dry-run"]) == 0
    assert seen == {"stage": "encoder", "profile": "smoke", "images": None, "minutes": 0.5, "out": None, "data": "prior",
                    "dry_run": True, "set_overrides": {"lr": "1e-3"}, "seed": 0, "device": "auto", "batch": None,
                    "init": "scratch", "install": False}


def test_doctor_reports_what_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert {name for name, check in report["checks"].items() if check["status"] == "broken"} == {"weights"}
    assert "bad.safetensors" in report["checks"]["weights"]["text"]


def test_doctor_survives_a_check_that_fails() -> None:
    def _torch() -> doctor.Check:
        raise ImportError("libtorch.so is missing\nmore")

    check = doctor._guarded(_torch)
    assert (check.name, check.status, check.text) == ("torch", "broken", "ImportError: libtorch.so is missing")


def test_doctor_sees_an_empty_cache(empty_cache: Path) -> None:
    check = next(check for check in doctor.diagnose() if check.name == "assets")
    assert check.status == "note" and "prior" in check.text and not any(check.details["present"].values())
