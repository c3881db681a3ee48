"""Around one cell on the worker: bind what came, run it as any kernel would, notice what changed, pack it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from cellferry.guest import forked, notebook_builtins
from cellferry.guest.asking import Asking
from cellferry.guest.files import WorkFiles
from cellferry.guest.home import Home, Load
from cellferry.guest.home_folder import HomeFolder
from cellferry.guest.inputs import take_inputs
from cellferry.guest.journal import Journal
from cellferry.guest.keeping import changed_names, keep_result, store_results
from cellferry.guest.looking import look_into
from cellferry.guest.place import Place
from cellferry.guest.sending import NO_NEWS, Done, Sending
from cellferry.guest.sources import install_modules, know_cells, know_texts, load_modules
from cellferry.parcels.ambient import AMBIENT, Ambient
from cellferry.parcels.bare import says
from cellferry.parcels.checkpoint import PLACE, RUNS
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate
from cellferry.parcels.module_state import Changes, ModuleStates
from cellferry.parcels.parcel import settle, split_digests, unpack, verify
from cellferry.parcels.shell_state import SHELL, ShellState, advice

RESULT = "\x00result"
"""Root under which the value of the cell's last expression travels."""


class Cells(Sending):
    """Runs one client's cells in the kernel; everything here but ``allocate`` happens on the kernel's main thread."""

    def __init__(self, link: Any, kernel: Any, folder: Path) -> None:
        self.link = link
        self.kernel = kernel
        self.shell = kernel.shell
        self.folder = folder
        self.heap = Heap(self.shell.user_ns)
        self.files = WorkFiles(folder / "work")
        self.place = Place(self.files.root)
        self.home_folder = HomeFolder(link, self.files)
        self.ambient = Ambient()
        self.shell_state = ShellState(self.shell)
        self.shell_state.agree(link.door.shell_entries, link.door.shell_entries)
        self.asking = Asking(link, self.shell.user_ns, self.shell.user_ns_hidden, self._supplied)
        self.states = ModuleStates(self.heap)
        self.worker = ""
        self._loaded: frozenset[str] = frozenset()
        """Modules that were loaded before the running cell."""
        self.data_only = False
        """The client unpickles nothing: what goes home goes as plain data."""
        self.last: tuple[dict[str, Any], Load, Any] | None = None
        self.saver: Any = None
        """Saves what the running cell has made (``guest.checkpoints``), if the client wants that."""
        os.environ[PLACE] = str(folder / RUNS / "none")
        self.without_modules: OSError | None = None
        """Why sources that were sent for the coming cell could not be written."""
        self.answered = False
        """Whether the client has got what it waits for, as far as the last job went."""
        self.done: Done | None = None
        """The cell that ended last, until its client has it."""

    def allocate(self, meta: dict[str, Any], index: int, size: int) -> Any:
        """Memory for a buffer of a ``run`` frame: leaves get the memory that their value will keep."""
        parcel = meta.get("parcel")
        first = parcel["parts"] + 2 if parcel is not None else 0
        if parcel is not None and not parcel["bulk"] and index >= first:
            return allocate(parcel["leaves"][index - first][1], size)
        return bytearray(size)

    async def run(
        self, meta: dict[str, Any], buffers: list[Any], leaves: list[Any] | None, sums: list[bytes] | None,
        journal: Journal,
    ) -> None:  # fmt: skip
        """One cell, from its parcel to its results. ``leaves``/``sums``: those of a bulk parcel, already checked."""
        door = self.link.door
        if not door.stops.begin(journal.run):
            door.stops.over(journal.run)
            return
        self.answered = False
        door.set_busy(self.link, meta.get("limit_s"))
        journal.began()
        notebook_builtins.install(self.shell.user_ns)  # before functions are made: each keeps those that it finds
        try:
            without, self.without_modules = self.without_modules, None
            if without is not None:
                raise without
            door.importer.offer(meta.get("offers", ()))
            door.packages.wait(meta.get("packages", ""), lambda: self.link in door.links and not door.stops.asked(journal.run))
            self.place.enter(meta, self.folder / "modules")
            arrived = self._unpack(meta["parcel"], buffers, leaves, sums)
            self.saver = self._saver(meta.get("checkpoint"))
        except BaseException as exc:  # whatever the values' own code raises: the client waits
            self.link.refuse(KeyboardInterrupt() if door.stops.asked(journal.run) else exc)
            self.broke(journal, exc)
            return
        reply: dict[str, Any] = {}
        try:
            await self._run_with(arrived, meta, journal, reply)
        except BaseException as exc:  # the client waits for a reply, whatever went wrong with the results
            traceback.print_exc(file=sys.__stderr__)
            self._answer_without_results(journal, reply, exc)
        door.over(journal)
        door.set_busy(None)

    async def _run_with(self, arrived: Any, meta: dict[str, Any], journal: Journal, reply: dict[str, Any]) -> None:
        """The cell with its values, and what it made; ``reply`` is filled when the cell has ended."""
        door, namespace = self.link.door, self.shell.user_ns
        self._take_states(arrived, meta)
        for name in meta["unbind"]:
            namespace.pop(name, None)
        namespace.update(arrived.roots)
        load_modules(meta["submodules"])
        before = dict(namespace)
        self._loaded = frozenset(sys.modules)
        door.masking.begin(meta.get("secrets", {}), meta.get("masked", {}))
        if self.saver:
            self.saver.start(lambda: self._made(before, arrived.roots, meta["checkpoint"]["names"]))
        self.asking.begin(before, arrived.roots, meta)
        if "home_folder" in meta:
            self.home_folder.begin(meta["home_folder"])
            look_into(self.home_folder)
        started = time.perf_counter()
        try:
            own = self._shell_as_it_is() if meta.get("everywhere") else None
            reply.update(door.masking.whole(await self._execute(meta, journal.run)))
            if own is not None:
                door.shell_set_up(own.changed())
        finally:
            self.asking.end()
            if "home_folder" in meta:
                look_into(None)
                self.home_folder.end(str(reply.get("ename") or ""))
            door.masking.end()
            door.show_rest()
            if self.saver:
                self.saver.stop(well=reply.get("status") == "ok")
        ran_s = time.perf_counter() - started
        given = {name: value for name, value in arrived.roots.items() if name not in meta["unchanged"]}
        home = Home(
            before, dict(namespace), tuple(given.values()), frozenset(self.shell.user_ns_hidden), self._unders()
        )
        self._go_home(meta, reply, home, ran_s, Done(journal, {}, {}, given, left=meta.get("left")))

    def _answer_without_results(self, journal: Journal, reply: dict[str, Any], exc: BaseException) -> None:
        """The cell is over, and something other than its values kept them from going home: say so as its error."""
        if not journal.ended:
            journal.end({"status": "error", "ename": type(exc).__name__, "evalue": says(exc)})
        if self.answered:
            return
        text = (
            f"ParcelError: the cell is over, but what it made cannot go home ({says(exc)}); it is still on the worker"
        )
        failed = {"status": "error", "ename": "ParcelError", "evalue": text, "traceback": [text], "payload": []}
        outcome = {**failed, "traceback": [*(reply.get("traceback") or ()), text]}
        self._send_home({**NO_NEWS, "reply": outcome, "flags": self.shell.compile.flags}, Load({}))

    def _shell_as_it_is(self) -> ShellState:
        """A view of the shell from now on."""
        made = ShellState(self.shell)
        made.agree(made.changed())
        return made

    def broke(self, journal: Journal, error: BaseException) -> None:
        """Nothing more will come of the run."""
        door = self.link.door
        if not journal.ended:
            journal.end({"status": "refused", "ename": type(error).__name__, "evalue": getattr(error, "what", str(error))})
        door.over(journal)
        door.set_busy(None)

    def _take_states(self, arrived: Any, meta: dict[str, Any]) -> None:
        """States of modules and of the shell, in force before the cell; what cannot be is said before it runs."""
        roots = arrived.roots
        self.ambient.know(meta.get("ambient", ()))
        self.ambient.receive(roots.pop(AMBIENT, {}), meta["imports"])
        said = [f"a setting of the notebook is not in force on the worker: {what}" for what in self.ambient.take_refused()]
        said += [f"{n} was changed in the notebook; there is no such module on the worker" for n in self.states.receive(roots)]
        said.append(advice(self.shell_state.enter(roots.pop(SHELL, {}))))
        for text in filter(None, said):
            self.link.send({"op": "say", "text": text}, event=True)

    def _unpack(
        self, parcel: dict[str, Any], buffers: list[Any], leaves: list[Any] | None, sums: list[bytes] | None
    ) -> Any:
        if leaves is None or sums is None:
            leaves = buffers[parcel["parts"] + 2 :]
            sums = split_digests(parcel, bytes(buffers[parcel["parts"] + 1]))
            for leaf, promised in zip(leaves, sums, strict=True):
                verify(leaf, promised)
        context = Unpacking(self.shell.user_ns, shell=lambda: self.shell)
        arrived = unpack(self.heap, parcel, buffers, leaves, sums, context)
        for old, new in settle(self.heap, arrived, strict=True):
            for name, value in list(self.shell.user_ns.items()):
                if value is old:
                    self.shell.user_ns[name] = new
        return arrived

    def _supplied(
        self, meta: dict[str, Any], buffers: list[Any], leaves: list[Any] | None, sums: list[bytes] | None
    ) -> dict[str, Any]:
        """Values that the running cell has asked for, by name; in the thread that asked."""
        self.link.door.masking.begin({}, meta["masked"])
        know_texts(self.shell, meta["cells"])
        roots: dict[str, Any] = self._unpack(meta["parcel"], buffers, leaves, sums).roots
        load_modules(meta["submodules"])
        return roots

    async def _execute(self, meta: dict[str, Any], run: str) -> dict[str, Any]:
        """``do_execute`` in the frontend's own name: same header, same cell number, so that outputs need no rewriting."""
        kernel, shell = self.kernel, self.shell
        kernel.set_parent([b"cellferry"], meta["parent"])
        shell.execution_count = meta["number"]
        shell._last_traceback = None
        know_cells(shell, meta)
        if meta.get("inputs"):
            take_inputs(shell, *meta["inputs"])
        interrupted = {"status": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": ["KeyboardInterrupt"]}
        stops, reply = self.link.door.stops, interrupted
        try:
            try:
                kernel.pre_handler_hook()
                stops.execute(run)
                reply = await kernel.do_execute(
                    code=meta["code"], silent=False, store_history=True, user_expressions={}, allow_stdin=meta["stdin"],
                    cell_meta=meta["parent"].get("metadata") or {}, cell_id=meta.get("cell_id"),
                )  # fmt: skip
            finally:
                forked.leave(self.link.door, reply)
        except KeyboardInterrupt:  # between our beginning and the cell's, or between its end and ours
            pass
        over = False
        while not over:
            try:
                kernel.post_handler_hook()  # first: it has signals ignored, and what follows holds locks
                stops.executed()
                over = True
            except KeyboardInterrupt:  # another one, on its way since before
                pass
        sys.stdout.flush()
        sys.stderr.flush()
        if reply.get("ename") == "NoneType":  # a display failed, not the cell; IPython has shown it already
            reply = {**reply, "traceback": []}
        return dict(reply)

    def _saver(self, told: dict[str, Any] | None) -> Any:
        if not told:
            return None
        from cellferry.guest.checkpoints import Saver  # not for the first cell

        saver = Saver(told, self.folder, lambda text: self.link.send({"op": "say", "text": text}))
        saver.prepare()
        return saver

    def renew(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """Newer orders for the checkpoints of the running cell."""
        if self.saver:
            self.saver.renew(meta)

    def _made(self, before: dict[str, Any], given: dict[str, Any], names: list[str]) -> dict[str, Any]:
        """What the running cell has bound or changed so far, or what ``names`` are; asked from the saver's thread."""
        now = dict(self.shell.user_ns)
        if names:
            return {name: now[name] for name in names if name in now}
        bound = Home(before, now, (), frozenset(self.shell.user_ns_hidden), self._unders()).bound(None)
        changed = {n: v for n, v in list(given.items()) if now.get(n) is v and n != AMBIENT and self._differs(v)}
        return changed | bound

    def _differs(self, value: Any) -> bool:
        """Whether a value that came for the cell, or something that it holds, is not as it came."""
        try:
            return bool(self.heap.changes(self.heap.walk([value]).known))
        except Exception:  # it was being changed
            return True

    def names(self) -> list[str]:
        """The user's variables; asked by a client that shares this kernel with others."""
        hidden = self.shell.user_ns_hidden
        return [name for name in list(self.shell.user_ns) if not name.startswith("_") and name not in hidden]

    def _unders(self) -> frozenset[str]:
        hook, namespace = self.shell.displayhook, self.shell.user_ns
        return frozenset(name for name in ("_", "__", "___") if namespace.get(name) is getattr(hook, name, None))

    def _go_home(self, meta: dict[str, Any], reply: dict[str, Any], home: Home, ran_s: float, done: Done) -> None:
        roots = home.bound(meta["returns"])
        result = self._take_result(meta["number"])
        if result is not None:
            roots[RESULT] = result
        done.roots = dict(roots)
        ambient = self.ambient.changed()
        if ambient:
            roots[AMBIENT] = ambient
        self.ambient.agree(ambient)
        shell = {} if meta.get("detach") or self.data_only else self.shell_state.changed()
        if shell:
            roots[SHELL] = shell
            self.shell_state.agree(shell)
        changes = self._changes(meta)
        self.states.agree(changes)
        roots.update(changes.roots)
        outcome = {key: reply.get(key) for key in ("status", "ename", "evalue", "traceback", "payload")}
        limited = self.link.door.why_limited(reply.get("ename") == "KeyboardInterrupt")
        done.frame = {
            "op": "home", "reply": outcome, "deleted": home.deleted(), "kept": home.kept(meta["returns"]),
            "ran_s": ran_s, "flags": self.shell.compile.flags, "limited": limited,
            "files": [] if self.place.at_home else self.files.changed(), "cwd": self.place.leave(),
            "checkpoints": self.saver.made if self.saver else 0,
        }  # fmt: skip
        self.done = done
        if not self.link.connected or meta.get("detach"):
            done.changed = changed_names(self.heap, done.given)
        done.journal.going_home = True
        if not meta.get("detach"):
            self._send_home(done.frame, Load(roots, (*home.given, *changes.also), meta["fetch_limit"], anchors=changes.anchors))
        done.outcome = {key: outcome[key] for key in ("status", "ename", "evalue")} | {"ran_s": ran_s}
        if done.changed is not None:
            self.keep()
        else:
            done.journal.end(done.outcome)

    def keep(self) -> None:
        """Write the last cell's results to the disk, if nobody has them: its client is gone. Repeatable."""
        done, self.done = self.done, None
        if done is None or done.journal.claimed:
            return
        done.journal.orphan()
        lost = ""
        if done.changed is None:
            sent = {oid for oid, _seal in self.last[2].changes} if self.last is not None else set()
            done.changed = changed_names(self.heap, done.given, sent)
        roots = {name: done.given[name] for name in done.changed} | done.roots
        try:
            keep_result(done.journal.folder, done.frame, roots, self.shell.user_ns, plain=self.data_only)
        except OSError as exc:
            lost = f"the results could not be kept: {exc}"
        done.journal.end({**done.outcome, "lost": lost})  # now: whoever hears that it has ended asks for the results
        if done.left:
            store_results(done.journal.folder, done.left)

    def _changes(self, meta: dict[str, Any]) -> Changes:
        """What the cell changed in modules of the project, and set on packages: those that it could reach, or that are new."""
        changes = self.states.changed()
        fresh = {name.partition(".")[0] for name in set(sys.modules) - self._loaded}
        changes.roots.update(self.states.patched({*meta.get("reached", ()), *fresh}, map(tuple, meta.get("stores", ()))))
        return changes

    def _take_result(self, number: int) -> Any:
        """The value of the last expression; this kernel keeps no outputs of its own."""
        namespace = self.shell.user_ns
        result = namespace.get("_oh", {}).get(number)
        namespace.get("_oh", {}).clear()
        namespace.pop(f"_{number}", None)
        return result

    def comm(self, message: dict[str, Any]) -> None:
        """A widget's message from the frontend: handled as the kernel handles its own, then acknowledged."""
        self.kernel.set_parent([b"cellferry"], message)
        handler = getattr(self.kernel.comm_manager, str(message["header"]["msg_type"]), None)
        try:
            if handler is not None:
                handler(None, None, message)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            self.link.send({"op": "comm_done", "msg_id": message["header"]["msg_id"]})

    def modules(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """Sources of local modules, new or changed. What cannot be written refuses the cell that they were sent for."""
        try:
            anew, failed = install_modules(self.folder / "modules", meta["files"], buffers, meta.get("stamps", ()))
        except OSError as exc:
            self.without_modules = exc
            return
        self.states.renew(anew)
        for name, error in failed.items():
            text = f"{name} has changed, and the worker goes on with the old one: {type(error).__name__}: {error}"
            self.link.send({"op": "say", "text": text})
