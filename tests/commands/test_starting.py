"""How commands start."""

from __future__ import annotations

import gc
import subprocess
import sys

from facemug_lib.commands.starting import import_torch

CODE = """
import gc, sys
from facemug_lib.commands.starting import import_torch
import_torch()
print("torch" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_garbage_is_looked_for_again_once_torch_is_there() -> None:
    assert subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout == "True True True\n"


def test_where_torch_is_there_nothing_is_done() -> None:
    frozen = gc.get_freeze_count()
    import torch  # noqa: F401

    import_torch()
    assert gc.get_freeze_count() == frozen
