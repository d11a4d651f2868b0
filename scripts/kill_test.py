"""Kill -9 at random moments: what stays of a command that is cut short, and whether the same command makes it good.

    python scripts/kill_test.py train edit run assets --kills 12 --folder /tmp/kills

Each command runs in a forked process, which saves its imports, and is killed at a moment drawn evenly from the time that a whole
run takes. After each kill every file that can be seen is read; a hidden one is a half-written one, which nothing takes for a
result. At the end the command runs undisturbed over what the kills have left, and must give what it gives in an empty folder: the
training bit for bit. ``assets`` needs packages to fetch: PIP_FIND_LINKS and PIP_NO_INDEX make that quick. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import PIL.Image
import psutil
import torch
from safetensors.torch import load_file

from facemug_lib import assets
from facemug_lib.cli import main
from facemug_lib.editing.editor import Editor  # noqa: F401 - imported before the fork
from facemug_lib.faces.photos import write_image
from facemug_lib.training.checkpoints import newest_checkpoint

CELLS = ("from facemug_lib.recording import figure_path, record", "record(one=1)\nprint('x' * 100_000)",
         "from PIL import Image\nImage.new('RGB', (900, 900), 'teal').save(figure_path('fig_kill.png'))\nrecord(two=2)")


def prepared(name: str, folder: Path, photo: Path | None) -> tuple[list[str], Path]:
    """(arguments of the command, folder that it writes into)."""
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    if name == "train":
        quick = ["images=12", "batch=2", "checkpoint_every=2", "stats_every=2", "grid_every=6", "evaluate_count=2"]
        return ["train", "text", "--out", str(out), "--device", "cpu", *(word for one in quick for word in ("--set", one))], out
    if name == "assets":
        os.environ["FACEMUG_CACHE"] = str(out)
        return ["assets", "scrfd", "landmarks106"], out / assets.CACHE_VERSION
    if name == "run":
        os.environ["FACEMUG_FIGURES"] = str(out / "figures")
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS],
                                            metadata={"facemug": {"profiles": {"smoke": {}}}})
        parameters = nbformat.v4.new_code_cell("profile = 'smoke'")
        parameters.metadata["tags"] = ["parameters"]
        notebook.cells.insert(0, parameters)
        nbformat.write(notebook, folder / "90_kill.ipynb")
        return ["run", str(folder / "90_kill.ipynb"), "--out", str(out / "run")], out
    if photo is None:
        raise SystemExit("edit: name a photograph with --photo")
    with PIL.Image.open(photo) as opened:
        mask = np.zeros((opened.height, opened.width), np.uint8)
    mask[mask.shape[0] // 3: 2 * mask.shape[0] // 3, mask.shape[1] // 3: 2 * mask.shape[1] // 3] = 255
    write_image(folder / "mask.png", mask)
    return ["edit", str(photo), "--mask", str(folder / "mask.png"), "--out", str(out / "edited.png"), "--device", "cpu"], out


def begun(arguments: list[str], log: Path) -> int:
    """The command in a process of its own; its id."""
    process = os.fork()
    if process:
        return process
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os._exit(main(arguments))


def ended(process: int, seconds: float | None) -> bool:
    """Wait for a process, and kill it after so many seconds; whether it came to its own end."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        if until is not None and time.monotonic() >= until:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return False
        time.sleep(0.005)


def broken(folder: Path) -> list[str]:
    """The files that can be seen and are not whole."""
    readers = {".png": lambda path: PIL.Image.open(path).load(), ".json": lambda path: json.loads(path.read_text()),
               ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()], ".safetensors": load_file,
               ".ipynb": lambda path: nbformat.read(path, 4)}
    pinned = {asset.filename: asset for asset in assets.ASSETS.values()}
    found = []
    for path in folder.rglob("*"):
        if path.is_dir() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            if path.name in pinned:
                assets.verify(pinned[path.name])
            elif path.suffix in readers:
                readers[path.suffix](path)
        except Exception as error:  # whatever a reader raises of half a file
            found.append(f"{path.name}: {type(error).__name__}: {error}")
    return found


def left(folder: Path) -> list[Path]:
    """What is hidden: the beginnings of files."""
    return [path for path in folder.rglob(".*")
            if not any(part.startswith(".") for part in path.parent.relative_to(folder).parts)]


def orphans(mark: str) -> list[int]:
    """Processes that were started by killed ones and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FACEMUG_KILL_TEST") == mark and process.pid != os.getpid():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def result(name: str, folder: Path) -> str:
    """The hash of what a command is for."""
    digest = hashlib.sha256()
    if name == "train":
        def add(value: object) -> None:
            if isinstance(value, torch.Tensor):
                digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
            elif isinstance(value, dict):
                for key in sorted(value, key=str):
                    if key != "seconds":
                        digest.update(str(key).encode())
                        add(value[key])
            elif isinstance(value, list | tuple):
                for one in value:
                    add(one)
            else:
                digest.update(repr(value).encode())

        add(newest_checkpoint(folder)[1])
        for path in sorted(folder.glob("weights/*.safetensors")):
            add(load_file(path))
    elif name == "run":
        kept = json.loads((folder / "run" / "result.json").read_text())
        digest.update(json.dumps([kept["status"], kept["metrics"]]).encode())
    else:
        for path in sorted(folder.glob("*.png" if name == "edit" else "*.onnx")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def campaign(name: str, kills: int, folder: Path, photo: Path | None, draw: random.Random) -> bool:
    """Kill one command so many times; say what came of it, and whether all was well."""
    os.environ["FACEMUG_KILL_TEST"] = str(folder)
    arguments, out = prepared(name, folder / "undisturbed", photo)
    began = time.monotonic()
    ended(begun(arguments, folder / "log.txt"), None)
    if not any(out.rglob("*.*")):
        raise SystemExit(f"{name} does not work undisturbed: see {folder / 'log.txt'}")
    whole, expected = time.monotonic() - began, result(name, out)
    arguments, out = prepared(name, folder / "killed", photo)
    made, faults = 0, []
    while made < kills:
        if ended(begun(arguments, folder / "log.txt"), draw.uniform(0, whole)):
            if name == "assets":  # they are there now, and nothing more is to be fetched
                for path in out.glob("*.onnx"):
                    path.unlink()
            continue
        made += 1
        faults += broken(out)
    time.sleep(3)  # a kernel looks every second whether its runner is still there
    running, halves = orphans(str(folder)), len(left(out))
    ended(begun(arguments, folder / "log.txt"), None)
    is_equal = result(name, out) == expected
    print(f"{name}: {made} kills in runs of {whole:.1f} s; {len(faults)} files not whole; {halves} hidden leftovers, "
          f"{len(left(out))} after the next run; {len(running)} processes left; result {'equal' if is_equal else 'DIFFERENT'}",
          flush=True)
    for fault in faults:
        print(f"  {fault}")
    return not faults and is_equal and not running


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", choices=["train", "edit", "run", "assets"])
    parser.add_argument("--kills", type=int, default=12, help="of each command")
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder for all that is written")
    parser.add_argument("--photo", type=Path, help="a photograph with a face, for edit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    done = [campaign(name, given.kills, given.folder.resolve() / name, given.photo, random.Random(given.seed))
            for name in given.commands]
    sys.exit(not all(done))
