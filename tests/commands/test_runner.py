"""The notebook runner: parameters refused before a kernel starts, and outcomes that are what they say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from facemug_lib import recording
from facemug_lib.cli import main
from facemug_lib.commands import runner
from facemug_lib.commands.notebook_parameters import read_parameters, resolve_parameters
from facemug_lib.commands.runner import find_notebook, run_notebook
from facemug_lib.errors import FacemugError
from facemug_lib.recording import figure_path, record

PARAMETERS = """\
\"\"\"What a run is made of.\"\"\"
profile = "smoke"        # filled in by the runner
images = 10              # count
rate: float = 0.5        # step size
flip = True
name = "plain"
sizes: list[int] = [1, 2]
limit: int | None = None
"""
PROFILES = {"smoke": {}, "laptop": {"images": 500, "rate": 1}}


def notebook_of(*sources: str, parameters: str = PARAMETERS, profiles: dict | None = None) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"facemug": {"profiles": PROFILES if profiles is None else profiles}})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def _write(*sources: str, **options: object) -> str:
        path = tmp_path / "90_tiny.ipynb"
        nbformat.write(notebook_of(*sources, **options), path)
        return str(path)

    return _write


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(runner, "_execute", start)


# -------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(("text", "expected"), [
    ("rate=1e-3", 0.001), ("rate=2", 2.0), ("images=7", 7), ("flip=false", False), ("name=1e-3", "1e-3"), ("name=none", "none"),
    ("sizes=[3, 4]", [3, 4]), ("limit=12", 12), ("limit=none", None),
])
def test_overrides_are_read_by_the_type_of_the_default(text: str, expected: object) -> None:
    name, _, value = text.partition("=")
    resolved = resolve_parameters(notebook_of(), "90_tiny.ipynb", "smoke", {name: value})[name]
    assert resolved == expected
    assert type(resolved) is type(expected)


@pytest.mark.parametrize("text", ["images=1.5", "images=many", "images=1e3", "rate=fast", "rate=nan", "rate=inf", "flip=2",
                                  "sizes=3", "sizes=[1.5]", "sizes=[1,", "limit=x", "images=none"])
def test_values_of_the_wrong_type_are_refused(text: str) -> None:
    name, _, value = text.partition("=")
    with pytest.raises(FacemugError, match=f"parameter {name} is of type .* cannot be"):
        resolve_parameters(notebook_of(), "90_tiny.ipynb", "smoke", {name: value})


def test_profiles_override_defaults_and_settings_override_profiles() -> None:
    values = resolve_parameters(notebook_of(), "90_tiny.ipynb", "laptop", {"images": "3"})
    assert values == {"profile": "laptop", "images": 3, "rate": 1.0, "flip": True, "name": "plain", "sizes": [1, 2],
                      "limit": None}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FacemugError, match=r"no parameter 'imags': it has profile, images, .* \(did you mean images\?\)"):
        resolve_parameters(notebook_of(), "90_tiny.ipynb", "smoke", {"imags": "3"})
    with pytest.raises(FacemugError, match="no parameter 'typo'"):
        resolve_parameters(notebook_of(profiles={"smoke": {"typo": 1}}), "90_tiny.ipynb", "smoke", {})


def test_profiles_are_checked() -> None:
    with pytest.raises(FacemugError, match="unknown profile 'smok'.*did you mean smoke"):
        resolve_parameters(notebook_of(), "90_tiny.ipynb", "smok", {})
    with pytest.raises(FacemugError, match="has no profile paper: it has smoke, laptop"):
        resolve_parameters(notebook_of(), "90_tiny.ipynb", "paper", {})
    with pytest.raises(FacemugError, match="parameter images is of type int"):
        resolve_parameters(notebook_of(profiles={"smoke": {"images": "12"}}), "90_tiny.ipynb", "smoke", {})
    with pytest.raises(FacemugError, match="follows --profile"):
        resolve_parameters(notebook_of(), "90_tiny.ipynb", "smoke", {"profile": "paper"})


@pytest.mark.parametrize(("cell", "message"), [
    ("x = f(3)", "must be a literal"), ("x = None", "needs its type"), ("import os", "is not `name: type = value`"),
    ("x: Path = 'a'", "is not made of"), ("x: int = 'a'", "cannot be 'a'"), ("x = (", "no Python"),
])
def test_a_parameters_cell_holds_typed_literals_only(cell: str, message: str) -> None:
    with pytest.raises(FacemugError, match=message):
        read_parameters(notebook_of(parameters=cell), "90_tiny.ipynb")


def test_a_notebook_has_exactly_one_parameters_cell() -> None:
    notebook = notebook_of()
    notebook.cells.append(notebook.cells[0])
    with pytest.raises(FacemugError, match="has 2 cells tagged"):
        read_parameters(notebook, "90_tiny.ipynb")


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("setting", ["nothing=1", "images=x"])
def test_bad_settings_end_the_command_before_a_kernel_starts(setting: str, write: Callable[..., str], tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", write("1"), "--set", setting, "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("facemug: error: ") and captured.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_notebooks_are_found_by_number_name_and_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    for name in ("00_quickstart", "03_style_encoder", "03_style_extra"):
        nbformat.write(notebook_of(), tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(runner, "CLONE", tmp_path)
    for name in ("0", "00", "00_q", "00_quickstart", "00_quickstart.ipynb"):
        assert find_notebook(name).stem == "00_quickstart"
    assert find_notebook("03_style_en").stem == "03_style_encoder"
    with pytest.raises(FacemugError, match="could be 03_style_encoder or 03_style_extra"):
        find_notebook("3")
    with pytest.raises(FacemugError, match="no notebook '00_quikstart'.*did you mean 00_quickstart"):
        find_notebook("00_quikstart")
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(FacemugError, match="not a readable notebook"):
        run_notebook(str(tmp_path / "broken.ipynb"))


# ------------------------------------------------------------------------------------------- record and figures


def test_record_keeps_finite_json_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(recording.RESULT_VARIABLE, str(tmp_path / "recorded.json"))
    record(psnr=SimpleNamespace(tolist=lambda: 28.5), names=["a"])
    record(psnr=29.0)
    assert json.loads((tmp_path / "recorded.json").read_text())["metrics"] == {"psnr": 29.0, "names": ["a"]}
    with pytest.raises(FacemugError, match="x = nan is not finite"):
        record(x=float("nan"))
    with pytest.raises(FacemugError, match="x is a object"):
        record(x=object())


def test_figures_have_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(recording.FIGURES_VARIABLE, str(tmp_path / "deep" / "figures"))
    assert figure_path("fig_a.png") == tmp_path / "deep" / "figures" / "fig_a.png"
    assert (tmp_path / "deep" / "figures").is_dir()
    for bad in ("../fig_a.png", "fig_a", ""):
        with pytest.raises(FacemugError, match="figure name"):
            figure_path(bad)


@pytest.mark.usefixtures("no_kernel")
def test_the_executed_copy_never_replaces_the_notebook(write: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="would replace the notebook"):
        run_notebook(write("1"), out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemugError, match="is a file"):
        run_notebook(str(tmp_path / "90_tiny.ipynb"), out=tmp_path / "file")


@pytest.mark.usefixtures("no_kernel")
def test_no_room_for_temporary_files_is_one_line(write: Callable[..., str], tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.tempfile, "tempdir", str(tmp_path / "no such folder"))
    with pytest.raises(FacemugError, match="no temporary file can be written .*: free some space, or set TMPDIR"):
        run_notebook(write("1"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stopped_runner_leaves_no_older_outcome(write: Callable[..., str], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_execute", stop)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text('{"status": "ok"}')
    assert main(["run", write("1"), "--out", str(tmp_path / "run")]) == 130
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["status"] == "failed" and "stopped before the notebook ended" in stored["error"]


# ------------------------------------------------------------------------------------------------ real kernels


@pytest.mark.notebook
def test_a_good_run(write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(recording.FIGURES_VARIABLE, str(tmp_path / "figures"))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "fig_old.png").write_bytes(b"x")
    os.utime(tmp_path / "figures" / "fig_old.png", (1e9, 1e9))
    source = """\
import os, sys
from facemug_lib.recording import figure_path, record
from PIL import Image
Image.new("RGB", (9, 9), "teal").save(figure_path("fig_tiny.png"))
figure_path("fig_never_saved.png")
figure_path("fig_old.png")
record(rate=rate, rate_type=type(rate).__name__, images=images, profile=profile, limit=limit, sizes=sizes)
record(executable=sys.executable, copies=[name for name in os.listdir("run") if name.endswith(".ipynb")])
record(is_own_ipython="facemug-run-" in get_ipython().ipython_dir)
print("words of the notebook")"""
    lines: list[str] = []
    result = run_notebook(write(source), "laptop", {"rate": "1e-3"}, tmp_path / "run", report=lines.append)
    assert result.ok, result.error
    assert result.metrics == {"rate": 0.001, "rate_type": "float", "images": 500, "profile": "laptop", "limit": None,
                              "sizes": [1, 2], "executable": sys.executable, "is_own_ipython": True,
                              "copies": [".90_tiny.ipynb"]}  # hidden until it is whole
    assert result.figures == [str(tmp_path / "figures" / "fig_tiny.png")]
    assert (tmp_path / "figures" / "fig_old.png").read_bytes() == b"x"
    record = json.loads((tmp_path / "figures" / "fig_tiny.png.json").read_text())
    assert record["parameters"]["rate"] == 0.001 and record["settings"] == {"rate": 0.001} and "recording" in record["code"]
    assert str(tmp_path) not in json.dumps(record)
    assert any("words of the notebook" in line for line in lines)
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["status"] == "ok" and stored["metrics"] == result.metrics and stored["environment"]["torch"]
    executed = nbformat.read(tmp_path / "run" / "90_tiny.ipynb", as_version=4)
    assert not list((tmp_path / "run").glob(".*"))
    assert any("words of the notebook" in str(cell.get("outputs")) for cell in executed.cells)


@pytest.mark.notebook
@pytest.mark.parametrize(("source", "message"), [
    ("raise ValueError('first line\\nsecond line')", "ValueError: first line"),
    ("import os; os.kill(os.getpid(), 9)", "kernel died"),
    ("raise SystemExit(0)", "stopped before the last cell"),
])
def test_errors_killed_kernels_and_early_exits_are_failures(source: str, message: str, write: Callable[..., str], tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text('{"status": "ok"}')  # an older outcome that must not survive
    figures = tmp_path / "figures"
    monkeypatch.setenv(recording.FIGURES_VARIABLE, str(figures))
    figures.mkdir()
    (figures / "fig_kept.png").write_bytes(b"old")
    before = """from facemug_lib.recording import figure_path, record; record(kept=1)
figure_path("fig_kept.png").write_bytes(b"half")"""
    assert main(["run", write(before, source, "print('not reached')"), "--out", str(folder)]) == 1
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("facemug: error: ")]
    assert len(errors) == 1 and message in errors[0] and "Traceback" not in captured.err
    stored = json.loads((folder / "result.json").read_text())
    assert stored["status"] == "failed" and message in stored["error"] and stored["metrics"] == {"kept": 1}
    assert [path.name for path in figures.iterdir()] == ["fig_kept.png"] and (figures / "fig_kept.png").read_bytes() == b"old"
