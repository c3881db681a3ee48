"""A parcel of plain data (``plain``): what a cell made and changed, for a client that unpickles nothing.

What comes home this way has no number in the heap: the next cell that needs it is sent it anew. A known container that
changed is brought up to date in place, and then forgotten by both ends for the same reason; known memory (arrays, tensors)
keeps its number.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellferry.errors import CannotTravel, ParcelError
from cellferry.parcels.bare import found_in, has, module_of, name_of, own_table
from cellferry.parcels.heap import Heap
from cellferry.parcels.pickler import is_bound
from cellferry.parcels.placeholder import BOUND_TO_PROCESS, Placeholder, describe, quick_size
from cellferry.parcels.plain import Decoder, Encoder, parsed, written

_LONGEST_NAME = 200
_NEVER = frozenset({"__builtins__", "__loader__", "__spec__", "get_ipython", "exit", "quit"})
_CONTAINERS = (list, dict, set, bytearray)


@dataclass
class PlainLoad:
    """What is to go home: ``roots`` by name, what the cell was ``given``; ``limit``: bytes of the largest new root, None for
    no limit; ``without``: numbers of known values that are asked for themselves. ``stayed`` and ``lost`` are the outcome."""

    roots: Mapping[str, Any]
    given: Sequence[Any] = ()
    limit: int | None = None
    without: frozenset[int] = frozenset()
    stayed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def pack_plain(heap: Heap, load: PlainLoad) -> list[Any]:
    """The buffers of a plain parcel, the text first. Called by the worker's kernel; what is no data stays, with a reason."""
    encoder = Encoder({key: oid for key, oid in heap.oid_of.items() if oid not in load.without})
    roots = [[name, _root(heap, encoder, name, value, load)] for name, value in load.roots.items()]
    walk = heap.walk([*load.roots.values(), *load.given])
    known = dict.fromkeys([*walk.known, *heap.cheap()])
    changes = []
    for oid, seal in heap.changes(oid for oid in known if oid not in load.without):
        obj, mark = heap.objects[oid], encoder.mark()
        try:
            changes.append([oid, _change(encoder, obj)])
        except CannotTravel:
            encoder.back_to(mark)
            load.lost.append(name_of(type(obj)))
            continue  # home knows nothing of this change, so both ends go on knowing the object as it was
        if _keeps_number(obj):
            heap.seals[oid] = heap.kinds[oid].seal(obj, heap) if heap.kinds[oid].leans else seal
        else:
            heap.drop([oid])
    return [written({"roots": roots, "changes": changes}), *encoder.buffers]


def _root(heap: Heap, encoder: Encoder, name: str, value: Any, load: PlainLoad) -> Any:
    """A node, or ``["stays", oid, type, shape, bytes, reason]`` for a value that becomes a placeholder."""
    oid = heap.oid_of.get(id(value))
    if oid is not None and oid not in load.without:
        return ["known", oid]
    reason = BOUND_TO_PROCESS if is_bound(value) else ""
    if not reason and not (load.limit is not None and quick_size(value) > load.limit):
        mark = encoder.mark()
        try:
            node = encoder.node(value)
        except CannotTravel as exc:
            reason = exc.what
        else:
            size = sum(memoryview(b).nbytes for b in encoder.buffers[mark[0] :])
            if load.limit is None or size <= load.limit:
                return node
        encoder.back_to(mark)
    load.stayed[name] = reason
    if oid is None:
        oid = heap.next_oid
        heap.register([(oid, value)], [], frozenset([id(value)]))
        heap.next_oid = max(heap.next_oid, oid + 1)
    kind, shape, size = describe(value)
    return ["stays", oid, kind, list(shape) if shape is not None else None, size, reason]


def _change(encoder: Encoder, obj: Any) -> Any:
    """What a known object holds now; raises CannotTravel."""
    kind = type(obj)
    table = own_table(obj)
    if any(kind is known for known in _CONTAINERS) or module_of(kind) != "__main__" or table is None:
        return encoder.node(obj, itself=True)
    if has(kind, "__slots__") or found_in(kind, "__reduce_ex__") is not found_in(object, "__reduce_ex__"):
        raise CannotTravel("it is not plain data")
    return ["attributes", [[key, encoder.node(value)] for key, value in table.items()]]


def _keeps_number(obj: Any) -> bool:
    return module_of(type(obj)).partition(".")[0] in ("numpy", "torch")


@dataclass
class PlainArrived:
    """A plain parcel that was read and not applied yet; ``stays``: numbers of the placeholders among ``roots``."""

    roots: dict[str, Any]
    changes: list[tuple[int, str, Any]]
    stays: list[tuple[int, Any]]
    failed: tuple[tuple[Any, BaseException], ...] = ()
    """As in ``unpacking.Arrived``; plain data has no code of its own that could raise."""


def unpack_plain(heap: Heap, buffers: Sequence[Any], worker: str) -> PlainArrived:
    """Read what a worker sent as data. Raises ParcelError for anything else; nothing is changed here yet."""
    if not buffers:
        raise ParcelError("the worker sent no data; it was refused")
    tree = parsed(buffers[0])
    stays: list[tuple[int, Any]] = []

    def known(oid: int) -> Any:
        found = heap.objects.get(oid, next((value for number, value in stays if number == oid), None))
        if found is None:
            raise ParcelError("the worker names an object that was never sent to it; it was refused")
        return found

    decoder = Decoder(buffers[1:], known)
    try:
        roots = {_name(name): _read_root(decoder, node, stays, heap, worker) for name, node in tree["roots"]}
        changes = [(oid, *_read_change(decoder, known(oid), node)) for oid, node in tree["changes"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise ParcelError("data from the worker is not as it should be; it was refused") from exc
    return PlainArrived(roots, changes, stays)


def checked_frame(frame: dict[str, Any]) -> dict[str, Any]:
    """The head of a ``home`` frame, every field of the type that it has to have; what it would have the frontend do is left
    out. Raises ParcelError."""
    try:
        reply = {key: frame["reply"].get(key) for key in ("status", "ename", "evalue", "traceback")}
        texts = [reply["status"], reply["ename"] or "", reply["evalue"] or "", *(reply["traceback"] or ())]
        texts += [*frame["kept"], *frame["lost"], *frame["stayed"], *frame["stayed"].values()]
        texts += [str(file["path"]) for file in frame["files"]]
        sizes = [frame["flags"], *(file["size"] for file in frame["files"])]
        good = all(type(text) is str for text in texts) and all(type(size) is int for size in sizes)
        deleted = [_name(name) for name in frame["deleted"]]
        ran_s = float(frame["ran_s"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ParcelError("an answer of the worker is not as it should be; it was refused") from exc
    if not good:
        raise ParcelError("an answer of the worker is not as it should be; it was refused")
    return {**frame, "reply": {**reply, "payload": []}, "deleted": deleted, "ran_s": ran_s}


def _name(name: Any) -> str:
    if type(name) is not str or len(name) > _LONGEST_NAME or name in _NEVER:
        raise ParcelError("the worker binds a name that is not its to bind; it was refused")
    if not (name.isidentifier() or name.isdecimal() or name == "\x00result"):
        raise ParcelError("the worker binds something that is no name; it was refused")
    return name


def _read_root(decoder: Decoder, node: Any, stays: list[tuple[int, Any]], heap: Heap, worker: str) -> Any:
    if not (isinstance(node, list) and node and node[0] == "stays"):
        return decoder.value(node)
    oid, kind, shape, size, reason = node[1:]
    if type(oid) is not int or not isinstance(kind, str) or not isinstance(reason, str) or type(size) is not int:
        raise ParcelError("a placeholder from the worker is not as it should be; it was refused")
    if oid in heap.objects:
        return heap.objects[oid]
    placeholder = Placeholder(kind, tuple(map(int, shape)) if shape is not None else None, size, reason, worker)
    stays.append((oid, placeholder))
    return placeholder


def _read_change(decoder: Decoder, obj: Any, node: Any) -> tuple[str, Any]:
    if isinstance(node, list) and node and node[0] == "attributes":
        pairs = {key: decoder.value(value) for key, value in node[1]}
        if not all(type(key) is str and not key.startswith("__") for key in pairs):
            raise ParcelError("the worker sets an attribute that is not its to set; it was refused")
        if module_of(type(obj)) != "__main__" or own_table(obj) is None:
            raise ParcelError("the worker changes an object of another kind than was sent; it was refused")
        return "attributes", pairs
    value = decoder.value(node)
    if type(value) is not type(obj):
        raise ParcelError("the worker makes an object into one of another kind; it was refused")
    return "content", value


def settle_plain(heap: Heap, arrived: PlainArrived) -> list[tuple[Any, Any]]:
    """Bring the objects that are here up to date; returns (old, new) for those that cannot change in place."""
    replaced: list[tuple[Any, Any]] = []
    heap.register(arrived.stays, [])
    heap.next_oid = max([heap.next_oid, *(oid + 1 for oid, _value in arrived.stays)])
    for oid, what, value in arrived.changes:
        obj = heap.objects[oid]
        done = _apply(obj, what, value)
        if done and _keeps_number(obj):
            heap.seals[oid] = heap.kinds[oid].seal(obj, heap)
            continue
        if not done:
            replaced += heap.replace(oid, value)
        heap.drop([oid])
    return replaced


def _apply(obj: Any, what: str, value: Any) -> bool:
    if what == "attributes":
        table = own_table(obj)
        assert table is not None  # read so
        table.clear()
        table.update(value)
    elif type(obj) in (list, bytearray):
        obj[:] = value
    elif type(obj) in (dict, set):
        obj.clear()
        obj.update(value)
    else:
        return _copy_into(obj, value)
    return True


def _copy_into(obj: Any, value: Any) -> bool:
    kind = type(obj).__module__.partition(".")[0]
    try:
        if kind == "numpy" and obj.dtype == value.dtype and obj.shape == value.shape and obj.flags.writeable:
            obj[...] = value
            return True
        if kind == "torch" and obj.dtype == value.dtype and obj.shape == value.shape:
            with sys.modules["torch"].no_grad():
                obj.copy_(value)
            return True
    except (AttributeError, ValueError, RuntimeError):
        pass
    return False
