"""Work beside the kernel's own thread, so that a widget goes on listening while a face is being painted.

A slider that is dragged asks for a picture many times a second and nobody wants to see the old ones: of all that is asked for
while one job runs, only the last is done.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from facemug_lib.errors import FacemugError


class Stopped(Exception):
    """Raised inside a job that was cancelled, by :class:`Turn`."""


class Turn:
    """What a running job is told about itself."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def check(self) -> None:
        """To be called between the parts of long work. Raises :class:`Stopped` once the job is cancelled."""
        if self.is_cancelled:
            raise Stopped

    def progress(self, done: int, total: int) -> None:
        """The same, as a :data:`~facemug_lib.progress.Progress`."""
        self.check()


Job = Callable[[Turn], None]


class Worker:
    """One thread that does what was asked for last.

    ``on_error`` gets one line about whatever a job raises; a job that was cancelled ends silently. The thread dies with the
    process and is started by the first job.
    """

    def __init__(self, on_error: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._changed = threading.Condition()
        self._next: Job | None = None
        self._turn: Turn | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._changed:
            return self._turn is not None or self._next is not None

    def submit(self, job: Job) -> None:
        """Do ``job`` as soon as the running one has ended; a job that still waits is forgotten."""
        with self._changed:
            self._next = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="facemug widget", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def cancel(self) -> bool:
        """Forget the waiting job and stop the running one at its next step. True where one waited, which nobody else will say."""
        with self._changed:
            forgotten, self._next = self._next is not None, None
            if self._turn is not None:
                self._turn.is_cancelled = True
            self._changed.notify_all()
            return forgotten

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is left to do; false if that took longer than ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._turn is None and self._next is None, seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None)
                job, self._next = self._next, None
                turn = self._turn = Turn()
            try:
                job(turn)
            except Stopped:
                pass
            except FacemugError as error:
                self._on_error(str(error))
            except Exception as error:  # the thread must outlive any fault, and the user must see it
                traceback.print_exc()
                self._on_error(f"this should not have happened ({type(error).__name__}: {error}): please report it")
            finally:
                with self._changed:
                    self._turn = None
                    self._changed.notify_all()
