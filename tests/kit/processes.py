"""Whether processes that a test started, or made others start, are still there."""

from __future__ import annotations

import psutil


def is_running(pid: int) -> bool:
    """False of one that has ended, also where whoever started it has not asked for its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
