"""What the Explorer's panel is made of: controls and where they stand. What they do is in :mod:`facemug_lib.widgets.explorer`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import PIL.Image
from torch import Tensor
from traitlets import CFloat

from facemug_lib.editing.known_faces import MIXED_GROUPS
from facemug_lib.editing.latent.directions import Direction
from facemug_lib.editing.script.exploring import OWN, REGIONS, WHOLE, View, component_names, offered
from facemug_lib.pictures import pixels_of
from facemug_lib.seeds import LARGEST_SEED
from facemug_lib.widgets.thumbnails import RULES, Thumbnails

FULL = {"width": "auto"}
PICTURE = {"width": "256px", "height": "256px"}
BESIDE = {"width": "192px", "height": "192px"}  # two of them leave room for sliders at a page of 1280 px
COMPARE = {"off": "off", "side by side": "beside", "original alone": "original"}
GROUP_HELP = {"coarse": "pose, shape of the head, hair style", "middle": "features of the face", "fine": "colours, light, skin"}
STYLE = f"""<style>
.facemug-explorer {{--line: color-mix(in srgb, var(--jp-ui-font-color1) 55%, var(--jp-layout-color1))}}
.facemug-explorer .facemug-error {{color: color-mix(in srgb, var(--jp-error-color1, #d32f2f) 80%, var(--jp-ui-font-color1));
  font-weight: 600}}
.facemug-explorer :is(.jupyter-button, select, textarea, input:not([type=checkbox])), .facemug-explorer .noUi-handle
  {{border: 1px solid var(--line) !important}}
.facemug-explorer .noUi-target {{background: var(--jp-layout-color1)}}
.facemug-explorer .facemug-error, .facemug-explorer .facemug-written {{overflow-wrap: anywhere}}
.facemug-explorer .widget-html-content {{line-height: 1.4; white-space: normal; overflow-wrap: anywhere}}
.facemug-explorer .widget-label {{overflow: hidden; text-overflow: ellipsis}}
.facemug-explorer .widget-tab-contents .widget-inline-hbox {{max-width: 98%}}
.facemug-explorer :is(.lm-TabBar-tab, .lm-TabBar-tabLabel) {{color: var(--jp-ui-font-color1) !important}}
.facemug-explorer select {{background-image: linear-gradient(45deg, transparent 50%, currentColor 50%),
  linear-gradient(135deg, currentColor 50%, transparent 50%) !important; background-repeat: no-repeat !important;
  background-position: right 10px center, right 5px center !important; background-size: 5px 5px !important}}
.facemug-explorer .lm-TabBar-content {{flex-wrap: wrap}}
.facemug-explorer .lm-TabBar-tab {{flex: 0 1 auto !important; min-width: max-content !important}}
{RULES}
</style>"""


def named(widget: Any, name: str) -> Any:
    """The widget with a class that pages and tests can find it by."""
    widget.add_class(f"facemug-{name}")
    return widget


def label(attribute: str) -> str:
    """An attribute's name as people write it."""
    return attribute.replace("_", " ")


class Slider(w.FloatSlider):
    """A slider whose moves are not sent back to the page that made them: while it is dragged, every message costs time."""

    value = CFloat(0.0, help="Float value").tag(sync=True, echo_update=False)


class Controls:
    """Every control of one panel, and ``box``, which holds them."""

    def __init__(self, directions: Mapping[str, Direction], view: View, has_own_mask: bool, on_face: Callable[[Any], None],
                 on_pin: Callable[[Any], None], on_choice: Callable[[Any], None], systems: Sequence[str] = ()) -> None:
        """``systems``: the sibling systems that have weights."""
        blank = encoded(np.zeros((1, 1, 4), np.uint8), "png")  # transparent; no data at all would look broken
        self.image = named(w.Image(value=blank, format="png", layout=PICTURE), "explorer-image")
        self.original = named(w.Image(value=blank, format="png", layout=PICTURE), "explorer-original")
        self.caption = named(w.HTML(layout={"max_width": "192px"}), "caption")
        self.original_caption = w.HTML("original")
        self.left = w.VBox([self.original, self.original_caption], layout={"display": "none", "margin": "0 8px 0 0"})
        self.right = w.VBox([self.image, self.caption])
        self.error = named(w.HTML(layout={"display": "none"}), "error")
        self.status = named(w.HTML(), "status")
        self.progress = named(w.IntProgress(min=0, max=1, description="working", layout={"width": "190px"}), "progress")
        self.cancel = _button("Cancel", "cancel", "Stop what takes long: fitting, a filmstrip, a walk")
        self.working = w.HBox([self.progress, self.cancel], layout={"display": "none"})
        self.compare = named(w.Dropdown(options=COMPARE, value="off", description="compare", layout={"width": "260px"},
                                        tooltip="See the face as it was, beside the picture or in its place"), "compare")
        self.reset = _button("Reset", "reset", "All attributes to zero, truncation and mixing as at first")
        self.pin = _button("Pin", "pin", "Keep this picture below; a click brings it back")
        self.walk = named(w.ToggleButton(value=False, description="Random walk", layout={"width": "110px"},
                                         tooltip="Let the attributes wander; press again to stop"), "walk")
        self.pins = Thumbnails("pins", on_pin)
        self.sliders: dict[str, Slider] = {}
        tabs = {"Attributes": self._attributes(directions, has_own_mask), "Face": self._face(view, on_face, on_choice),
                "Mixing": self._mixing(view), "Components": self._components(), "Systems": self._systems(systems),
                "Sweep": self._sweep(directions), "Save": self._save()}
        self.tabs = named(w.Tab(list(tabs.values()), titles=list(tabs), layout={"flex": "1 1 320px", "min_width": "320px"}),
                          "tabs")
        pictures = w.Box([self.left, self.right], layout={"flex_flow": "row nowrap"})
        side = w.VBox([pictures, self.status, self.error, self.compare, w.HBox([self.reset, self.pin, self.walk]), self.working,
                       self.pins], layout={"flex": "0 0 auto", "max_width": "420px", "margin": "0 8px 0 0"})
        self.box = w.Box([side, self.tabs], layout={"flex_flow": "row wrap", "width": "100%"})
        self.style = w.HTML(STYLE, layout={"display": "none"})

    def _slider(self, attribute: str, tooltip: str) -> Slider:
        slider = Slider(0, min=-3, max=3, step=0.05, description=label(attribute), tooltip=tooltip, readout_format=".2f",
                        style={"description_width": "112px"}, layout={"width": "auto"})
        self.sliders[attribute] = named(slider, f"slider-{attribute.replace(' ', '-')}")
        return slider

    def _attributes(self, directions: Mapping[str, Direction], has_own_mask: bool) -> w.Widget:
        regions = [WHOLE, *([OWN] if has_own_mask else []), *REGIONS]
        self.region = named(w.Dropdown(options=regions, value=OWN if has_own_mask else WHOLE, description="change only",
                                       tooltip="The mask: where the picture may change", style={"description_width": "112px"},
                                       layout={"width": "320px"}), "region")
        sliders = [self._slider(name, f"{label(name)}: one unit is {directions[name].unit}") for name in offered(directions)]
        return w.VBox([self.region, *sliders])

    def _components(self) -> w.Widget:
        about = w.HTML("What faces differ by most, whatever it means; one unit is one standard deviation.")
        return w.VBox([about, *(self._slider(name, f"principal {name} of the codes (GANSpace)") for name in component_names())])

    def _systems(self, names: Sequence[str]) -> w.Widget:
        about = "Another published editor, on the picture that the attributes made; the whole effect is 1."
        if not names:
            about = "No system has weights yet: <code>facemug train l2m_gan --install</code> trains one."
        self.system = named(w.Dropdown(options=[("none", None), *((label(name), name) for name in names)], description="system",
                                       tooltip="Which system edits", style={"description_width": "112px"},
                                       layout={"width": "320px"}), "system")
        self.system_sliders: dict[str, Slider] = {}
        self.system_box = w.VBox()
        return w.VBox([w.HTML(about), self.system, self.system_box])

    def show_system(self, attributes: Mapping[str, Any], on_strength: Callable[[str, Any], None]) -> None:
        """Sliders for what a system can change (name → its ``meaning``, ``low`` and ``high``); ``on_strength(name, change)``."""
        self.system_sliders = {}
        for name, one in attributes.items():
            slider = Slider(0, min=one.low, max=one.high, step=0.05, description=label(name), tooltip=one.meaning,
                            readout_format=".2f", style={"description_width": "112px"}, layout={"width": "auto"})
            slider.observe(partial(on_strength, name), "value")
            self.system_sliders[name] = named(slider, f"system-{name.replace('_', '-')}")
        self.system_box.children = tuple(self.system_sliders.values())

    def _face(self, view: View, on_face: Callable[[Any], None], on_choice: Callable[[Any], None]) -> w.Widget:
        self.choice = Thumbnails("choice", on_choice)
        self.seed = named(w.BoundedIntText(view.seed, min=0, max=LARGEST_SEED, description="seed", layout={"width": "220px"},
                                           tooltip="Which sampled face: every whole number is one"), "seed")
        self.grid = Thumbnails("grid", on_face)
        self.more = _button("Other faces", "more-faces", "Show the faces of the next twelve seeds")
        self.path = named(w.Text(description="photo", placeholder="path of a photograph", tooltip="A file beside the notebook",
                                 layout={"width": "320px"}), "photo-path")
        self.open = _button("Open", "photo-open", "Find the face in this file and fit its codes: some seconds")
        self.upload = named(w.FileUpload(accept="image/*", multiple=False, description="Upload a photo",
                                         layout={"width": "170px"}, tooltip="A photograph of this computer"), "photo-upload")
        self.refine = named(w.BoundedIntText(view.refine, min=1, max=1000, description="fit steps", layout={"width": "170px"},
                                             tooltip="More steps, a better likeness: about a second each"), "fit-steps")
        row = {"flex_flow": "row wrap"}
        return w.VBox([w.Box([self.seed, self.more], layout=row), self.grid, w.Box([self.path, self.open], layout=row),
                       w.Box([self.refine, self.upload], layout=row), self.choice])

    def _mixing(self, view: View) -> w.Widget:
        wide = {"style": {"description_width": "112px"}}
        self.psi = named(Slider(view.psi, min=0, max=1.2, step=0.05, description="truncation", layout=FULL, **wide,
                                tooltip="0: the mean face, 0.7: clean faces, 1: as varied as the prior"), "psi")
        self.mix_seed = named(w.BoundedIntText(view.mix_seed, min=0, max=LARGEST_SEED, description="second seed", **wide,
                                               layout={"width": "260px"}, tooltip="The face whose layers are taken"), "mix-seed")
        self.groups = {name: named(w.Checkbox(name in view.mix_layers, description=f"{name}: {GROUP_HELP[name]}", indent=False,
                                              tooltip=f"Take the {name} layers from the second face", layout=FULL), f"mix-{name}")
                       for name in MIXED_GROUPS}
        return w.VBox([self.psi, self.mix_seed, w.HTML("From the second face take:"), *self.groups.values()])

    def _sweep(self, directions: Mapping[str, Direction]) -> w.Widget:
        names = [(label(name), name) for name in [*offered(directions), *component_names()]]
        self.swept = named(w.Dropdown(options=names, description="attribute", layout={"width": "280px"},
                                      tooltip="What changes from picture to picture"), "sweep-attribute")
        number = {"layout": {"width": "158px"}, "style": {"description_width": "64px"}}
        self.first = named(w.BoundedFloatText(-2.0, min=-10, max=10, step=0.5, description="from",
                                              tooltip="Strength of the first picture", **number), "sweep-from")
        self.last = named(w.BoundedFloatText(2.0, min=-10, max=10, step=0.5, description="to",
                                             tooltip="Strength of the last picture", **number), "sweep-to")
        self.count = named(w.BoundedIntText(5, min=2, max=25, description="pictures", tooltip="How many; half a second each",
                                            **number), "sweep-count")
        self.film = _button("Make filmstrip", "sweep-make", "Paint the pictures at full size", "130px")
        self.strip = named(w.Image(format="png", layout={"max_width": "100%", "display": "none"}), "sweep-strip")
        self.strip_name, self.write_strip = _file("sweep.png", "Export strip", "sweep-strip-file", "PNG of all side by side")
        self.gif_name, self.write_gif = _file("sweep.gif", "Export GIF", "sweep-gif-file", "A film that plays there and back")
        self.swept_to = named(w.HTML(), "written")
        row = {"flex_flow": "row wrap"}
        return w.VBox([self.swept, w.Box([self.first, self.last, self.count], layout=row), self.film, self.strip,
                       w.Box([self.strip_name, self.write_strip], layout=row),
                       w.Box([self.gif_name, self.write_gif], layout=row), self.swept_to])

    def _save(self) -> w.Widget:
        self.copy = _button("Copy as code", "copy-code", "Python that makes this very picture", "130px")
        self.text = named(w.Textarea(description="code", placeholder="press the button above, then copy from here", rows=11,
                                     layout={"width": "98%"}, style={"description_width": "60px"}, tooltip="To copy"), "code")
        self.script_name, self.write_script = _file("face.json", "Save edit script", "script-file",
                                                    "A file that `facemug replay` makes this picture from")
        self.saved = named(w.HTML(), "written")
        file = w.Box([self.script_name, self.write_script], layout={"flex_flow": "row wrap"})
        return w.VBox([self.copy, self.text, file, self.saved])


def alert(line: str) -> str:
    """One line that a screen reader says at once."""
    return f'<div role="alert">Error: {escape(line)}</div>' if line else ""


def said(line: str) -> str:
    """One line that a screen reader says when it is idle."""
    return f'<div role="status">{escape(line)}</div>'


def encoded(picture: Tensor | np.ndarray, form: str) -> bytes:
    """A picture [1,3,h,w] in [-1,1], or pixels, as the bytes of a PNG or JPEG."""
    pixels = pixels_of(picture[0]) if isinstance(picture, Tensor) else picture
    buffer = io.BytesIO()
    options = {"compress_level": 1} if form == "png" else {"quality": 90}
    PIL.Image.fromarray(pixels).save(buffer, form.upper(), **options)
    return buffer.getvalue()


def described(view: View) -> str:
    """The view in one line."""
    face = f"seed {view.seed}, truncation {view.psi:g}" if view.photo is None else Path(view.photo.photo.name).name
    if view.photo is None and view.mix_layers:
        face += f", {' and '.join(view.mix_layers)} of seed {view.mix_seed}"
    moved = ", ".join(f"{label(name)} {value:+.2f}" for name, value in view.attributes.items())
    if view.system is not None and view.system_attributes:
        by_system = ", ".join(f"{label(name)} {value:+.2f}" for name, value in view.system_attributes.items())
        moved = f"{moved}{', then ' if moved else ''}{by_system} by {label(view.system)}"
    where = f" ({view.region} only)" if moved and view.region != WHOLE else ""
    return f"{face}: {moved}{where}" if moved else face


def _button(text: str, name: str, tooltip: str, width: str = "100px") -> w.Button:
    return named(w.Button(description=text, tooltip=tooltip, layout={"width": width}), name)


def _file(value: str, text: str, name: str, tooltip: str) -> tuple[w.Text, w.Button]:
    """A field for a file's name, and the button that writes it."""
    field = named(w.Text(value, description="file", tooltip="Where to write", layout={"width": "260px"},
                         style={"description_width": "60px"}), f"{name}-name")
    return field, _button(text, name, tooltip, "130px")
