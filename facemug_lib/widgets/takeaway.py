"""What a browser takes away from the painter: everything in one archive, and Python code that makes the picture again."""

from __future__ import annotations

import base64
import io
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from facemug_lib.editing.fill.detail import enlarged
from facemug_lib.editing.script.session import Session
from facemug_lib.editing.sharp import at_size
from facemug_lib.faces.photos import write_image


def archive(save: Callable[[str], list[Path]], session: Session, mask: np.ndarray | None, size: int = 256) -> bytes:
    """A zip file of what ``save`` writes, and of ``mask`` (uint8 [256,256], over the aligned face) as a PNG in the photo's own
    coordinates: white is where the last edit was made, at ``size`` px."""
    with TemporaryDirectory(prefix="facemug-") as folder:
        written = save(str(Path(folder) / "edit.json"))
        if mask is not None:
            hole = torch.from_numpy(mask.astype(np.float32) / 255)[None, None]
            area = session.first.mask_to_photo(hole)
            if size != mask.shape[0]:
                area = at_size(session.first, size).mask_to_photo((enlarged(hole, size) >= 0.5).float())
            white = np.repeat(np.where(area, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
            written.append(write_image(Path(folder) / "edit_mask.png", white))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as into:
            for path in written:  # a PNG is compressed already
                into.write(path, path.name, zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED)
        return packed.getvalue()


def code(session: Session) -> str:
    """Python code that makes the current picture again, and writes it to edited.png."""
    script, editor = session.current.script, session.editor
    named = "".join(f", {name}={path!r}" for name, path in editor.loaded_from.items())
    systems = ".with_systems(fm.systems.Systems())" if any(step.system for step in script.steps) else ""
    text = base64.b64encode(zlib.compress(script.model_dump_json(exclude_defaults=True).encode(), 9)).decode("ascii")
    photo = None if script.photo.sample is not None else session.first.photo.name
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(text, 110))
    return f"""\
import base64, zlib

import facemug_lib as fm
from facemug_lib.editing.script.edit_script import EditScript, Replayer

# {len(script.steps)} edits: {"; ".join(step.name for step in script.steps) or "none"}
script = EditScript.model_validate_json(zlib.decompress(base64.b64decode(
{lines}
)))
editor = fm.Editor.load("{editor.device.type}"{named}){systems}
result = Replayer.of(editor, {photo!r}).replay(script)
fm.write_image("edited.png", result.photo)
"""
