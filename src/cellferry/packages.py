"""A step of the journey: with which packages. Finds what a cell needs, has it locked, and has the worker make it."""

from __future__ import annotations

import os
import posixpath
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Thread
from types import FunctionType, ModuleType
from typing import Any

from cellferry import errors
from cellferry.capture.dataflow import Flow
from cellferry.capture.globals_of import code_imports, code_strings
from cellferry.capture.modules import imports_in
from cellferry.capture.protocols import protocol_packages
from cellferry.environment.asked import recall, remember
from cellferry.environment.describe import asks_for_torch, lock_all, lock_file, lock_found, relative
from cellferry.environment.differences import Difference, risky, rows
from cellferry.environment.found import wanted
from cellferry.environment.installed import Inventory, canonicalize_name, take_inventory
from cellferry.environment.lock import Described, Lock, Target
from cellferry.environment.machine import builds_for, lock_with_torch, platform_for
from cellferry.environment.places import cache_folder
from cellferry.environment.sources import Sources, read_sources
from cellferry.environment.tools import clashes
from cellferry.environment.wheels import fits
from cellferry.link.packages import EnvironmentThere, Order, ask_versions, build_there
from cellferry.link.sources import Source, text_of
from cellferry.link.there import There
from cellferry.model import EnvironmentChoice, Offer, PackageRow, Worker, WorkerId
from cellferry.parcels.parcel import Parcel
from cellferry.parcels.placeholder import human_bytes
from cellferry.screen import Host, Screen

AUTO, FULL, INTERPRETER = "auto", "full", "python:"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
_PATIENCE_S = 0.5
Note = Callable[[str], None]


def modules_used(flow: Flow, values: Iterable[Any], parcel: Parcel, functions: Sequence[FunctionType]) -> set[str]:
    """Dotted names of the modules that a cell imports or its values need: by themselves, or through their functions."""
    found = set(flow.imports) | parcel.modules
    found |= {value.__name__ for value in values if issubclass(type(value), ModuleType)}
    return found.union(*(code_imports(function.__code__) for function in functions))


def backends_used(flow: Flow, functions: Sequence[FunctionType]) -> set[str]:
    """Distributions that fsspec needs for the URLs in a cell and its functions (``s3://`` needs s3fs)."""
    texts = {*flow.strings}.union(*(code_strings(function.__code__) for function in functions))
    return {str(canonicalize_name(name)) for name in protocol_packages(texts).values()}


@dataclass
class Packages:
    """What one worker's kernel has, and what the cells so far need. ``env``: the word after ``env=``, not empty.

    Used by the thread that runs the notebook's cells. ``local``: finds the project's own modules among names.
    """

    env: str
    local: Callable[[Iterable[str]], Sequence[Source]]
    dists: set[str] = field(default_factory=set)
    lock: Lock | None = None
    target: Target = field(default_factory=lambda: Target(HERE))
    builds: tuple[str, ...] = ()
    """PyTorch's builds that the machine, or each of those that it may be, can run; () to leave it to the indexes."""
    more: set[str] = field(default_factory=set)
    """Distributions that the cells need there although they are not installed here."""
    compiled: frozenset[str] = frozenset()
    """Import names of packages that went from here as wheels for this machine only."""
    _line: str = ""
    """What the installer said last."""
    _tops: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _made: tuple[WorkerId, str] | None = None
    _file_stamp: int = -1
    _offered: int = 0
    _unreachable: bool = False
    """PyTorch's own index."""

    def suit(self, machines: Sequence[Offer]) -> None:
        """Choose for these machines from now on; a lock that was made for others is made anew."""
        platform, self.builds = platform_for(machines), builds_for(machines)
        self.builds = () if self._unreachable else self.builds
        chosen, has_torch = self.target.torch_backend, self.lock is not None and "torch" in self.lock.versions
        if platform != self.target.platform or (chosen not in self.builds if chosen else has_torch and self.builds):
            self.lock, self.target = None, replace(self.target, platform=platform, torch_backend="")

    @cached_property
    def sources(self) -> Sources:
        return read_sources(os.environ)

    def need(self, modules: Iterable[str], note: Note, backends: Iterable[str] = ()) -> None:
        """Make sure that the lock has what provides ``modules``, and ``backends``; quick when they are known already.

        Raises EnvironmentFailed or BadValue. Nothing is sent or started here.
        """
        fresh, behind = set(modules) - self._tops, set(backends) - self.dists - self.more
        if (
            not fresh
            and not behind
            and (self.lock is not None or self.env.startswith(INTERPRETER))
            and not self._file_changed()
        ):
            return
        inventory = take_inventory()
        through = self._through(fresh)
        names = set(wanted(fresh | through, inventory).dists) | {name for name in behind if name in inventory.dists}
        if self.env == AUTO:
            names = recall(cache_folder(), names | self.dists) & set(inventory.dists)
        more = self.more | {name for name in behind if name not in inventory.dists}
        described = None if self.env.startswith(INTERPRETER) else self._described(names, more, inventory)
        self._tops |= fresh
        self.dists |= names
        self.more = more
        if described is not None:
            wrong = clashes(described.lock.versions) if self.env not in (AUTO, FULL) else []
            if wrong:
                raise errors.EnvironmentFailed(
                    f"env={self.env}: {'; '.join(wrong)}", "name newer versions of these there, or leave them out"
                )
            self.lock, self.compiled = described.lock, _compiled(described.lock, inventory)
            for line in described.notes:
                self._say(line, note)
            self.warn(described.lock.versions, HERE, note)

    def trial(self) -> Packages:
        """A copy to try something with: for an estimate."""
        return Packages(self.env, self.local, set(self.dists), self.lock, self.target, self.builds, set(self.more))

    def planned(self) -> tuple[PackageRow, ...]:
        """For an estimate: what would be installed, with sizes."""
        here = take_inventory().versions
        found = self.lock.packages if self.lock else ()
        return tuple(
            PackageRow(p.name, here.get(p.name, ""), p.version, "sent from here" if p.sent else "", p.size_bytes)
            for p in found
        )

    def _described(self, names: set[str], more: set[str], inventory: Inventory) -> Described | None:
        """A new lock, if one is due."""
        if self.env == AUTO:
            if self.lock is not None and names <= self.dists and more == self.more:
                return None
            every = names | self.dists
            return self._made_for(
                "torch" in inventory.closure(every),
                lambda target: lock_found(every, inventory, target, self.sources, sorted(more)),
            )
        if self.env == FULL:
            if self.lock is not None:
                return None
            return self._made_for("torch" in inventory.dists, lambda target: lock_all(inventory, target, self.sources))
        due = self.lock is None or self._file_changed()
        path = relative(self.env)
        self._file_stamp = path.stat().st_mtime_ns if path.is_file() else 0
        return (
            self._made_for(asks_for_torch(path), lambda target: lock_file(path, target, self.sources)) if due else None
        )

    def _made_for(self, torch: bool, make: Callable[[Target], Described]) -> Described:
        """What ``make`` gives for the worker's machine; the build of PyTorch that was chosen once stays."""
        if not torch or self.target.torch_backend or not self.builds:
            return make(self.target)
        described, self.target = lock_with_torch(make, self.target, self.builds)
        if not self.target.torch_backend:
            self._unreachable = True  # it is not tried for each cell
        return described

    def _file_changed(self) -> bool:
        if self.env in (AUTO, FULL) or self.env.startswith(INTERPRETER):
            return False
        path = relative(self.env)
        return path.is_file() and path.stat().st_mtime_ns != self._file_stamp

    def _through(self, modules: Iterable[str]) -> set[str]:
        """What the project's own modules among ``modules`` import."""
        tops = {name.partition(".")[0] for name in modules}
        found: set[str] = set()
        for source in self.local(tops):
            texts = (text_of(posixpath.join(source.root, f)) for f in source.files if f.endswith(".py"))
            found.update(*(imports_in(text or "") for text in texts))
        return found

    def warn(self, there: dict[str, str], python: str, note: Note) -> None:
        """Name the differences that can break a pickle; each once."""
        here = take_inventory().versions
        found = risky(here, there, here)
        if python and python != HERE:
            found.insert(0, Difference("Python", HERE, python))
        for difference in found:
            self._say(f"{difference}: values pickled on one side may not be readable on the other", note)

    def _say(self, line: str, note: Note) -> None:
        if line not in self._told:
            self._told.add(line)
            note(line)

    def choice(self) -> EnvironmentChoice:
        """In what the kernel of a new worker is to run."""
        if self.env.startswith(INTERPRETER):
            return EnvironmentChoice("python", python=self.env.removeprefix(INTERPRETER))
        return EnvironmentChoice("made", self.lock.key if self.lock else "", self.target.python)

    def begin(self, there: There) -> tuple[str, Future[EnvironmentThere] | None]:
        """Have the worker make what the lock says, unless it has: a ticket for the kernel to wait for, and the outcome.

        ("", None) when there is nothing to do. The work goes on in a thread while the cell's data is sent, over connections of its
        own: it ends with the link to the kernel, which knows what becomes of the worker.
        """
        worker, link = there.worker, there.link
        if self.lock is None or self._made == (worker.id, self.lock.key):
            return "", None
        lock, done = self.lock, Future[EnvironmentThere]()
        order = Order(uuid.uuid4().hex, lock.key, lock.text, lock.versions, lock.files, self.sources.credentials)

        def work() -> None:
            try:
                made = build_there(worker.endpoint, worker.name, order, self._heard, lambda: link.lost)
            except BaseException as exc:
                done.set_exception(exc)
            else:
                self._made = (worker.id, lock.key)
                done.set_result(made)

        self._line = ""
        Thread(target=work, name="cellferry-packages", daemon=True).start()
        return order.ticket, done

    def wait(self, building: Future[EnvironmentThere], progress: Note) -> None:
        """Until the environment is there; a line tells how it gets on. Raises what ``build_there`` raises."""
        began, shown = time.monotonic(), False
        size = f", {human_bytes(self.lock.size_bytes)}" if self.lock and self.lock.size_bytes else ""
        try:
            while True:
                try:
                    building.result(timeout=_PATIENCE_S)
                    return
                except TimeoutError:
                    if building.done():
                        raise
                    shown = True
                    count = len(self.lock.packages) if self.lock else 0
                    progress(f"packages of the worker: {count}{size}  {time.monotonic() - began:.0f} s  {self._line}")
        finally:
            if shown:
                progress("")

    def start(
        self, there: There, screen: Screen, parcel: Parcel
    ) -> tuple[dict[str, Any], Future[EnvironmentThere] | None]:
        """Have what the lock says made there while the rest is sent: what the kernel is told of it, and the outcome to come.

        Arrays are received into memory of numpy's: for a parcel with such, returns when the packages are there.
        """
        self.check_there(there, screen)
        there.sources.without = self.compiled
        there.link.on_need = lambda module: self.grow(module, there, screen)
        ticket, building = self.begin(there)
        if building is not None and any(leaf.spec[0] == "nd" for leaf in parcel.leaves):
            self.wait(building, screen.progress)
        return {"offers": self.offers(there.link.pid), "packages": ticket}, building

    def _heard(self, line: str) -> None:
        self._line = line.strip()

    def grow(self, module: str, there: There, screen: Screen) -> bool:
        """A running cell imports ``module``, which is not there: have it installed; False if that cannot be."""
        before = set(self.dists)
        try:
            self.need([module], screen.note)
            _ticket, done = self.begin(there)
            if done is not None:
                self.wait(done, screen.progress)
        except errors.CellferryError as error:
            screen.note(f"{module} could not be installed on the worker: {error.what}")
            return False
        remember(cache_folder(), before, self.dists - before)
        return True

    def offers(self, kernel_pid: int) -> list[str]:
        """Import names that are installed here, for a kernel that does not know them yet; it asks for them when needed."""
        if self.env != AUTO or self._offered == kernel_pid:
            return []
        self._offered = kernel_pid
        return sorted(take_inventory().modules)

    def check_there(self, there: There, screen: Screen) -> None:
        """For an interpreter that was there before: name what differs, and what the cell needs and it has not."""
        if not self.env.startswith(INTERPRETER) or self._made is not None:
            return
        worker, link = there.worker, there.link
        found = ask_versions(worker.endpoint, worker.name, screen.progress, lambda: link.lost)
        self._made = (worker.id, "")
        self.warn(dict(found.versions), found.python, screen.note)
        missing = sorted(self.dists - set(found.versions))
        if missing:
            self._say(
                f"not installed in {self.env.removeprefix(INTERPRETER)} on the worker: {', '.join(missing)}",
                screen.note,
            )


def _compiled(lock: Lock, inventory: Inventory) -> frozenset[str]:
    names = {canonicalize_name(path.name.split("-")[0]) for path in lock.files.values() if not fits(path.name, ())}
    return frozenset(top for top, dists in inventory.modules.items() if not names.isdisjoint(dists))


def plan(
    before: Packages | None, env: str, flow: Flow, given: Sequence[Any], parcel: Parcel,
    local: Callable[[Iterable[str]], Sequence[Source]], host: Host, machines: Sequence[Offer] = (), *, trial: bool = False,
) -> Packages:  # fmt: skip
    """What a worker's kernel is to have, this cell included. ``before``: what it has so far; left as it is in a ``trial``.
    ``machines``: what its machine is, or may be; () for this one.

    Raises EnvironmentFailed, BadValue. Nothing is sent or started here.
    """
    packages = before if before is not None and before.env == env else Packages(env, local)
    packages = packages.trial() if trial else packages
    packages.suit(machines)
    functions = parcel.functions
    packages.need(modules_used(flow, given, parcel, functions), host.screen.note, backends_used(flow, functions))
    return packages


def table(packages: Packages | None, worker: Worker | None) -> list[PackageRow]:
    """The rows of ``%remote env``: what is here and there, and why it differs."""
    here = take_inventory().versions
    if packages is None or worker is None:
        return rows(here, here, (), (), shared=True)
    lost = errors.LinkError(
        f"worker {worker.name!r} does not answer", "type it again, or look at the worker: %remote status"
    )
    there = ask_versions(worker.endpoint, worker.name, lambda _line: None, lambda: lost)
    sent = [p.name for p in packages.lock.packages if p.sent] if packages.lock else []
    return rows(here, dict(there.versions), sent, packages.dists, shared=False)
