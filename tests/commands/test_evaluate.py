"""``facemug evaluate``: what it measures by default, and what it answers to bad input."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from facemug_lib.commands.evaluate import evaluate as evaluate_command
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import evaluate, parallel, request


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The command's own work is done, the measuring is only noted: which parts, and with how many workers."""
    noted: list[tuple[str, ...]] = []
    monkeypatch.setattr(Editor, "load", lambda device, weights, bank: SimpleNamespace(device=device))
    monkeypatch.setattr(request, "test_sets", lambda *rest: [])
    monkeypatch.setattr(request, "methods", lambda *rest: [])
    monkeypatch.setattr(parallel, "fill_in_parallel", lambda workers, *rest: noted.append(("workers", workers)))

    def measure(*arguments: object) -> SimpleNamespace:
        noted.append(tuple(arguments[6]))
        return SimpleNamespace(measured=[])

    monkeypatch.setattr(evaluate, "evaluate", measure)

    def write(evaluation: object, out: Path) -> list[Path]:
        (out / "tables.md").write_text("")
        return []

    monkeypatch.setattr(evaluate, "write", write)
    return noted


def test_completion_is_measured_unless_more_is_asked_for(asked: list[tuple[str, ...]], tmp_path: Path) -> None:
    evaluate_command(10, tmp_path / "new", workers=1, device="cpu")
    evaluate_command(10, tmp_path, workers=1, device="cpu", part=["warping", "paper"])
    evaluate_command(10, tmp_path, workers=1, device="cpu", part=["warping", "all"])
    assert asked == [("completion",), ("warping", "paper"), evaluate.PARTS]


def test_workers_share_the_completion_part(asked: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.psutil.Process, "cpu_affinity", lambda self: [0, 1, 2], raising=False)
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: SimpleNamespace(available=9 << 30))
    evaluate_command(10, tmp_path, device="cpu")  # 9 GiB are enough for two
    evaluate_command(10, tmp_path, device="cpu", workers=3)
    evaluate_command(10, tmp_path, device="cpu", part=["guidance"])
    assert asked == [("workers", 2), ("completion",), ("workers", 3), ("completion",), ("guidance",)]
    assert parallel.usual_workers(torch.device("cuda")) == 1
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 30))
    assert parallel.usual_workers(torch.device("cpu")) == 1


@pytest.mark.parametrize(("bad", "expected"), [
    ({"part": ["everything"]}, "unknown part 'everything': choose from completion, .*, all"),
    ({"family": ["ears"]}, "unknown mask family 'ears': choose from irregular"),
    ({"no_prior": True}, "leave out --no-prior, or name a folder"),
    ({"limit": ["speed=3"]}, "--limit speed: choose from vgg"),
    ({"limit": ["vgg=-3"]}, "--limit vgg=-3: give a number of faces, or all"),
])
def test_bad_input_gets_one_line(bad: dict[str, object], expected: str, tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match=expected) as caught:
        evaluate_command(10, tmp_path / "out", **bad)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_worker_that_nobody_waits_for_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for parent in (None, SimpleNamespace(is_alive=lambda: True)):
        monkeypatch.setattr(parallel.multiprocessing, "parent_process", lambda parent=parent: parent)
        parallel._report(2, "10 of 20 faces")
    assert capsys.readouterr().out == "worker 2: 10 of 20 faces\n" * 2
    monkeypatch.setattr(parallel.multiprocessing, "parent_process", lambda: SimpleNamespace(is_alive=lambda: False))
    with pytest.raises(SystemExit):
        parallel._report(2, "20 of 20 faces")
