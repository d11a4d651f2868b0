"""Scores as people read them: Markdown and CSV in the paper's layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from facemug_lib.evaluation.metrics import Score


@dataclass(frozen=True)
class Column:
    """How a metric is printed: its title, which way is better, its factor and its digits."""

    title: str
    better: str  # "↓", "↑" or "" where neither is
    factor: float = 1.0
    digits: int = 3

    def shown(self, score: Score, n: int | None = None) -> str:
        """Such as ``0.231 ± 0.004``, with ``(N 40)`` where fewer pictures were looked at than the row's ``n``."""
        if not np.isfinite(score.value):
            return "–"
        text = f"{score.value * self.factor:.{self.digits}f}"
        if score.error is not None and np.isfinite(score.error):
            text += f" ± {score.error * self.factor:.{self.digits}f}"
        return text if n is None or score.n == n else f"{text} (N {score.n})"


COLUMNS: dict[str, Column] = {
    "fid": Column("FID", "↓", digits=1),
    "kid": Column("KID ×10³", "↓", 1000, 1),
    "u_ids": Column("U-IDS %", "↑", 100, 1),
    "u_ids_heldout": Column("U-IDS held out %", "↑", 100, 1),
    "p_ids": Column("P-IDS %", "↑", 100, 1),
    "p_ids_heldout": Column("P-IDS held out %", "↑", 100, 1),
    "lpips_alex": Column("LPIPS-Alex", "↓"),
    "lpips_vgg": Column("LPIPS-VGG", "↓"),
    "psnr": Column("PSNR dB", "↑", digits=2),
    "ssim": Column("SSIM", "↑"),
    "arcface": Column("ID ArcFace", "↑"),
    "facenet": Column("ID FaceNet", "↑"),
    "miou": Column("mIoU", "↑"),
    "sketch": Column("sketch F1", "↑"),
    "colour": Column("ΔE2000", "↓", digits=1),
    "hole_lpips_alex": Column("LPIPS-Alex, hole", "↓"),
    "exemplar_arcface": Column("exemplar ArcFace", "↑"),
    "exemplar_facenet": Column("exemplar FaceNet", "↑"),
    "pose": Column("pose error °", "↓", digits=1),
    "changed": Column("values changed outside", "", digits=0),
    "outside_lpips_alex": Column("LPIPS-Alex outside", "", digits=4),
    "edited": Column("edited so far %", "", 100, 0),
    "detail_ring": Column("detail: hole / ring", "", digits=2),
    "detail_own": Column("detail: edit / photo", "", digits=2),
    "alike": Column("0.8 … 1.25 of the photo's %", "↑", 100, 0),
    "seam": Column("seam: edit / photo", "", digits=2),
    "lpips_512": Column("LPIPS-Alex, 512 px", "↓"),
}
"""Every metric, in the order of the tables."""


def row(set_name: str, masks: str, method: str, scores: Mapping[str, Score], n: int,
        is_reference: bool = False) -> dict[str, Any]:
    """One table row as plain data; a reference (a floor) competes for no first place."""
    return {"set": set_name, "masks": masks, "method": method, "n": n, "reference": is_reference,
            "scores": {name: {"value": score.value, "error": score.error, "n": score.n} for name, score in scores.items()}}


def score_of(entry: Mapping[str, Any], metric: str) -> Score | None:
    """The score of a row, or None where it was not measured."""
    found = entry["scores"].get(metric)
    return None if found is None else Score(found["value"], found["error"], found["n"])


def guided_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the guided protocols in the layout of :func:`row`; what only its protocol knows stays in it."""
    kind = {"guidance": lambda: f"{found['mask']} holes, guidance of the "
                                f"{'true face' if found['wish'] == 'own' else 'exemplar (which nothing else suggests)'}",
            "subsets": lambda: f"{found['mask']} holes, all subsets of five modalities",
            "warping": lambda: f"{found['mask']} holes, {found['exemplar']} exemplars",
            "sharpness": lambda: f"{found['mask']} holes, nothing but the mask",
            "incremental": lambda: f"ten edits in a row, {found['chain']}"}[found["part"]]()
    name = f"{found['step']}: {found['mask']}, {found['edit']}" if found["part"] == "incremental" else found["edit"]
    plain = row(found["set"], kind, name, found["scores"], found["n"], found["reference"])
    plain["changes"] = row("", "", "", found.get("changes", {}), 0)["scores"]
    return plain | {key: found[key] for key in ("part", "ranks", "most_changed", "note", "modalities") if key in found}


def markdown(rows: Sequence[Mapping[str, Any]], label: str = "method", bold: bool = True) -> str:
    """One table per test set and kind of mask. With ``bold`` the best of each column is; rows that know their paired change
    against the row they are compared with show it behind a Δ."""
    blocks = []
    for group in dict.fromkeys((entry["set"], entry["masks"]) for entry in rows):
        members = [entry for entry in rows if (entry["set"], entry["masks"]) == group]
        used = [name for name in COLUMNS if any(name in entry["scores"] for entry in members)]
        best = {name: _best(members, name) if bold else None for name in used}
        titles = [f"{COLUMNS[name].title} {COLUMNS[name].better}".strip() for name in used]
        lines = [f"**{group[0]}, {group[1]}**", "", "| " + " | ".join([label, "N", *titles]) + " |",
                 "|---|" + "---|" * (len(used) + 1)]
        for entry in members:
            cells = []
            for name in used:
                score = score_of(entry, name)
                text = "–" if score is None else COLUMNS[name].shown(score, entry["n"])
                if name in entry.get("changes", {}):
                    change = entry["changes"][name]
                    text += f" (Δ {COLUMNS[name].shown(Score(change['value'], change['error'], change['n']), change['n'])})"
                cells.append(f"**{text}**" if entry is best[name] else text)
            name = f"*{entry['method']}*" if entry["reference"] else entry["method"]
            lines.append("| " + " | ".join([name, str(entry["n"]), *cells]) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _best(rows: Iterable[Mapping[str, Any]], metric: str) -> Mapping[str, Any] | None:
    """The row with the best value among those of about the most pictures (a score that some of them lack still competes):
    another N is another contest."""
    scored = [(score, entry) for entry in rows if not entry["reference"] and (score := score_of(entry, metric)) is not None
              and np.isfinite(score.value)]
    if len(scored) < 2 or not COLUMNS[metric].better:
        return None
    most = max(score.n for score, _ in scored)
    values = [(score.value, entry) for score, entry in scored if score.n >= 0.9 * most]
    if len({value for value, _ in values}) == 1:  # all the same: nobody has won
        return None
    pick = min if COLUMNS[metric].better == "↓" else max
    return pick(values, key=lambda pair: pair[0])[1]


def frame(rows: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """One line per row and metric, for CSV and for plots."""
    return pandas.DataFrame([
        {"set": entry["set"], "masks": entry["masks"], "method": entry["method"], "metric": name, **score}
        for entry in rows for name, score in entry["scores"].items()
    ], columns=["set", "masks", "method", "metric", "value", "error", "n"])
