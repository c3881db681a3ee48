"""What ``journey`` does between cells: values that stayed on a worker come home, files go out and come back."""

from __future__ import annotations

import ast
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from cellferry import errors
from cellferry.capture.dataflow import analyse
from cellferry.capture.needs import read_through
from cellferry.link.arriving import from_store
from cellferry.link.artifacts import open_store, refused_name
from cellferry.link.files import not_found
from cellferry.link.there import There
from cellferry.model import Message
from cellferry.parcels.context import Unpacking
from cellferry.parcels.parcel import settle
from cellferry.parcels.placeholder import Placeholder
from cellferry.screen import Host, Screen


def placeholders_read(source: str, namespace: dict[str, Any], host: Host) -> list[str]:
    """Names of placeholders that a local cell would read."""
    waiting = {n for n, v in namespace.items() if type(v) is Placeholder}
    if not waiting:
        return []
    try:
        flow = analyse(host.transform(source), host.transform)
    except errors.CellferryError:
        return []  # the cell will say itself what is wrong with it
    if flow.calls_dynamic:
        return []  # eval or globals() may mean anything: whoever asks for a placeholder gets it by name
    return sorted(waiting & read_through(flow, namespace, host.hidden))


def fetch(names: Sequence[str], namespace: dict[str, Any], workers: Sequence[There]) -> None:
    """Bring values that stayed on a worker home; raises UndefinedName, WorkerLost, or StaysThere for one that cannot travel."""
    for name in names:
        if name not in namespace:
            raise errors.UndefinedName(
                f"name {name!r} is not defined in this notebook", "see what stayed on workers: %whos"
            )
        placeholder = namespace[name]
        if type(placeholder) is not Placeholder:
            continue
        there = next((t for t in workers if id(placeholder) in t.heap.oid_of and not t.link.lost), None)
        if there is None:
            raise errors.WorkerLost(
                f"{name} lived on worker {placeholder.worker!r}, which has ended", "run the cell that made it again"
            )
        if placeholder.reason:
            raise errors.StaysThere(
                f"{name} is a {placeholder.type_name} on worker {placeholder.worker!r}: {placeholder.reason}",
                "use it in a %%remote cell",
            )
        _bring_home(there, name, placeholder, namespace)


def _bring_home(there: There, name: str, placeholder: Placeholder, namespace: dict[str, Any]) -> None:
    oid = there.heap.oid_of[id(placeholder)]
    there.link.fetch([oid])
    returned = there.link.home(Unpacking(namespace, worker=there.worker.name), None)
    settle(there.heap, returned.arrived)
    value = returned.arrived.roots[str(oid)]
    if type(value) is Placeholder:
        reason = value.reason or returned.frame["stayed"].get(str(oid), "")
        raise errors.StaysThere(f"{name} cannot come home: {reason}", "use it in a %%remote cell")
    for other, held in list(namespace.items()):
        if held is placeholder:
            namespace[other] = value


def imported_here(source: str, names: Container[str]) -> dict[str, Any]:
    """What the import statements of a cell bind, of ``names``: for a notebook that takes only data from its workers, and
    for which a module is none. ``source`` is the cell as the user typed it, in Python."""
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not any(a.name == "*" for a in node.names):
            try:
                exec(compile(ast.Module([node], []), "<imports of the cell>", "exec"), found)
            except Exception:
                continue  # only the worker has it, or only there it can be imported
    return {name: value for name, value in found.items() if name in names}


def get(path: str, workers: Sequence[There], store_url: str, screen: Screen, *, data_only: bool) -> list[str]:
    """Bring files (a name or a pattern) home from every worker that has them, or from the artifact store.

    Returns the names here. Raises BadValue, listing what there is, when nobody has them; DiskFull, LinkError.
    """
    found = list[str]()
    for there in workers:
        found += there.files.get(there.link, there.folder, path)
    if found:
        return list(dict.fromkeys(found))
    places = {there.worker.name: there.files.listing(there.link) for there in workers}
    if store_url:
        store = open_store(store_url)
        places[store.url] = kept = {name: size for name, size in store.listing().items() if not refused_name(name)}
        came = from_store(store, kept, Path.cwd(), path, screen, data_only=data_only)
        if came:
            return came
    raise not_found(path, places)


def put(patterns: Sequence[str], workers: Sequence[There]) -> int:
    """Send files to every worker now, whatever their size; returns the bytes."""
    return sum(there.files.send(there.link, there.folder, (), patterns) for there in workers)


def comm(message: Message, all_: Sequence[There]) -> Any:
    """Pass a widget's message to the worker that has the widget; a future, done when it was handled, or None."""
    name = message.get("worker")
    alive = [there for there in all_ if there.link.lost is None]
    mine = [there for there in alive if there.worker.name == name] or alive
    futures = [there.link.comm(message) for there in mine]
    return futures[0] if futures else None
