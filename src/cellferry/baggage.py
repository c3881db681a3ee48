"""A step of the journey: everything that a cell needs, packed; what cannot travel is reported before anything is sent."""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Container, Mapping, Sequence
from types import FunctionType
from typing import Any

from cellferry import errors
from cellferry.capture.dataflow import Flow
from cellferry.capture.looks import only_looked_at
from cellferry.capture.mentions import submodules_used
from cellferry.capture.needs import written_globals
from cellferry.capture.secret_forms import Found
from cellferry.capture.secrets import Suspect, by_name, find_in_source, look, path_of, secret_variables, text_in
from cellferry.capture.typed import reads_inputs
from cellferry.config import Cellferry, person_of
from cellferry.link.same_folder import where_this_runs
from cellferry.link.there import There
from cellferry.model import CellRequest, Worker
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import readable
from cellferry.parcels.parcel import Parcel, written_alone
from cellferry.screen import Cell, Host

_NAMELESS = "changed"
"""What to allow where no name of the notebook leads to a text."""


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
    given = {name: namespace[name] for name in parcel.roots if name in namespace}
    certain = [*secret_variables(os.environ).values(), *secrets.values()]
    text = host.transform(cell.source)
    inputs = host.inputs() if reads_inputs(flow, parcel.functions, text) else None
    suspect = (
        find_in_source(text, cell.lineno_offset, certain)
        or _in_parcel(parcel, heap or Heap(dict(namespace)), given, request.allow, certain)
        or _in_cells(parcel.functions, given, request.allow, host, certain)
    )
    if suspect is None and inputs is not None and "In" not in request.allow:
        suspect = next(
            (Suspect("what was typed before (In)", found.kind, "In") for found in look(inputs[0][:-1], certain)), None
        )
    if suspect is not None:
        raise suspect.error()
    masked = {name: value for name, value in given.items() if name in request.allow and issubclass(type(value), str)}
    found = {"secrets": secrets, "masked": masked, "inputs": inputs}
    return {key: named for key, named in found.items() if named}


def _in_parcel(
    parcel: Parcel, heap: Heap, given: Mapping[str, Any], allow: Container[str], certain: Sequence[str]
) -> Suspect | None:
    """The first text in a parcel that looks like a credential and is in nothing that is allowed."""
    written, parcel.written = [*parcel.written, *readable(parcel.leaves)], []
    by_names = (found for name, value in given.items() if (found := by_name(name, value)) is not None)
    allowed: str | None = None
    for found in itertools.chain(by_names, look(written, certain)):
        named = _named(parcel, heap, given)
        if allowed is None:
            allowed = "\0".join(_all_text(heap, value) for name, value in named if name in allow)
        if found.token in allowed:
            continue
        suspect = _blamed(found, heap, [(name, value) for name, value in named if name not in allow])
        if suspect is not None:
            return suspect
        if _NAMELESS not in allow:
            return Suspect("a value without a name that goes along", found.kind, _NAMELESS)
    return None


def _blamed(found: Found, heap: Heap, named: Sequence[tuple[str, Any]]) -> Suspect | None:
    """Whose text it is: packed by itself, that value has it too."""
    for name, value in named:
        if found.token in _all_text(heap, value):
            function = f"a text in function {value.__qualname__}" if type(value) is FunctionType else ""
            return Suspect(function or path_of(found.token, name, value) or f"a text in {name}", found.kind, name)
    return None


def _all_text(heap: Heap, value: Any) -> str:
    written, leaves = written_alone(heap, value)
    return text_in([*written, *readable(leaves)])


def _named(parcel: Parcel, heap: Heap, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What a text may belong to, by the name that lets it pass: variables, functions, values that travel because they have
    changed since they were sent, whether the cell names them or not."""
    functions = ((_name_of(f, given), f) for f in parcel.functions)
    found = [*given.items(), *((name if name.isidentifier() else _NAMELESS, f) for name, f in functions)]
    for oid, _seal in parcel.changes:
        value = heap.objects[oid]
        found.append((next((name for name, named in heap.namespace.items() if named is value), _NAMELESS), value))
    return found


def _name_of(function: FunctionType, given: Mapping[str, Any]) -> str:
    return next((name for name, value in given.items() if value is function), function.__name__)


def _in_cells(
    functions: Sequence[Any], given: Mapping[str, Any], allow: Container[str], host: Host, certain: Sequence[str]
) -> Suspect | None:
    """The texts of the cells that define functions go along with them."""
    named = {_name_of(f, given): f.__code__.co_filename for f in functions}
    passed = {file for name, file in named.items() if name in allow}
    for name, file in named.items():
        source = host.source_of(file) if file not in passed else None
        suspect = find_in_source(host.transform(source[1]), 0, certain) if source is not None else None
        if source is not None and suspect is not None:
            where = f"{suspect.where} [{source[0]}], whose text goes along with {name},"
            return Suspect(where, suspect.kind, name if name.isidentifier() else "")
    return None


def shares_folder(worker: Worker, config: Cellferry) -> bool:
    """Whether cells on this worker run in the notebook's own folder. Not where files that a cell writes are to stay from it:
    with ``trust = "data"``, or a store that they go to instead. Pure."""
    return (
        worker.provider == "local"
        and config.local_folder == "notebook"
        and config.trust == "code"
        and not config.artifact_store
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
    unbind = sorted(
        name
        for name in stale
        if name not in parcel.roots and name not in there.kept & flow.reads and name not in host.hidden
    )
    there.names -= set(unbind)
    screen = host.screen
    place = (
        where_this_runs(same_environment=not request.env)
        if there.same_folder
        else {"home_folder": _nobody_answers(request, config)}
    )
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
