"""The painter: a face, four layers to paint on it, everything else that can guide an edit, and the history of what was made.

It is a view of a :class:`~facemug_lib.editing.script.session.Session` and of :class:`~facemug_lib.widgets.layers.Layers`, which
hold all state: the browser can be reloaded at any time. Each stroke comes as one message with the pixels that it changed.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import PIL.Image
import torch
import traitlets
from torch import Tensor

from facemug_lib.editing.drawing import FACE_SIZE, read_face
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.inputs import INFLUENCES
from facemug_lib.editing.script import saved_session
from facemug_lib.editing.script.edit_script import SampleRecord, Step
from facemug_lib.editing.script.session import PhotoScript, Session
from facemug_lib.editing.sharp import SIZES, at_size, size_for
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, SeveralFaces
from facemug_lib.faces.photos import PhotoLike, write_image
from facemug_lib.modalities.semantics import PALETTE, SEMANTIC_CLASSES
from facemug_lib.pictures import pixels_of
from facemug_lib.systems import Systems, images_seen
from facemug_lib.widgets.guiding import SETTINGS, Guiding, after_edit
from facemug_lib.widgets.keeping import Autosave, Keeping
from facemug_lib.widgets.layers import LAYERS, Layers, data_url, png
from facemug_lib.widgets.messages import Messages
from facemug_lib.widgets.still import Stills, is_headless, mimebundle
from facemug_lib.widgets.takeaway import archive, code
from facemug_lib.widgets.uploads import Offer, Uploads
from facemug_lib.widgets.variations import Variations, Varying
from facemug_lib.widgets.worker import Stopped, Turn, Worker

PAGE = Path(__file__).parent / "painter_page"
THUMBNAIL = 72  # px


class Painter(Messages, Guiding, Varying, Keeping, anywidget.AnyWidget):
    """Paint on a face and edit it.

    ``photo`` is anything :func:`~facemug_lib.faces.alignment.open_face` takes, an :class:`AlignedFace`, or None for the sampled
    face of ``seed``; ``face`` picks one of several faces in it. Without ``editor`` the shipped networks are loaded. Other photos
    can be dropped on the painter later, or given to :meth:`open_photo`. Raises :class:`FacemugError` for a photo without a usable
    face.

    Where there is a window, what is made is saved every few seconds and offered again after a crash
    (:mod:`facemug_lib.widgets.keeping`); ``FACEMUG_SESSIONS=off`` saves nothing.
    """

    _esm = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("*.js")))  # one module, without a build step
    _css = PAGE / "painter.css"

    choices = traitlets.Dict().tag(sync=True)  # names and colours that the browser needs; never changes
    picture = traitlets.Bytes().tag(sync=True)  # PNG of the current face, shown_size px
    original = traitlets.Bytes().tag(sync=True)  # … of the photo's
    parse = traitlets.Bytes().tag(sync=True)  # its labels [256,256], row by row
    shown_size = traitlets.Int(FACE_SIZE).tag(sync=True)  # 256, 512 or 1024: as large as the photo shows the face
    history = traitlets.List().tag(sync=True)
    current = traitlets.Int(0).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)  # what is being done, or nothing
    share = traitlets.Float(0.0).tag(sync=True)  # … and how much of it
    error = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    variations = traitlets.List().tag(sync=True)  # seed and picture (data URL) of each; none while something else is painted
    offer = traitlets.Dict().tag(sync=True)  # a photo of several faces, of which one is to be chosen; see uploads.Offer
    saved = traitlets.Dict().tag(sync=True)  # a session that can be gone on with: file, text, name, can_go_on
    can_undo = traitlets.Bool(False).tag(sync=True)
    can_redo = traitlets.Bool(False).tag(sync=True)
    is_off = traitlets.Bool(False).tag(sync=True)  # nothing can be painted, undone or cleared: an edit takes what is painted

    def __init__(self, editor: Editor | None = None, photo: PhotoLike | AlignedFace | None = None, face: int | None = None, *,
                 seed: int = 0) -> None:
        editor = editor or Editor.load()
        self.editor = editor if editor.knows_systems else editor.with_systems(Systems(device=editor.device))
        self.received: Counter[str] = Counter()
        self._strokes_seen: dict[str, int] = {}  # page → the number of its last stroke that was dealt with
        self._worker = Worker(self._failed)
        self._uploads = Uploads()
        self._offer: Offer | None = None
        self._variations: Variations | None = None
        self._sessions = None if is_headless() else saved_session.folder()
        self._autosave = Autosave(self._save_session, self._failed)
        self._passed_over: set[str] = set()
        self._is_unasked = photo is None  # nobody has named a photo yet
        self._stills = Stills("painter", ".facemug-painter")
        self._is_known = photo is None or isinstance(photo, str | PathLike)  # a file goes along with the script
        session = Session(self.editor, SampleRecord(seed=seed) if photo is None else photo, face)
        super().__init__(choices={
            "classes": list(SEMANTIC_CLASSES), "palette": [list(colour) for colour in PALETTE],
            "attributes": list(self.editor.directions), "influences": list(INFLUENCES), "sizes": list(SIZES),
            "systems": [name for name, images in images_seen().items() if images is not None]})
        self._begin(session)
        self.on_msg(self._receive)
        self._observe_settings()
        self._find_saved()

    # -- for people who write Python ----------------------------------------------------------------------------------------

    @property
    def script(self) -> PhotoScript:
        """The edits from the photo to the current picture; ``.replay(editor)`` makes them again."""
        return self.session.script

    @property
    def image(self) -> Tensor:
        """The current face [1,3,256,256] in [-1,1], aligned."""
        return self.session.face.image

    @property
    def photo(self) -> np.ndarray:
        """The whole photo with the edits."""
        return self.session.photo

    def edit(self) -> None:
        """Start the edit that is painted and set; :meth:`wait` for it. Raises :class:`FacemugError` for one without a mask."""
        self._idle()
        self._make(self._step(), self._snapshot())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for what is being done; false if that took longer than ``seconds``."""
        return self._worker.wait(seconds)

    def cancel(self) -> None:
        """Stop what is being done at its next step or part; everything stays as it was."""
        if self._worker.cancel():
            self._ended("cancelled: everything is as it was")

    def go(self, number: int) -> None:
        """Go to another picture of the history, which can be undone; an edit from there on begins a branch. Raises
        :class:`FacemugError` for a picture that is not there, and while something is being done."""
        self._idle()
        before = self.session.current.number
        self.session.go(number)
        if number != before:
            self.layers.fill({}, mark=_Way((before, None), (number, None)))
        self._show(f"picture {number}")

    def revise(self) -> None:
        """Go to the picture before this one, with everything painted and set as it was for the edit in between."""
        moment = self.session.current
        if moment.parent is None:
            raise FacemugError("this is the photo itself: there is no edit to change")
        self._idle()
        snapshot, settings = self._snapshots[moment.number], self._settings()
        used = {name: snapshot[name] for name in SETTINGS}
        self.session.go(moment.parent)
        self.layers.unpack(snapshot["layers"], mark=_Way((moment.number, settings), (moment.parent, used)))
        self._send_layers(LAYERS)
        self._take_settings(used)
        self._show(f"picture {moment.parent}")

    def open_photo(self, photo: PhotoLike | AlignedFace, face: int | None = None) -> None:
        """Begin with another photo; :meth:`wait` for it. The layers are emptied once the photo has been read.

        The face is searched beside the kernel's thread, so a photo that cannot be used is told in ``error``, and everything stays
        as it was. Of several faces one is chosen on the page. Raises :class:`FacemugError` while something else is being done.
        """
        self._idle()
        self._open("opening the photo", lambda: read_face(photo, face), is_known=isinstance(photo, str | PathLike))

    def save(self, name: str = "edit.json") -> list[Path]:
        """Write the script, the edited photo as a PNG beside it, and the photo too where it is no file yet."""
        path = Path(name).expanduser()
        if path.suffix != ".json":
            raise FacemugError(f"the script's name {name!r} must end in .json")
        first = self.session.first.photo
        written = [self.script.write(path), write_image(path.with_suffix(".png"), self.photo, like=first)]
        if not self._is_known:
            written.append(write_image(path.with_name(f"{path.stem}_photo.png"), first))
        return written

    def archive(self) -> bytes:
        """A zip file of what :meth:`save` writes, with the mask of the current picture's edit."""
        mask, size = None, FACE_SIZE
        if (snapshot := self._snapshots.get(self.session.current.number)) is not None:
            mask = np.frombuffer(zlib.decompress(snapshot["layers"]["mask"]), np.uint8).reshape(FACE_SIZE, FACE_SIZE)
            size = self._size_of(self.session.current.script.steps[-1])
        return archive(self.save, self.session, mask, size)

    def code(self) -> str:
        """Python code that makes the current picture again."""
        return code(self.session)

    def still(self) -> bytes:
        """The current face with the layers over it, a PNG: what is shown where no browser is."""
        return png(self.layers.over(pixels_of(self.image[0])))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return mimebundle(live[0] or None, self.still(), f"Painter of {len(self.session.moments)} pictures"), live[1]

    def _ipython_display_(self) -> None:
        self._stills.show(*self._repr_mimebundle_(), self.still)

    # -- making an edit ---------------------------------------------------------------------------------------------------

    def _make(self, step: Step, snapshot: Mapping[str, Any]) -> None:
        """Start an edit; ``snapshot`` is what was painted and set for it. The step's seed and variety may be others: the seed
        becomes the one that is set, and both come back where the edit is changed."""
        def job(turn: Turn) -> None:
            self.save_now()  # should it end the kernel
            moment = self.session.apply(step, self._reporter(turn), turn.check)
            self.saved = {}
            self._snapshots[moment.number] = {**snapshot, "seed": step.seed, "variety": step.variety}
            self._parsed()  # before it is shown, so that labels and picture change together
            used = {name: snapshot[name] for name in SETTINGS}
            self._take_settings(after_edit(used, self._settings()) | ({"seed": step.seed} if self.seed == used["seed"] else {}))
            self.layers.clear(mark=_Way((moment.parent, used), (moment.number, self._settings())))
            self._send_layers(LAYERS)
            at = "" if (size := self._size_of(step)) == FACE_SIZE else f" at {size} px"
            self._show("; ".join([f"edited in {moment.seconds:.1f} s{at}", *moment.remarks]))

        self._start("editing", job, is_off=True)

    def _open(self, what: str, read: Callable[[], AlignedFace], is_known: bool) -> None:
        """Begin with the face that ``read`` gives; ``is_known``: the photo is a file that others have."""
        def job(turn: Turn) -> None:
            try:
                opened = read()
            except SeveralFaces as several:
                turn.check()
                self._let_choose(Offer("photo", several, is_known))
                return
            turn.check()
            session = Session(self.editor, opened)
            turn.check()
            self._begin(session)
            self._is_known, self._is_unasked = is_known, False
            self._find_saved()

        self._start(what, job, is_off=True)

    def _begin(self, session: Session) -> None:
        self.session = session
        self.layers = Layers()
        self._snapshots: dict[int, dict[str, Any]] = {}  # picture → what was painted and set for the edit that made it
        self._parses: dict[int, bytes] = {}  # compressed, as hundreds of pictures may be made
        self._thumbnails: dict[int, str] = {}
        self._variations = None
        self._begin_keeping()
        self._parsed()
        self.shown_size = size_for(session.first, "auto", getattr(self.editor.prior, "native_size", SIZES[-1]))
        self.original = self._seen()
        self._send_layers(LAYERS)
        self._show("")

    def _parsed(self) -> np.ndarray:
        """The labels [256,256] of the current picture."""
        number = self.session.current.number
        if number not in self._parses:
            self._parses[number] = zlib.compress(self.editor.parse(self.image)[0].to(torch.uint8).numpy().tobytes())
        return np.frombuffer(zlib.decompress(self._parses[number]), np.uint8).reshape(FACE_SIZE, FACE_SIZE)

    # -- what is shown ----------------------------------------------------------------------------------------------------

    def _start(self, what: str, job: Callable[[Turn], None], is_off: bool = False) -> None:
        """Do ``job`` beside the kernel's thread; ``is_off``: nobody can paint meanwhile."""
        def guarded(turn: Turn) -> None:
            try:
                job(turn)
            except Stopped:
                self._ended("cancelled: everything is as it was")
            finally:
                self._ended()

        self.error = self.note = ""
        self.share = 0.0
        self.busy, self.is_off = what, is_off
        self._worker.submit(guarded)

    def _ended(self, note: str = "") -> None:
        """Nothing is being done any more."""
        self.note = note or self.note
        self.busy, self.is_off = "", False

    def _failed(self, message: str) -> None:
        self.error = message

    def _reporter(self, turn: Turn) -> Callable[[int, int], None]:
        told = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            turn.progress(done, total)
            if time.monotonic() - told > 0.2 or done == total:
                told = time.monotonic()
                self.share = done / max(total, 1)

        return progress

    def _show(self, note: str) -> None:
        """Send the current picture and the history."""
        session = self.session
        rows = session.branches()
        for moment in session.moments:
            if moment.number not in self._thumbnails:
                picture = PIL.Image.fromarray(pixels_of(session.face_of(moment.number).image[0]))
                small = picture.resize((THUMBNAIL, THUMBNAIL), PIL.Image.Resampling.BOX)
                self._thumbnails[moment.number] = data_url(small, "JPEG")
        history = [{"number": moment.number, "parent": moment.parent, "name": moment.name, "row": rows[moment.number],
                    "thumbnail": self._thumbnails[moment.number]} for moment in session.moments]
        with self.hold_sync():
            self.picture = self._seen()
            self.parse = self._parsed().tobytes()
            self.history = history
            self.current = session.current.number
            self.note = note
            self._tell_undo()
        self._stills.update(self.still)

    def _seen(self) -> bytes:
        """The current face as large as the photo shows it, a PNG: what was painted larger than 256 px is seen so."""
        face = self.session.face
        image = face.image if self.shown_size == FACE_SIZE else at_size(face, self.shown_size).image
        return png(PIL.Image.fromarray(pixels_of(image[0])))

    def _changed(self) -> None:
        """What is painted or set is another now."""
        self._tell_variations()
        self._touch()

    def _tell_undo(self) -> None:
        self._changed()
        self.can_undo, self.can_redo = self.layers.can_undo, self.layers.can_redo

    def _send_layers(self, names: Sequence[str]) -> None:
        for name in names:
            self.send({"kind": "layer", "name": name, "seen": self._strokes_seen}, [self.layers[name].tobytes()])
        self._tell_undo()


@dataclass(frozen=True)
class _Way:
    """A step from one picture to another, as an act that can be undone: the number of each, and what is set there (None: as it
    happens to be)."""

    before: tuple[int, Mapping[str, Any] | None]
    after: tuple[int, Mapping[str, Any] | None]
