"""Small pictures that are buttons: they can be clicked, and reached by the keyboard."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from typing import Any

import ipywidgets

SIDE = 72  # pixels
_NUMBERS = itertools.count()


class Thumbnails(ipywidgets.VBox):
    """A row of pictures, wrapped where it is too long, each with a word below; ``on_click`` gets what was shown with it."""

    def __init__(self, name: str, on_click: Callable[[Any], None]) -> None:
        self._name, self._on_click = name, on_click
        self._class = f"facemug-thumbnails-{next(_NUMBERS)}"
        self._rules: list[str] = []
        self._style = ipywidgets.HTML(layout={"display": "none"})
        self._row = ipywidgets.Box(layout={"flex_flow": "row wrap"})
        super().__init__([self._style, self._row])
        self.add_class(f"facemug-{name}")

    def __len__(self) -> int:
        return len(self._row.children)

    def show(self, jpeg: bytes, word: str, tooltip: str, value: Any) -> None:
        """Add a picture at the end."""
        number = len(self)
        button = ipywidgets.Button(description=word, tooltip=tooltip,
                                   layout={"width": f"{SIDE + 8}px", "height": f"{SIDE + 26}px", "margin": "2px"})
        button.add_class("facemug-thumbnail").add_class(f"{self._class}-{number}").add_class(f"facemug-{self._name}-{number}")
        button.on_click(lambda pressed: self._on_click(value))
        url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
        self._rules.append(f".{self._class}-{number}{{background-image:url({url})!important}}")
        self._style.value = f"<style>{''.join(self._rules)}</style>"
        self._row.children = (*self._row.children, button)

    def clear(self) -> None:
        """Take all pictures away."""
        self._row.children, self._rules = (), []
        self._style.value = ""


RULES = (f".facemug-thumbnail{{background-size:{SIDE}px {SIDE}px!important;background-repeat:no-repeat!important;"
         f"background-position:center 4px!important;padding:{SIDE + 4}px 0 0!important;line-height:20px!important}}")
"""What every page with thumbnails needs in a style element."""
