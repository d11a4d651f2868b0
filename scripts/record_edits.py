"""Ten edits whose pixels are kept, so that a change of the code that is meant to change no picture can show it.

    python scripts/record_edits.py            # make the scripts and record what they give
    python scripts/record_edits.py --check    # replay them and compare; exit 1 where a picture is another one

Each edit is a script of a sampled face in ``tests/data/recorded_edits``, its guidance embedded, beside the PNG that it gave.
Processors round differently, so equal bits are promised on the machine that recorded them only: ``sha256.json`` keeps the hash
of each result before rounding to 8 bits. ``tests/editing/test_recorded_edits.py`` compares the pictures on any machine.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from facemug_lib.editing.editor import Editor
from facemug_lib.editing.known_faces import sampled_face
from facemug_lib.editing.script.edit_script import EditScript, Replayed, Replayer, SampleRecord, Step, embedded
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.modalities import masks
from facemug_lib.modalities.semantics import PALETTE

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "data" / "recorded_edits"
SIZE = 256
LIP, HAIR = 12, 13  # classes of CelebAMask-HQ: the lower lip; hair


def png(pixels: np.ndarray) -> str:
    """Pixels as an embedded PNG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return embedded(buffer.getvalue())


def steps_of(editor: Editor) -> dict[str, tuple[int, list[Step]]]:
    """Name → (the seed of the face, the steps) of every recorded edit."""
    seeds = {"centre": 3, "region": 4, "sketch": 5, "semantics": 6, "colour": 7, "exemplar": 8, "attributes": 9, "text": 10,
             "chain": 11, "refined": 12}
    parser = ExpertStudent.load(editor.device)
    faces = {name: sampled_face(editor.prior, seed) for name, seed in seeds.items()}
    labels = {name: parser.parse(face.image.to(editor.device)).cpu() for name, face in faces.items()}

    def region(name: str, classes: str, dilate: int = 4) -> str:
        return png((masks.semantic(labels[name], classes, dilate)[0, 0] * 255).byte().numpy())

    square = png((masks.centre(1, SIZE, SIZE)[0, 0] * 255).byte().numpy())
    smile = np.full((SIZE, SIZE), 255, np.uint8)
    cv2.ellipse(smile, (128, 168), (34, 16), 0, 10, 170, 0, 2)
    cv2.ellipse(smile, (128, 172), (30, 5), 0, 0, 180, 0, 2)
    palette = np.asarray(PALETTE, np.uint8)
    drawn = labels["semantics"][0].numpy().copy()
    canvas = np.ascontiguousarray(drawn.astype(np.uint8))
    cv2.ellipse(canvas, (128, 190), (30, 9), 0, 0, 360, LIP, -1)
    stroke = np.zeros((SIZE, SIZE, 4), np.uint8)
    cv2.line(stroke, (70, 50), (180, 40), (150, 60, 40, 255), 9)
    lips = np.zeros((SIZE, SIZE, 4), np.uint8)
    cv2.line(lips, (112, 186), (144, 186), (190, 40, 60, 255), 5)
    other = sampled_face(editor.prior, 21).photo.rgb8()
    return {name: (seeds[name], steps) for name, steps in {
        "centre": [Step(mask=square, seed=1)],
        "region": [Step(mask=region("region", "lips", 8), seed=2, influence={"image": 0.7})],
        "sketch": [Step(mask=square, sketch=png(smile), seed=3, influence={"sketch": 1.5})],
        "semantics": [Step(mask=square, semantics=png(palette[canvas]), seed=4)],
        "colour": [Step(mask=region("colour", "hair"), colour=png(stroke), seed=5)],
        "exemplar": [Step(mask=square, exemplar=png(cv2.resize(other, (192, 192), interpolation=cv2.INTER_AREA)), seed=6)],
        "attributes": [Step(mask=png(np.full((SIZE, SIZE), 255, np.uint8)), attributes={"smile": 1.5, "age": -1.0}, seed=7)],
        "text": [Step(mask=region("text", "hair", 8), text="a person with blond hair", text_steps=2, seed=8)],
        "chain": [Step(mask=square, colour=png(lips), seed=9),
                  Step(mask=region("chain", "hair"), attributes={"age": 1.0}, seed=9)],
        "refined": [Step(mask=square, sketch=png(smile), refine=2, seed=10)],
    }.items()}


def replayed(editor: Editor, name: str, folder: Path = FOLDER) -> Replayed:
    """Replay one of the recorded scripts."""
    return Replayer.of(editor, None, folder).replay(EditScript.read(folder / f"{name}.json"))


def picture_hash(result: Replayed) -> str:
    """SHA-256 of the last step's picture, in full precision."""
    return hashlib.sha256(result.results[-1].image.contiguous().numpy().tobytes()).hexdigest()


def record() -> None:
    """Write scripts, pictures and hashes."""
    editor = Editor.load("cpu")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (seed, steps) in steps_of(editor).items():
        sample = SampleRecord(seed=seed)
        EditScript.begun(editor, sampled_face(editor.prior, seed), sample, steps).write(FOLDER / f"{name}.json")
    hashes = {}
    for path in sorted(FOLDER.glob("*.json")):
        if path.stem == "sha256":
            continue
        result = replayed(editor, path.stem)
        PIL.Image.fromarray(result.photo).save(path.with_suffix(".png"), optimize=True)
        hashes[path.stem] = picture_hash(result)
        print(f"{path.stem}: recorded", flush=True)
    (FOLDER / "sha256.json").write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")


def check() -> int:
    """Say of every recorded edit whether it gives the same bits; the number of those that do not."""
    editor = Editor.load("cpu")
    hashes = json.loads((FOLDER / "sha256.json").read_text(encoding="utf-8"))
    changed = 0
    for name, known in hashes.items():
        result = replayed(editor, name)
        kept = np.asarray(PIL.Image.open(FOLDER / f"{name}.png"), np.int16)
        off = np.abs(result.photo.astype(np.int16) - kept)
        is_same = picture_hash(result) == known
        changed += not is_same
        print(f"{name}: {'equal bits' if is_same else 'OTHER BITS'}; within 2/255: {(off.max(axis=2) <= 2).mean():.2%}, "
              f"mean difference {off.mean():.3f}/255, largest {off.max()}", flush=True)
    return changed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="replay and compare instead of recording")
    if parser.parse_args().check:
        sys.exit(1 if check() else 0)
    record()
