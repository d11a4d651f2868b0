from __future__ import annotations

import threading

import pytest

from facemug_lib.errors import FacemugError
from facemug_lib.widgets.worker import Turn, Worker


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def worker(errors: list[str]) -> Worker:
    return Worker(errors.append)


def test_of_what_is_asked_for_meanwhile_only_the_last_is_done(worker: Worker) -> None:
    done, begun, may_end = [], threading.Event(), threading.Event()

    def first(turn: Turn) -> None:
        begun.set()
        may_end.wait(10)
        done.append("first")

    worker.submit(first)
    assert begun.wait(10)
    for number in range(50):
        worker.submit(lambda turn, number=number: done.append(number))
    assert worker.is_busy
    may_end.set()
    assert worker.wait(10) and not worker.is_busy
    assert done == ["first", 49]


def test_a_cancelled_job_stops_at_its_next_step_and_the_next_one_runs(worker: Worker, errors: list[str]) -> None:
    steps, started = [], threading.Event()

    def long(turn: Turn) -> None:
        for step in range(10_000):
            turn.progress(step, 10_000)
            steps.append(step)
            started.set()
            threading.Event().wait(0.001)

    worker.submit(long)
    assert started.wait(10)
    worker.cancel()
    assert worker.wait(10) and len(steps) < 10_000 and errors == []
    worker.submit(lambda turn: steps.append("after"))
    assert worker.wait(10) and steps[-1] == "after"


def test_cancelling_forgets_what_waits(worker: Worker) -> None:
    done, begun, may_end = [], threading.Event(), threading.Event()

    def running(turn: Turn) -> None:
        begun.set()
        may_end.wait(10)

    worker.submit(running)
    assert begun.wait(10)
    worker.submit(lambda turn: done.append("waited"))
    worker.cancel()
    may_end.set()
    assert worker.wait(10) and done == []


@pytest.mark.parametrize(("error", "said"), [(FacemugError("the mask is empty"), "the mask is empty"),
                                             (ZeroDivisionError("oh"), "should not have happened (ZeroDivisionError: oh)")])
def test_errors_are_told_and_the_thread_lives_on(worker: Worker, errors: list[str], error: Exception, said: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    def job(turn: Turn) -> None:
        raise error

    worker.submit(job)
    assert worker.wait(10) and len(errors) == 1 and said in errors[0]
    done = []
    worker.submit(lambda turn: done.append(True))
    assert worker.wait(10) and done == [True]


def test_waiting_ends_in_time(worker: Worker) -> None:
    may_end = threading.Event()
    worker.submit(lambda turn: may_end.wait(10))
    assert not worker.wait(0.05)
    may_end.set()
    assert worker.wait(10)
