"""The painter's session, saved every few seconds, and offered again after a crash or a restart of the kernel."""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemug_lib.editing.drawing import FACE_SIZE
from facemug_lib.editing.script import saved_session
from facemug_lib.editing.script.edit_script import PhotoRecord, pixels_hash
from facemug_lib.editing.script.saved_session import About, Made, Saved, Settings
from facemug_lib.editing.script.session import Session
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, crop_photo
from facemug_lib.faces.photos import read_photo
from facemug_lib.widgets.layers import LAYERS, NOTHING
from facemug_lib.widgets.worker import Turn

PAUSE = 3.0  # seconds between a change and the file


class Autosave:
    """A thread that calls ``save`` some seconds after :meth:`touch`. It ends when ``save``'s object is gone, or once ``save``
    raises :class:`FacemugError`, whose line goes to ``on_error``."""

    def __init__(self, save: Callable[[], None], on_error: Callable[[str], None]) -> None:
        self._save, self._on_error = weakref.WeakMethod(save), weakref.WeakMethod(on_error)
        self._changed = threading.Event()
        self._at_work = threading.Lock()
        self._thread: threading.Thread | None = None
        self.is_off = False

    def touch(self) -> None:
        """Something has changed."""
        self._changed.set()
        if self._thread is None and not self.is_off:
            self._thread = threading.Thread(target=self._work, name="facemug autosave", daemon=True)
            self._thread.start()

    def now(self) -> None:
        """Save at once what has changed."""
        with self._at_work:
            if self.is_off or not self._changed.is_set():
                return
            self._changed.clear()
            save = self._save()
            try:
                if save is not None:
                    save()
            except FacemugError as error:
                self.is_off = True
                self._tell(str(error))
            except Exception as error:  # saving must not end the work that it is to protect
                self.is_off = True
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
                self._tell(f"the session is no longer saved on its own ({reason}): press Save, and report it")

    def _tell(self, line: str) -> None:
        on_error = self._on_error()
        if on_error is not None:
            on_error(line)

    def _work(self) -> None:
        while not self.is_off and self._save() is not None:
            if self._changed.wait(10 * PAUSE):
                time.sleep(PAUSE)
                self.now()


class Keeping:
    """The part of a :class:`~facemug_lib.widgets.painter.Painter` that saves it, and goes on with what was saved."""

    def _begin_keeping(self) -> None:
        """Name the file of a new session."""
        self._kept_as = f"{secrets.token_hex(8)}.zip"

    def save_now(self) -> None:
        """Save the session without waiting for the next few seconds, where sessions are saved (`FACEMUG_SESSIONS`)."""
        self._autosave.now()

    def _touch(self) -> None:
        if self._sessions is not None:
            self._autosave.touch()

    def _save_session(self) -> None:
        path = self._sessions / self._kept_as
        session, current = self.session, self.session.current
        made = session.moments[1:]
        is_painted = any(self.layers.is_painted(name) for name in LAYERS)
        if not made and not is_painted:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return
        photo = Path(session.first.photo.name).expanduser()
        is_file = self._is_known and current.script.photo.sample is None
        about = About(photo=current.script.photo, name=photo.name[-300:],
                      path=str(photo.absolute()) if is_file else None,  # so that it need not be asked for
                      edits=len(made), saved=time.time(), process=saved_session.this_process())
        saved_session.write(path, about, Saved(
            made=[self._made(moment) for moment in made], current=current.number, layers=_as_text(self.layers.packed()),
            settings=Settings(**self._settings()), weights=current.script.weights))

    def _made(self, moment: Any) -> Made:
        step, snapshot = moment.script.steps[-1], self._snapshots.get(moment.number)
        if snapshot is None:  # an edit that has been made this very moment
            return Made(parent=moment.parent, step=step)
        settings = {name: value for name, value in snapshot.items() if name != "layers"}
        if settings["exemplar"] == step.exemplar:  # some hundred kilobytes, once
            settings["exemplar"] = ""
        return Made(parent=moment.parent, step=step, layers=_as_text(snapshot["layers"]), settings=Settings(**settings))

    # -- offering it again --------------------------------------------------------------------------------------------------

    def _find_saved(self) -> None:
        """Offer the newest session of this photo; where the painter was begun without one, of any photo."""
        self.saved = {}
        if self._sessions is None or not self._sessions.is_dir():
            return
        found, lines = saved_session.known(self._sessions)
        if lines:
            self.note = lines[0]
        mine = pixels_hash(self.session.first.photo)
        for path, about in found:
            if path.name in (self._kept_as, *self._passed_over) or about.is_running_elsewhere:
                continue
            is_of_this = about.photo.sha256 == mine
            if is_of_this or self._is_unasked:
                self.saved = {"file": path.name, "text": _described(about), "name": about.name,
                              "can_go_on": is_of_this or about.is_reachable}
                return

    def go_on(self, file: str) -> None:
        """Go on with a saved session, by its file's name; :meth:`wait` for it: its pictures are made again. Raises
        :class:`FacemugError` where there is none, and while something is being done."""
        self._idle()
        path, about = self._saved(file)

        def job(turn: Turn) -> None:
            try:
                remake(turn)
            except FacemugError:
                self._passed_over.add(file)
                self._find_saved()
                raise

        def remake(turn: Turn) -> None:
            saved = saved_session.read(path)
            layers = {place: _as_bytes(one.layers, path) for place, one in enumerate([*saved.made, saved]) if one.layers}
            photo = self._photo_of(about)
            session = Session.remade(self.editor, photo, [(one.parent, one.step) for one in saved.made], saved.current,
                                     self._reporter(turn), turn.check)
            is_same = about.photo.sha256 == pixels_hash(session.first.photo) and saved.weights == session.current.script.weights
            self._begin(session)
            self._is_known = about.path is not None or about.photo.sample is not None
            for place, one in enumerate(saved.made):
                settings = one.settings.model_dump()
                settings["exemplar"] = settings["exemplar"] or one.step.exemplar or ""
                if place in layers:
                    self._snapshots[place + 1] = {"layers": layers[place], **settings}
            self._take_settings(saved.settings.model_dump())
            if len(saved.made) in layers:
                self.layers.unpack(layers[len(saved.made)])
            self._send_layers(LAYERS)
            self._show("everything is as it was" if is_same else "made again by other networks: the pictures may differ a little")
            self.saved = {}
            self.save_now()  # under its own name, before the other one goes
            if not about.is_running:
                path.unlink(missing_ok=True)

        self._start(f"making {about.edits} edits again", job, is_off=True)

    def discard(self, file: str) -> None:
        """Remove a saved session."""
        self._saved(file)[0].unlink(missing_ok=True)
        self._find_saved()

    def _saved(self, file: str) -> tuple[Path, About]:
        for path, about in [] if self._sessions is None else saved_session.known(self._sessions)[0]:
            if path.name == file:
                return path, about
        raise FacemugError("that session is no longer there")

    def _photo_of(self, about: About) -> Any:
        """The face that a saved session began with, or what it is sampled from."""
        record: PhotoRecord = about.photo
        if record.sample is not None:
            return record.sample
        photo = self.session.first.photo
        if pixels_hash(photo) != record.sha256:
            if not about.is_reachable:
                raise FacemugError(f"open {about.name or 'its photo'} first: the session was saved without a pixel of it")
            photo = read_photo(about.path)
            if pixels_hash(photo) != record.sha256:
                raise FacemugError(f"{about.path} is no longer the photo that the session was made on")
        matrix = np.array(record.matrix)
        return AlignedFace(crop_photo(photo, matrix, FACE_SIZE), photo, matrix)

    def _on_go_on(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.go_on(content["file"])

    def _on_discard(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.discard(content["file"])

    def _on_later(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._passed_over.add(content["file"])
        self._find_saved()


def _described(about: About) -> str:
    edits = f"{about.edits} {'edit' if about.edits == 1 else 'edits'}" if about.edits else "what was painted"
    of = f"a sampled face (seed {about.photo.sample.seed})" if about.photo.sample else about.name or "a photo"
    return f"{edits} of {of}, saved on {time.strftime('%d %B at %H:%M', time.localtime(about.saved))}"


def _as_text(packed: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(data).decode("ascii") for name, data in packed.items()}


def _as_bytes(texts: Mapping[str, str], path: Path) -> dict[str, bytes]:
    """Layers as :meth:`Layers.packed` gives them; what is no layer is refused."""
    packed = {}
    for name in LAYERS:
        size = FACE_SIZE * FACE_SIZE * NOTHING[name].size
        try:
            packed[name] = base64.b64decode(texts[name], validate=True)
            is_whole = len(zlib.decompressobj().decompress(packed[name], size + 1)) == size
        except (KeyError, ValueError, zlib.error):
            is_whole = False
        if not is_whole:
            raise FacemugError(f"the saved session {path.name} is damaged: its {name} layer cannot be read")
    return packed
