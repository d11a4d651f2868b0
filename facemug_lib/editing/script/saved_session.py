"""Sessions that are saved on their own: what made each picture, in a private folder of the user, and not a pixel of the photo.

A file is a zip of two JSON texts: ``about.json`` says of which photo the session is and who made it, ``session.json`` holds the
edits, as an edit script does, and what is painted. The pictures are made again from the photo.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import platformdirs
import psutil
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from facemug_lib.editing.script.edit_script import PhotoRecord, Refinement, Sha256, Step
from facemug_lib.errors import FacemugError
from facemug_lib.files import replacing

VARIABLE = "FACEMUG_SESSIONS"
KEPT = 10  # files
DAYS = 30  # that a file is kept
LARGEST = 64 * 2**20  # bytes of a file's texts
Model = TypeVar("Model", bound=BaseModel)
Packed = dict[Literal["mask", "sketch", "semantics", "colour"], str]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Model):
    """photo: what recognises it; name, path: its file's, as far as it has one. saved: seconds since 1970. process: number and
    start of the one that the session is in."""

    format: Literal["facemug session"] = "facemug session"
    version: Literal[1] = 1
    photo: PhotoRecord
    name: Annotated[str, StringConstraints(max_length=300)] = ""
    path: Annotated[str, StringConstraints(max_length=4096)] | None = None
    edits: Annotated[int, Field(ge=0)]
    saved: Annotated[float, Field(allow_inf_nan=False)]
    process: tuple[int, float]

    @property
    def is_running(self) -> bool:
        """Whether the process that the session is in still runs."""
        number, started = self.process
        try:
            process = psutil.Process(number)
            # One that was killed is there until whoever started it has asked for its end.
            return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def is_running_elsewhere(self) -> bool:
        """Whether that is another process than this one."""
        return self.process[0] != os.getpid() and self.is_running

    @property
    def is_reachable(self) -> bool:
        """Whether the photo can be had without asking for it."""
        return self.photo.sample is not None or (self.path is not None and Path(self.path).is_file())


class Settings(_Model):
    """What is set beside the layers."""

    attributes: dict[str, float] = {}
    influence: dict[str, float] = {}
    text: str = ""
    text_source: str = ""
    refine: Refinement | Literal["auto"] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    variety: Annotated[float, Field(ge=0, le=1)] = 0.0
    size: Literal["auto", 256, 512, 1024] = 256  # sessions that name none were made before there were others
    system: str = ""
    system_attributes: dict[str, float] = {}
    exemplar: str = ""  # a data URL


class Made(_Model):
    """One picture: the number of the picture that it was made of, the edit, what was painted (compressed, base64) and set."""

    parent: Annotated[int, Field(ge=0)]
    step: Step
    layers: Packed = {}
    settings: Settings = Settings()


class Saved(_Model):
    """A session: its pictures but for the photo, the current one, what is painted and set on it, and the networks' hashes."""

    made: list[Made]
    current: Annotated[int, Field(ge=0)]
    layers: Packed
    settings: Settings
    weights: dict[str, Sha256] = {}


def folder() -> Path | None:
    """Where sessions are saved: ``FACEMUG_SESSIONS``, or ``sessions`` in the user's folder of states (on Linux
    ``~/.local/state/facemug``); None where it is ``off``."""
    given = os.environ.get(VARIABLE)
    if given:
        return None if given == "off" else Path(given).expanduser()
    return Path(platformdirs.user_state_dir("facemug", appauthor=False)) / "sessions"


def this_process() -> tuple[int, float]:
    """What :class:`About` keeps of the process."""
    return os.getpid(), psutil.Process().create_time()


def write(path: Path, about: About, saved: Saved) -> None:
    """Write a session, whole or not at all, and remove those of the folder that are too many or too old. Raises
    :class:`FacemugError` for one that is too large, and where the disk refuses."""
    texts = {"about.json": about.model_dump_json(), "session.json": saved.model_dump_json()}
    if sum(map(len, texts.values())) > LARGEST:
        raise FacemugError(f"this session has more than {LARGEST >> 20} MiB and is no longer saved on its own: press Save")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)  # somebody's face is edited here
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
            for name, text in texts.items():
                file.writestr(name, text)
        tidy(path.parent)
    except OSError as error:
        raise FacemugError(f"the session cannot be saved on its own in {path.parent} ({error.strerror or error}): press Save, or "
                           f"name another folder with {VARIABLE}") from error


def tidy(where: Path) -> None:
    """Keep the newest :data:`KEPT` sessions, none older than :data:`DAYS` days."""
    for place, path in enumerate(_newest_first(where)):
        if place >= KEPT or time.time() - path.stat().st_mtime > DAYS * 86400:
            path.unlink(missing_ok=True)


def known(where: Path) -> tuple[list[tuple[Path, About]], list[str]]:
    """The sessions in a folder, newest first, and a line about each file that is damaged."""
    found, lines = [], []
    for path in _newest_first(where):
        try:
            found.append((path, _read(path, "about.json", About)))
        except FacemugError as error:
            lines.append(str(error))
    return found, lines


def read(path: Path) -> Saved:
    """A session. Raises :class:`FacemugError` with one line where the file is damaged or gone."""
    saved = _read(path, "session.json", Saved)
    if saved.current > len(saved.made) or any(one.parent > place for place, one in enumerate(saved.made)):
        raise FacemugError(f"the saved session {path.name} names pictures that it does not have: passed over")
    return saved


def _newest_first(where: Path) -> Sequence[Path]:
    times = {}
    for path in where.glob("*.zip"):
        try:
            times[path] = path.stat().st_mtime
        except OSError:  # another process has just removed it
            continue
    return sorted(times, key=times.get, reverse=True)


def _read(path: Path, name: str, model: type[Model]) -> Model:
    try:
        with zipfile.ZipFile(path) as file:
            if file.getinfo(name).file_size > LARGEST:
                raise ValueError("it is too large")
            return model.model_validate_json(file.read(name))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg'].lower()}"
    except Exception as error:  # a damaged zip raises whatever comes
        reason = str(error) or type(error).__name__
    raise FacemugError(f"the saved session {path.name} cannot be read ({' '.join(reason.split())[:120]}) and is passed over")
