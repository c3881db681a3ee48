"""The shape of what names reach, identity and shared memory included, in a form that two processes can compare."""

from __future__ import annotations

import array
import collections
import copyreg
import enum
import functools
import types
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

_OWN_TO_A_PROCESS = ("RLock", "lock", "_abc_data", "Tree", "_CountCollisionsCounter", "TracebackType")
_ATOMS = (int, float, complex, str, bytes, bool, type(None), range, slice)


def shape_of(namespace: Mapping[str, Any], names: Iterable[str] | None = None) -> dict[str, Any]:
    """name -> nested lists of strings. The n-th object met is called ``#n`` wherever it is met again."""
    view = _View(namespace)
    chosen = sorted(names if names is not None else (n for n in namespace if not n.startswith("__")))
    return {name: view.of(namespace[name]) for name in chosen if name in namespace}


def first_difference(here: Any, there: Any, path: str = "") -> str:
    """Where two shapes part, for a message."""
    if type(here) is not type(there) or not isinstance(here, list):
        return "" if here == there else f"{path}: {str(here)[:200]} / {str(there)[:200]}"
    for index, (a, b) in enumerate(zip(here, there, strict=False)):
        found = first_difference(a, b, f"{path}[{index}]")
        if found:
            return found
    return "" if len(here) == len(there) else f"{path}: {str(here)[:400]} / {str(there)[:400]}"


def _is_scalar(obj: Any) -> bool:
    return (
        type(obj).__module__ == "numpy"
        and hasattr(obj, "dtype")
        and not hasattr(obj, "__setitem__")
        and hasattr(obj, "item")
    )


class _View:
    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.seen: dict[int, tuple[int, Any]] = {}
        self.alive: list[Any] = []

    def of(self, obj: Any) -> Any:
        if type(obj) in _ATOMS or _is_scalar(obj):
            return repr(obj)
        if type(obj).__name__ in _OWN_TO_A_PROCESS:
            return type(obj).__name__
        if isinstance(obj, types.ModuleType):
            return f"module {obj.__name__}"
        if id(obj) in self.seen:
            return f"#{self.seen[id(obj)][0]}"
        number = len(self.seen)
        self.seen[id(obj)] = (number, obj)
        return [f"#{number} {type(obj).__qualname__}", *self._parts(obj)]

    def _parts(self, obj: Any) -> list[Any]:
        if isinstance(obj, type):
            return self._class(obj)
        if isinstance(obj, types.FunctionType):
            return self._function(obj)
        if isinstance(obj, types.CellType):
            return [self.of(obj.cell_contents)] if obj != types.CellType() else []
        if isinstance(obj, weakref.ref):
            return [self.of(obj())]
        if isinstance(obj, types.MethodType):
            return [self.of(obj.__self__), self.of(obj.__func__)]
        if isinstance(obj, functools.singledispatchmethod):  # 3.13 keeps a cache of the methods that it bound, too
            return [self.of(obj.dispatcher), self.of(obj.func)]
        top = str(type(obj).__module__).partition(".")[0]
        special = getattr(self, f"_{top}", None) if top in ("numpy", "torch", "pandas") else None
        if special is not None:
            return list(special(obj))
        return self._container(obj)

    def _container(self, obj: Any) -> list[Any]:
        out: list[Any] = []
        if isinstance(obj, dict):
            out += [[self.of(k), self.of(v)] for k, v in obj.items()]
        elif isinstance(obj, (list, tuple, collections.deque)):
            out += [self.of(x) for x in obj]
        elif isinstance(obj, (set, frozenset)):
            out += [self.of(x) for x in sorted(obj, key=repr)]
        elif isinstance(obj, (bytearray, array.array)):
            out.append(repr(obj))
        elif isinstance(obj, BaseException):
            out += [self.of(obj.args), self.of(obj.__cause__), self.of(obj.__context__)]
        elif isinstance(obj, enum.Enum):
            return [obj.name]
        elif (
            type(obj).__module__ not in ("__main__", "builtins", "collections")
            and type(obj).__repr__ is not object.__repr__
            and not hasattr(obj, "__dict__")
        ):
            out.append(repr(obj))
        return out + self._attributes(obj)

    def _attributes(self, obj: Any) -> list[Any]:
        out = []
        if isinstance(obj, collections.defaultdict):
            out.append(["default_factory", self.of(obj.default_factory)])
        for name, value in sorted(getattr(obj, "__dict__", {}).items(), key=lambda item: str(item[0])):
            out.append([f".{name}", self.of(value)])
        for name in sorted(copyreg._slotnames(type(obj))):  # type: ignore[attr-defined]
            if hasattr(obj, name):
                out.append([f".{name}", self.of(getattr(obj, name))])
        return out

    def _class(self, kind: type) -> list[Any]:
        if kind.__module__ != "__main__":
            return [kind.__module__, kind.__qualname__]
        plain = {k: v for k, v in vars(kind).items() if not (k.startswith("_") and k.endswith("_"))}
        return [kind.__qualname__, *([k, self.of(v)] for k, v in sorted(plain.items()))]

    def _function(self, function: types.FunctionType) -> list[Any]:
        if function.__globals__ is not self.namespace:
            return [function.__module__, function.__qualname__]
        cells = [self.of(cell) for cell in function.__closure__ or ()]
        rest = [self.of(part) for part in (function.__defaults__, function.__kwdefaults__, dict(function.__dict__))]
        return [function.__name__, function.__code__.co_code.hex(), cells, rest]

    def _numpy(self, obj: Any) -> list[Any]:
        import numpy as np

        if isinstance(obj, (np.random.Generator, np.random.RandomState)):
            return [repr((obj.bit_generator if isinstance(obj, np.random.Generator) else obj._bit_generator).state)]
        if not isinstance(obj, np.ndarray):
            return [repr(obj)]
        base = obj
        while isinstance(base.base, np.ndarray) or type(base.base).__name__ == "DummyArray":
            base = base.base
            base = base if isinstance(base, np.ndarray) else base.base
        start = base.__array_interface__["data"][0]
        memory = self.seen.setdefault(-start, (len(self.seen), base))[0] if obj.size else -1
        offset = obj.__array_interface__["data"][0] - start
        content = [self.of(x) for x in obj.reshape(-1).tolist()] if obj.dtype.hasobject else obj.tolist().__repr__()
        return [
            str(obj.dtype),
            list(obj.shape),
            list(obj.strides),
            bool(obj.flags.writeable),
            f"memory {memory}+{offset}",
            content,
        ]

    def _torch(self, obj: Any) -> list[Any]:
        import torch

        if isinstance(obj, torch.Generator):
            return [obj.get_state().tolist()]
        if not isinstance(obj, torch.Tensor):
            return self._container(obj)
        storage = obj.untyped_storage()
        memory = self.seen.setdefault(-storage.data_ptr() - 1, (len(self.seen), storage))[0] if obj.numel() else -1
        grad = self.of(obj.grad) if obj.is_leaf else None
        return [
            str(obj.dtype),
            list(obj.shape),
            list(obj.stride()),
            obj.requires_grad,
            memory,
            obj.storage_offset(),
            obj.tolist(),
            grad,
        ]

    def _pandas(self, obj: Any) -> list[Any]:
        import pandas as pd

        if isinstance(obj, (pd.DataFrame, pd.Series)):
            return [str(getattr(obj, "dtypes", "")), obj.to_csv()]
        return [repr(obj)] if hasattr(obj, "tolist") else []
