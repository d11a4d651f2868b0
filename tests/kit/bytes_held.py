"""How many bytes an object holds, with everything that can be reached from it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable

import numpy as np
import torch

OUTSIDE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, torch.nn.Module)


def bytes_held(*roots: object, without: Iterable[object] = ()) -> int:
    """Arrays and tensors count with the memory behind them, each once; networks, code and ``without`` do not count."""
    seen, total, todo = {id(one) for one in without}, 0, list(roots)
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, OUTSIDE):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            storage = one.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                total += storage.nbytes()
        elif isinstance(one, np.ndarray):
            total += one.nbytes if one.base is None else 0
            todo.append(one.base)
        else:
            total += sys.getsizeof(one)
        if isinstance(one, dict):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            todo += one
        todo += vars(one).values() if hasattr(one, "__dict__") else ()
        todo += [getattr(one, name) for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())
                 if isinstance(name, str) and hasattr(one, name)]
    return total
