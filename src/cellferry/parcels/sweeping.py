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


def holders(objects: list[Any]) -> list[int]:
    """How many references each object has besides the one that is this list's.

    The looking itself counts as well, and not equally on all Pythons: from 3.14 on, a variable that is handed on lends its
    reference. So what it comes to is measured on objects that nothing else holds, once before the others and once
    after them; if those two differ, the lesser is right, for then an object is rather kept than forgotten.
    """
    looked_at = [object(), *objects, object()]
    counts = list(map(sys.getrefcount, looked_at))
    own = min(counts[0], counts[-1])
    # the list that was given and the one that was looked at: one more
    return [count - own - 1 for count in counts[1:-1]]


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
    objects = list(nodes.values())
    # one of their holders is ``nodes``
    frontier = [obj for obj, held in zip(objects, holders(objects), strict=True) if held - 1 > inside[id(obj)]]
    del objects
    alive: set[int] = set()
    while frontier:
        alive.update(map(id, frontier))
        found = {id(obj): obj for obj in _referents(frontier) if id(obj) in nodes and id(obj) not in alive}
        frontier = list(found.values())
    return alive


def unheld(heap: Heap, suspects: Iterable[int]) -> list[int]:
    """Those of the suspects that nothing at all refers to but the heap's table: quick where the heap is large."""
    numbers = list(suspects)
    held = holders([heap.objects[oid] for oid in numbers])
    return [oid for oid, count in zip(numbers, held, strict=True) if count <= 1]


_MEMO_HOLDERS = 2
"""The pickler's memo, and its copy."""

_ATOMS = frozenset(map(id, [str, bytes, int, float, complex, bool, type(None)]))


def temporaries(memo: Container[int], objects: list[Any], leaves: Mapping[int, int]) -> set[int]:
    """ids of the memo's objects that only the pickler holds: copies of states, arguments of calls and what they hold.

    ``objects``: those to look at, which this list holds once each; ``leaves``: how many leaves hold an object, by id.
    """
    frontier = [
        obj
        for obj, held in zip(objects, holders(objects), strict=True)
        if held - leaves.get(id(obj), 0) <= _MEMO_HOLDERS and id(type(obj)) not in _ATOMS
    ]
    passing = set(map(id, frontier))
    from_passing: Counter[int] = Counter()
    while frontier:
        found = [obj for obj in _referents(frontier) if id(obj) not in passing and id(type(obj)) not in _ATOMS]
        from_passing.update(map(id, found))
        children = list({id(obj): obj for obj in found if not issubclass(type(obj), type)}.values())
        found.clear()
        frontier = []
        for child, held in zip(children, holders(children), strict=True):
            key = id(child)
            # an object of the memo is in ``objects`` too
            own = _MEMO_HOLDERS + 1 if key in memo else 0
            if held - leaves.get(key, 0) - from_passing[key] <= own:
                passing.add(key)
                frontier.append(child)
    return passing
