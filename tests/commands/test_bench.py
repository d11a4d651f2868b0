from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from facemug_lib.commands.bodies import bench
from facemug_lib.errors import FacemugError

CPU = torch.device("cpu")


def one_number(device: torch.device, quick: bool) -> list[bench.Measurement]:
    return [bench.Measurement("toy", "sum", 3.5, "ms", 2)]


def broken(device: torch.device, quick: bool) -> list[bench.Measurement]:
    raise ValueError("no\nsuch thing")


def test_a_failing_section_is_reported_and_hides_no_other() -> None:
    report = bench.measure(CPU, sections={"bad": broken, "good": one_number})
    assert [one["value"] for one in report["measurements"]] == [3.5]
    assert report["failures"] == {"bad": "ValueError: no such thing"}
    text = bench.table(report)
    assert "FAILED: ValueError: no such thing" in text
    assert "3.5" in text


def test_command_writes_json_and_fails_when_a_section_did(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "SECTIONS", {"good": one_number, "bad": broken})
    with pytest.raises(FacemugError, match="1 of 2 sections failed .bad: ValueError"):
        bench.bench_command(tmp_path / "numbers.json", quick=True, device="cpu")
    report = json.loads((tmp_path / "numbers.json").read_text())
    assert report["measurements"][0] | {"section": "toy", "batch": 2, "precision": "fp32"} == report["measurements"][0]
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert "toy" in capsys.readouterr().out


def test_missing_folder_is_said_before_anything_is_measured(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "SECTIONS", {"bad": broken})
    with pytest.raises(FacemugError, match="no folder"):
        bench.bench_command(tmp_path / "none" / "numbers.json")


def test_peak_memory_sees_what_was_freed_again() -> None:
    with bench.peak_memory(CPU) as quiet:
        pass
    with bench.peak_memory(CPU) as peak:
        block = torch.ones(64 * 2**20)  # 256 MiB
        block.add_(1)
        threads = torch.ones(8).sum()
        import time
        time.sleep(0.1)
        del block, threads
    assert peak["mib"] >= quiet["mib"] + 200


def test_modalities_section_measures_every_modality() -> None:
    measured = bench.bench_modalities(CPU, True)
    assert len(measured) >= 6
    assert all(one.value > 0 and one.unit == "images/s" and one.batch == 8 for one in measured)


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, facemug_lib; assert 'torch' not in sys.modules; facemug_lib.Editor; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_of_the_package() -> None:
    import facemug_lib

    with pytest.raises(AttributeError, match="no attribute 'Edittor'"):
        facemug_lib.Edittor  # noqa: B018
    assert set(facemug_lib.__all__) <= set(dir(facemug_lib))
