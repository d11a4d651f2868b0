"""The one exception whose text is meant for a person."""

from __future__ import annotations


class FacemugError(Exception):
    """Something the user can mend: one line that says what was wrong and what would be right.

    The command line prints the message and exits with status 2; notebooks and widgets show it in place.
    Programming errors are never wrapped in this class.
    """
