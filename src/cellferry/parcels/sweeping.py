"""Which objects nobody holds but the heap, or a pickler: the garbage collector's own method, for a few objects alone."""

from __future__ import annotations

import gc
import sys
import types
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cellferry.parcels.bare import module_of
from cellferry.parcels.calm import calm

if TYPE_CHECKING:
    from cellferry.parcels.heap import Heap

_ELSEWHERE = (types.ModuleType, types.FrameType, types.CodeType)
_ORDINARY = frozenset(map(id, [list, dict, tuple, set]))
"""By id, for a metaclass may answer when its class is looked up."""

_AT_ONCE = 50_000
_OWN_REFERENCES = 3
"""Of ``nodes``, of the loop's variable and of ``getrefcount`` itself."""


def unused(heap: Heap) -> list[int]:
    """Numbers of objects that are held by the heap and by each other only (cycles included).

    References that the collector cannot see (of arrays to their owners) keep an object until their holder is gone.
    """
    with calm():
        return _unused(heap)


def _unused(heap: Heap) -> list[int]:
    dropped: list[int] = []
    while True:
        nodes = _nodes(heap)
        alive = _reached_from_outside(heap, nodes)
        found = [oid for oid, obj in heap.objects.items() if id(obj) in nodes and id(obj) not in alive]
        if not found:
            return dropped
        dropped += found
        heap.drop(found)
        del nodes


def _nodes(heap: Heap) -> dict[int, Any]:
    """The heap's objects and seals, and everything between them, by id."""
    nodes = {id(obj): obj for obj in heap.objects.values()}
    nodes.update((id(seal), seal) for seal in heap.seals.values() if gc.is_tracked(seal))
    frontier = [obj for obj in nodes.values() if _is_inside(heap, obj)]
    while frontier:
        found = {id(obj): obj for obj in _referents(frontier) if id(obj) not in nodes and gc.is_tracked(obj)}
        frontier = [obj for obj in found.values() if _is_inside(heap, obj)]
        nodes.update((id(obj), obj) for obj in frontier)
    return nodes


def _is_inside(heap: Heap, obj: Any) -> bool:
    """Whether what ``obj`` refers to may be looked at: not the whole interpreter."""
    kind = type(obj)
    if id(kind) in _ORDINARY:
        return obj is not heap.namespace
    if issubclass(kind, _ELSEWHERE) or (issubclass(kind, type) and module_of(obj) != "__main__"):
        return False
    return kind is not types.FunctionType or obj.__globals__ is heap.namespace


def _referents(objects: Sequence[Any]) -> Iterator[Any]:
    for at in range(0, len(objects), _AT_ONCE):
        yield from gc.get_referents(*objects[at : at + _AT_ONCE])


def _reached_from_outside(heap: Heap, nodes: dict[int, Any]) -> set[int]:
    """ids of the nodes that something else refers to, and of what hangs on them."""
    inside = Counter(map(id, _referents([obj for obj in nodes.values() if _is_inside(heap, obj)])))
    inside.update(map(id, heap.objects.values()))
    inside.update(map(id, heap.seals.values()))
    frontier = []
    for obj in nodes.values():  # not items(): on some versions their iterator keeps one more reference
        if sys.getrefcount(obj) - _OWN_REFERENCES > inside[id(obj)]:
            frontier.append(obj)
    alive: set[int] = set()
    while frontier:
        alive.update(map(id, frontier))
        found = {id(obj): obj for obj in _referents(frontier) if id(obj) in nodes and id(obj) not in alive}
        frontier = list(found.values())
    return alive


def unheld(heap: Heap, suspects: Iterable[int]) -> list[int]:
    """Those of the suspects that nothing at all refers to: quick where the heap is large."""
    found = []
    for oid in suspects:
        obj = heap.objects[oid]
        if sys.getrefcount(obj) <= _OWN_REFERENCES:
            found.append(oid)
    return found


_MEMO_REFERENCES = 5
"""Of the memo, its copy, the list of its objects, a variable and the argument of ``getrefcount``."""

_ATOMS = frozenset(map(id, [str, bytes, int, float, complex, bool, type(None)]))


def temporaries(memo: Container[int], objects: Iterable[Any], leaves: Mapping[int, int]) -> set[int]:
    """ids of the memo's objects that only the pickler holds: copies of states, arguments of calls and what they hold.

    ``objects``: those to look at; ``leaves``: how many leaves hold an object, by id.
    """
    count = sys.getrefcount
    stack = [
        obj
        for obj in objects
        if id(type(obj)) not in _ATOMS and count(obj) - leaves.get(id(obj), 0) <= _MEMO_REFERENCES
    ]
    passing = set(map(id, stack))
    from_passing: dict[int, int] = {}
    while stack:
        for child in gc.get_referents(stack.pop()):
            key = id(child)
            if key in passing or id(type(child)) in _ATOMS or issubclass(type(child), type):
                continue
            inside = from_passing[key] = from_passing.get(key, 0) + 1
            # one more than above: the list that ``child`` came from; without the memo's three where it is not there
            own = _MEMO_REFERENCES + 1 if key in memo else _MEMO_REFERENCES - 2
            if count(child) - leaves.get(key, 0) - inside <= own:
                passing.add(key)
                stack.append(child)
    return passing
