"""What commands cost is measured on processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from facemug_lib.machine import bench
from facemug_lib.machine.command_costs import cost_of, images_a_second

BUSY = """
import subprocess, sys, time
block = bytearray(100 * 2**20)
print("begun", flush=True)
ends = time.process_time() + 0.5
while time.process_time() < ends:
    pass
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "again"])
print("done", flush=True)
"""


def test_a_commands_processes_are_added_up(tmp_path: Path) -> None:
    program = tmp_path / "busy.py"
    program.write_text(BUSY)
    cost = cost_of([sys.executable, str(program)])
    assert 1.0 <= cost.cpu < 10.0 and cost.wall >= 1.0
    assert cost.mib >= 200
    assert [line for _, line in cost.lines] == ["begun", "begun", "done", "done"]
    assert cost.lines[-1][0] - cost.lines[0][0] >= 1.0
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        cost_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_first_pictures_do_not_count() -> None:
    assert images_a_second([9.0, 10.0, 11.0, 12.0], 1) == pytest.approx(1.0)
    assert images_a_second([9.0, 9.0, 10.0, 10.0, 11.0, 11.0], 2) == pytest.approx(2.0)


def test_start_and_replay_are_among_what_is_measured() -> None:
    assert {"start", "replay"} <= set(bench.SECTIONS)
