"""What modules of the project are now against what they were when they were imported, and how the difference travels.

``conf.LEVEL = 5``, an entry in a registry, an attribute of a class: none of these is a variable of the notebook, and a cell that
runs elsewhere must find them. A worker imports the same source, so what a module was at its import is the same on both ends, and
only what differs from it goes along: names that are bound anew or deleted as values of their own, objects that changed in place as
changes of the heap (``anchors``).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

from cellferry.parcels import bare
from cellferry.parcels.anchors import Anchor, survey
from cellferry.parcels.first_state import as_written
from cellferry.parcels.heap import Heap
from cellferry.parcels.kind import flat
from cellferry.parcels.own_code import is_own
from cellferry.parcels.patches import Patches

NAMES = "\x00of "
"""Begins the root of a name of a module, ``conf:LEVEL``; alone, that of what is deleted or as it was."""

_MISSING = object()


@dataclass
class Baseline:
    """A module as it was when it had been imported. ``raw``: names and values, to see at once that nothing has changed."""

    module: ModuleType
    first: dict[str, Any]
    anchors: list[Anchor]
    raw: tuple[Any, ...]


class Baselines:
    """Those of the process: one for each module of the project that is loaded."""

    def __init__(self) -> None:
        self.modules: dict[str, Baseline] = {}
        self.anchors: dict[int, Anchor] = {}

    def imported(self, modules: Iterable[ModuleType]) -> None:
        """These have just been executed."""
        for module in modules:
            if is_own(module):
                self._take(module, {})

    def catch_up(self, modules: Iterable[ModuleType]) -> None:
        """These were there before anybody watched: they were what their source says, where it says so with literals, else what
        they are now."""
        for module in modules:
            if module.__name__ not in self.modules and is_own(module):
                self._take(module, as_written(module))

    def _take(self, module: ModuleType, written: Mapping[str, Any]) -> None:
        """``written``: names whose value is no longer what the source says, with that value."""
        before = self.modules.get(module.__name__)
        for anchor in before.anchors if before else ():
            self.anchors.pop(id(anchor.obj), None)
        anchors = [
            anchor.unlike() if anchor.way[0][1] in written else anchor for anchor in survey(module, self.anchors)
        ]
        in_place = {anchor.way[0][1] for anchor in anchors if len(anchor.way) == 1}
        first = {**bindings(module), **{name: value for name, value in written.items() if name not in in_place}}
        self.anchors.update((id(anchor.obj), anchor) for anchor in anchors)
        self.modules[module.__name__] = Baseline(module, first, anchors, flat(vars(module)) if not written else ())


BASELINES = Baselines()


@dataclass
class Changes:
    """What differs from what both ends agree on. ``roots``: to be packed; ``anchors``, ``also``: see ``PackPlan``."""

    roots: dict[str, Any] = field(default_factory=dict)
    anchors: tuple[Anchor, ...] = ()
    also: tuple[Any, ...] = ()
    reached: frozenset[str] = frozenset()
    """Top-level names of the packages that the cell can reach: what was set on them from outside goes along."""
    chains: tuple[tuple[str, ...], ...] = ()
    """What code of the notebook and of the project sets by name (``Patches.changed``)."""
    lost: dict[str, str] = field(default_factory=dict)
    """What cannot travel, as a user would write it, and why."""

    def __bool__(self) -> bool:
        return bool(self.roots or self.anchors)

    def within(self, tops: Collection[str]) -> Changes:
        """Those of modules in these packages."""
        roots = {
            key: value for key, value in self.roots.items() if key != NAMES and module_of(key).partition(".")[0] in tops
        }
        marks = {name: said for name, said in self.roots.get(NAMES, {}).items() if name.partition(".")[0] in tops}
        anchors = tuple(anchor for anchor in self.anchors if anchor.module.partition(".")[0] in tops)
        return Changes({**roots, **({NAMES: marks} if marks else {})}, anchors, self.also, self.reached, self.chains)

    def words(self) -> dict[str, Any]:
        """What the other end is told, to see what the cell sets from outside."""
        return {"reached": sorted(self.reached), "stores": [list(chain) for chain in self.chains]}

    def drop(self, root: str, reason: str) -> None:
        """The value of this root cannot travel."""
        del self.roots[root]
        self.lost[label(root)] = reason

    def drop_anchors(self, anchors: list[Anchor], reason: str) -> None:
        self.anchors = tuple(anchor for anchor in self.anchors if anchor not in anchors)
        self.lost.update((anchor.label, reason) for anchor in anchors)


def label(root: str) -> str:
    """The name as a user would write it: ``conf.LEVEL``."""
    return root.removeprefix(NAMES).replace(":", ".")


def key_of(root: str) -> tuple[str, str]:
    """Module and way of a root for an attribute of an installed package."""
    module, _colon, path = root.removeprefix(NAMES).partition(":")
    return module, path


def module_of(root: str) -> str:
    """The module whose name a root is."""
    return root.removeprefix(NAMES).partition(":")[0]


class ModuleStates:
    """One end's view of the modules' states that the two ends of a link agree on."""

    def __init__(self, heap: Heap, baselines: Baselines = BASELINES) -> None:
        self._baselines = baselines
        self.heap = heap
        self._agreed: dict[str, dict[str, Any]] = {}
        self._raw: dict[str, tuple[Any, ...]] = {}
        self._seen: dict[str, Baseline] = {}
        self._told: set[str] = set()
        self._patches = Patches()
        heap.anchors = baselines.anchors

    def reloaded(self) -> list[str]:
        """Modules that were executed anew here since this was asked last."""
        found = [
            name for name, baseline in self._baselines.modules.items() if self._seen.get(name, baseline) is not baseline
        ]
        self._seen.update(self._baselines.modules)
        return found

    def changed(self) -> Changes:
        """What is not as agreed; call ``agree`` once the other end has it."""
        roots: dict[str, Any] = {}
        marks: dict[str, Any] = {}
        for name, baseline in self._baselines.modules.items():
            held = vars(baseline.module)
            if sys.modules.get(name) is not baseline.module:
                continue
            raw = self._raw.get(name, baseline.raw)
            if 2 * len(held) != len(raw) or not all(map(is_, chain(held, held.values()), raw)):
                self._compare(name, baseline, roots, marks)
        if marks:
            roots[NAMES] = marks
        return Changes(roots, tuple(self._changed_anchors()), tuple(self._known()))

    def patched(self, tops: Collection[str], chains: Iterable[tuple[str, ...]]) -> dict[str, Any]:
        """Roots for what was set from outside on installed packages in ``tops`` and is not as agreed."""
        found = self._patches.changed(tops, chains, self.heap.namespace)
        return {
            f"{NAMES}{module}:{path}": self._patches.as_sent((module, path), value)
            for (module, path), value in found.items()
        }

    def _compare(self, name: str, baseline: Baseline, roots: dict[str, Any], marks: dict[str, Any]) -> None:
        first, now = baseline.first, bindings(baseline.module)
        old = self._agreed.get(name, first)
        changed = {key for key, value in now.items() if old.get(key, _MISSING) is not value}
        own = {key for key in changed if _by_itself(name, key, now[key])}
        # the other end has these all the same, unless something else stands there by now
        changed -= {key for key in own if old.get(key, _MISSING) is first.get(key, _MISSING)}
        again = [key for key in changed if key in own or first.get(key, _MISSING) is now[key]]
        deleted = [key for key in old if key not in now]
        roots.update((f"{NAMES}{name}:{key}", now[key]) for key in changed if key not in again)
        if again or deleted:
            marks[name] = (again, deleted)
        if not changed and not deleted:
            self._raw[name] = flat(vars(baseline.module))

    def _changed_anchors(self) -> list[Anchor]:
        oid_of, heap = self.heap.oid_of, self.heap
        return [
            anchor
            for baseline in self._baselines.modules.values()
            for anchor in baseline.anchors
            if id(anchor.obj) not in oid_of
            and anchor.kind.probe(anchor.obj, anchor.seal, heap) is not None
            and anchor.holds()
        ]

    def _known(self) -> list[Any]:
        """Objects of modules that the other end knows as well: their changes go along whatever a cell mentions."""
        heap = self.heap
        found = [anchor.obj for anchor in heap.anchored.values()]
        for name, agreed in self._agreed.items():
            baseline = self._baselines.modules.get(name)
            if baseline is not None:
                values = (value for key, value in agreed.items() if baseline.first.get(key, _MISSING) is not value)
                found += [value for value in values if id(value) in heap.oid_of]
        return found

    def agree(self, changes: Changes) -> None:
        """The other end has these."""
        for root, value in changes.roots.items():
            if root == NAMES:
                continue
            if module_of(root) in self._baselines.modules:
                self._note(module_of(root), root.rpartition(":")[2], value)
            else:
                self._patches.agree(key_of(root))
        for name, (again, deleted) in changes.roots.get(NAMES, {}).items():
            self._note_marks(name, again, deleted)

    def _note(self, module: str, name: str, value: Any) -> None:
        baseline = self._baselines.modules.get(module)
        if baseline is not None:
            self._agreed.setdefault(module, dict(baseline.first))[name] = value
            self._raw[module] = ()  # what it was at its import is no longer what both ends agree on

    def _note_marks(self, module: str, again: Collection[str], deleted: Collection[str]) -> None:
        baseline = self._baselines.modules.get(module)
        first = baseline.first if baseline else {}
        for name in [name for name in again if name in first]:
            self._note(module, name, first[name])
        for name in deleted if baseline else ():
            self._agreed.setdefault(module, dict(first)).pop(name, None)
            self._raw[module] = ()

    def receive(self, roots: dict[str, Any]) -> list[str]:
        """Take the other end's names of modules out of ``roots`` and put them in force; returns what could not be."""
        failed = []
        marks = roots.pop(NAMES, {})
        for root in [root for root in roots if root.startswith(NAMES)]:
            value = roots.pop(root)
            module = _loaded(module_of(root))
            if module is None or (not is_own(module) and not self._patches.put(key_of(root), value)):
                failed.append(label(root))
            if module is None or not is_own(module):
                continue
            name = root.rpartition(":")[2]
            setattr(module, name, value)
            self._note(module.__name__, name, value)
        for name, (again, deleted) in marks.items():
            module, baseline = _loaded(name), self._baselines.modules.get(name)
            if module is None or baseline is None:
                failed.append(name)
                continue
            vars(module).update({key: baseline.first[key] for key in again if key in baseline.first})
            for key in deleted:
                vars(module).pop(key, None)
            self._note_marks(name, [key for key in again if key in baseline.first], deleted)
        return failed

    def receive_home(self, roots: dict[str, Any]) -> list[str]:
        """As ``receive``, on the notebook's end; what could not be put in force as lines for the user."""
        return [f"{name} changed on the worker; there is no such module here" for name in self.receive(roots)]

    def tell_lost(self, changes: Changes, tell: Callable[[str], None]) -> None:
        """Say once of each name what was changed here and cannot travel: the cell will find it as the module's source has it."""
        for name, reason in changes.lost.items():
            if name not in self._told:
                self._told.add(name)
                where = "on the worker it is as its module makes it; set it in the cell itself"
                tell(f"{name} was changed here and cannot travel ({reason}): {where}")

    def renew(self, modules: Collection[str]) -> None:
        """The other end has imported these anew: it has them as their source says, and none of their objects."""
        for name in modules:
            self._agreed.pop(name, None)
            self._raw.pop(name, None)
        self.heap.unlearn([oid for oid, anchor in self.heap.anchored.items() if anchor.module in modules])


def _loaded(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def bindings(module: ModuleType) -> dict[str, Any]:
    """A module's names, without those that Python keeps there."""
    return {name: value for name, value in list(vars(module).items()) if not (name.startswith("__") and name.endswith("__"))}


def _by_itself(module: str, name: str, value: Any) -> bool:
    """Whether the other end has it all the same: a submodule that was imported, a function or class that the source defines
    under this name (after a reload it is another object)."""
    if issubclass(type(value), ModuleType):
        return sys.modules.get(f"{module}.{name}") is value
    if bare.is_class(value):
        return bare.module_of(value) == module and bare.name_of(value) == name
    if type(value) is FunctionType:
        return bool(value.__module__ == module and value.__qualname__ == name)
    return False


__all__ = ["BASELINES", "NAMES", "Baselines", "Changes", "ModuleStates", "label"]
