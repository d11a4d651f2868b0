"""The Explorer: sliders over the prior's faces, in JupyterLab or Voilà.

A panel over :mod:`facemug_lib.editing.script.exploring`, which makes the pictures. The kernel's own thread only notes what
was chosen; one worker paints it, first coarsely, then at full size as soon as nothing more changes.

Taught in `notebooks/06_latent_directions.ipynb`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from torch import Tensor

from facemug_lib.editing.drawing import FaceLike, read_face
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.script.edit_script import EditScript
from facemug_lib.editing.script.exploring import OWN, WHOLE, Exploration, View, offered
from facemug_lib.editing.script.filmstrip import write_gif, write_strip
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace
from facemug_lib.systems import Systems, images_seen
from facemug_lib.widgets.desk import Desk
from facemug_lib.widgets.explorer_controls import BESIDE, PICTURE, Controls, alert, described, encoded, said
from facemug_lib.widgets.explorer_photos import Opening
from facemug_lib.widgets.explorer_pictures import SHORT, OtherPictures
from facemug_lib.widgets.guard import KeyGuard
from facemug_lib.widgets.still import Stills, is_headless, mimebundle
from facemug_lib.widgets.worker import Job, Stopped, Turn

QUIET = 0.05  # seconds without a change before the full picture is painted; about as long as the next key takes to arrive
WANDERING = 6  # attributes that a random walk moves
ORDER = ("photo", *SHORT, "grid", "sweep", "walk")


class Explorer(Opening, ipywidgets.VBox):
    """A panel to look around in the prior: sampled faces or a photo, attributes, components, mixing, sweeps, scripts.

    ``messages`` counts previews, pictures, and jobs given up because something newer was wanted. Display it as the last
    expression of a cell; a headless kernel shows the picture alone.
    """

    def __init__(self, editor: Editor | None = None, seed: int = 0, psi: float = 0.7, photo: FaceLike | None = None,
                 mask: Tensor | str | None = None) -> None:
        """``mask``: a region by its name ("hair", "face", …), or [1,1,256,256] in {0,1} over the aligned face; by default the
        whole picture. The shipped editor is loaded where none is given. Raises :class:`FacemugError` for what makes no sense."""
        own = mask if isinstance(mask, Tensor) else None
        region = OWN if own is not None else (mask or WHOLE)
        self._first = self._state = View(seed=seed, psi=psi, region=region)
        editor = editor or Editor.load()
        if not editor.knows_systems:
            editor = editor.with_systems(Systems(device=editor.device))
        self._exploration = Exploration(editor, own)
        opened = None if photo is None else read_face(photo)
        self._desk = Desk(ORDER, self._fail)
        self._image: Tensor | None = None
        self._original: AlignedFace | None = None
        self._error, self._photo_number = "", 0
        self._stills = Stills("explorer", ".facemug-explorer")
        self.messages = {"previews": 0, "pictures": 0, "stale": 0}
        trained = [name for name, images in images_seen().items() if images is not None]
        self.controls = Controls(editor.directions, self._state, own is not None, self._choose_face, self._recall,
                                 lambda one: self._ask("photo", partial(self._open, *one)), trained)
        self._others = OtherPictures(self._exploration, self.controls, self._desk, self._working, seed)
        super().__init__([self.controls.style, self.controls.box, KeyGuard()])
        self.add_class("facemug-explorer").add_class("facemug-guarded")
        self._sync()
        self._observe()
        if opened is not None:
            self._ask_photo(opened, self._state.refine)
        self._ask("paint", self._paint)

    # -- for scripts and tests --------------------------------------------------------------------------------------------

    @property
    def state(self) -> View:
        """All that is chosen now. A photo is part of it as soon as it has been fitted."""
        return self._state

    @property
    def image(self) -> Tensor | None:
        """The last picture of full size, [1,3,256,256] in [-1,1]; None before the first one."""
        return self._image

    @property
    def error(self) -> str:
        """The line that is shown in place, empty where all is well."""
        return self._error

    @property
    def script(self) -> EditScript:
        """What is chosen as an edit script."""
        with self._desk.at_work:
            return self._exploration.script(self._state)

    def save_script(self, path: Path | str) -> list[Path]:
        """Write the edit script, and a file of the principal components if it names any; returns what was written."""
        with self._desk.at_work:
            return self._exploration.save_script(self._state, path)

    def code(self) -> str:
        """Python code that makes the very same picture."""
        with self._desk.at_work:
            return self._exploration.code(self._state)

    def set(self, **changes: Any) -> None:
        """Choose: fields of :class:`~facemug_lib.editing.script.exploring.View`, ``attributes={"smile": 1.5}`` say. A photo may
        be anything that can be opened. Returns at once; :meth:`wait` waits for the picture."""
        if unknown := set(changes) - {one.name for one in fields(View)}:
            raise FacemugError(f"nothing is called {', '.join(sorted(unknown))}: choose from "
                               f"{', '.join(one.name for one in fields(View))}")
        photo = changes.pop("photo") if changes.get("photo") is not None else None
        opened = None if photo is None else read_face(photo)
        with self._desk.lock:
            state = replace(self._state, **changes)
            self._exploration.check(state)
            self._state = state
        if "photo" in changes:
            self._photo_number += 1
            self._desk.forget("photo")
        self._sync()
        if opened is not None:
            self._ask_photo(opened, state.refine)
        self._ask("paint", self._paint)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything asked for is painted; false if that took longer than ``seconds``."""
        return self._desk.wait(seconds)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        headless = is_headless()
        self.wait(None if headless else 2)
        live = None if headless else super()._repr_mimebundle_(**kwargs)
        if self._image is None:
            if headless:
                raise FacemugError(self._error or "no picture was made")
            return live
        return mimebundle(live, encoded(self._image, "png"), f"Explorer: {described(self._state)}")

    def _ipython_display_(self) -> None:
        self._stills.show(self._repr_mimebundle_() or {}, {}, self._still)

    def _still(self) -> bytes | None:
        return None if self._image is None else encoded(self._image, "png")

    # -- what is asked for ------------------------------------------------------------------------------------------------

    def _choose(self, **changes: Any) -> None:
        """Take over a choice, and paint it."""
        with self._desk.lock:
            self._state = replace(self._state, **changes)
        self._ask("paint", self._paint)

    def _ask(self, kind: str, job: Job) -> None:
        """What a user asks for; the complaint about what was asked before goes."""
        if self._error:
            self._error = ""
            self.controls.error.value, self.controls.error.layout.display = "", "none"
        self._desk.ask(kind, job)

    def _fail(self, line: str) -> None:
        self._error = line
        self.controls.error.value, self.controls.error.layout.display = alert(line), None
        self._working(None)

    def _stop_long_work(self) -> None:
        self._desk.forget("photo", "grid", "sweep", "walk")
        self.controls.walk.value = False
        self._desk.stop()
        self._desk.ask("paint", self._paint)

    def _working(self, what: str | None, done: int = 0, total: int = 1) -> None:
        bar, shown = self.controls.progress, self.controls.working.layout
        if what is not None:
            bar.description, bar.max, bar.value = what, total, done
        shown.display = "none" if what is None else None

    # -- the controls -----------------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        c = self.controls
        for name, slider in c.sliders.items():
            slider.observe(partial(self._on_strength, name), "value")
        for name in ("seed", "psi", "mix_seed", "region", "refine"):
            getattr(c, name).observe(partial(self._on_choice, name), "value")
        for box in c.groups.values():
            box.observe(self._on_groups, "value")
        c.system.observe(lambda change: self._choose_system(change.new), "value")
        c.compare.observe(lambda change: self._ask("original", self._show_original), "value")
        c.tabs.observe(self._on_tab, "selected_index")
        c.walk.observe(lambda change: self._ask("walk", self._walk) if change.new else None, "value")
        c.upload.observe(self._on_upload, "value")
        c.open.on_click(lambda button: self._ask("photo", partial(self._open_file, c.path.value)))
        c.more.on_click(lambda button: self._ask_grid())
        c.reset.on_click(lambda button: self._reset())
        c.pin.on_click(lambda button: self._ask("pin", lambda turn: self._others.pin(self._state)))
        c.cancel.on_click(lambda button: self._stop_long_work())
        c.film.on_click(lambda button: self._ask("sweep", lambda turn: self._others.make_filmstrip(self._state, turn)))
        c.write_strip.on_click(lambda button: self._ask("export", partial(self._others.export, write_strip, c.strip_name.value)))
        c.write_gif.on_click(lambda button: self._ask("export", partial(self._others.export, write_gif, c.gif_name.value)))
        c.copy.on_click(lambda button: self._ask("code", self._show_code))
        c.write_script.on_click(lambda button: self._ask("script", partial(self._write_script, c.script_name.value)))

    def _sync(self) -> None:
        """Set the controls to what is chosen. Their observers find that it is chosen already, and ask for nothing."""
        c, state = self.controls, self._state
        for name, slider in c.sliders.items():
            value = float(state.attributes.get(name, 0.0))
            slider.min, slider.max = min(slider.min, value), max(slider.max, value)
            slider.value = value
        c.psi.min, c.psi.max = min(c.psi.min, state.psi), max(c.psi.max, state.psi)
        c.seed.value, c.psi.value, c.mix_seed.value = state.seed, state.psi, state.mix_seed
        c.refine.value, c.region.value = state.refine, state.region
        for name, box in c.groups.items():
            box.value = name in self._state.mix_layers
        if c.system.value != state.system or set(c.system_sliders) != set(self._system_attributes()):
            c.show_system(self._system_attributes(), self._on_system_strength)
            c.system.value = state.system
        for name, slider in c.system_sliders.items():
            slider.value = float(state.system_attributes.get(name, 0.0))

    def _system_attributes(self) -> Mapping[str, Any]:
        """What the chosen system can change; nothing where none is chosen."""
        return {} if self._state.system is None else self._exploration.editor.system(self._state.system).attributes

    def _on_strength(self, name: str, change: Any) -> None:
        if self._state.attributes.get(name, 0.0) != (value := _plain(change.new)):
            with self._desk.lock:
                strengths = self._state.at(name, value).attributes
                self._choose(attributes=strengths)

    def _choose_system(self, name: str | None) -> None:
        """Another system, with all its strengths at 0; its weights are read now."""
        if name == self._state.system:
            return
        try:
            attributes = {} if name is None else self._exploration.editor.system(name).attributes
        except FacemugError as error:
            self._fail(str(error))
            return
        self.controls.show_system(attributes, self._on_system_strength)
        self._choose(system=name, system_attributes={})

    def _on_system_strength(self, name: str, change: Any) -> None:
        if self._state.system_attributes.get(name, 0.0) != (value := _plain(change.new)):
            self._choose(system_attributes={**self._state.system_attributes, name: value})

    def _on_choice(self, name: str, change: Any) -> None:
        value = _plain(change.new) if name == "psi" else change.new
        if getattr(self._state, name) == value:
            return
        if name == "refine" and self._state.photo is not None:
            self._ask_photo(self._state.photo, value)
        elif name in ("refine", "region"):
            self._choose(**{name: value})
        else:
            self._choose_sampled(**{name: value})

    def _on_groups(self, change: Any) -> None:
        chosen = tuple(name for name, box in self.controls.groups.items() if box.value)
        if chosen != self._state.mix_layers:
            self._choose_sampled(mix_layers=chosen)

    def _choose_sampled(self, **changes: Any) -> None:
        """Go on with a sampled face; a photo that is still being fitted is no longer wanted."""
        self._photo_number += 1
        self._desk.forget("photo")
        self._choose(photo=None, **changes)

    def _choose_face(self, seed: int) -> None:
        self._choose_sampled(seed=seed)
        self._sync()

    def _recall(self, view: View) -> None:
        self._photo_number += 1
        self._desk.forget("photo")
        self._choose(**{one.name: getattr(view, one.name) for one in fields(View)})
        self._sync()

    def _reset(self) -> None:
        self.controls.walk.value = False
        self._recall(replace(self._first, seed=self._state.seed, photo=self._state.photo, refine=self._state.refine))

    def _on_tab(self, change: Any) -> None:
        if self.controls.tabs.titles[change.new or 0] == "Face" and not len(self.controls.grid):
            self._ask_grid()

    def _ask_grid(self) -> None:
        self._ask("grid", lambda turn: self._others.fill_grid(self._state.psi, turn))

    def _on_upload(self, change: Any) -> None:
        for file in change.new:
            self._ask("photo", partial(self._open_bytes, bytes(file["content"]), file["name"]))

    # -- in the worker: pictures ------------------------------------------------------------------------------------------

    def _paint(self, turn: Turn) -> None:
        view, started = self._state, time.perf_counter()

        def check() -> None:
            if self._desk.wants("paint", "photo"):
                self.messages["stale"] += 1
                raise Stopped

        self._show(self._exploration.preview(view), view, "jpeg")
        self.messages["previews"] += 1
        took = time.perf_counter() - started
        while time.perf_counter() - started - took < QUIET:
            check()
            time.sleep(0.01)
        image = self._exploration.picture(view, check)
        self._image = image
        self.messages["pictures"] += 1
        self._show(image, view, "png")
        self._stills.update(self._still)
        self.controls.status.value = said(f"256 px; preview after {1000 * took:.0f} ms, all after "
                                          f"{1000 * (time.perf_counter() - started):.0f} ms")
        if self.controls.compare.value != "off":
            check()
            self._show_original(turn)

    def _show(self, picture: Tensor, view: View, form: str) -> None:
        shown = self.controls.image
        with shown.hold_sync():
            shown.format, shown.value = form, encoded(picture, form)
        text = escape(described(view))
        if self.controls.caption.value != text:
            self.controls.caption.value = text

    def _show_original(self, turn: Turn) -> None:
        c, how = self.controls, self.controls.compare.value
        if how != "off" and (face := self._exploration.face(self._state)) is not self._original:
            self._original = face
            c.original.value = encoded(face.image, "png")
        for image in (c.image, c.original):
            for name, length in (BESIDE if how == "beside" else PICTURE).items():
                setattr(image.layout, name, length)
        c.left.layout.display = "none" if how == "off" else None
        c.right.layout.display = "none" if how == "original" else None

    # -- in the worker: the walk ------------------------------------------------------------------------------------------

    def _walk(self, turn: Turn) -> None:
        """Let a few attributes wander about where they are: a random walk that is pulled back to zero."""
        names = offered(self._exploration.editor.directions)[:WANDERING]
        draw, speeds = np.random.default_rng(self._state.seed), np.zeros(len(names))
        while self.controls.walk.value and not self._desk.wants("photo", "grid", "sweep"):
            self._desk.give_way(turn, *SHORT)
            speeds = 0.85 * speeds + 0.08 * draw.standard_normal(len(names))
            with self._desk.lock:
                now = self._state.attributes
                moved = {name: round(float(np.clip(0.98 * now.get(name, 0.0) + step, -2.5, 2.5)), 2)
                         for name, step in zip(names, speeds, strict=True)}
                self._state = replace(self._state, attributes={**now, **moved})
            self._sync()
            self._show(self._exploration.preview(self._state, 128), self._state, "jpeg")
            self.messages["previews"] += 1
        self._desk.ask("paint", self._paint)
        if self.controls.walk.value:
            self._desk.ask("walk", self._walk)  # once the rest is done

    # -- in the worker: files ---------------------------------------------------------------------------------------------

    def _show_code(self, turn: Turn) -> None:
        self.controls.text.value = self._exploration.code(self._state)

    def _write_script(self, name: str, turn: Turn) -> None:
        written = self._exploration.save_script(self._state, name)
        how = f"facemug replay {written[0]} --out face.png"
        how += "" if self._state.photo is None else f" --photo {self._state.photo.photo.name}"
        how += f" --directions {written[1]}" if len(written) > 1 else ""
        self.controls.saved.value = said(f"wrote {', '.join(map(str, written))}; {how} makes the picture again")


def _plain(value: float) -> float:
    """A slider's value as it is shown and written into files: pages count in steps, and 24 of 0.05 make 1.2000000000000002."""
    return round(float(value), 6)
