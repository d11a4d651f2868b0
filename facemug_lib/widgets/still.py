"""What a widget shows where nobody can touch it: one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

LIVE = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
"""Variables of a kernel that somebody's notebook window was opened for."""
WIDGETS_VARIABLE = "FACEMUG_WIDGETS"


def is_headless() -> bool:
    """Whether the kernel runs for papermill, nbconvert or a script, with no window that could show a live widget.

    ``FACEMUG_WIDGETS=live`` or ``still`` decides it for programs that are not known here.
    """
    chosen = os.environ.get(WIDGETS_VARIABLE)
    if chosen in ("live", "still"):
        return chosen == "still"
    is_voila = os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return not is_voila and not any(os.environ.get(name) for name in LIVE)


def mimebundle(live: Mapping[str, Any] | None, picture: bytes, text: str) -> dict[str, Any]:
    """What a widget's ``_repr_mimebundle_`` gives: ``live``, the widget library's own answer, with a still ``picture`` (PNG) for
    viewers that cannot run it; the picture alone in a headless kernel."""
    still = {"text/plain": text, "image/png": picture}
    return still if is_headless() or live is None else {**live, **still}
