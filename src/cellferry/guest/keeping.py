"""Results for nobody yet: packed for a notebook that knows nothing of this kernel, and written beside the run's journal."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from cellferry.guest.home import Load, pack_home
from cellferry.parcels.ambient import AMBIENT
from cellferry.parcels.bulk import stream
from cellferry.parcels.heap import Heap
from cellferry.parcels.plain_parcel import PlainLoad, pack_plain
from cellferry.parcels.seal import mac_of
from cellferry.parcels.wire import encoded


def store_results(folder: Path, order: dict[str, Any]) -> None:
    """Bring what a run that has ended has shown, and its ``result``, into the artifact store as well, by the orders that its
    client has left: the worker may end before anybody comes. In a thread of its own; ``stored`` in the run's folder says
    that the result is there."""

    seal: dict[str, str] = {}

    def work() -> None:
        if "outputs" in order:  # first: whoever finds the results there finds what was shown
            _try("outputs", lambda: _store_outputs(folder, order, seal))
        if "row" in order:
            _try("name", lambda: _store_row(folder, order, seal))
        if _try("results", lambda: _store(folder / "result", "result", order, seal)) and (
            "key" not in order or _try("seal", lambda: _store_seal(folder, order, seal))  # a client of an earlier release
        ):
            (folder / "stored").touch(mode=0o600)

    def _try(what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as exc:  # they are on this disk all the same
            print(f"the {what} of run {folder.name} are not in the artifact store: {exc}", file=sys.__stderr__, flush=True)
            return False
        return True

    threading.Thread(target=work, name="cellferry-results", daemon=True).start()


def _store_outputs(folder: Path, order: dict[str, Any], seal: dict[str, str]) -> None:
    from cellferry.guest.replay import write_outputs

    outputs = write_outputs(folder, {"token": order.get("token", "")})
    try:
        _store(outputs, "outputs", order, seal)
    finally:
        outputs.unlink(missing_ok=True)


def _store_row(folder: Path, order: dict[str, Any], seal: dict[str, str]) -> None:
    from cellferry.guest.replay import write_row

    _store(write_row(folder, {"token": order.get("token", "")}), "row", order, seal)


def _store_seal(folder: Path, order: dict[str, Any], seal: dict[str, str]) -> None:
    """Last: what makes the others worth reading."""
    file = folder / "seal"
    file.touch(mode=0o600)
    file.write_text(json.dumps(seal), "utf-8")
    _leave(file, order["seal"])


def _store(file: Path, name: str, order: dict[str, Any], seal: dict[str, str]) -> None:
    """Store one of them, and note in ``seal`` what proves it."""
    mac = mac_of(bytes.fromhex(order["key"]), order["run"], name, file) if "key" in order else ""
    _leave(file, order if name == "result" else order[name])
    seal[name] = mac


def _leave(file: Path, order: dict[str, Any]) -> None:
    from cellferry.guest.storing import leave

    leave(file, order, lambda: not (file.parent / "claimed").exists())


def changed_names(heap: Heap, given: Mapping[str, Any], already: Collection[int] = ()) -> list[str]:
    """Those names whose values, or something in them, are not as both ends last agreed. ``already``: numbers of objects
    that are known to have changed, when both ends have agreed since."""
    found = []
    for name, value in given.items():
        known = heap.walk([value]).known
        if any(oid in already for oid in known) or heap.changes(known):
            found.append(name)
    return found


def keep_result(folder: Path, frame: dict[str, Any], roots: dict[str, Any], namespace: dict[str, Any], *, plain: bool) -> None:
    """Write ``result`` into a run's folder. ``frame``: the head of what goes home; ``roots``: names and values.

    Raises OSError (a full disk); what cannot be packed is named in the frame, as for a cell that goes home.
    """
    heap, part = Heap(namespace), folder / "result.part"
    roots = {name: value for name, value in roots.items() if name != AMBIENT}
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:

            def write(meta: dict[str, Any], buffers: Any = ()) -> None:
                for piece in encoded(meta, buffers):
                    file.write(piece)

            if plain:
                load = PlainLoad(roots)
                buffers = pack_plain(heap, load)
                write({**frame, "stayed": load.stayed, "lost": load.lost, "plain": True}, buffers)
            else:
                what = Load(roots)
                parcel = pack_home(heap, what)
                write({**frame, "parcel": parcel.meta(), "stayed": what.stayed, "lost": what.lost}, parcel.buffers())
                if parcel.bulk:
                    stream(parcel.leaves, (), write)
                    write({"op": "sums"}, [parcel.sums])
        part.replace(folder / "result")
    except BaseException:
        part.unlink(missing_ok=True)
        raise

