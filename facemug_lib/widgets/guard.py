"""Keeps a panel's keys from the notebook around it.

Where a button or a handle has the focus, JupyterLab takes plain letters for its own shortcuts: X cuts the cell, A adds one. It
asks the element that has the focus first, which a panel of ready-made controls has no other way to mark.
"""

from __future__ import annotations

import anywidget


class KeyGuard(anywidget.AnyWidget):
    """Shows nothing. In a panel whose outermost box has the class ``facemug-guarded``, it marks what gets the focus."""

    _esm = """
    const SHORTCUTS = "data-lm-suppress-shortcuts", MENU = "data-jp-suppress-context-menu";
    const onFocus = (event) => event.target.closest?.(".facemug-guarded") && event.target.setAttribute(SHORTCUTS, "true");
    const onMenu = (event) => event.target.closest?.(".facemug-guarded")?.setAttribute(MENU, "true");
    export default { render() {
      document.addEventListener("focusin", onFocus, true);  // the same function twice counts once
      document.addEventListener("pointerdown", onMenu, true);
    } };
    """

    def __init__(self) -> None:
        super().__init__(layout={"display": "none"})
