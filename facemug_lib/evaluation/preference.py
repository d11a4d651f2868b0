"""A blinded comparison of two methods by people (FACEMUG Table III): a page to click through, and what its votes say.

The page shows two pictures of the same edit side by side and asks which is better. Which method is on which side is drawn for
each pair and stands in a key that the page does not hold. The browser saves the votes as a CSV file; nothing is sent anywhere.
"""

from __future__ import annotations

import base64
import csv
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from facemug_lib.errors import FacemugError
from facemug_lib.files import files_in, replacing
from facemug_lib.recording import write_json
from facemug_lib.seeds import check_seed

SUFFIXES = (".png", ".jpg", ".jpeg")
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
COLUMNS = ("study", "voter", "pair", "side", "seconds")
Z95 = 1.959964  # of a 95 % interval
QUESTION = "Which picture is the better one?"


@dataclass(frozen=True)
class Preference:
    """How often ``first`` was preferred to ``second``: the share of votes, its 95 % interval after Wilson, votes and voters."""

    first: str
    second: str
    share: float
    low: float
    high: float
    votes: int
    voters: int


def make_study(first: Path, second: Path, out: Path, count: int = 20, seed: int = 0, question: str = QUESTION,
               asked: Path | None = None) -> int:
    """Write ``page.html`` and ``key.json`` to the folder ``out``: ``count`` pairs of pictures that both folders have by one name.

    ``asked``: a folder with a third picture of each, shown above the two. Returns how many pairs there are, fewer than ``count``
    where the folders share fewer. Raises :class:`FacemugError` where they share none, and where one folder is given twice.
    """
    check_seed(seed)
    if first.resolve() == second.resolve():
        raise FacemugError(f"{first} is given twice: name the folders of two methods")
    names = [_names(folder) for folder in (first, second, *([asked] if asked else []))]
    common = sorted(set.intersection(*map(set, names)))
    if not common:
        raise FacemugError(f"{first} and {second} share no picture's name, such as prior/face/0.png: give the same cases to both")
    draw = random.Random(seed)
    chosen = draw.sample(common, min(count, len(common)))
    sides = [draw.random() < 0.5 for _ in chosen]
    name = f"{seed}-{len(chosen)}-{draw.getrandbits(32):08x}"
    pairs = [{"left": _data(((first, second)[is_swapped]) / one), "right": _data((second, first)[is_swapped] / one),
              "asked": _data(asked / one) if asked else ""} for one, is_swapped in zip(chosen, sides, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    key = {"study": name, "methods": [first.resolve().name, second.resolve().name],
           "pairs": [{"picture": one, "left": int(is_swapped)} for one, is_swapped in zip(chosen, sides, strict=True)]}
    write_json(out / "key.json", key)
    with replacing(out / "page.html") as temporary:
        temporary.write_text(_page(name, question, pairs), encoding="utf-8")
    return len(pairs)


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FacemugError(f"no folder {folder}: name one with a method's pictures")
    return [path.relative_to(folder).as_posix() for path in files_in(folder, SUFFIXES)]


def _data(path: Path) -> str:
    return f"data:{TYPES[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def count_votes(key: Path, votes: Sequence[Path]) -> Preference:
    """What the CSV files ``votes`` of the page that belongs to ``key`` say. A voter's last vote on a pair counts.

    Raises :class:`FacemugError` for files that are no votes, or are of another study.
    """
    try:
        known = json.loads(key.read_text(encoding="utf-8"))
        first, second = known["methods"]
        left = [pair["left"] for pair in known["pairs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FacemugError(f"{key} is no key of a study: it is the key.json that `facemug study make` wrote") from error
    chosen: dict[tuple[str, int], int] = {}
    for path in votes:
        for row in _rows(path):
            if row["study"] != known["study"]:
                raise FacemugError(f"{path} is of another study, {row['study']}: {key} is of {known['study']}")
            pair, side = int(row["pair"]), row["side"]
            if not 0 <= pair < len(left) or side not in ("left", "right"):
                raise FacemugError(f"{path}: pair {pair}, side {side!r}: the study has pairs 0 … {len(left) - 1}, left and right")
            chosen[row["voter"], pair] = left[pair] if side == "left" else 1 - left[pair]
    if not chosen:
        raise FacemugError("no vote in these files: click through the page and save the votes at its end")
    total, mine = len(chosen), sum(method == 0 for method in chosen.values())
    low, high = wilson(mine, total)
    return Preference(first, second, mine / total, low, high, total, len({voter for voter, _ in chosen}))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FacemugError(f"{path} is not readable as CSV") from error
    if any(set(COLUMNS) - set(row) or not (row["pair"] or "").isdigit() for row in rows):
        raise FacemugError(f"{path} has no votes: its columns must be {', '.join(COLUMNS)}")
    return rows


def wilson(successes: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share after Wilson (1927), which stays within 0 … 1 also for few votes.

    Votes of one person are not independent; with few voters the true interval is wider.
    """
    share, square = successes / total, Z95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = Z95 / (1 + square / total) * (share * (1 - share) / total + square / (4 * total**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _page(name: str, question: str, pairs: Sequence[dict[str, str]]) -> str:
    return _PAGE.replace("@QUESTION@", escape(question)).replace("@STUDY@", json.dumps(name)).replace(
        "@PAIRS@", json.dumps(pairs))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Which is better?</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; text-align: center; color: #1a1a1a }
img { width: 20rem; max-width: 44vw; border: 3px solid transparent }
button { padding: 0; background: none; border: 0; cursor: pointer }
button:hover img, button:focus img { border-color: #0a6ebd } #asked img { width: 12rem } #asked:empty, [hidden] { display: none }
</style></head><body>
<h1>@QUESTION@</h1>
<p>Click it, or press ← or →. <span id="place"></span></p>
<div id="asked"></div>
<div id="two"><button id="left" aria-label="left picture"></button> <button id="right" aria-label="right picture"></button></div>
<p id="end" hidden>Thank you. <a id="save" download="votes.csv">Save the votes</a> and give the file to whoever asked you.</p>
<script>
const study = @STUDY@, pairs = @PAIRS@;
const voter = Array.from(crypto.getRandomValues(new Uint8Array(6)), b => b.toString(16).padStart(2, "0")).join("");
const order = pairs.map((_, i) => i).sort(() => Math.random() - 0.5);
const votes = ["study,voter,pair,side,seconds"];
let at = 0, since = performance.now();
const picture = source => { const made = new Image(); made.src = source; made.alt = ""; return made; };
function show() {
  const done = at >= order.length;
  document.getElementById("two").hidden = done;
  document.getElementById("end").hidden = !done;
  document.getElementById("place").textContent = done ? "" : `${at + 1} of ${order.length}`;
  document.getElementById("asked").replaceChildren();
  if (done) {
    document.getElementById("save").href = "data:text/csv;charset=utf-8," + encodeURIComponent(votes.join("\\n") + "\\n");
    return;
  }
  const pair = pairs[order[at]];
  for (const side of ["left", "right"]) document.getElementById(side).replaceChildren(picture(pair[side]));
  if (pair.asked) document.getElementById("asked").replaceChildren(picture(pair.asked));
  since = performance.now();
}
function vote(side) {
  if (at >= order.length) return;
  votes.push([study, voter, order[at], side, ((performance.now() - since) / 1000).toFixed(1)].join(","));
  at += 1;
  show();
}
for (const side of ["left", "right"]) document.getElementById(side).addEventListener("click", () => vote(side));
document.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") vote("left");
  if (event.key === "ArrowRight") vote("right");
});
show();
</script></body></html>
"""
