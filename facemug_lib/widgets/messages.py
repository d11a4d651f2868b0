"""What the painter's page asks for: each kind of message is a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import PIL.Image

from facemug_lib.editing.drawing import read_face
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import SeveralFaces
from facemug_lib.faces.photos import photo_from_bytes
from facemug_lib.widgets.layers import LAYERS, data_url
from facemug_lib.widgets.uploads import Offer, chosen_exemplar, file_name, read_exemplar
from facemug_lib.widgets.worker import Turn


class Messages:
    """The part of a :class:`~facemug_lib.widgets.painter.Painter` that listens."""

    def _receive(self, _: Any, content: Any, buffers: Sequence[memoryview]) -> None:
        """Do what a message asks for; whatever is wrong with it is shown and changes nothing."""
        try:
            kind = content["kind"]
            handler = getattr(self, f"_on_{kind}", None)
            if handler is None:
                raise FacemugError(f"the browser asks for {kind!r}, which this painter does not know: reload the page")
            self.received[kind] += 1
            if kind not in ("ready", "cancel") and self.error:
                self.error = ""
            handler(content, buffers)
        except FacemugError as error:
            self.error = str(error)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            self.error = f"a message of the browser is not understood ({type(error).__name__}: {reason}): reload the page"

    def _on_ready(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._send_layers(LAYERS)

    def _on_stroke(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        if page := str(content.get("page", ""))[:40]:
            self._strokes_seen[page] = int(content["number"])
        try:
            self._on()
            self.layers.stroke(content["layer"], tuple(content["box"]), bytes(buffers[0]))
        except FacemugError:
            self._send_layers(LAYERS)  # the browser shows a stroke that was refused: show it what is there
            raise
        if page:  # tells this page that its stroke has come, and the others what was painted
            told = {name: content[name] for name in ("layer", "box", "page", "number")}
            self.send({"kind": "stroke", **told}, [bytes(buffers[0])])
        self._tell_undo()

    def _on_undo(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._retrace("undo")

    def _on_redo(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._retrace("redo")

    def _retrace(self, what: Literal["undo", "redo"]) -> None:
        """Undo or redo an act: a stroke, or a way from one picture to another."""
        self._on()
        way = self.layers.next_mark(what)
        if way is not None:
            self._idle()
        names = self.layers.undo() if what == "undo" else self.layers.redo()
        if way is not None:
            number, settings = way.before if what == "undo" else way.after
            self._take_settings(settings or {})
            self.session.go(number)
            self._show(f"picture {number}")
        self._send_layers(names)

    def _on_clear(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._on()
        self.layers.clear(*content["layers"])
        self._send_layers(LAYERS)

    def _on_edit(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.edit()

    def _on_cancel(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.cancel()

    def _on_go(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.go(content["number"])

    def _on_revise(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.revise()

    def _on_save(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._idle()

        def job(turn: Turn) -> None:
            written = self.save(content["name"])
            self.note = f"written in {written[0].resolve().parent}: {', '.join(path.name for path in written)}"

        self._start("saving", job)

    def _on_download(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self._idle()

        def job(turn: Turn) -> None:
            packed = self.archive()
            turn.check()
            self.send({"kind": "download", "page": content["page"], "name": "edit.zip"}, [packed])
            self.note = "edit.zip holds the script, the edited photo and the mask"

        self._start("packing", job)

    def _on_code(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.send({"kind": "code", "page": content["page"], "text": self.code()})

    def _on_file(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """One part of a photo or an exemplar; the last one opens it."""
        what, part, parts = content["what"], content["part"], content["parts"]
        data = self._uploads.add(what, content["name"], part, parts, bytes(buffers[0]))
        if data is None:
            return
        self._idle()
        name = file_name(str(content["name"]))
        self._let_choose(None)
        if what == "exemplar":
            self._start("reading the exemplar", lambda turn: self._take_exemplar(lambda: read_exemplar(name, data), turn))
            return
        self._open(f"opening {name}", lambda: read_face(photo_from_bytes(data, name)), is_known=False)

    def _take_exemplar(self, read: Callable[[], PIL.Image.Image], turn: Turn) -> None:
        try:
            picture = read()
        except SeveralFaces as several:
            turn.check()
            self._let_choose(Offer("exemplar", several, False))
            return
        turn.check()
        self.exemplar = data_url(picture)

    def _let_choose(self, offer: Offer | None) -> None:
        self._offer, self.offer = offer, {} if offer is None else offer.shown()

    def _on_face(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """One of several faces is chosen, or none of them."""
        self._idle()
        offer, number = self._offer, content["number"]
        self._let_choose(None)
        if offer is None or number is None:
            return
        photo = offer.several.photo
        if offer.what == "exemplar":
            self._start("reading the exemplar", lambda turn: self._take_exemplar(lambda: chosen_exemplar(photo, number), turn))
            return
        self._open("opening the photo", lambda: read_face(photo, number), offer.is_known)

    def _on_no_exemplar(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.exemplar = ""

    def _idle(self) -> None:
        if self._worker.is_busy:
            raise FacemugError("an edit is being made: wait for it or cancel it")

    def _on(self) -> None:
        """Raise :class:`FacemugError` while what is painted is being taken by an edit, or away by another photo."""
        if self.is_off:
            raise FacemugError("an edit is being made: painting goes on when it is done; Escape cancels it")
