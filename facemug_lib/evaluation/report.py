"""The Markdown text of an evaluation: every table with what one must know to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facemug_lib.evaluation import tables

READING = """Scores are means over N faces; ± is the standard error over {seeds} seeds of masks and edits (jackknife over seeds).
Bold is the best of a column among rows of about the largest N. FID at small N is biased upwards: compare it only at equal N
and with the floor; of fewer than 10 pictures it is left out.
U-IDS and P-IDS "as computed in the literature" fit a linear SVM on the very features it then scores: with fewer than about
2,000 pictures a side the two kinds can nearly always be separated and both fall to 0 whatever the quality. "Held out" scores
each fifth of the faces by an SVM fitted on the others: 50 % is indistinguishable. The floor compares different real faces with
each other; an edit that keeps most of each picture can score below it. "saved again" is the true face after JPEG compression:
what a score means that nobody sees. PSNR, SSIM, mIoU, sketch and ΔE are taken inside the hole, LPIPS and identity on the whole
picture; identity is the cosine with the true face."""

PART_TITLES = {
    "completion": "Completion: nothing but the mask",
    "compared": "All methods on the same faces",
    "paper": "The paper's tables",
}

GUIDED_TITLES = {
    "guidance": "Was the guidance obeyed? (Δ: paired difference to the same holes without guidance)",
    "subsets": "All 32 subsets of five modalities (Fig. 12)",
    "warping": "Latent warping on and off (Fig. 14; Δ: warped minus not warped)",
    "incremental": "Ten edits in a row",
    "sharpness": "As sharp as the photograph? (holes of whole photographs, at their own size; ratios: geometric means)",
}


def report(results: Mapping[str, Any], seeds: int = 5) -> str:
    """All tables of ``results`` (of :func:`facemug_lib.evaluation.evaluate.evaluate`) as one Markdown text."""
    lines = ["# Evaluation", "", READING.format(seeds=seeds), ""]
    for one in results["test_sets"]:
        lines.append(f"- **{one['name']}**: {one['source']}; {one['spare']} further real faces for the floors")
    lines += ["- resizing: " + "; ".join(f"{name}: {how}" for name, how in results["resizing"].items())]
    weights = results["weights"]
    lines += ["- weights: " + ", ".join(f"{name} {str(digest)[:12]}" for name, digest in sorted(weights.items())), ""]
    for part, title in PART_TITLES.items():
        if results.get(part):
            lines += [f"## {title}", "", tables.markdown(results[part]), ""]
    for part, title in GUIDED_TITLES.items():
        if results.get(part):
            lines += [f"## {title}", "", tables.markdown(results[part], "edit", bold=part == "subsets"), ""]
            lines += [f"{note}\n" for note in dict.fromkeys(row["note"] for row in results[part] if "note" in row)]
    lines += ["## Time", "", "| part | seconds | batches measured | from the cache |", "|---|---|---|---|"]
    for part, used in results["timing"].items():
        lines.append(f"| {part} | {used['seconds']:.0f} | {used['batches_measured']} | {used['batches_from_cache']} |")
    return "\n".join(lines) + "\n"
