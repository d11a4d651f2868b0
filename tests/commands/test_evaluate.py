"""``facemug evaluate``: what it measures by default, and what it answers to bad input."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import PIL.Image
import pytest
import torch

from facemug_lib.commands.evaluate import evaluate as evaluate_command
from facemug_lib.commands.figures import gallery
from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import evaluate, parallel, request
from facemug_lib.store import Store


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


@pytest.mark.parametrize("aligned", [False, True])
def test_folders_that_cannot_be_used_are_refused_before_any_work(aligned: bool, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Editor, "load", lambda *given: pytest.fail("loaded the networks first"))
    empty, one, two, prior = (tmp_path / name for name in ("empty", "one", "two", "prior"))
    for folder, count in ((empty, 0), (one, 1), (two, 2), (prior, 2)):
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").touch()
    (empty / ".hidden.png").touch()
    again = tmp_path / "again" / "two"
    again.mkdir(parents=True)
    (again / "a.jpg").touch(), (again / "b.jpg").touch()
    for given, message in (({"photos": [empty]}, "empty holds 0 pictures .*png.*: an evaluation needs two faces or more"),
                           ({"photos": [two, one], "no_prior": True}, "one holds 1 pictures"),
                           ({"photos": [two, again]}, "two test sets are called 'two': rename one"),
                           ({"photos": [prior]}, "two test sets are called 'prior'"),
                           ({"photos": [two], "images": [empty]}, "no picture in .*empty: it should hold empty's")):
        with pytest.raises(FacemugError, match=message):
            evaluate_command(10, tmp_path / "out", aligned=aligned, **given)
    with pytest.raises(FacemugError, match="empty holds 0 pictures"):
        gallery(tmp_path / "out.png", photos=empty)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.png").exists()


def test_folders_without_faces_are_refused_before_anything_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "prior_set", lambda *given: pytest.fail("sampled faces first"))
    monkeypatch.setattr(request.ExpertStudent, "load", lambda device: None)
    for number in range(2):
        PIL.Image.new("RGB", (64, 64), (40 * number, 90, 10)).save(tmp_path / f"{number}.png")
    with pytest.raises(FacemugError, match="holds 0 usable faces"):
        request.test_sets(SimpleNamespace(device="cpu", prior=None), 10, [tmp_path], False, False, Store(tmp_path / "c"), print)
    assert not (tmp_path / "c").exists()


def test_a_worker_that_nobody_waits_for_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for parent in (None, SimpleNamespace(is_alive=lambda: True)):
        monkeypatch.setattr(parallel.multiprocessing, "parent_process", lambda parent=parent: parent)
        parallel._report(2, "10 of 20 faces")
    assert capsys.readouterr().out == "worker 2: 10 of 20 faces\n" * 2
    monkeypatch.setattr(parallel.multiprocessing, "parent_process", lambda: SimpleNamespace(is_alive=lambda: False))
    with pytest.raises(SystemExit):
        parallel._report(2, "20 of 20 faces")
