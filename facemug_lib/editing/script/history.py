"""Undo and redo over edit scripts."""

from __future__ import annotations

from facemug_lib.editing.script.edit_script import EditScript
from facemug_lib.errors import FacemugError


class History:
    """Undo and redo over scripts."""

    def __init__(self, script: EditScript) -> None:
        self._past, self._future, self.script = [], [], script

    def do(self, script: EditScript) -> EditScript:
        """Go on with another script; what was undone can no longer be redone."""
        self._past.append(self.script)
        self._future.clear()
        self.script = script
        return script

    def undo(self) -> EditScript:
        """The script before the last change. Raises :class:`FacemugError` at the beginning."""
        return self._step(self._past, self._future, "undo")

    def redo(self) -> EditScript:
        """The script after the last undone change."""
        return self._step(self._future, self._past, "redo")

    def _step(self, source: list[EditScript], target: list[EditScript], what: str) -> EditScript:
        if not source:
            raise FacemugError(f"there is nothing to {what}")
        target.append(self.script)
        self.script = source.pop()
        return self.script
