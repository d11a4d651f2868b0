"""Photographs of people pass through here: no library that is used may report to anybody or leave an identifier."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECONDS_TO_FIRST_LOOKUP = 9  # of onnxruntime 1.31 from its import, measured

# A session as the face detector makes it, on a network that does nothing; then how many threads stayed behind.
SESSION = """\
import sys, time
import onnx, psutil
from onnx import TensorProto, helper
from facemug_lib.faces import landmarks
value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "nothing", [value], [result])
onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), sys.argv[1])
landmarks.asset_bytes = lambda name: open(sys.argv[1], "rb").read()
before = psutil.Process().num_threads()
session = landmarks.FaceAnalyzer(threads=1)._session("scrfd")
time.sleep(float(sys.argv[2]))
print(psutil.Process().num_threads() - before)
"""


def session_at_home(tmp_path: Path, seconds: float, *around: str) -> tuple[str, list[Path]]:
    """What a process said that opened a session in an empty home, and the files that it left there."""
    home = tmp_path / "home"
    home.mkdir()
    known = {name: value for name, value in os.environ.items()
             if name not in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY") and not name.startswith("XDG_")}
    finished = subprocess.run([*around, sys.executable, "-c", SESSION, str(tmp_path / "nothing.onnx"), str(seconds)], text=True,
                              env=known | {"HOME": str(home), "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip(), [path for path in home.rglob("*") if path.is_file()]


def test_a_session_of_onnxruntime_leaves_no_file_and_no_thread(tmp_path: Path) -> None:
    assert session_at_home(tmp_path, 0) == ("0", [])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace, which sees what a process looks up")
def test_a_session_of_onnxruntime_looks_nobody_up(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    session_at_home(tmp_path, SECONDS_TO_FIRST_LOOKUP + 2, "strace", "-f", "-qq", "-e", "trace=network", "-o", str(log))
    assert not [line for line in log.read_text().splitlines() if "AF_INET" in line or "resolv" in line]


def test_who_imports_onnxruntime_first_is_told_that_it_reports() -> None:
    code = "import sys; sys.modules['onnxruntime'] = sys; import facemug_lib"
    known = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True).stderr
    assert "import facemug_lib first" in told


def test_huggingface_hub_is_told_not_to_report() -> None:
    code = "import facemug_lib; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    known = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_TELEMETRY"} | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True).stdout == "True\n"


def test_make_lab_asks_nobody_for_news_or_newer_versions() -> None:
    from jupyterlab import NeverCheckForUpdate
    from jupyterlab.labapp import LabApp

    given = re.findall(r"--LabApp\.\S+", (ROOT / "Makefile").read_text())
    lab = LabApp()
    lab.parse_command_line(given)
    assert lab.news_url is None and lab.check_for_updates_class is NeverCheckForUpdate
