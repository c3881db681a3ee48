"""Step 10 of the journey: give the notebook what came home. Beside ``journey``, see decision 007."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import Any

from cellferry.capture.bindable import bindable, declared_global
from cellferry.capture.dataflow import Flow
from cellferry.link.reports import RESULT
from cellferry.link.returned import Returned, not_taken
from cellferry.link.there import There
from cellferry.parcels.ambient import AMBIENT
from cellferry.parcels.bare import says
from cellferry.parcels.parcel import settle
from cellferry.parcels.placeholder import BOUND_TO_PROCESS, describe
from cellferry.parcels.shell_state import SHELL, advice
from cellferry.screen import Host


def take_home(there: There, returned: Returned, namespace: dict[str, Any], host: Host) -> list[str]:
    """Change objects in place, bind names, delete others; returns notes for the user. What cannot be done is in the notes."""
    frame = returned.frame
    notes = _changed_in_place(there, returned, namespace)
    roots = dict(returned.arrived.roots)
    result = roots.pop(RESULT, None)
    host.future_flags(frame["flags"])
    there.ambient.receive(roots.pop(AMBIENT, {}))
    notes += there.modules.receive_home(roots)
    failed = advice(there.shell.receive(roots.pop(SHELL, {})), "here")
    notes += [failed] if failed else []
    namespace.update(roots)
    there.note(roots)
    there.kept |= set(frame["kept"])
    for name in frame["deleted"]:
        namespace.pop(name, None)
        there.names.discard(name)
    if result is not None:
        host.result(result)
    notes += [
        f"a {describe(obj)[0]} here could not take what the cell made of it ({says(exc)}); the next cell is sent it as it is here"
        for obj, exc in returned.arrived.failed
    ]
    return notes + _what_stayed(frame)


def take_as_data(
    there: There, returned: Returned, flow: Flow, functions: Iterable[FunctionType], source: str, host: Host
) -> list[str]:  # fmt: skip
    """Prepare what a worker sent that is trusted with data alone: of names, those that the cell can bind. Returns notes.
    ``source`` is the cell in Python."""
    may = bindable(flow, functions, there.declared)
    there.declared |= declared_global(source)
    left = returned.take_only(lambda name: may.allows(name, (), host.hidden), future=may.future)
    there.kept |= set(left)
    return not_taken(left)


def _changed_in_place(there: There, returned: Returned, namespace: dict[str, Any]) -> list[str]:
    notes = []
    for old, new in settle(there.heap, returned.arrived):
        names = [n for n, v in namespace.items() if v is old]
        namespace.update(dict.fromkeys(names, new))
        there.note(there.names.intersection(names))
        notes.append(f"{', '.join(names) or 'a value'} ({describe(old)[0]}) cannot change in place: rebound to a new object")
    return notes


def _what_stayed(frame: dict[str, Any]) -> list[str]:
    stayed = [
        f"{n} stayed on the worker: {why}" for n, why in frame["stayed"].items() if why and n != RESULT and why != BOUND_TO_PROCESS
    ]
    return stayed + [f"a {kind} changed on the worker in a way that cannot travel; it is as it was here" for kind in frame["lost"]]
