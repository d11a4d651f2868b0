"""``facemug bench``: what it writes, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from facemug_lib.commands.machine import bench as command
from facemug_lib.errors import FacemugError
from facemug_lib.machine import bench
from facemug_lib.machine.bench import Measurement


def one_number(device: torch.device, quick: bool) -> list[Measurement]:
    return [Measurement("toy", "sum", 3.5, "ms", 2)]


def broken(device: torch.device, quick: bool) -> list[Measurement]:
    raise ValueError("no\nsuch thing")


def test_it_writes_json_and_fails_when_a_section_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "SECTIONS", {"good": one_number, "bad": broken})
    with pytest.raises(FacemugError, match="1 of 2 sections failed .bad: ValueError"):
        command(tmp_path / "numbers.json", quick=True)
    report = json.loads((tmp_path / "numbers.json").read_text())
    assert report["measurements"][0] | {"section": "toy", "batch": 2, "precision": "fp32"} == report["measurements"][0]
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert "toy" in capsys.readouterr().out


def test_missing_folder_is_said_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SECTIONS", {"bad": broken})
    with pytest.raises(FacemugError, match="no folder"):
        command(tmp_path / "none" / "numbers.json")
