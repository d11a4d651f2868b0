from __future__ import annotations

import torch

from facemug_lib.machine import bench

CPU = torch.device("cpu")


def one_number(device: torch.device, quick: bool) -> list[bench.Measurement]:
    return [bench.Measurement("toy", "sum", 3.5, "ms", 2)]


def broken(device: torch.device, quick: bool) -> list[bench.Measurement]:
    raise ValueError("no\nsuch thing")


def test_a_failing_section_is_reported_and_hides_no_other() -> None:
    report = bench.measure(CPU, {"bad": broken, "good": one_number})
    assert [one["value"] for one in report["measurements"]] == [3.5]
    assert report["failures"] == {"bad": "ValueError: no such thing"}
    text = bench.table(report)
    assert "FAILED: ValueError: no such thing" in text
    assert "3.5" in text


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
