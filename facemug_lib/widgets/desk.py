"""Several kinds of work for one :class:`~facemug_lib.widgets.worker.Worker`: of each kind only what was asked for last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from facemug_lib.errors import FacemugError
from facemug_lib.widgets.worker import Job, Stopped, Turn, Worker


class Desk:
    """What is still to be done, by its kind; kinds in the order of their urgency.

    ``on_error`` gets one line about whatever goes wrong. Jobs run one after the other, each with ``at_work`` held.
    """

    def __init__(self, kinds: Sequence[str], on_error: Callable[[str], None]) -> None:
        self._kinds, self._on_error = tuple(kinds), on_error
        self._worker = Worker(on_error)
        self._todo: dict[str, Job] = {}
        self.lock, self.at_work = threading.RLock(), threading.RLock()

    def ask(self, kind: str, job: Job) -> None:
        """Do ``job`` soon; one of the same kind that still waits is forgotten. Returns at once."""
        with self.lock:
            self._todo[kind] = job
        self._worker.submit(self._work)

    def wants(self, *kinds: str) -> bool:
        """Whether a job of these kinds waits."""
        with self.lock:
            return any(kind in self._todo for kind in kinds)

    def forget(self, *kinds: str) -> None:
        """Drop what waits of these kinds."""
        with self.lock:
            for kind in kinds:
                self._todo.pop(kind, None)

    def stop(self) -> None:
        """Stop the running job at its next step; what waits is done after it."""
        self._worker.cancel()
        with self.lock:
            if self._todo:
                self._worker.submit(self._work)

    def give_way(self, turn: Turn, *kinds: str) -> None:
        """To be called between the steps of long work: do what waits of these kinds. Raises :class:`Stopped` once cancelled."""
        turn.progress(0, 0)
        for kind in kinds:
            with self.lock:
                job = self._todo.pop(kind, None)
            if job is not None:
                try:
                    job(turn)
                except Stopped:
                    turn.progress(0, 0)
                except FacemugError as error:
                    self._on_error(str(error))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is left to do; false if that took longer than ``seconds``."""
        end = None if seconds is None else time.monotonic() + seconds
        while self._worker.wait(None if end is None else max(0.0, end - time.monotonic())):
            with self.lock:
                if not self._todo and not self._worker.is_busy:
                    return True
        return False

    def _work(self, turn: Turn) -> None:
        with self.lock:
            kind = min(self._todo, key=self._kinds.index, default=None)
            job = None if kind is None else self._todo.pop(kind)
        try:
            if job is not None:
                with self.at_work:
                    job(turn)
        finally:
            with self.lock:
                if self._todo:
                    self._worker.submit(self._work)
