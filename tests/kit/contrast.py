"""How well text and controls stand out from what they are on: WCAG 2.2's contrast ratio, of computed styles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT, CONTROL = 4.5, 3.0  # WCAG 1.4.3 and 1.4.11, level AA

MEASURE = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


def measured(page: Any, selector: str) -> dict[str, Any]:
    """``texts``, ``controls``: how many of each were measured; ``low``: a line about each whose ratio is too low."""
    return page.evaluate(MEASURE, [selector, [TEXT, CONTROL]])
