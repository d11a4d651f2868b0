"""Ten edits give the pictures that were recorded (`scripts/record_edits.py`), up to how processors round."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

from facemug_lib.editing.editor import Editor

ROOT = Path(__file__).resolve().parent.parent.parent
LEAST_WITHIN, MOST_OFF = 0.99, 0.3  # share of pixels within 2/255, and mean difference in 1/255
ITERATED = {"refined": (0.94, 0.5), "text": (0.90, 1.2)}  # each step's rounding moves the next: twice what processors showed
NAMES = ("attributes", "centre", "chain", "colour", "exemplar", "refined", "region", "semantics", "sketch", "text")


@pytest.fixture(scope="module")
def recording() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_edits", ROOT / "scripts" / "record_edits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped() -> Editor:
    return Editor.load("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_edit_gives_the_recorded_picture(name: str, recording: ModuleType, shipped: Editor) -> None:
    result = recording.replayed(shipped, name)

    assert not [note for note in result.notes if "weights" in note], "after shipping other weights, run scripts/record_edits.py"
    kept = np.asarray(PIL.Image.open(recording.FOLDER / f"{name}.png"), np.int16)
    off = np.abs(result.photo.astype(np.int16) - kept)
    least, most = ITERATED.get(name, (LEAST_WITHIN, MOST_OFF))
    assert (off.max(axis=2) <= 2).mean() >= least
    assert off.mean() < most


def test_every_recorded_edit_is_replayed(recording: ModuleType) -> None:
    assert sorted(path.stem for path in recording.FOLDER.glob("*.png")) == list(NAMES)
