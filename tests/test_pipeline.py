"""The graph in the Snakefile: its rules say what they need, its commands exist, and Snakemake, where it is, can plan it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from facemug_lib.commands.program import app
from facemug_lib.commands.runner import list_notebooks

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Snakefile").read_text(encoding="utf-8")
RULES = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^rule |^# |^localrules|\Z)", TEXT, re.MULTILINE | re.DOTALL))
BESIDE = Path(sys.executable).with_name("snakemake")
SNAKEMAKE = str(BESIDE) if BESIDE.is_file() else shutil.which("snakemake")


def test_every_rule_says_what_it_needs() -> None:
    assert {"synthesize", "encoder", "warping", "generator", "evaluate", "ablation", "figures"} <= set(RULES)
    for name, body in RULES.items():
        assert re.search(r"^    threads: \d", body, re.MULTILINE), name
        (resources,) = re.findall(r"^    resources: (.+)$", body, re.MULTILINE)
        assert {part.partition("=")[0].strip() for part in resources.split(",")} == {"mem_mb", "runtime", "gpu"}, name


def test_outputs_are_flags_and_never_checkpoints() -> None:
    for name, body in RULES.items():
        for output in re.findall(r"^    output: (.+)$", body, re.MULTILINE):
            assert re.fullmatch(r'touch\(f"\{ROOT\}/[\w\-{}]+\.done"\)', output), name


def test_its_commands_and_their_options_exist() -> None:
    found = re.findall(r'"\{FACEMUG\} (.+?)"\n', TEXT.replace('"\n        "', ""))
    assert len(found) >= 10
    for line in found:
        words = shlex.split(line.replace('\\"', '"'))
        command = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_profiles_are_readable(profile: str) -> None:
    settings = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text(encoding="utf-8"))
    assert settings["rerun-incomplete"] and set(settings["rerun-triggers"]) == {"mtime", "params", "input"}


@pytest.mark.skipif(SNAKEMAKE is None, reason="snakemake is not installed")
@pytest.mark.parametrize("train", ["false", "true"])
def test_snakemake_plans_it(train: str) -> None:
    arguments = [SNAKEMAKE, "-n", "--cores", "2", "--config", f"train={train}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert int(counts["figures"]) == len(list_notebooks()) and int(counts["ablation"]) == 5
    assert ("encoder" in counts) == (train == "true")
