"""Work for worker processes, which import it by name: nothing heavy."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from facemug_lib.errors import FacemugError


class Choosy(FacemugError):
    """An error whose arguments are not its message alone, so that it does not pickle."""

    def __init__(self, line: str, other: object) -> None:
        super().__init__(line)


def obey(job: str) -> str:
    """Do as the job says; its name is the answer."""
    what, _, rest = job.partition(" ")
    if what == "sleep":
        time.sleep(float(rest))
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "leave":
        os._exit(int(rest))
    elif what == "refuse":
        raise Choosy(rest, object())
    elif what == "full":
        raise OSError(28, "No space left on device", rest)
    elif what == "fail":
        raise ValueError(f"{rest}\nand more")
    elif what == "pid":
        return str(os.getpid())
    return job


def start() -> Callable[[str], str]:
    return obey


def start_badly() -> Callable[[str], str]:
    raise FacemugError("no weights here")


def start_dead() -> Callable[[str], str]:
    os._exit(7)


def write_slowly(job: tuple[str, str]) -> None:
    """Write a file for so many seconds, and take it away in any case."""
    seconds, file = float(job[0]), Path(job[1])
    try:
        file.write_text(str(os.getpid()))
        time.sleep(seconds)
    finally:
        file.unlink()


def start_writing() -> Callable[[tuple[str, str]], None]:
    return write_slowly


if __name__ == "__main__":  # a command that is to be interrupted
    from facemug_lib.workers import in_order

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background is born deaf to it
    try:
        list(in_order(start_writing, [(sys.argv[1], file) for file in sys.argv[2:]], 2))
    except KeyboardInterrupt:
        sys.exit(130)
