"""Holds arrays against the shapes and kinds that signatures promise, while the annotated code runs.

A letter in ``Float[Tensor, "b 3 h w"]`` stands for the same number in all arguments and the result of one call.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import jaxtyping
import pytest


class WrongShape(AssertionError):
    """An argument or a result that is not as its annotation says."""


def checked(function: Callable[..., Any], called: set[str] | None = None) -> Callable[..., Any]:
    """``function``, which raises :class:`WrongShape` where an argument or its result is not as annotated.

    Functions that returned add their name to ``called``.
    """
    hints, signature, name = typing.get_type_hints(function), inspect.signature(function), _name(function)

    @jaxtyping.jaxtyped(typechecker=None)  # opens the memory in which letters have their numbers
    @functools.wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        for argument, value in signature.bind(*args, **kwargs).arguments.items():
            if argument in hints and not fits(value, hints[argument]):
                raise WrongShape(f"{name}: {argument} is {_described(value)}, not {hints[argument]}")
        result = function(*args, **kwargs)
        if "return" in hints and not fits(result, hints["return"]):
            raise WrongShape(f"{name}: the result is {_described(result)}, not {hints['return']}")
        if called is not None:
            called.add(name)
        return result

    return held


def fits(value: Any, hint: Any) -> bool:
    """Whether every array inside ``value`` is as ``hint`` says. Of what is no array only the kind of container is looked at."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return isinstance(value, hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple and Ellipsis not in inner:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(one, inner[1]) for one in value.values())
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return isinstance(value, Sequence) and all(fits(one, inner[0]) for one in value)
    if isinstance(hint, type) and isinstance(value, hint) and (is_dataclass(hint) or hasattr(hint, "_fields")):
        with jaxtyping.jaxtyped("context"):  # its fields agree with each other; their letters are not those of the call
            return all(fits(getattr(value, name), one) for name, one in typing.get_type_hints(hint).items())
    return isinstance(value, hint) if isinstance(hint, type) and hint is not float else True


def annotated(module: types.ModuleType) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """(owner, name, function) of every function and method of ``module`` whose signature speaks of arrays."""
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    for owner in (module, *classes):
        for name, member in list(vars(owner).items()):
            function = getattr(member, "__func__", member)  # of a class method
            is_own = inspect.isfunction(function) and function.__module__ == module.__name__
            if is_own and "[Tensor" in str(function.__annotations__):
                yield owner, name, function


def hold(monkeypatch: pytest.MonkeyPatch, modules: Sequence[types.ModuleType]) -> tuple[set[str], set[str]]:
    """Check the annotated functions of ``modules`` from now on, whoever calls them: (names of all, names of those called)."""
    every: set[str] = set()
    called: set[str] = set()
    for module in modules:
        for owner, name, function in annotated(module):
            every.add(_name(function))
            held, member = checked(function, called), vars(owner)[name]
            if isinstance(member, classmethod | staticmethod):
                monkeypatch.setattr(owner, name, type(member)(held))
                continue
            users = [owner] if isinstance(owner, type) else [one for one in list(sys.modules.values())
                                                             if getattr(one, "__name__", "").startswith("facemug_lib")
                                                             and vars(one).get(name) is function]
            for user in users:
                monkeypatch.setattr(user, name, held)
    return every, called


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix('facemug_lib.')}.{function.__qualname__}"


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_described(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_described, value))})"
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else repr(value)
