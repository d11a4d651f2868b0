"""What a widget shows where nobody can touch it: one picture."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any

from IPython.display import display

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


class Stills:
    """What stays of a widget in a notebook that is saved, exported or printed: beside each live view a picture of what it shows
    now, and a line that says how to go on. ``alive`` is a CSS selector of the live view, which hides the picture; ``name`` is
    what people call the widget."""

    def __init__(self, name: str, alive: str) -> None:
        self._name, self._alive = name, alive
        self._shown: list[Any] = []

    def show(self, live: Mapping[str, Any], metadata: Mapping[str, Any], picture: Callable[[], bytes | None]) -> None:
        """Display a widget whose mime bundle is ``live``; ``picture`` makes its still (PNG)."""
        is_notebook = os.environ.get("JPY_SESSION_NAME") and not os.environ.get("VSCODE_PID") and not is_headless()
        if not is_notebook:  # other programs keep no still apart from the widget, or need none
            display(live, metadata=metadata, raw=True)
            return
        alone = {kind: value for kind, value in live.items() if not kind.startswith("image/")} | {"text/plain": self._name}
        display(alone, metadata=metadata, raw=True)
        self._shown.append(display(self._page(picture()), raw=True, display_id=True))

    def update(self, picture: Callable[[], bytes | None]) -> None:
        """Put the widget's picture of now in place of the older one, wherever it was displayed."""
        if self._shown:
            page = self._page(picture())
            for one in self._shown:
                one.update(page, raw=True)

    def _page(self, picture: bytes | None) -> dict[str, str]:
        url = f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}" if picture else ""
        image = f'<img src="{url}" alt="What the {self._name} showed last">' if url else ""
        line = f"The {self._name} as it was last: run this cell to go on with it."
        hidden = (f".jp-OutputArea:has({self._alive}) .facemug-still {{ display: none }}"
                  ".jp-OutputArea-child:has(+ * .facemug-still) > .jp-OutputArea-output:not(:has(*)) { display: none }")
        return {"text/html": f'<div class="facemug-still"><style>{hidden}</style>{image}<p>{line}</p></div>', "text/plain": line}
