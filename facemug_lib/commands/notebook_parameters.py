"""The parameters of a notebook: read from its tagged cell, typed, and checked before any kernel starts.

A notebook has one cell tagged ``parameters``, of assignments only::

    profile = "smoke"                 # smoke, laptop or paper; the runner fills it in
    images: int = 200                 # training images
    learning_rate: float = 1e-3
    sizes: list[int] = [64, 128]
    photo: str | None = None

and its metadata hold what each profile changes::

    "facemug": {"profiles": {"smoke": {}, "laptop": {"images": 20000}, "paper": {"images": 2000000}}}
"""

from __future__ import annotations

import ast
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from facemug_lib.errors import FacemugError
from facemug_lib.seeds import check_seed
from facemug_lib.training.profiles import PROFILES

TAG = "parameters"
_ANNOTATION_NAMES = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict, "Literal": Literal}


@dataclass(frozen=True)
class Parameter:
    """One name of the parameters cell: its type as written (or that of the default) and its default."""

    name: str
    annotation: Any
    label: str
    default: Any

    def parse(self, text: str) -> Any:
        """Read ``text`` (from a command line) as this parameter's type: lists and dicts are JSON, ``none`` is None."""
        options = get_args(self.annotation) or (self.annotation,)
        if type(None) in options and text.lower() in ("none", "null"):
            return None
        containers = any((get_origin(option) or option) in (list, dict) for option in (self.annotation, *options))
        try:
            adapter = TypeAdapter(self.annotation)
            return self._finite(adapter.validate_json(text, strict=True) if containers else adapter.validate_strings(text))
        except ValidationError as error:
            raise self._refuse(text) from error

    def check(self, value: Any) -> Any:
        """Check ``value`` (from Python or a profile) strictly; an int is a good float, nothing else is converted."""
        try:
            return self._finite(TypeAdapter(self.annotation).validate_python(value, strict=True))
        except ValidationError as error:
            raise self._refuse(value) from error

    def _finite(self, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refuse(value)
        if isinstance(value, int) and (self.name == "seed" or self.name.endswith("_seed")):
            check_seed(value, f"parameter {self.name} =")
        return value

    def _refuse(self, value: Any) -> FacemugError:
        return FacemugError(f"parameter {self.name} is of type {self.label} and cannot be {value!r}: "
                            f"write it like its default, {self.name}={_written(self.default)}")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_parameters(notebook: Any, title: str) -> dict[str, Parameter]:
    """The parameters of ``notebook`` (an nbformat node) by name, in their order; ``title`` is for messages.

    Raises :class:`FacemugError` when there is not exactly one tagged cell or when it holds more than assignments.
    """
    cells = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise FacemugError(f"{title} has {len(cells)} cells tagged '{TAG}': it needs exactly one")
    try:
        statements = ast.parse(cells[0].source).body
    except SyntaxError as error:
        raise FacemugError(f"{title}: the parameters cell is no Python ({error.msg}, line {error.lineno})") from error
    found: dict[str, Parameter] = {}
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        parameter = _read_assignment(statement, title)
        found[parameter.name] = parameter
    return found


def _read_assignment(statement: ast.stmt, title: str) -> Parameter:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            label = ast.unparse(annotation)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation, label = None, ""
        case _:
            raise FacemugError(f"{title}: line {statement.lineno} of the parameters cell is not `name: type = value`")
    try:
        default = ast.literal_eval(value)
    except ValueError as error:
        raise FacemugError(f"{title}: the default of {name} must be a literal, not {ast.unparse(value)}") from error
    if annotation is None:
        if default is None:
            raise FacemugError(f"{title}: {name} = None needs its type, such as `{name}: str | None = None`")
        return Parameter(name, type(default), type(default).__name__, default)
    try:
        resolved = eval(compile(ast.Expression(annotation), title, "eval"), {"__builtins__": {}, **_ANNOTATION_NAMES})
    except (NameError, TypeError) as error:
        known = ", ".join(_ANNOTATION_NAMES)
        raise FacemugError(f"{title}: the type of {name}, {label}, is not made of {known}") from error
    parameter = Parameter(name, resolved, label, default)
    return Parameter(name, resolved, label, parameter.check(default))


def resolve_parameters(notebook: Any, title: str, profile: str, overrides: Mapping[str, str | Any]) -> dict[str, Any]:
    """Every parameter's value: defaults, then those of ``profile``, then ``overrides`` (text is parsed by type).

    A parameter called ``profile`` gets the profile's name. Raises :class:`FacemugError` on an unknown profile, an
    unknown name or a value of the wrong type.
    """
    parameters = read_parameters(notebook, title)
    values = {name: parameter.default for name, parameter in parameters.items()}
    for name, value in _profile_values(notebook, title, profile).items():
        values[name] = _known(parameters, name, f"{title}, profile {profile}").check(value)
    if "profile" in parameters:
        values["profile"] = parameters["profile"].check(profile)
        if "profile" in overrides:
            raise FacemugError("the parameter profile follows --profile: leave it out of --set")
    for name, value in overrides.items():
        parameter = _known(parameters, name, title)
        values[name] = parameter.parse(value) if isinstance(value, str) else parameter.check(value)
    return values


def _profile_values(notebook: Any, title: str, profile: str) -> Mapping[str, Any]:
    profiles = notebook.metadata.get("facemug", {}).get("profiles", {})
    if profile not in PROFILES:
        raise FacemugError(f"unknown profile {profile!r}: use {', '.join(PROFILES)}{nearest(profile, PROFILES)}")
    if profile not in profiles:
        raise FacemugError(f"{title} has no profile {profile}: it has {', '.join(profiles) or 'none'} in its metadata")
    return profiles[profile]


def _known(parameters: Mapping[str, Parameter], name: str, title: str) -> Parameter:
    if name not in parameters:
        raise FacemugError(f"{title} has no parameter {name!r}: it has "
                           f"{', '.join(parameters) or 'none'}{nearest(name, parameters)}")
    return parameters[name]


def nearest(name: str, known: Any) -> str:
    """`` (did you mean …?)`` for the name of ``known`` that is most like ``name``, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
