"""The graph on a real scheduler, Debian's SLURM on this machine: only where FACEMUG_SLURM=1 asks for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "slurm_on_one_host.sh"
TOOLS = ("snakemake", "slurmctld", "slurmd", "munged", "squeue")
TARGET = "data/runs/graph/smoke/figures-90_expert_distillation.done"

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.environ.get("FACEMUG_SLURM") != "1" or os.geteuid() != 0 or not all(map(shutil.which, TOOLS)),
                       reason=f"FACEMUG_SLURM=1, root and {', '.join(TOOLS)} are wanted"),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "slurm"
    subprocess.run([SCRIPT, "start", folder], check=True, timeout=60)
    try:
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=60)


def until(is_so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it has not come so far"
        time.sleep(1)


def states() -> str:
    asked = ["squeue", "--noheader", "--states=all", "--format=%T"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout


def test_a_job_whose_node_has_died_runs_again(cluster: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    quickly = ["--slurm-init-seconds-before-status-checks", "5", "--seconds-between-status-checks", "5"]
    arguments = ["snakemake", "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles" / "slurm",
                 "--directory", tmp_path, "--jobs", "1", "--slurm-requeue", "--slurm-status-command", "squeue", *quickly,
                 "--config", f"facemug={sys.executable} -m facemug_lib.cli"]
    variables = os.environ | {"FACEMUG_FIGURES": str(figures), "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen([*map(str, arguments), "--", TARGET], env=variables, stdout=log, stderr=log)
    try:
        until(lambda: "RUNNING" in states(), 120)
        time.sleep(10)
        steps = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "slurmstepd"]
        dying = [child for one in steps for child in one.children(recursive=True)] + steps
        for process in (psutil.Process(int((cluster / "slurmd.pid").read_text())), *dying):
            process.kill()
        until(lambda: "PENDING" in states(), 120)
        assert not figures.exists()
        subprocess.run([SCRIPT, "node", cluster], check=True, timeout=60)
        assert driver.wait(timeout=500) == 0, (tmp_path / "log").read_text()
    finally:
        driver.kill()
    shown = subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True, timeout=30).stdout
    assert "Restarts=1" in shown and "JobState=COMPLETED" in shown
    assert (figures / "fig90_student.png.json").is_file()
