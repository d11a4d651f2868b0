from __future__ import annotations

import numpy as np
import pytest

from facemug_lib.editing.drawing import Drawing, read_face
from facemug_lib.errors import FacemugError
from facemug_lib.modalities.semantics import UNLABELLED_IN_FILES
from facemug_lib.widgets.layers import DEPTH, LAYERS, Layers, blank

PARSE = np.full((256, 256), 13, np.uint8)


def shown(layers: Layers) -> dict[str, np.ndarray]:
    return {name: layers[name].copy() for name in LAYERS}


def test_a_stroke_changes_its_box_and_nothing_else() -> None:
    layers = Layers()
    values = np.zeros((3, 5), np.uint8)
    values[1] = 255
    layers.stroke("mask", (10, 20, 5, 3), values.tobytes())
    wanted = blank()["mask"]
    wanted[21, 10:15] = 255
    assert np.array_equal(layers["mask"], wanted)
    assert [name for name in LAYERS if layers.is_painted(name)] == ["mask"]


def test_undo_and_redo_walk_through_all_layers() -> None:
    layers = Layers()
    states = [shown(layers)]
    layers.stroke("mask", (0, 0, 2, 2), b"\xff" * 4)
    states.append(shown(layers))
    layers.stroke("semantics", (5, 5, 1, 2), b"\x0d\x01")
    states.append(shown(layers))
    layers.stroke("colour", (7, 7, 1, 1), bytes([10, 20, 30, 255]))
    states.append(shown(layers))
    layers.clear()
    states.append(shown(layers))

    def same(state: dict[str, np.ndarray]) -> bool:
        return all(np.array_equal(layers[name], state[name]) for name in LAYERS)

    assert set(layers.undo()) == {"mask", "semantics", "colour"} and same(states[3])
    for number in (2, 1, 0):
        assert len(layers.undo()) == 1 and same(states[number])
    assert not layers.can_undo and layers.can_redo
    for number in (1, 2, 3, 4):
        layers.redo()
        assert same(states[number])
    assert not layers.can_redo
    layers.undo()
    layers.stroke("sketch", (0, 0, 1, 1), b"\xff")
    assert not layers.can_redo  # another act forgets what was undone
    for _ in range(DEPTH + 10):
        layers.stroke("sketch", (0, 0, 1, 1), b"\xff")
    for _ in range(DEPTH):
        layers.undo()
    assert not layers.can_undo
    with pytest.raises(FacemugError, match="nothing to undo"):
        layers.undo()


def test_what_was_packed_comes_back_as_one_act() -> None:
    layers = Layers()
    layers.stroke("colour", (7, 9, 1, 1), bytes([10, 20, 30, 255]))
    layers.stroke("mask", (0, 3, 2, 2), b"\xff" * 4)
    before, packed = shown(layers), layers.packed()
    layers.clear()
    layers.unpack(packed)
    assert all(np.array_equal(layers[name], before[name]) for name in LAYERS)
    assert set(layers.undo()) == set(LAYERS) and not any(map(layers.is_painted, LAYERS))
    assert sum(map(len, packed.values())) < 5000


def test_clearing_what_is_empty_is_no_act() -> None:
    layers = Layers()
    layers.clear()
    assert not layers.can_undo
    layers.stroke("mask", (0, 0, 1, 1), b"\xff")
    layers.clear("sketch")
    assert layers.is_painted("mask")


@pytest.mark.parametrize(("name", "box", "values", "said"), [
    ("mask", (0, 0, 2, 2), b"\xff", "has 1 values: its box needs 4"),
    ("mask", (0, 0, 1, 1), b"\x07", "mean nothing"),
    ("semantics", (0, 0, 1, 1), b"\x13", "mean nothing"),
    ("colour", (0, 0, 1, 1), b"\x01\x02\x03\x04", "mean nothing"),
    ("mask", (250, 0, 10, 1), b"\xff" * 10, "within 256"),
    ("mask", (-1, 0, 1, 1), b"\xff", "within 256"),
    ("mask", (0, 0, 0, 1), b"", "within 256"),
    ("mask", (0, 0, 1.0, 1), b"\xff", "within 256"),
    ("mask", "box", b"\xff", "within 256"),
    ("hair", (0, 0, 1, 1), b"\xff", "no layer"),
])
def test_what_is_no_stroke_is_refused_and_changes_nothing(name: str, box: tuple, values: bytes, said: str) -> None:
    layers = Layers()
    with pytest.raises(FacemugError, match=said):
        layers.stroke(name, box, values)
    assert not layers.can_undo and not any(layers.is_painted(layer) for layer in LAYERS)


def test_pictures_mean_to_the_editor_what_was_painted(face) -> None:
    layers = Layers()
    assert layers.pictures(PARSE) == {}
    layers.stroke("mask", (40, 50, 60, 70), b"\xff" * 4200)
    layers.stroke("sketch", (45, 55, 3, 1), b"\xff" * 3)
    layers.stroke("semantics", (60, 60, 2, 1), bytes([1, UNLABELLED_IN_FILES]))
    layers.stroke("colour", (70, 70, 1, 1), bytes([0, 0, 0, 255]))  # black is a colour too
    drawing, pictures = Drawing.on(read_face(face), "aligned"), layers.pictures(PARSE)
    mask = drawing.mask(pictures["mask"])
    assert mask.sum() == 4200 and bool(mask[0, 0, 50:120, 40:100].all())
    sketch = drawing.sketch(pictures["sketch"])
    assert sketch.nonzero().tolist() == [[0, 0, 55, column] for column in (45, 46, 47)]
    labels = drawing.semantics(pictures["semantics"])
    assert labels[0, 60, 60] == 1 and (labels == 13).sum() == 256 * 256 - 1
    colour = drawing.colour(pictures["colour"])
    assert colour.any(dim=1).nonzero().tolist() == [[0, 70, 70]]
    assert colour[0, :, 70, 70].tolist() == [-1, -1, -1]
