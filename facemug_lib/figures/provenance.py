"""How a picture of ``figures/`` was made, and whether that still holds.

Every picture that a run of a notebook leaves has a record: beside it as ``NAME.png.json``, and inside a PNG as the text
``facemug``, so that a picture that has travelled alone can still say where it is from. A picture is *stale* when anything that it
depends on is no longer what the record says: the notebook's code, its parameters, the weights it read, the library's code that it
reaches through imports, the packages, or the pixels themselves. Device and seconds are told and not compared: a picture made on a
GPU is not stale on a laptop. A record holds no path of the machine that made it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PureWindowsPath
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.code_keys import PACKAGE, hash_of_code, hashes_of, imports_in
from facemug_lib.files import file_hash, replacing, weights_dir
from facemug_lib.recording import write_json

KEY = "facemug"  # of the text in a PNG
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "scikit-learn", "opencv-python-headless", "pillow",
            "matplotlib", "onnxruntime", "lpips", "open_clip_torch")
"""Packages that decide pixels; an update of one makes every picture stale."""

Record = dict[str, Any]


def code_of_notebook(notebook: Any) -> str:
    """The Python of a notebook (an nbformat node), without its parameters cell."""
    return "\n\n".join(cell.source for cell in notebook.cells
                       if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []))


def source_facts(notebook: Any, package: Path = PACKAGE) -> Record:
    """What a picture of ``notebook`` depends on by what is written: the notebook's code and the library's.

    Raises :class:`FacemugError` where a cell is no Python.
    """
    code = code_of_notebook(notebook)
    try:
        modules = hashes_of(*imports_in(ast.parse(code), package), package=package)
    except SyntaxError as error:
        raise FacemugError(f"a cell of the notebook is no Python ({error.msg})") from error
    return {
        "notebook_sha256": hash_of_code(code),
        "code_sha256": hashlib.sha256(json.dumps(modules).encode()).hexdigest(),
        "code": {name.removeprefix(f"{package.name}."): digest for name, digest in modules.items()},
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Version of Python and of each of :data:`PACKAGES` that is installed."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def without_paths(value: Any) -> Any:
    """``value`` with every absolute path in it cut down to its last part: where it lay is nobody's business."""
    if isinstance(value, str) and (os.path.isabs(value) or PureWindowsPath(value).is_absolute()):
        return f"…/{PureWindowsPath(value).name}"
    if isinstance(value, Mapping):
        return {name: without_paths(one) for name, one in value.items()}
    return [without_paths(one) for one in value] if isinstance(value, list | tuple) else value


def make_record(notebook: str, profile: str, settings: Mapping[str, Any], parameters: Mapping[str, Any], facts: Record,
                notes: Iterable[Mapping[str, str]], seconds: float) -> Record:
    """The record that all pictures of one run share.

    ``settings``: what was set beside the profile; ``parameters``: what came of both. ``facts``: :func:`source_facts` from before
    the run. ``notes``: what the library noted in it. ``seconds``: wall time of the whole notebook.
    """
    device, weights = "none", {}
    for one in notes:
        device = one.get("device", device)
        if "weights" in one:
            weights[one["weights"]] = one["sha256"]
    return {
        "notebook": notebook, "profile": profile, "settings": without_paths(dict(settings)),
        "parameters": without_paths(dict(parameters)), "seed": parameters.get("seed"), **facts,
        "weights": dict(sorted(weights.items())), "device": device, "seconds": round(seconds, 1),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


# -- beside and inside a picture ------------------------------------------------------------------------------------------


def sidecar(picture: Path) -> Path:
    """Where the record of a picture is."""
    return picture.with_name(f"{picture.name}.json")


def publish(made: Path, target: Path, record: Record) -> Path:
    """Put the picture ``made`` at ``target`` together with its record; an older one stays if anything fails.

    A PNG may become a JPEG by the target's name. Other files than pictures are copied. Raises :class:`FacemugError` for a file
    whose name promises a picture and which is none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    content, digest = _with_record(made, target.suffix.lower(), record)
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    write_json(sidecar(target), record | {"picture_sha256": digest})
    return target


def _with_record(made: Path, suffix: str, record: Record) -> tuple[bytes, str]:
    """(the bytes of the file to be, the hash that its record has of the picture)."""
    if suffix not in (".png", ".jpg", ".jpeg") or (suffix != ".png" and made.suffix.lower() != ".png"):
        return made.read_bytes(), picture_hash(made)
    try:
        with Image.open(made) as opened:
            opened.load()
            image = opened.copy()
            resolution = {"dpi": opened.info["dpi"]} if "dpi" in opened.info else {}
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise FacemugError(f"the notebook's {made.name} is no readable picture: save it with figure.savefig") from error
    stream = io.BytesIO()
    if suffix == ".png":
        digest, text = _pixels_hash(image), PngInfo()
        text.add_itxt(KEY, json.dumps(record | {"picture_sha256": digest}))
        image.save(stream, "PNG", pnginfo=text, **resolution)
    else:
        image.convert("RGB").save(stream, "JPEG", quality=90, **resolution)
        digest = _pixels_hash(Image.open(io.BytesIO(stream.getvalue())))
    return stream.getvalue(), digest


def picture_hash(path: Path) -> str:
    """SHA-256 of a picture's size and pixels, which no text inside the file changes; of other files, of their bytes."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        try:
            with Image.open(path) as image:
                return _pixels_hash(image)
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise FacemugError(f"{path.name} is no readable picture") from error
    return file_hash(path)


def _pixels_hash(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.convert("RGBA").tobytes()).hexdigest()


def read_record(picture: Path) -> Record | None:
    """The record of a picture: the file beside it, else what a PNG carries inside, else None. Unreadable ones do not count."""
    path = sidecar(picture)
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif picture.suffix.lower() == ".png" and picture.is_file():
            with Image.open(picture) as image:
                image.load()  # texts may stand behind the pixels
                text = image.info.get(KEY, "")
        else:
            return None
        record = json.loads(text)
    except (ValueError, OSError, UnidentifiedImageError):
        return None
    return record if isinstance(record, dict) and "notebook" in record else None


# -- does it still hold ---------------------------------------------------------------------------------------------------


def changes(picture: Path, record: Record, now: Record, parameters: Mapping[str, Any]) -> list[str]:
    """What is no longer as the record of ``picture`` says, each in a few words; nothing for a fresh one.

    ``now``: :func:`source_facts` of the notebook as it is; ``parameters``: what its profile and settings resolve to now.
    """
    found = []
    if picture_hash(picture) != record.get("picture_sha256"):
        found.append("the picture is not the one of its record")
    if record.get("notebook_sha256") != now["notebook_sha256"]:
        found.append(f"the code of {record['notebook']}")
    found += [f"parameter {name}: {old} → {new}" for name, old, new
              in _differences(record.get("parameters", {}), without_paths(dict(parameters)))]
    modules = [name for name, *_ in _differences(record.get("code", {}), now["code"])]
    if modules:
        found.append(f"the library's {', '.join(modules[:3])}" + (f" and {len(modules) - 3} more" if len(modules) > 3 else ""))
    for name, digest in record.get("weights", {}).items():
        if "/" not in name:  # a file of elsewhere is not looked for: its path is not recorded
            path = weights_dir() / name
            if not path.is_file():
                found.append(f"weights {name} are missing")
            elif _hash_of_weights(path) != digest:
                found.append(f"weights {name}")
    return found + [f"{name} {old} → {new}" for name, old, new in _differences(record.get("packages", {}), now["packages"])]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = list(dict.fromkeys((*before, *after)))
    return [(name, before.get(name, "nothing"), after.get(name, "nothing")) for name in names
            if before.get(name) != after.get(name)]


_known_hashes: dict[tuple[Path, int, int], str] = {}


def _hash_of_weights(path: Path) -> str:
    """Of a file that many pictures share, once for as long as it is the same."""
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _known_hashes:
        _known_hashes[key] = file_hash(path)
    return _known_hashes[key]
