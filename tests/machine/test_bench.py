from __future__ import annotations

import torch
from tiny import steerable_editor

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


def test_larger_edits_are_painted_at_every_size_of_the_prior(monkeypatch) -> None:
    editor, painted = steerable_editor(), []
    edit = type(editor).edit
    monkeypatch.setattr(type(editor), "edit",
                        lambda self, *given, **named: painted.append(edit(self, *given, **named)) or painted[-1])
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 90:200, 70:190] = 1
    measured = list(bench._larger_edits(editor, mask, CPU, 1))
    assert [size for size, _ in measured] == [512, 1024] and all(seconds > 0 for _, seconds in measured)
    assert {result.size for result in painted} == {512, 1024}


def test_the_explorer_is_measured_without_a_browser() -> None:
    measured = bench.bench_explorer(CPU, True)
    assert [one.name for one in measured] == ["at rest, 256 px, mask face", "while dragging, mask face"]
    assert all(one.value > 0 and one.unit == "ms" for one in measured) and "explorer" in bench.SECTIONS
