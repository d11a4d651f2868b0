"""Network configurations: frozen dataclasses that travel as JSON in a weights file's header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from facemug_lib.errors import FacemugError

Config = TypeVar("Config")


def read_config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Rebuild a configuration of class ``kind`` from the plain dictionary that ``dataclasses.asdict`` and JSON made of it.

    Lists become tuples and nested dictionaries the nested dataclass again. Raises :class:`FacemugError` on a name that
    ``kind`` does not have; names left out keep their defaults.
    """
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise FacemugError(f"{kind.__name__} has no field {', '.join(unknown)}: the weights belong to another version")
    hints = get_type_hints(kind)
    read = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and is_dataclass(hints[name]):
            value = read_config(hints[name], value)
        read[name] = _as_tuple(value)
    return kind(**read)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value
