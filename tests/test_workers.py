"""One function on many inputs, in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import working
from processes import is_running

from facemug_lib.errors import FacemugError
from facemug_lib.workers import WorkerError, in_order, one_by_one

KIT = Path(working.__file__).parent


def test_results_come_in_the_order_of_the_jobs_and_from_several_processes() -> None:
    jobs = ["sleep 0.5", *(f"job {n}" for n in range(8))]  # the first is overtaken
    assert [one.get() for one in in_order(working.start, jobs, 2)] == jobs
    assert [one.get() for one in one_by_one(working.start, jobs)] == jobs
    processes = {one.get() for one in in_order(working.start, ["pid"] * 2 + ["sleep 0.2"] * 2 + ["pid"] * 2, 2)} - {"sleep 0.2"}
    assert 1 <= len(processes) <= 2 and str(os.getpid()) not in processes


def test_errors_stay_with_their_job(capfd: pytest.CaptureFixture[str]) -> None:
    done = list(in_order(working.start, ["refuse no face", "a", "full disk.png", "fail badly", "b"], 2))
    assert [one.result for one in done] == [None, "a", None, None, "b"]
    refused, full, failed = (done[place].error for place in (0, 2, 3))
    assert isinstance(refused, FacemugError) and not isinstance(refused, WorkerError) and str(refused) == "no face"
    assert isinstance(full, OSError) and (full.errno, full.filename) == (28, "disk.png")
    assert isinstance(failed, WorkerError) and str(failed) == "its worker failed (ValueError: badly)"
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_dies_costs_its_own_job_alone(count: int) -> None:
    done = list(in_order(working.start, ["a", "die", "b", "leave 3", "c", "die"], count))
    assert [one.result for one in done] == ["a", None, "b", None, "c", None]
    assert all(isinstance(done[place].error, WorkerError) for place in (1, 3, 5))
    assert "SIGKILL, perhaps for want of memory" in str(done[1].error) and "ended with status 3" in str(done[3].error)


def test_workers_that_do_not_start_end_the_work() -> None:
    with pytest.raises(FacemugError, match="no weights here"):
        list(in_order(working.start_badly, ["a"] * 5, 2))
    with pytest.raises(WorkerError, match="ended with status 7"):
        list(in_order(working.start_dead, ["a"] * 5, 2))
    assert list(in_order(working.start_badly, [], 2)) == []


def test_who_stops_asking_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    made = in_order(working.start, ["a", "sleep 60", "sleep 60"], 2)
    assert next(made).get() == "a"
    assert len(_workers_since(before)) == 2
    made.close()
    assert not _workers_since(before)


def _workers_since(before: set[int]) -> list[int]:
    """New processes below this one, but for multiprocessing's own helper."""
    return [child.pid for child in psutil.Process().children(recursive=True)
            if child.pid not in before and "resource_tracker" not in " ".join(child.cmdline())]


def test_ctrl_c_ends_all_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    command = _writing(60, files)
    pids = [_pid_in(file) for file in files]
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does it, which sends it to all of them
    assert command.communicate(timeout=30) == (None, "") and command.returncode == 130
    assert not any(is_running(pid) for pid in pids) and not any(file.exists() for file in files)


def test_workers_end_when_nobody_waits_for_them(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    command = _writing(1, files)
    pids = [_pid_in(file) for file in files]
    command.kill()
    command.communicate(timeout=30)
    ends = time.monotonic() + 30
    while any(is_running(pid) for pid in pids) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def _writing(seconds: int, files: list[Path]) -> subprocess.Popen:
    """A command whose two workers are writing these files for so long."""
    return subprocess.Popen([sys.executable, str(KIT / "working.py"), str(seconds), *map(str, files)], start_new_session=True,
                            stderr=subprocess.PIPE, text=True)


def _pid_in(file: Path) -> int:
    for _ in range(600):
        if file.is_file() and (text := file.read_text()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError(f"{file} was not written within 30 seconds")
