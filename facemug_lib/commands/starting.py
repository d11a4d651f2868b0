"""The start of the commands that edit pictures: most of it is the import of PyTorch."""

from __future__ import annotations

import gc
import sys


def import_torch() -> None:
    """Import PyTorch, as any import would, in 0.9 s of CPU in place of 1.5.

    Its modules are half a million objects that live as long as the program. Python looks for garbage among them again and again
    while they are made, and twice more when it ends: all in vain. So it waits until they are there, and then leaves them out for
    good. Where PyTorch is imported already, in a notebook's process say, nothing is done.
    """
    if "torch" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401 - it is wanted in sys.modules
    finally:
        gc.freeze()
        if collects:
            gc.enable()
