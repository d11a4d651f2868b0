"""Tables as pictures: rows of scores under the paper's titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from facemug_lib.errors import FacemugError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE, LETTER, DPI = 0.24, 0.075, 120  # inches of a line and of a letter; pixels an inch


def draw(rows: Sequence[Mapping[str, str]], title: str = "", groups: Sequence[int] = ()) -> Figure:
    """A table of texts, one row each under the keys of the first; a line is drawn above the rows at ``groups``.

    The first line of ``title`` is the table's name, further ones say what it is of.
    """
    from matplotlib import pyplot

    if not rows:
        raise FacemugError("there is no row to show")
    columns = list(rows[0])
    widths = [LETTER * (max(len(line) for text in (column, *(row.get(column, "") for row in rows))
                            for line in str(text).split("\n")) + 2) for column in columns]
    heading = title.count("\n") + 1 if title else 0
    width = max(sum(widths), LETTER * (max(map(len, title.splitlines()), default=0) + 4))
    height = LINE * (len(rows) + 1.4 + heading)
    figure = pyplot.figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    for place, line in enumerate(title.splitlines()):
        axis.text(LETTER, LINE * (place + 0.7), line, fontsize=9 if place == 0 else 8, va="center",
                  fontweight="bold" if place == 0 else "normal")
    top = LINE * (heading + 0.2)
    for number, row in enumerate([dict(zip(columns, columns, strict=True)), *rows]):
        y, x = top + LINE * (number + 0.5), LETTER
        for column, wide in zip(columns, widths, strict=True):
            axis.text(x, y, str(row.get(column, "")), fontsize=8, va="center", fontweight="bold" if number == 0 else "normal")
            x += wide
    for number in (0, *groups, len(rows)):
        axis.axhline(top + LINE * (number + 1), color="0.3" if number in (0, len(rows)) else "0.7", linewidth=0.7)
    return figure
