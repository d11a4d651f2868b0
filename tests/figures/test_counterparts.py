"""Figures of the paper's counterparts: holes where the part is, strokes inside them, tables and charts of what was measured."""

from __future__ import annotations

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.metrics import Score
from facemug_lib.figures import part_edits, score_table, warping
from facemug_lib.figures.part_edits import DRAWN, PARTS, PartEdits, drawn_strokes, hole
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES


def labels(shift: int = 0) -> torch.Tensor:
    """A face of rectangles: hair on top, brows, eyes, nose, lips, neck."""
    face = torch.zeros(1, 256, 256, dtype=torch.long)
    boxes = {"hair": (20, 90, 60, 200), "skin": (60, 220, 70, 190), "neck": (220, 256, 100, 160), "l_brow": (105, 110, 90, 120),
             "r_brow": (105, 110, 140, 170), "l_eye": (118, 126, 92, 118), "r_eye": (118, 126, 142, 168),
             "nose": (126, 160, 120, 140), "u_lip": (175, 180, 110, 150), "l_lip": (180, 186, 110, 150)}
    for name, (top, bottom, left, right) in boxes.items():
        face[:, top:bottom, left + shift:right + shift] = SEMANTIC_CLASSES.index(name)
    return face


@pytest.mark.parametrize("part", dict.fromkeys(sum(PARTS.values(), ())))
def test_a_hole_covers_the_part_and_not_the_picture(part: str):
    mask = hole(part, labels(), labels(6))
    assert mask.shape == (1, 1, 256, 256) and set(mask.unique().tolist()) <= {0.0, 1.0}
    assert 0.003 < float(mask.mean()) < 0.6
    inside = {"eyes": (122, 100), "nose": (140, 130), "mouth": (180, 130), "hair": (30, 100), "wrinkles": (95, 130),
              "beard": (200, 130), "chin": (205, 130), "face": (150, 100), "brows": (107, 100)}[part]
    assert mask[0, 0][inside] == 1
    assert mask[0, 0, 122, 100] == (part in ("eyes", "face"))  # an eye is in no other part


def test_an_unknown_part_is_refused():
    with pytest.raises(FacemugError, match="no part 'ear'"):
        hole("ear", labels(), labels())


@pytest.mark.parametrize("part", DRAWN)
def test_strokes_lie_inside_the_hole(part: str):
    mask = hole(part, labels(), labels())
    strokes = drawn_strokes(part, mask)
    assert 0.02 < float((strokes * mask).sum() / mask.sum()) < 0.5 and not bool(((strokes > 0) & (mask < 0.5)).any())


def test_agreements_stand_under_the_pictures():
    pictures = {part: torch.zeros(1, 3, 256, 256) for part in ("eyes", "nose")}
    edits = PartEdits(pictures["eyes"], "sketch", pictures, pictures, {"eyes": (0.25, 0.5), "nose": (0.125, 0.75)})
    figure = part_edits.draw(edits)
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "F1 0.25 → 0.50", "F1 0.12 → 0.75"]


def test_warping_is_charted_by_its_paired_changes():
    def row(hole: str, **changes: Score) -> dict:
        return {"exemplar": "mirrored", "mask": hole, "n": 5, "changes": changes}

    rows = [row("centre", lpips_alex=Score(-0.02, 0.01, 5), arcface=Score(0.1, None, 5)), row("irregular")]
    figure = warping.draw_scores(rows)
    assert len(figure.axes) == 3 and figure.axes[0].get_yticklabels()[0].get_text() == "mirrored, centre (N 5)"
    assert figure.axes[0].lines[0].get_xdata()[0] == -0.02
    with pytest.raises(FacemugError, match="turned by 20 degrees"):
        warping.draw_scores([row("irregular")])


def test_a_table_shows_every_cell():
    figure = score_table.draw([{"ours": "+Sk", "FID": "1.0"}, {"ours": "+Se", "FID": "2.0"}], "N 4\none pass", groups=[1])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["N 4", "one pass", "ours", "FID", "+Sk", "1.0", "+Se", "2.0"]
    with pytest.raises(FacemugError, match="no row"):
        score_table.draw([])
