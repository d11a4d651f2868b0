"""How soon the Explorer's pictures appear in a browser after a slider has moved.

The page itself keeps the time: from the key that moves the slider to the decoded picture in place. Everything in between counts:
JupyterLab, the kernel, the networks, the way back.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from facemug_lib.errors import FacemugError
from facemug_lib.widgets.live import PATIENCE, Notebook, jupyterlab, running_browser

MOVES = 50
CELL = """\
from facemug_lib.widgets.explorer import Explorer
explorer = Explorer(editor, seed=3)
explorer
"""
IMAGE = ".facemug-explorer-image"
TIMED_REGIONS = ("whole picture", "face")

# Previews are JPEG, full pictures PNG; the page learns that when the widget makes the picture's address.
WATCH = """() => {
    const kinds = new Map(), create = URL.createObjectURL.bind(URL);
    URL.createObjectURL = (blob) => { const url = create(blob); kinds.set(url, blob.type); return url; };
    window.facemugSeen = { pressed: 0, previews: [], pictures: [] };
    window.addEventListener("keydown", () => { window.facemugSeen.pressed = performance.now(); }, { capture: true });
    document.addEventListener("load", (event) => {
        const kind = kinds.get(event.target.src);
        if (!event.target.matches(".facemug-explorer-image") || kind === undefined) return;
        window.facemugSeen[kind === "image/png" ? "pictures" : "previews"].push(performance.now());
        window.dispatchEvent(new Event("facemug-seen"));
    }, { capture: true });
}"""
# The page answers by itself, through a promise. Asking it again and again would slow down what is measured.
AFTER = """([kind, patience]) => new Promise((done, fail) => {
    const look = () => {
        const { pressed, [kind]: seen } = window.facemugSeen, first = seen.find((time) => time > pressed);
        if (first === undefined) return;
        window.removeEventListener("facemug-seen", look);
        done(first - pressed);
    };
    window.addEventListener("facemug-seen", look);
    setTimeout(() => fail(new Error(`none of the ${kind} came`)), patience);
    look();
})"""


def percentile_95(times: list[float]) -> float:
    """The time that 95 of 100 do not exceed."""
    return statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


def latencies(moves: int = MOVES, device: str = "cpu") -> dict[tuple[str, str], list[float]]:
    """:func:`run` with the shipped editor in a browser of its own. Raises :class:`FacemugError` where there is none."""
    with running_browser() as browser:
        return run(browser, moves, f"import facemug_lib as fm\neditor = fm.Editor.load({device!r})")


def run(browser: Any, moves: int, load: str) -> dict[tuple[str, str], list[float]]:
    """Times in ms by (region, what); ``load`` is Python that makes ``editor``.

    What: "preview, dragging", where the slider moves on as soon as a preview is seen; "preview" and "256 px", where it rests
    after every move until the full picture is there.
    """
    measured: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, jupyterlab(Path(folder) / "lab") as server:
        notebook = Notebook(browser.new_page(viewport={"width": 1280, "height": 1000}), server, "latency.ipynb")
        page = notebook.page
        page.add_init_script(f"({WATCH})()")
        notebook.write(load, CELL)
        notebook.open()
        notebook.run_all()
        page.wait_for_selector(f"{IMAGE}[src^=blob]", timeout=PATIENCE)
        for region in TIMED_REGIONS:
            notebook.kernel(f"[explorer.set(region={region!r}, attributes={{}}), explorer.wait()]")
            if error := notebook.kernel("explorer.error"):
                raise FacemugError(f"the explorer cannot be measured: {error}")
            page.locator(".facemug-slider-smile .noUi-handle").focus()
            for key, what in (("ArrowRight", ("previews",)), ("ArrowLeft", ("previews", "pictures"))):
                _move(page, key, ("previews", "pictures"))  # not counted: the first picture of a region costs more
                found = [_move(page, key, what) for _ in range(moves)]
                names = ("preview, dragging",) if len(what) == 1 else ("preview", "256 px")
                measured |= {(region, name): [times[number] for times in found] for number, name in enumerate(names)}
                notebook.until("explorer.wait(0)")
        page.close()
    return measured


def _move(page: Any, key: str, what: tuple[str, ...]) -> list[float]:
    """Move the slider one step and wait for the pictures; after how many ms each was there."""
    page.keyboard.press(key)
    return [page.evaluate(AFTER, [kind, PATIENCE]) for kind in what]


def summary(measured: dict[tuple[str, str], list[float]]) -> list[tuple[str, float]]:
    """Median and 95th percentile of each, by name."""
    found = []
    for (region, what), times in measured.items():
        where = "whole" if region == "whole picture" else region
        found += [(f"{what}, {where}, median", statistics.median(times)), (f"{what}, {where}, 95 %", percentile_95(times))]
    return found
