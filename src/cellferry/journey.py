"""The way of a cell, in order, on one page: read this first.

    request -> what the cell needs -> a worker -> a parcel out -> the run -> a parcel home -> the notebook's names

Everything is decided by the rooms below; this page only puts them in order and keeps the local namespace untouched
until the results are all here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cellferry import accounts, errands, errors, runs, waited
from cellferry.again import Again
from cellferry.answers import Answers
from cellferry.baggage import frame_of, refuse_secrets, shares_folder
from cellferry.between import Between
from cellferry.capture import hashing
from cellferry.capture.bindable import Bindable, bindable
from cellferry.capture.dataflow import Flow, analyse
from cellferry.capture.hashing import depends_on_hashes
from cellferry.capture.mentions import paths_named
from cellferry.capture.modules import Disk, LocalSource, local_sources, places_here
from cellferry.capture.needs import Needs, import_what_is_lazy, needed
from cellferry.capture.request import OPTIONS, Command, check_supported, parse_command, parse_request
from cellferry.capture.scripts import with_their_imports
from cellferry.capture.secret_forms import kind_of_secret
from cellferry.config import Cellferry
from cellferry.environment.places import choose_cache
from cellferry.everywhere import Everywhere
from cellferry.fleet.clock import Stopwatch
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.states import Ended
from cellferry.link.at_home import AtHome
from cellferry.link.files import FileSync
from cellferry.link.redial import When
from cellferry.link.reports import RemoteError, cell_report, shipped_rows
from cellferry.link.returned import Returned
from cellferry.link.same_folder import SameFolder, follow
from cellferry.link.session import KernelLink
from cellferry.link.sources import SourceSync, load_submodules, module_file, text_of
from cellferry.link.there import There
from cellferry.model import CellReport, CellRequest, PackageRow, Worker, WorkerId
from cellferry.outside import Stores
from cellferry.parcels.ambient import at_home
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.module_state import ModuleStates
from cellferry.parcels.parcel import Parcel
from cellferry.parcels.shell_state import advice
from cellferry.payload import Beside, pack_all, pack_with_modules
from cellferry.presses import ESCAPE, Presses
from cellferry.providers.environ import hash_seed
from cellferry.screen import Cell, Host
from cellferry.settling import take_as_data, take_home

if TYPE_CHECKING:
    from cellferry.packages import Packages

DISK = Disk(os.walk, text_of, module_file)

__all__ = ["OPTIONS", "Cell", "Command", "Host", "RemoteError", "Session", "parse_command", "read_request"]


def read_request(line: str) -> CellRequest:
    """The words after ``%%remote``, checked for what this release can do; raises RequestError."""
    request = parse_request(line)
    check_supported(request)
    return request


def local_modules(names: Iterable[str]) -> Sequence[LocalSource]:
    """Those of ``names`` that are modules of the project, with what they pull in."""
    return local_sources(names, sys.modules, places_here(), DISK)


class Session(Between):
    """All remote cells of one notebook. One for each shell; used from the thread that runs its cells."""

    def __init__(self, config: Cellferry, namespace: dict[str, Any], host: Host) -> None:
        self.config = config
        self.namespace = namespace
        self.host = host
        self.fleet = Fleet(config, host.notebook, host.kernel_id)
        choose_cache(config.cache_dir)
        self._there: dict[str, There] = {}
        self._current: There | None = None
        self._packages: dict[str, Packages] = {}
        self._deaths: dict[WorkerId, int] = {}
        self.bindable: dict[str, Bindable] = {}
        """By run that was let go: the names that its cell can bind."""
        self.everywhere = Everywhere(config, namespace, host)
        self._again = Again(config, self.fleet, host.screen, self.down)
        self._presses = Presses()
        self.everywhere.held = lambda wake: self._presses.held(wake)
        self._stores = Stores()
        self.failed_remotely = False
        self._told_of_hashes = False

    @accounts.on_the_board
    def run(self, request: CellRequest, cell: Cell) -> CellReport:
        """Run ``cell`` as ``request`` says; returns what happened.

        Raises PreflightError or RequestError before anything is sent, WorkerError with the namespace untouched,
        RemoteError for the cell's own exception after what it had bound came home.
        """
        check_supported(request)
        with self._counting():
            return self._again.run(accounts.with_packages(request, self.config), cell, self._once)

    def _pressed(self) -> bool:
        return self._presses.take()

    def _counting(self) -> Presses:
        """Interrupts are counted from now on, see ``presses``."""
        self._presses = Presses()
        return self._presses

    def _once(self, request: CellRequest, cell: Cell) -> CellReport:
        clock = self.fleet.board.clock()
        text = self.host.transform(cell.source)
        flow = analyse(text, self.host.transform)
        known = self._there.get(self.fleet.peek(request))
        if known is None and self.fleet.shared(request):
            known = self._arrive(request)  # before anything is packed: the cell may read what others have left there
        import_what_is_lazy(flow, self.namespace, self.host.hidden)
        needs = needed(
            flow, self.namespace, self.host.hidden, known.kept if known else (),
            alone=request.detach, looks_up=self.config.names_in_texts, rebound=known.rebound() if known else (),
        )  # fmt: skip
        if request.estimate:
            return self._estimate(needs, known, request, flow)
        if known is not None and known.link.lost is not None:
            self.forget(known)
            known.link.tell_loss()
            known = None
        if known:
            known.modules.renew(known.sources.stale(known.modules.reloaded()))
        ambient, shell = (known.ambient, known.shell) if known else (at_home(), self.everywhere.shell_state())
        beside = Beside(ambient.changed(), shell.outgoing())
        states = known.modules if known else ModuleStates(Heap(self.namespace))
        heap = known.heap if known else None
        before = len(heap.objects) if heap is not None else 0
        try:
            chains = self._stores.chains(self.namespace, text)
            parcel = pack_with_modules(needs, beside, self.host.hidden, states, flow.imports, chains)
        except KeyboardInterrupt:
            if known and len(known.heap.objects) != before:  # in the moment in which they became known
                self.forget(known)
            raise
        secrets = refuse_secrets(request, self.config.secrets, cell, flow, parcel, heap, self.namespace, self.host)
        packages = self._packages_for(request, flow, parcel)
        if packages is not None:
            request = replace(request, environment=packages.choice())
        clock.append(time.perf_counter())
        if known:
            accounts.top_up(self.fleet, known.worker, request, self.host.screen.note)
        there = known or self._arrive(request)
        self._again.found(there.worker)
        self.everywhere.catch_up(there)
        if there.heap.by_source and not known:  # another Python there: functions travel as source
            parcel = pack_all(needs, there.heap, beside, self.host.hidden)
        self._tell_of_hashes(there, flow, parcel)
        there.modules.tell_lost(beside.changes, self.host.screen.note)
        if beside.left:
            self.host.screen.note(advice(beside.left))
        clock.append(time.perf_counter())
        try:
            return self._there_and_back(there, request, cell, flow, parcel, beside, clock, packages, secrets)
        except (RemoteError, errors.PreflightError, errors.BudgetError, errors.DiskFull):
            if not there.link.agreed:
                self.forget(there)
            raise
        except BaseException:
            # Whatever went wrong on the way, the two ends may not agree any more about what they both know. A new
            # link starts from nothing; the worker's kernel and its variables stay.
            self.forget(there)
            raise

    def _tell_of_hashes(self, there: There, flow: Flow, parcel: Parcel) -> None:
        """Before a cell that depends on them runs where they differ; once."""
        if self._told_of_hashes or there.link.hashes_alike:
            return
        if depends_on_hashes(flow.reads, self.namespace, parcel.functions, parcel.kinds):
            self._told_of_hashes = True
            self.host.screen.note(hashing.note(there.worker.name, seed_known=bool(hash_seed())))

    def _there_and_back(
        self, there: There, request: CellRequest, cell: Cell, flow: Flow, parcel: Parcel, beside: Beside,
        clock: list[float], packages: Packages | None, secrets: Mapping[str, Any],
    ) -> CellReport:  # fmt: skip
        started_ns, watch = time.time_ns(), Stopwatch()
        if there.worker.token:
            self.fleet.purse.watch(there.worker)
        order, building = packages.start(there, self.host.screen, parcel) if packages else ({}, None)
        given = [self.namespace.get(name) for name in parcel.roots]
        named = with_their_imports(paths_named(flow, given, parcel.functions), DISK, os.path.isfile)
        sent = there.files.send(there.link, there.folder, named, request.files)
        there.sources.send(there.link, flow.imports, in_place=there.same_folder and not request.env)
        frame = frame_of(there, request, cell, flow, parcel, given, self.host, self.namespace, self.config)
        answers = Answers(self, there, request, cell, flow, parcel)
        there.link.asked |= {"names": answers, "unnamed": answers}
        frame.update(order, **answers.frame(), **secrets, **beside.changes.words(), limit_s=accounts.limit_s(request, there.worker))
        frame.update(self._again.words(there, request, frame["run"]))
        self.fleet.board.name_run(frame["run"])
        self._current = there
        try:
            with self._presses.held(there.link.wake):
                sent += waited.send(self._presses, there, frame, parcel)
                if packages and building is not None:
                    with self._presses.raising():
                        packages.wait(building, self.host.screen.progress)  # the kernel waits for the same
                if request.detach:
                    self.bindable[frame["run"]] = bindable(flow, parcel.functions, there.declared)
                    return runs.let_go(self, there, frame["run"])
                there.ambient.agree(beside.ambient)
                there.shell.agree(beside.shell, beside.left)
                there.modules.agree(beside.changes)
                parcel.sealed(there.heap)
                there.note(name for name in parcel.roots if not name.startswith("\x00"))
                clock.append(time.perf_counter())
                context = Unpacking(self.namespace, shell=lambda: getattr(self.host, "shell", None), worker=there.worker.name)
                returned = waited.home(self.fleet, self.host.screen, there, context, request, frame["run"])
                self._again.look(request, there, returned, frame["run"])
                self.fleet.board.step("home")
                notes = []
                if there.link.data_only:  # a module is no data; but the cell says itself what it imports
                    source = self.host.transform(cell.source)
                    returned.take_instead(errands.imported_here(source, returned.frame["stayed"]))
                    notes = take_as_data(there, returned, flow, parcel.functions, source, self.host)
                notes += take_home(there, returned, self.namespace, self.host)
                there.link.tell({"op": "claimed", "run": frame["run"]})
        finally:
            self._current = None
        if there.same_folder:
            follow(returned.frame.get("cwd"), frame.get("cwd"))
        load_submodules(flow.imports)
        came, file_notes = there.files.bring(there.link, there.folder, returned.frame["files"], started_ns)
        report = cell_report(there, parcel, returned, sent, [*notes, *file_notes], came, clock)
        report = accounts.note_cost(self.fleet, there, cell.word, frame["run"], watch, report)
        self._finish(request, returned, report, there)
        return report

    def _packages_for(
        self, request: CellRequest, flow: Flow, parcel: Parcel, *, trial: bool = False
    ) -> Packages | None:
        """What the worker's kernel is to have, this cell included; None where it shares the notebook's environment.

        ``trial``: only for an estimate.
        """
        if not request.env:
            return None
        from cellferry.packages import plan  # and uv's room: not for a cell that shares what is here

        given = [self.namespace.get(root) for root in parcel.roots]
        name = self.fleet.peek(request)
        before, there = self._packages.get(name), self._there.get(name)
        machines = accounts.machines(self.fleet, request, self.config, there)
        packages = plan(before, request.env, flow, given, parcel, local_modules, self.host, machines, trial=trial)
        if not trial:
            self._packages[name] = packages
        return packages

    def _arrive(self, request: CellRequest) -> There:
        """A worker for this request, started if there is none, with an open link."""
        return self.connect(accounts.get_worker(self.fleet, request, self.config, self.host.screen))

    def connect(self, worker: Worker) -> There:
        """This worker with an open link, the one that is there or a new one."""
        there = self._there.get(worker.name)
        if there is not None and there.worker.id == worker.id and there.link.lost is None:
            return there
        generation = self._deaths.get(worker.id, 0) + 1
        link = KernelLink(
            worker.endpoint, self.host.screen, self.namespace, worker.name,
            lambda when: self._trouble(worker, when, generation), self.config.trust == "data",
        )  # fmt: skip
        config = self.config
        same = shares_folder(worker, config)
        files = (SameFolder if same else FileSync)(
            config.file_limit, self.host.screen, config.artifact_store, inspect=kind_of_secret,
            data_only=config.trust == "data",
        )  # fmt: skip
        there = There(
            worker, link, files, SourceSync(local_modules), shell=self.everywhere.shell_state(), same_folder=same
        )  # fmt: skip
        if not same and config.trust == "code":
            AtHome(files, link, lambda: there.folder)
        link.pressed, link.asking = self._pressed, lambda: self._presses.raising()
        link.open()
        if worker.id in self.fleet.left:
            there.kept |= link.names
        self._there[worker.name] = there
        return there

    def _trouble(self, worker: Worker, when: When, generation: int) -> Exception | None:
        """Asked by the link to the worker's kernel of that generation (``redial.Alive``): None, or why nothing will come."""
        if when == "waiting" and self.fleet.alive(worker):
            return None
        error = self.fleet.diagnose(worker, generation=generation, certain=when == "away")
        if isinstance(error, errors.KernelDied):
            self._deaths[worker.id] = generation
        return accounts.spent(error, self.fleet.latest(worker))

    def _finish(self, request: CellRequest, returned: Returned, report: CellReport, there: There) -> None:
        reply = returned.frame["reply"]
        self.host.payloads(reply["payload"] or [])
        self.failed_remotely = reply["status"] == "error"
        if report.cost_line:
            self.host.screen.note(report.cost_line)
        stopped = accounts.why_stopped(request, there, returned)
        if stopped is not None:
            if returned.frame["limited"] != "cell":
                self.down(there.worker.name)  # it is ending: the next cell gets another
            raise stopped
        if self.failed_remotely:
            kept = [n for n in report.came_home if not isinstance(self.namespace.get(n), ModuleType)]
            if kept and reply["traceback"]:
                self.host.screen.note(f"the cell failed; what it had bound before is here: {', '.join(kept)}")
            raise RemoteError(reply["ename"], reply["evalue"], list(reply["traceback"] or []))

    def _estimate(self, needs: Needs, known: There | None, request: CellRequest, flow: Flow) -> CellReport:
        """What would be shipped, without starting, sending or running anything."""
        heap = known.heap if known is not None and known.link.lost is None else Heap(self.namespace)
        parcel = pack_all(needs, heap, Beside(), self.host.hidden)
        rows = shipped_rows(parcel, heap, self.namespace)
        packages = self._packages_for(request, flow, parcel, trial=True)
        name = known.worker.name if known else ""
        return CellReport(worker=name, status="ok", shipped=rows, packages=packages.planned() if packages else ())

    def run_everywhere(self, cell: Cell, here: Callable[[], None]) -> None:
        """Run the cell here, by ``here``, on every worker that there is, and on each that starts later, in order."""
        self.everywhere.run(cell, here, self._there)

    def interrupt(self) -> None:
        """Interrupt the running cell; from any thread, silent if none runs."""
        if self._current is not None:
            self._current.link.interrupt()

    def status(self) -> Sequence[Any]:
        """One row for each worker."""
        return self.fleet.status()

    def env(self) -> Sequence[PackageRow]:
        """The packages here and on the worker used last: what differs, and why."""
        from cellferry.packages import table

        there = next((t for t in reversed(self._there.values()) if t.link.lost is None), None)
        packages = self._packages.get(there.worker.name) if there else None
        return table(packages, there.worker if there else None)

    def up(self, request: CellRequest) -> str:
        """Start the worker that a cell with these words would use, or find it there; its name."""
        check_supported(request)
        with self._counting():
            return self._arrive(accounts.with_packages(request, self.config)).worker.name

    def down(self, name: str | None = None, *, by_hand: bool = False) -> list[Ended]:
        """End one worker, or all; says which ended, and what they came to. ``by_hand``: see ``Fleet.down``."""
        with self._counting() as presses, presses.held(patience=ESCAPE):  # what is half ended goes on unseen, and may cost money
            for there in [t for t in self._there.values() if name is None or t.worker.name == name]:
                self.forget(there)
            return self.fleet.down(name, by_hand=by_hand)

    def close(self) -> None:
        """End all workers of this session; repeatable."""
        self.fleet.close()  # first: it asks whether others are linked to a worker as we are
        for there in list(self._there.values()):
            self.forget(there)

    def forget(self, there: There) -> None:
        """Close the link to a worker; the next cell opens another, and sends what it needs."""
        there.link.close()
        if self._there.get(there.worker.name) is there:
            del self._there[there.worker.name]
