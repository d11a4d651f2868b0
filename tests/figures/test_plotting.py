"""Pictures and tables of the notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot

from facemug_lib.errors import FacemugError
from facemug_lib.figures import plotting
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.training.stages import settings


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def test_heat_runs_from_dark_to_bright():
    made = plotting.heat(torch.tensor([0.2, 0.4, 0.6]).view(1, 1, 1, 3), low=0.2, high=0.6)
    assert made.shape == (1, 3, 1, 3)
    brightness = made.mean(dim=1).flatten()
    assert brightness[0] < brightness[1] < brightness[2]


def test_guidance_is_drawn_inside_the_mask_strokes_on_top():
    image, mask = torch.zeros(1, 3, 2, 3), torch.ones(1, 1, 2, 3)
    mask[..., 0, 0] = 0
    labels = torch.full((1, 2, 3), -1)
    labels[0, 1, :] = 0  # background, black in the palette
    colour, sketch = torch.zeros(1, 3, 2, 3), torch.zeros(1, 1, 2, 3)
    colour[:, :, 1, 1], sketch[..., 0, 2] = 0.5, 1
    conditions = Conditions.build(mask, image, sketch=sketch, semantics=labels, colour=colour)
    shown = plotting.guidance_picture(image, conditions)[0, 0]
    assert shown.tolist() == [[0, 1, -1], [-1, 0.5, -1]]
    assert plotting.guidance_picture(image, conditions, exemplar=torch.full_like(image, 0.25))[0, 0, 0, 1] == 0.25


def test_rows_of_different_kind_and_length_make_one_figure():
    figure = plotting.show_rows({"faces": torch.zeros(3, 3, 8, 8), "masks": torch.ones(2, 1, 8, 8)}, columns=("a", "b", "c"))
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ["a", "b", "c"]
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 1, 1, 0]
    assert figure.axes[3].images[0].get_array().min() == 255


def test_columns_show_one_face_per_row():
    figure = plotting.show_columns({"before": torch.zeros(2, 3, 8, 8), "mask": torch.ones(2, 1, 8, 8)})
    assert [axis.get_title() for axis in figure.axes] == ["before", "mask", "", ""]
    assert [axis.images[0].get_array().min() for axis in figure.axes] == [128, 255, 128, 255]


def test_photos_stand_side_by_side():
    figure = plotting.show_photo({"before": np.zeros((4, 6, 3), np.uint8), "after": np.zeros((4, 6), np.uint8)})
    assert [axis.get_title() for axis in figure.axes] == ["before", "after"]


def test_curves_show_each_loss_where_it_was_logged(tmp_path: Path):
    lines = [{"images": 8, "losses": {"code": 1.0}}, {"images": 16, "losses": {"code": 0.5, "lpips": 0.3}},
             {"images": 16, "scores": {}}]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = plotting.show_curves(tmp_path)
    assert [axis.get_title() for axis in figure.axes] == ["code", "lpips"]
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[8, 1.0], [16, 0.5]]
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[16, 0.3]]


def test_curves_of_a_folder_that_is_no_run(tmp_path: Path):
    with pytest.raises(FacemugError, match=r"stats\.jsonl"):
        plotting.show_curves(tmp_path)


def test_scores_table_has_a_row_per_score():
    frame = plotting.scores_table({"before": {"lpips": 0.51239}, "after": {"lpips": 0.4, "psnr": 21.0}})
    assert frame["score"].tolist() == ["lpips", "psnr"]
    assert frame["before"].tolist()[0] == "0.512"
    assert frame["after"].tolist() == ["0.400", "21.000"]


@pytest.mark.parametrize("stage", ["head", "encoder", "warping", "generator"])
def test_lost_numbers_say_what_each_profile_uses(stage: str):
    frame = plotting.lost_numbers(stage, "smoke")
    shown = dict(zip(frame["name"], frame["value"], strict=True))
    assert shown["lr"] == str(settings(stage, "smoke").lr)
    assert (frame["basis"] != "").all() and (frame["meaning"] != "").all()
    assert "images" not in shown
