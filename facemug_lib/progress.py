"""How long work says how far it is, and where it can be stopped. Three kinds of callback, one name each."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""``progress(done, total)`` after every step, for a bar. Raise from it to stop the work."""

Tell = Callable[[str], None]
"""``tell(line)``: a line for people, now and then, where steps take long or differ in kind."""


Check = Callable[[], None]
"""``check()`` between the parts of work that counts no steps. Raise from it to stop there."""


def silent(done: int, total: int) -> None:
    """The :data:`Progress` of who wants none."""


def untold(line: str) -> None:
    """The :data:`Tell` of who wants none."""


def unchecked() -> None:
    """The :data:`Check` of who never stops."""
