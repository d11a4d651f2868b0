"""The entry point of ``facemug``, also as ``python -m facemug_lib.cli``; :mod:`facemug_lib.commands` holds the commands."""

from __future__ import annotations

import sys

from facemug_lib.commands.program import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    sys.exit(main())
