"""How the commands speak while they work."""

from __future__ import annotations


def say(line: str) -> None:
    """Print a line at once. Into a pipe or a log, Python would hold it back until many have come together."""
    print(line, flush=True)
