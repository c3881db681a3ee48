"""Looking at the user's objects without running anything of theirs: no property, no ``__getattr__``, no metaclass is asked.

``isinstance(obj, ...)`` asks an object for its ``__class__``, ``cls.__module__`` asks its metaclass, and either may lie or
raise. What housekeeping wants to know about any object, it asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from cellferry.errors import CellferryError

_MODULE: Callable[[type], Any] = type.__dict__["__module__"].__get__
_QUALNAME: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_FLAGS: Callable[[type], int] = type.__dict__["__flags__"].__get__
base_of: Callable[[type], type | None] = type.__dict__["__base__"].__get__
mro_of: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
body_of: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
"""What a ``class`` statement has put into the class itself."""

_PYTHON_MADE = 1 << 9


def module_of(kind: type) -> str:
    """The module that a class says it is from; "" where that is no text."""
    module = _MODULE(kind)
    return module if type(module) is str else ""


def full_name(kind: type) -> str:
    """``module.Class.Inner``."""
    return f"{module_of(kind)}.{_QUALNAME(kind)}"


def name_of(kind: type) -> str:
    """``Class.Inner``."""
    return _QUALNAME(kind)


def made_in_python(kind: type) -> bool:
    """Whether it comes from a ``class`` statement (or is a C type made like one)."""
    return bool(_FLAGS(kind) & _PYTHON_MADE)


def is_class(obj: Any) -> bool:
    """Whether it is a class, whatever it says of itself."""
    return issubclass(type(obj), type)


def is_among(kinds: Iterable[type], kind: type) -> bool:
    """Whether this very class is one of them; its metaclass is not asked whether two are equal."""
    return any(known is kind for known in kinds)


def has(kind: type, name: str) -> bool:
    """Whether the class or a base of it has something under that name."""
    return any(name in body_of(base) for base in mro_of(kind))


def found_in(kind: type, name: str) -> Any:
    """What the class or a base of it has under that name, as it is stored; None where none has it."""
    return next((body[name] for base in mro_of(kind) if name in (body := body_of(base))), None)


def slot_names(kind: type) -> list[str]:
    """All slots that hold values, of the class and its bases, with private names as they are stored. As ``copyreg`` finds
    them, and kept in the same place."""
    known = body_of(kind).get("__slotnames__")
    if type(known) is list:
        return known
    names = [name for base in mro_of(kind) for name in _own_slots(base)]
    try:
        type.__setattr__(kind, "__slotnames__", names)
    except TypeError:  # a type of C
        pass
    return names


def _own_slots(kind: type) -> Iterator[str]:
    slots = body_of(kind).get("__slots__", ())
    for name in (slots,) if type(slots) is str else slots if type(slots) in (list, tuple, dict) else ():
        if name in ("__dict__", "__weakref__"):
            continue
        private = name.startswith("__") and not name.endswith("__") and _QUALNAME(kind).rpartition(".")[2].lstrip("_")
        yield f"_{private}{name}" if private else name


def own_table(obj: Any) -> dict[str, Any] | None:
    """The ``__dict__`` that the object really has; None if it has none. A property of that name is not asked."""
    kind = type(obj)
    if issubclass(kind, type):
        return None
    for base in mro_of(kind):
        getter: Any = body_of(base).get("__dict__")
        if type(getter) in (GetSetDescriptorType, MemberDescriptorType):
            found = getter.__get__(obj)
            return found if issubclass(type(found), dict) else None
    return None


def advice_of(error: BaseException) -> str:
    """What to do about an error of ours; "" for any other."""
    return str(error.advice) if issubclass(type(error), CellferryError) else ""  # type: ignore[attr-defined]


def says(error: BaseException) -> str:
    """``ValueError: text`` in one line, also of an exception that cannot be shown; of an error of ours only what it says."""
    if issubclass(type(error), CellferryError):
        return " ".join(str(error.what).split())  # type: ignore[attr-defined]
    name = name_of(type(error))
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "it cannot be shown"
    return " ".join(f"{name}: {text}".split()) if text else name
