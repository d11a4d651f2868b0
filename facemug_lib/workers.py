"""One function on many inputs, in several processes, its results in the order of the inputs.

A worker that dies, for want of memory say, costs the input that it had; another one takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from facemug_lib.errors import FacemugError

Job = TypeVar("Job")
Result = TypeVar("Result")
PATIENCE = 5.0  # seconds that a worker has to end by itself


class WorkerError(FacemugError):
    """A job was not done: its process died over it, or the function raised what it should not."""


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Result]):
    """What became of a job: its result, or the error in place of it."""

    result: Result | None = None
    error: Exception | None = None

    def get(self) -> Result:
        """The result. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.result


def one_by_one(start: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job]) -> Iterator[Outcome[Result]]:
    """The outcomes of ``jobs`` in this very process, for whoever wants no others. Errors that are no :class:`FacemugError` are
    raised."""
    work = start()
    for job in jobs:
        try:
            outcome = Outcome(work(job))
        except FacemugError as error:
            outcome = Outcome(error=error)
        yield outcome


def in_order(start: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], count: int) -> Iterator[Outcome[Result]]:
    """The outcomes of ``jobs``, in their order, from ``count`` processes.

    The processes are started anew ("spawn"). Each calls ``start`` once, which gives the function that does a job; it, jobs and
    results must pickle. A process has one job at a time, so no more than ``count`` are in the works. Results that have overtaken
    others wait here. The error of an outcome is

    - what the function raised, where that is a :class:`FacemugError` or an ``OSError``;
    - a :class:`WorkerError` where it raised something else, whose traceback goes to standard error, or where the process died.

    Raises what ``start`` raised where none of the processes came up. When nobody asks for outcomes any more, after Ctrl+C say,
    all processes end, and so they do when this one is gone.
    """
    workers: list[_Worker] = []
    done: dict[int, Outcome[Result]] = {}
    given = told = 0
    try:
        workers += (_Worker(start) for _ in range(min(count, len(jobs))))
        while told < len(jobs):
            for worker in _with_news(workers):
                outcome, number = worker.hear(), worker.number
                if number is not None:
                    done[number], worker.number = outcome, None
                if worker.is_gone:
                    workers.remove(worker)
                    if number is None and not workers:
                        raise outcome.error
                    if number is not None and given < len(jobs):
                        workers.append(_Worker(start))
                elif given < len(jobs):
                    worker.give(given, jobs[given])
                    given += 1
            while told in done:
                yield done.pop(told)
                told += 1
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()


class _Worker:
    """A process and the pipe to it. ``number`` is that of the job it has; ``is_gone``: it is no use any more."""

    def __init__(self, start: Callable[[], Callable[[Job], Result]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end, start), daemon=True)
        self.number: int | None = None
        self.is_gone = False
        with _deaf_to_ctrl_c():
            self.process.start()
        other_end.close()  # so that the pipe ends with the process

    def give(self, number: int, job: Job) -> None:
        """Have the job done."""
        self.number = number
        with contextlib.suppress(OSError):  # it has just died, which the next look at it shows
            self.connection.send(job)

    def hear(self) -> Outcome:
        """Its outcome, or that it is ready; for one that died, a :class:`WorkerError`."""
        try:
            outcome, self.is_gone = self.connection.recv()
            return outcome
        except (EOFError, OSError):
            self.end()
            return Outcome(error=WorkerError(f"its worker {_ending(self.process.exitcode)}"))

    def end(self) -> None:
        """Wait a little for the end of the process, then bring it about."""
        self.is_gone = True
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _with_news(workers: Sequence[_Worker]) -> list[_Worker]:
    heard = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in heard]


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with status {code}"
    why = ", perhaps for want of memory: use fewer workers" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{why}"


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started in this block never hear of Ctrl+C, which a terminal sends to all: who started them ends them."""
    if threading.current_thread() is not threading.main_thread():  # only that one may say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# -- in the process -------------------------------------------------------------------------------------------------------


def _serve(connection: Connection, start: Callable[[], Callable[[Job], Result]]) -> None:
    """Do jobs until the pipe ends. Each answer is (outcome, whether it was the last)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is half written is taken away
    made = _tried(start)
    connection.send((Outcome(error=made.error), made.error is not None))
    while made.error is None:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        outcome = _tried(lambda job=job: made.result(job))
        with contextlib.suppress(OSError):  # nobody is there to hear it
            connection.send((outcome, False))


def _tried(work: Callable[[], Result]) -> Outcome[Result]:
    """What ``work`` gives, or raises: in a form that pickles, which exceptions with arguments of their own do not."""
    try:
        return Outcome(work())
    except FacemugError as error:
        return Outcome(error=FacemugError(str(error)))
    except OSError as error:
        return Outcome(error=OSError(error.errno, error.strerror, error.filename) if error.errno else OSError(str(error)))
    except Exception as error:
        traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        return Outcome(error=WorkerError(f"its worker failed ({type(error).__name__}: {first})"))
