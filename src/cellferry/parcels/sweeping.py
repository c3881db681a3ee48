"""Which objects nobody holds but the heap, or a pickler: the garbage collector's own method, for a few objects alone."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellferry.parcels.heap import Heap

_ELSEWHERE = (types.ModuleType, types.FrameType, types.CodeType)
_OWN_REFERENCES = 3
"""Of ``nodes``, of the loop's variable and of ``getrefcount`` itself."""


def unused(heap: Heap) -> list[int]:
    """Numbers of objects that are held by the heap and by each other only (cycles included).

    References that the collector cannot see (of arrays to their owners) keep an object until their holder is gone.
    """
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
    nodes: dict[int, Any] = {}
    stack: list[Any] = [*heap.objects.values(), *heap.seals.values()]
    while stack:
        obj = stack.pop()
        if id(obj) in nodes or not (gc.is_tracked(obj) or id(obj) in heap.oid_of):
            continue
        if (
            isinstance(obj, _ELSEWHERE)
            or obj is heap.namespace
            or (isinstance(obj, type) and obj.__module__ != "__main__")
        ):
            continue
        nodes[id(obj)] = obj
        if not (isinstance(obj, types.FunctionType) and obj.__globals__ is not heap.namespace):
            stack.extend(gc.get_referents(obj))
    return nodes


def _reached_from_outside(heap: Heap, nodes: dict[int, Any]) -> set[int]:
    """ids of the nodes that something else refers to, and of what hangs on them."""
    inside = dict.fromkeys(nodes, 0)
    for held in (heap.objects, heap.seals):
        for obj in held.values():
            if id(obj) in inside:
                inside[id(obj)] += 1
    for obj in nodes.values():
        for child in gc.get_referents(obj):
            if id(child) in inside:
                inside[id(child)] += 1
    alive: set[int] = set()
    stack = []
    for obj in nodes.values():  # not items(): on some versions their iterator keeps one more reference
        if sys.getrefcount(obj) - _OWN_REFERENCES > inside[id(obj)]:
            stack.append(obj)
    while stack:
        obj = stack.pop()
        if id(obj) not in alive:
            alive.add(id(obj))
            stack.extend(child for child in gc.get_referents(obj) if id(child) in nodes and id(child) not in alive)
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

_ATOMS = frozenset([str, bytes, int, float, complex, bool, type(None)])


def temporaries(memo: Container[int], objects: Iterable[Any], leaves: Mapping[int, int]) -> set[int]:
    """ids of the memo's objects that only the pickler holds: copies of states, arguments of calls and what they hold.

    ``objects``: those to look at; ``leaves``: how many leaves hold an object, by id.
    """
    count = sys.getrefcount
    stack = [obj for obj in objects if type(obj) not in _ATOMS and count(obj) - leaves.get(id(obj), 0) <= _MEMO_REFERENCES]
    passing = set(map(id, stack))
    from_passing: dict[int, int] = {}
    while stack:
        for child in gc.get_referents(stack.pop()):
            key = id(child)
            if key in passing or type(child) in _ATOMS or isinstance(child, type):
                continue
            inside = from_passing[key] = from_passing.get(key, 0) + 1
            # one more than above: the list that ``child`` came from; without the memo's three where it is not there
            own = _MEMO_REFERENCES + 1 if key in memo else _MEMO_REFERENCES - 2
            if count(child) - leaves.get(key, 0) - inside <= own:
                passing.add(key)
                stack.append(child)
    return passing
