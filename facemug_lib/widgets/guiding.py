"""What guides the painter's edits beside its layers, and the edit that all of it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import traitlets

from facemug_lib.editing.edit import SIZES
from facemug_lib.editing.inputs import checked_influence
from facemug_lib.editing.latent.text import TEXT_SOURCE
from facemug_lib.editing.schedule import checked_refine
from facemug_lib.editing.script.edit_script import Step, embedded
from facemug_lib.editing.sharp import size_for
from facemug_lib.errors import FacemugError
from facemug_lib.widgets.layers import LAYERS, png

SETTINGS = ("attributes", "influence", "text", "text_source", "refine", "seed", "variety", "size", "exemplar", "system",
            "system_attributes")
"""The names of what is set: the system before its attributes, which another system does not know."""


class Guiding(traitlets.HasTraits):
    """The part of a :class:`~facemug_lib.widgets.painter.Painter` that knows what is set.

    Where a ``system`` is named, it edits, and of all that is set its own attributes count alone.
    """

    exemplar = traitlets.Unicode("").tag(sync=True)  # a data URL
    attributes = traitlets.Dict().tag(sync=True)
    influence = traitlets.Dict().tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
    text_source = traitlets.Unicode(TEXT_SOURCE).tag(sync=True)
    refine = traitlets.Union([traitlets.Int(), traitlets.Unicode()], default_value=0).tag(sync=True)  # as an Edit's
    seed = traitlets.Int(0).tag(sync=True)
    variety = traitlets.Float(0.0).tag(sync=True)  # how far, 0 … 1, the seed decides what is new
    size = traitlets.Enum(("auto", *SIZES), "auto").tag(sync=True)  # of the painted square [px], see facemug_lib.editing.sharp
    system = traitlets.Unicode("").tag(sync=True)  # a sibling system in place of FACEMUG's own networks
    system_attributes = traitlets.Dict().tag(sync=True)
    system_offer = traitlets.Dict().tag(sync=True)  # what the system can change: name → meaning, low, high

    def _observe_settings(self) -> None:
        self.observe(self._on_system, "system")
        self.observe(lambda change: self._changed(), list(SETTINGS))

    def _on_system(self, change: Any) -> None:
        """Another system, with all its strengths at 0; its weights are read now."""
        try:
            known = self.editor.system(change.new).attributes if change.new else {}
        except FacemugError as error:
            self.system = ""
            self.error = str(error)
            return
        self.system_attributes, self.error = {}, ""
        self.system_offer = {name: {"meaning": one.meaning, "low": one.low, "high": one.high} for name, one in known.items()}

    def _step(self) -> Step:
        """The edit that is painted and set. Raises :class:`FacemugError` where there is no mask, and for what does not fit."""
        if not self.layers.is_painted("mask"):
            raise FacemugError("no mask is painted: paint over what is to change, everything else stays as it is")
        return self._step_of_system() if self.system else self._own_step()

    def _own_step(self) -> Step:
        pictures = self.layers.pictures(self._parsed())
        attributes = {name: float(value) for name, value in self.attributes.items() if value}
        unknown = set(attributes) - set(self.editor.directions)
        if unknown:
            raise FacemugError(f"no attribute is called {sorted(unknown)[0]!r}: choose from {', '.join(self.editor.directions)}")
        influence = {name: weight for name, weight in checked_influence(self.influence).items() if weight != 1}
        references = {name: embedded(png(picture)) for name, picture in pictures.items()}
        if self.exemplar:
            references["exemplar"] = self.exemplar
        parts = [name for name in ("sketch", "semantics", "colour", "exemplar") if name in references]
        parts += [f"{name} {value:+g}" for name, value in attributes.items()]
        name = ", ".join([*parts, f"“{self.text.strip()}”"] if self.text.strip() else parts) or "fill"
        return Step.of(name=name[:200], attributes=attributes, influence=influence, text=self.text.strip() or None,
                       text_traits=bool(self.text.strip()), text_source=self.text_source.strip() or TEXT_SOURCE,
                       refine=checked_refine(self.refine), seed=self.seed, variety=self.variety, size=self.size,
                       guidance_frame="aligned", **references)

    def _step_of_system(self) -> Step:
        for name in LAYERS:
            if name != "mask" and self.layers.is_painted(name):
                layer = {"semantics": "labels"}.get(name, name)
                raise FacemugError(f"{self.system} knows attributes and no {layer}: clear that layer, or choose FACEMUG")
        strengths = {name: float(value) for name, value in self.system_attributes.items() if value}
        self.editor.system(self.system).check(strengths)
        name = f"{self.system}: {', '.join(f'{attribute} {value:+g}' for attribute, value in strengths.items())}"
        return Step.of(name=name[:200], mask=embedded(png(self.layers.pictures(self._parsed())["mask"])), attributes=strengths,
                       guidance_frame="aligned", system=self.system)

    def _size_of(self, step: Step) -> int:
        """Side [px] of the square that ``step`` painted."""
        return SIZES[0] if step.system else size_for(self.session.first, step.size, self.shown_size)

    def _snapshot(self) -> dict[str, Any]:
        return {"layers": self.layers.packed()} | self._settings()

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SETTINGS}

    def _take_settings(self, settings: Mapping[str, Any]) -> None:
        for name in SETTINGS:
            if name in settings:
                self.set_trait(name, settings[name])


def after_edit(used: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What stays set after an edit: of what it followed, attributes, text and exemplar count once, except those that were changed
    meanwhile."""
    def unused(kind: str) -> dict[str, Any]:
        return {kind: {name: value for name, value in now[kind].items() if value != used[kind].get(name)}}

    if used["system"]:
        return unused("system_attributes") if now["system"] == used["system"] else {}
    return unused("attributes") | {name: "" for name in ("text", "exemplar") if now[name] == used[name]}
