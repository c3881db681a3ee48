"""What travels with a cell: the values that it needs, states of modules, the shell's settings. Beside ``journey``, see decision
007."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from cellferry import errors
from cellferry.capture.attribute_stores import Chain
from cellferry.capture.globals_of import code_globals, code_imports
from cellferry.capture.modules import imports_in
from cellferry.capture.needs import Needs, function_globals
from cellferry.capture.preflight import find_culprit, path_to
from cellferry.capture.secrets import by_name, look, secret_variables
from cellferry.capture.unseen import Unseen
from cellferry.link.sources import text_of
from cellferry.parcels.ambient import AMBIENT, plain_states
from cellferry.parcels.bare import says
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import readable
from cellferry.parcels.module_state import NAMES, Changes, ModuleStates, label
from cellferry.parcels.own_code import is_own
from cellferry.parcels.parcel import AnchorsFailed, PackPlan, Parcel, RootFailed, StateFailed, pack, written_alone
from cellferry.parcels.placeholder import describe
from cellferry.parcels.shell_parts import GONE, Key
from cellferry.parcels.shell_state import SHELL

_MOST_TRIES = 200


@dataclass
class Beside:
    """What goes along with the values of every cell: states of modules, entries of the shell (``parcels.shell_state``).

    ``left``: entries that cannot travel, and why.
    """

    ambient: Mapping[str, Any] = field(default_factory=dict)
    shell: dict[Key, Any] = field(default_factory=dict)
    left: dict[Key, BaseException] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    """Of modules of the project, and what was set on packages (``parcels.module_state``)."""

    def roots(self) -> dict[str, Any]:
        """Those that there are, by the names under which they travel."""
        found: dict[str, Any] = {AMBIENT: self.ambient, SHELL: self.travelling()}
        return {name: value for name, value in found.items() if value}

    def travelling(self) -> dict[Key, Any]:
        return {key: value for key, value in self.shell.items() if key not in self.left}


def pack_with_modules(
    needs: Needs,
    beside: Beside,
    hidden: Container[str],
    states: ModuleStates,
    imports: Iterable[str],
    chains: tuple[Chain, ...],
) -> Parcel:
    """Everything the cell needs, what has changed in the modules of the project that it can reach, and what was set from outside
    on packages that it can reach; these changes are in ``beside`` afterwards. ``chains``: see ``Stores``.

    Raises as ``pack_all`` does.
    """
    changes = states.changed()
    changes.chains = chains
    beside.changes = Changes(also=changes.also)
    parcel = pack_all(needs, states.heap, beside, hidden)
    changes.reached = frozenset(_named(parcel, needs, imports))
    if changes:
        changes = changes.within(_reached(changes.reached))
    changes.roots.update(states.patched(changes.reached, chains))
    if changes:
        _keep_secrets(changes, states.heap)
        beside.changes = changes
        parcel = pack_all(needs, states.heap, beside, hidden)
    beside.changes = changes
    return parcel


def _keep_secrets(changes: Changes, heap: Heap) -> None:
    """What looks like a credential does not travel because somebody has put it into a module."""
    certain = list(secret_variables(os.environ).values())

    def is_secret(name: str, value: Any) -> bool:
        written, leaves = written_alone(heap, value)
        return by_name(name, value) is not None or next(look([*written, *readable(leaves)], certain), None) is not None

    for root, value in list(changes.roots.items()):
        if root != NAMES and is_secret(label(root).rpartition(".")[2], value):
            changes.drop(root, "it looks like a credential")
    secret = [a for a in changes.anchors if is_secret(a.label.rpartition(".")[2], a.change(heap))]
    if secret:
        changes.drop_anchors(secret, "it looks like a credential")


def _named(parcel: Parcel, needs: Needs, imports: Iterable[str]) -> set[str]:
    """Top-level names of the modules that a cell's text, its values and its functions name."""
    named = {*parcel.modules, *imports}
    for value in (*needs.roots.values(), *needs.hints.values()):
        kind = value if isinstance(value, type) else type(value)
        named.add(value.__name__ if isinstance(value, ModuleType) else kind.__module__)
    named.update(*(code_imports(function.__code__) for function in parcel.functions))
    for function in parcel.functions:
        used = (function.__globals__.get(name) for name in code_globals(function.__code__))
        named |= {value.__name__ for value in used if isinstance(value, ModuleType)}
    return {name.partition(".")[0] for name in named if type(name) is str}


def _reached(named: Iterable[str]) -> set[str]:
    """These, and what the project's own modules among them import."""
    pending, found = list(named), set[str]()
    while pending:
        top = pending.pop().partition(".")[0]
        if top not in found:
            found.add(top)
            own = [
                module for name, module in list(sys.modules.items()) if name.partition(".")[0] == top and is_own(module)
            ]
            pending.extend(name for module in own for name in imports_in(text_of(str(module.__file__)) or ""))
    return found


def pack_all(needs: Needs, heap: Heap, beside: Beside, hidden: Container[str]) -> Parcel:
    """Everything the cell needs of the heap's namespace; called by ``journey`` and for an estimate. What of ``beside`` cannot
    travel is dropped from it, and noted there.

    Raises CannotTravel, with the path to the culprit, before anything is sent.
    """
    namespace, changes = heap.namespace, beside.changes
    roots = {**needs.hints, **needs.roots, **beside.roots()}
    dropped = heap.sweep()
    skip: frozenset[int] = frozenset()
    left_out: set[str] = set()
    for _try in range(_MOST_TRIES):
        unseen = Unseen(needs.texts, namespace, hidden, set(roots))
        further = _Further(unseen, left_out)
        plan = PackPlan(tolerate=True, skip_states=skip, also=changes.also, anchors=changes.anchors, more=further)
        try:
            return pack(heap, {**further.of_cell(needs.roots.values()), **roots, **changes.roots}, plan, dropped)
        except RootFailed as failed:
            if failed.name == AMBIENT:
                roots[AMBIENT] = plain_states(beside.ambient)
                continue
            if failed.name == SHELL:
                beside.left.update(
                    _that_stay(beside.travelling(), namespace) or dict.fromkeys(beside.travelling(), failed.reason)
                )
                roots.pop(SHELL)
                roots.update(beside.roots())
                continue
            if failed.name in changes.roots:
                changes.drop(failed.name, says(failed.reason))
                continue
            if failed.name in needs.roots or failed.name not in needs.hints.keys() | further.hinted:
                raise _culprit(failed, namespace) from failed.reason
            left_out.add(failed.name)
            roots.pop(failed.name, None)
        except AnchorsFailed as failed:
            changes.drop_anchors(failed.anchors, says(failed.reason))
            skip |= {heap.oid_of[id(anchor.obj)] for anchor in failed.anchors if id(anchor.obj) in heap.oid_of}
        except StateFailed as failed:
            skip |= failed.oids
    raise errors.CannotTravel("the values of this cell cannot be packed", "name fewer of them")


def _that_stay(entries: Mapping[Key, Any], namespace: dict[str, Any]) -> dict[Key, BaseException]:
    """Which entries of the shell cannot travel, each tried by itself."""
    found: dict[Key, BaseException] = {}
    for key, value in entries.items():
        if value is not GONE:
            try:
                pack(Heap(namespace), {SHELL: value}, PackPlan(tolerate=True))
            except RootFailed as failed:
                found[key] = failed.reason
    return found


class _Further:
    """What goes along with the values of a cell: what functions among them use, and names ``hinted`` at by texts."""

    def __init__(self, unseen: Unseen, left_out: Container[str]) -> None:
        self._unseen, self._left_out = unseen, left_out
        self.hinted: set[str] = set()

    def of_cell(self, values: Iterable[object]) -> dict[str, Any]:
        """What the cell's own texts name, for whoever looks them up."""
        return self._hints(values, (), first=True)

    def __call__(self, functions: list[Any]) -> dict[str, Any]:
        found = function_globals(functions, self._unseen.namespace, self._unseen.hidden)
        self._unseen.found |= found.keys() - self.hinted
        hints = self._hints(found.values(), functions)
        return {name: value for name, value in {**hints, **found}.items() if name not in self._left_out}

    def _hints(self, values: Iterable[object], functions: Sequence[Any], *, first: bool = False) -> dict[str, Any]:
        hints = self._unseen.look(values, functions, first=first)
        self.hinted |= hints.keys()
        return {name: value for name, value in hints.items() if name not in self._left_out}


def _culprit(failed: RootFailed, namespace: Mapping[str, Any]) -> errors.CellferryError:
    if isinstance(failed.reason, errors.StaysThere):
        return errors.CannotTravel(f"{failed.name}: {failed.reason.what}", failed.reason.advice, failed.name)
    value = namespace.get(failed.name)
    culprit = find_culprit({failed.name: value})
    if culprit is not None:
        return culprit.error()
    reason, remedy, path = says(failed.reason), "", ""
    if isinstance(failed.reason, errors.CannotTravel) and failed.reason.culprit is not None:
        path = path_to(failed.reason.culprit, {failed.name: value})
        reason, remedy = failed.reason.reason, failed.reason.advice
        value = failed.reason.culprit
    return errors.CannotTravel(
        f"{path or failed.name} ({describe(value)[0]}) cannot travel: {reason}; nothing was sent",
        remedy or f"make {failed.name} in the %%remote cell itself", path or failed.name,
    )  # fmt: skip
