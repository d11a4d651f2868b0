"""What measures the pictures' way to the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facemug_lib.commands.machine import bench
from facemug_lib.errors import FacemugError
from facemug_lib.widgets import latency, live

LOAD = f"""\
import sys
sys.path.insert(0, {str(Path(__file__).parents[2] / "kit")!r})
import tiny
editor = tiny.steerable_editor()
from facemug_lib.widgets import explorer as module
module.QUIET = 0.5  # longer than a busy machine delays a preview on its way to the page
"""


def test_every_move_is_timed_from_its_key_to_its_pictures(browser: Any) -> None:
    measured = latency.run(browser, moves=3, load=LOAD)
    assert list(measured) == [(region, what) for region in ("whole picture", "face")
                              for what in ("preview, dragging", "preview", "256 px")]
    assert all(len(times) == 3 and min(times) > 1 for times in measured.values())
    for region in latency.TIMED_REGIONS:  # the full picture comes after the preview and the quiet time
        for preview, full in zip(measured[region, "preview"], measured[region, "256 px"], strict=True):
            assert full > preview + 40
    told = dict(latency.summary(measured))
    assert len(told) == 12 and told["256 px, face, 95 %"] >= told["256 px, face, median"]


def test_without_a_browser_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "NAMES", ())
    monkeypatch.delenv(live.BROWSER_VARIABLE, raising=False)
    with pytest.raises(FacemugError, match="^no Chromium: install one"):
        bench(widgets=True)
    monkeypatch.setenv(live.BROWSER_VARIABLE, "/nowhere/chrome")
    with pytest.raises(FacemugError, match="names /nowhere/chrome, which is no program"):
        bench(widgets=True)


def test_percentile() -> None:
    assert latency.percentile_95([7.0]) == 7.0
    assert latency.percentile_95([float(number) for number in range(101)]) == 95.0
