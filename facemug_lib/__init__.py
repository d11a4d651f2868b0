"""FACEMUG: multimodal local facial editing on a StyleGAN prior.

The names below are imported from their modules when first used, so that ``import facemug_lib`` is quick.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Photographs of people pass through here. onnxruntime reports to its maker, by way of an identifier in the user's cache folder,
# from the moment it is imported, and huggingface_hub beside every download; both read these variables only once. They are set
# here, before anything of the library can import either, and the processes that are started from here inherit them.
if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    warnings.warn("onnxruntime was imported before facemug_lib and reports to its maker: import facemug_lib first, or set "
                  "ORT_DISABLE_TELEMETRY=1", stacklevel=2)
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

HOMES = {  # name → the module that it is imported from
    "AlignedFace": "faces.alignment", "open_face": "faces.alignment", "write_image": "faces.photos",
    "FacePrior": "faces.prior", "Conditions": "modalities.conditions", "ExpertStudent": "experts.student",
    "Edit": "editing.editor", "EditResult": "editing.editor", "Editor": "editing.editor", "FacemugError": "errors",
}

__all__ = ["AlignedFace", "Conditions", "Edit", "EditResult", "Editor", "ExpertStudent", "FacePrior", "FacemugError",
           "__version__", "open_face", "write_image"]

if TYPE_CHECKING:
    from facemug_lib.editing.editor import Edit, Editor
    from facemug_lib.editing.result import EditResult
    from facemug_lib.errors import FacemugError
    from facemug_lib.experts.student import ExpertStudent
    from facemug_lib.faces.alignment import AlignedFace, open_face
    from facemug_lib.faces.photos import write_image
    from facemug_lib.faces.prior import FacePrior
    from facemug_lib.modalities.conditions import Conditions


def __getattr__(name: str) -> object:
    if name == "systems":  # a room, not a name of one
        return import_module(f"{__name__}.systems")
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
