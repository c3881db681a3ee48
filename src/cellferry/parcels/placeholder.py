"""A value that stayed on the worker, as it is seen at home."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from cellferry.errors import StaysThere
from cellferry.parcels import bare, context

BOUND_TO_PROCESS = "it is bound to that process"
"""Why files, locks, generators, widgets and their like stay where they were made."""

MIME = "application/vnd.cellferry.placeholder+json"
"""How JupyterLab's extension knows a placeholder; it draws one with a button that brings the value here."""


class Placeholder:
    """Stands for a value that lives on a worker: too large to come home unasked, on a GPU, or bound to that process.

    ``%%remote`` cells use the value itself, in place. A local cell that names it brings it home first, unless
    ``reason`` says why it cannot travel.
    """

    __slots__ = ("__weakref__", "reason", "shape", "size_bytes", "type_name", "worker")

    def __init__(
        self, type_name: str, shape: tuple[int, ...] | None, size_bytes: int, reason: str, worker: str
    ) -> None:
        self.type_name, self.shape, self.size_bytes = type_name, shape, size_bytes
        self.reason, self.worker = reason, worker

    def __repr__(self) -> str:
        parts = [self.type_name]
        if self.shape is not None:
            parts.append(f"shape {self.shape}")
        if self.size_bytes:
            parts.append(human_bytes(self.size_bytes))
        why = f"; {self.reason}" if self.reason else ""
        return f"<on worker {self.worker!r}: {', '.join(parts)}{why}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """For a frontend: the text, and what the extension needs to offer the value. ``name`` is "" where no variable of
        the notebook holds it."""
        told = {"name": self._held_as(), "type": self.type_name, "size_bytes": self.size_bytes}
        return {"text/plain": repr(self), MIME: {**told, "worker": self.worker, "reason": self.reason}}

    def _held_as(self) -> str:
        # In a kernel the notebook's variables are those of __main__.
        names = vars(sys.modules["__main__"])
        return next((n for n, held in list(names.items()) if held is self and not n.startswith("_")), "")

    def __getattr__(self, name: str) -> NoReturn:
        if (name.startswith("__") and name.endswith("__")) or name.startswith(("_repr_", "_ipython_")):
            raise AttributeError(name)
        raise StaysThere(
            f"this {self.type_name} is on worker {self.worker!r}" + (f" and {self.reason}" if self.reason else ""),
            "use it in a %%remote cell" + ("" if self.reason else ", or bring it home: %remote fetch NAME"),
        )

    def __reduce__(self) -> NoReturn:
        raise StaysThere(
            f"a value needed here is a {self.type_name} that lived on another worker ({self.worker!r})",
            "run the cell that made it again",
        )


def human_bytes(size: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def make_placeholder(type_name: str, shape: tuple[int, ...] | None, size_bytes: int, reason: str) -> Placeholder:
    """Called while a parcel from the worker is unpacked."""
    return Placeholder(type_name, shape, size_bytes, reason, context.current().worker)


def describe(value: Any) -> tuple[str, tuple[int, ...] | None, int]:
    """(type name, shape, bytes) of a value, cheap, for its placeholder."""
    kind = type(value)
    module = bare.module_of(kind)
    name = bare.name_of(kind) if module in ("", "builtins", "__main__") else bare.full_name(kind)
    try:
        # of what has a shape by its class: a mock has every attribute
        shape = tuple(int(n) for n in value.shape) if bare.has(kind, "shape") else None
    except KeyboardInterrupt:
        raise
    except BaseException:
        shape = None
    return name, shape, quick_size(value)


def quick_size(value: Any) -> int:
    """Bytes of a value whose type tells at once (arrays, tensors, frames, text); 0 where it would need a walk."""
    kind = type(value)
    for text in (str, bytes, bytearray):
        if issubclass(kind, text):
            return text.__len__(value)
    try:
        if bare.module_of(kind).partition(".")[0] == "pandas" and bare.has(kind, "memory_usage"):
            usage = value.memory_usage(deep=False)
            return int(usage if type(usage) is int else usage.sum())
        size = value.nbytes if bare.has(kind, "nbytes") else 0
        return size if type(size) is int else 0
    except KeyboardInterrupt:
        raise
    except BaseException:
        return 0
