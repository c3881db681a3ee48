"""A step of the journey: everything that a cell needs, packed; what cannot travel is reported before anything is sent."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Container, Mapping, Sequence
from typing import Any

from cellferry import errors
from cellferry.capture.dataflow import Flow
from cellferry.capture.looks import only_looked_at
from cellferry.capture.mentions import submodules_used
from cellferry.capture.needs import written_globals
from cellferry.capture.secrets import Suspect, find_in_functions, find_in_source, find_in_values, secret_variables
from cellferry.capture.typed import reads_inputs
from cellferry.config import Cellferry, person_of
from cellferry.link.same_folder import where_this_runs
from cellferry.link.there import There
from cellferry.model import CellRequest, Worker
from cellferry.parcels.heap import Heap
from cellferry.parcels.parcel import Parcel
from cellferry.screen import Cell, Host

_LOOKED_AT = 100
"""So many texts of a list are surely looked at when one asks for secrets in it."""


def refuse_secrets(
    request: CellRequest, setting: Sequence[str], cell: Cell, flow: Flow, parcel: Parcel, heap: Heap | None,
    namespace: Mapping[str, Any], host: Host,
) -> dict[str, Any]:  # fmt: skip
    """Refuse a cell that would send what looks like a credential; returns what the worker's kernel is to be given apart.

    ``secrets``: the environment variables that the request and the setting name; ``masked``: what else must not be shown;
    ``inputs``: what was typed before, for a cell that looks at it.
    Raises LooksSecret, or BadValue for a variable that is not set here. Called before a worker is asked for.
    """
    missing = next((name for name in request.secrets if name not in os.environ), None)
    if missing is not None:
        raise errors.BadValue(
            f"secrets={missing}: no environment variable of that name is set here",
            f"set it in a cell of its own: import os, getpass; os.environ[{missing!r}] = getpass.getpass()",
        )
    secrets = {name: os.environ[name] for name in (*setting, *request.secrets) if name in os.environ}
    values = {name: namespace[name] for name in parcel.roots if name in namespace}
    allowed = {name: values.pop(name) for name in request.allow if name in values}
    functions = [f for f in parcel.functions if f.__name__ not in request.allow and f is not allowed.get(f.__name__)]
    certain = [*secret_variables(os.environ).values(), *secrets.values()]
    inputs = host.inputs() if reads_inputs(flow, parcel.functions, host.transform(cell.source)) else None
    suspect = (
        find_in_source(host.transform(cell.source), cell.lineno_offset, certain)
        or find_in_values(values, certain)
        or find_in_functions(functions, certain)
        or find_in_values(_changed(parcel, heap, namespace, request.allow), certain)
    )
    if suspect is None and inputs is not None and "In" not in request.allow:
        suspect = _typed_secret(inputs[0][:-1], certain)
    if suspect is not None:
        raise suspect.error()
    masked = {name: value for name, value in allowed.items() if issubclass(type(value), str)}
    found = {"secrets": secrets, "masked": masked, "inputs": inputs}
    return {key: named for key, named in found.items() if named}


def _typed_secret(typed: Sequence[str], certain: Sequence[str]) -> Suspect | None:
    parts = (typed[at : at + _LOOKED_AT] for at in range(0, len(typed), _LOOKED_AT))
    return next((found for part in parts if (found := find_in_values({"In": part}, certain))), None)


def _changed(
    parcel: Parcel, heap: Heap | None, namespace: Mapping[str, Any], allow: Container[str]
) -> dict[str, Any]:
    """Values that travel because they have changed since they were sent, whether the cell names them or not; by a name of
    the notebook, or as "changed" where they have none."""
    found: dict[str, Any] = {}
    unnamed = []
    for oid, _seal in parcel.changes if heap is not None else ():
        value = heap.objects[oid]  # type: ignore[union-attr]
        name = next((name for name, named in namespace.items() if named is value), None)
        if name is None:
            unnamed.append(value)
        elif name not in allow:
            found[name] = value
    return found | ({"changed": unnamed} if unnamed and "changed" not in allow else {})


def shares_folder(worker: Worker, config: Cellferry) -> bool:
    """Whether cells on this worker run in the notebook's own folder. Not where files that a cell writes are to stay from it:
    with ``trust = "data"``, or a store that they go to instead. Pure."""
    return (
        worker.provider == "local" and config.local_folder == "notebook" and config.trust == "code" and not config.artifact_store
    )


def _nobody_answers(request: CellRequest, config: Cellferry) -> str:
    """Why a cell elsewhere may not look into the notebook's folder while it runs; "" if it may. Pure."""
    if config.trust == "data":
        return "a worker that is trusted with data alone is given what the cell names"
    return "nobody waits for a cell that was let go" if request.detach else ""


def frame_of(
    there: There, request: CellRequest, cell: Cell, flow: Flow, parcel: Parcel, given: Sequence[Any], host: Host,
    namespace: Mapping[str, Any], config: Cellferry,
) -> dict[str, Any]:  # fmt: skip
    """What travels beside the values: source, header, names to forget."""
    above = ""
    if cell.lineno_offset and not cell.source.lstrip().startswith("%%"):
        # the notebook's own line numbers: what stood above becomes a comment
        above = f"#%%remote {request.line}".rstrip() + "\n" * cell.lineno_offset
    stale = {n for n in there.names if n not in namespace} | set(flow.binds) | written_globals(parcel.functions)
    stale.update(there.rebound())  # whoever looks one of them up there asks for it; what it meant before is wrong
    there.kept -= set(namespace)
    unbind = sorted(name for name in stale if name not in parcel.roots and name not in there.kept & flow.reads and name not in host.hidden)
    there.names -= set(unbind)
    screen = host.screen
    place = where_this_runs(same_environment=not request.env) if there.same_folder else {"home_folder": _nobody_answers(request, config)}
    return {
        **place,
        "run": uuid.uuid4().hex[:12],
        "notebook": host.notebook,
        "owner": person_of(config),
        "detach": request.detach,
        "code": cell.source,
        "above": above,
        "cell_id": cell.cell_id,
        "number": cell.number,
        "parent": screen.parent(),
        "stdin": screen.allow_stdin() and not request.detach,
        "unbind": unbind,
        "returns": None if request.returns is None else list(request.returns),
        "fetch_limit": config.fetch_limit,
        "file": host.file,
        "cells": there.new_cells(parcel.functions, host.source_of),
        "flags": host.future_flags(),
        "unchanged": sorted(only_looked_at(host.transform(cell.source), namespace)),
        "imports": sorted({name.partition(".")[0] for name in flow.imports}),
        "stop_after_s": config.disconnect_s if request.on_disconnect == "stop" else None,
        "ambient": sorted(there.ambient.more),
        "submodules": there.new_submodules(submodules_used(flow, given, parcel.functions, sys.modules)),
    }
