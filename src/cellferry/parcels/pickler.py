"""What travels how: one pickler for both ends, on top of cloudpickle; the rules for single types are in ``reducers``.

Functions of the notebook are rebuilt with the notebook's namespace as their globals; arrays and torch storages
become leaves and keep sharing memory; what is bound to this process is refused (or, on the way home inside a
container that is known at home, replaced by a placeholder).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pickle import PickleBuffer
from typing import Any

import cloudpickle

from cellferry.errors import CannotTravel
from cellferry.parcels import bare, rebuild, reducers
from cellferry.parcels.findable import REMEDY, WHY, findable
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.placeholder import describe, make_placeholder
from cellferry.parcels.reducers import Reduced, is_bound

_INLINE_BUFFER_BYTES = 4096
_COALESCE_BYTES = 1 << 16


class Sink:
    """Collects what the pickler writes; large byte strings are kept by reference, not copied."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.size = 0

    def write(self, data: Any) -> int:
        kind = type(data)
        part = data if kind is bytes else memoryview(data) if len(data) > _COALESCE_BYTES else bytes(data)
        self.parts.append(part)
        self.size += len(part)
        return len(part)

    def joined(self) -> list[Any]:
        """The parts, small neighbours in one."""
        if self.size <= _COALESCE_BYTES:
            return [b"".join(self.parts)]
        out: list[Any] = []
        small: list[Any] = []
        for part in self.parts:
            if len(part) < _COALESCE_BYTES:
                small.append(part)
                continue
            if small:
                out.append(b"".join(small))
                small = []
            out.append(part)
        return [*out, b"".join(small)] if small else out


class Packer(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles values of ``namespace``'s notebook into ``sink`` and ``leaves``.

    ``stuck``: ids of objects that must stay, with the reason; they travel as placeholders. ``nested_placeholders``:
    whether values bound to this process become placeholders too instead of raising CannotTravel.
    ``shared_bases``: ids of arrays whose views must keep sharing them (found by ``heap``'s walk). ``reached``: ids of
    everything that walk met.
    """

    def __init__(
        self, namespace: Mapping[str, Any], leaves: list[Leaf], *, going_home: bool = False, sub: bool = False
    ) -> None:
        self.sink = Sink()
        super().__init__(self.sink, protocol=5, buffer_callback=self._take_buffer)
        self.namespace = namespace
        self.leaves = leaves
        self.going_home = going_home
        self.sub = sub
        self.buffer_leaves: list[int] = []
        self.stuck: dict[int, str] = {}
        self.nested_placeholders = False
        self.shared_bases: set[int] = set()
        self.array_at: dict[int, Any] = {}
        self.reached: set[int] = set()
        self.bare_cells: set[int] = set()
        self.parameters: dict[int, tuple[Any, int]] = {}
        """Type variables by id that belong to a type alias: the alias, and which of its parameters they are."""
        self.by_source = False
        """The other end has another Python: code travels as source."""
        self.kinds: dict[int, type] = {}
        """Types of everything that went through here: their modules are needed on the other end."""
        self.modules: set[str] = set()
        """Modules of functions and classes that travel by name."""
        self._own_types: dict[int, reducers.Reducer] = {}

    def release(self) -> None:
        """Let go of everything that was packed; the pickler refers to itself, so this must not wait for the collector."""
        self.clear_memo()
        self.stuck, self.array_at, self.leaves, self.parameters = {}, {}, [], {}

    def add_leaf(self, leaf: Leaf) -> int:
        self.leaves.append(leaf)
        return len(self.leaves) - 1

    def reducer_override(self, obj: Any) -> Reduced:
        if self.stuck and id(obj) in self.stuck:
            return self.placeholder(obj, self.stuck[id(obj)])
        kind = type(obj)
        key = id(kind)
        self.kinds[key] = kind
        # classes of the notebook come and go, so what was found is remembered no longer than this
        reducer = self._own_types.get(key)
        if reducer is None:
            reducer = self._own_types[key] = reducers.known_reducer(kind) or reducers.resolve(kind)
        return reducer(self, obj)

    def default(self, obj: Any) -> Reduced:
        """What cloudpickle or the object itself does."""
        module = bare.module_of(obj) if bare.is_class(obj) else getattr(obj, "__module__", None)
        if type(module) is str and module:
            self.modules.add(module)
            if not findable(module) and reducers.by_reference(obj):
                return self.refuse(obj, WHY, REMEDY)
        return super().reducer_override(obj)

    def refuse(self, obj: Any, reason: str, remedy: str = "") -> Reduced:
        """``obj`` is bound to this process: a placeholder or CannotTravel, which says who it is."""
        if self.nested_placeholders:
            return self.placeholder(obj, reason)
        raise CannotTravel(f"a {describe(obj)[0]} cannot travel: {reason}", remedy, culprit=obj, reason=reason)

    def placeholder(self, obj: Any, reason: str) -> Reduced:
        return make_placeholder, (*describe(obj), reason)

    def sealed(self, obj: Any) -> Reduced:
        """Pack ``obj`` by itself: nothing inside keeps its identity with the rest.

        For types whose insides are shared copy-on-write (pandas): writing into their memory here, because it changed
        there, would change other objects that only borrow it.
        """
        sub = Packer(self.namespace, self.leaves, going_home=self.going_home, sub=True)
        sub.kinds, sub.modules, sub.by_source = self.kinds, self.modules, self.by_source
        sub.dump(obj)
        sub.release()
        return rebuild.sub_parcel, (b"".join(sub.sink.parts), sub.buffer_leaves)

    def _take_buffer(self, buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= _INLINE_BUFFER_BYTES:
            return True
        self.buffer_leaves.append(self.add_leaf(Leaf(raw, ["buf"], buffer)))
        return False


def reduce(obj: Any) -> Reduced:
    """What a packer would make of ``obj``: a global name, or the parts of a call that makes it again."""
    packer = Packer({}, [])
    packer.nested_placeholders = True
    reduced = packer.reducer_override(obj)
    if reduced is not NotImplemented:
        return reduced
    listed = packer.dispatch_table.get(type(obj))
    return listed(obj) if listed is not None else obj.__reduce_ex__(5)


def parts_of(obj: Any) -> Iterable[Any]:
    """The objects that stand in ``obj``'s reduction."""
    reduced = reduce(obj)
    if isinstance(reduced, str):
        return ()
    parts = [reduced[0], *reduced[1]]
    parts += [part for part in reduced[2:3] if part is not None]
    for items in reduced[3:5]:
        parts += items or ()
    return parts


__all__ = ["Packer", "Sink", "is_bound", "parts_of", "reduce"]
