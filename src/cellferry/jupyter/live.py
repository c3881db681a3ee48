"""The push: one watcher for all panels. A section is sent to a panel when it connects, and then only when it changed.

Nothing runs while no panel is connected. Boards and the ledger's file are watched by the system; workers are asked every
two seconds, and whenever a board says that something else goes on. All asking happens in threads, never on the loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler
from watchfiles import Change, watch

from cellferry.fleet import shopping
from cellferry.fleet.watching import Facts, Watcher
from cellferry.jupyter import state
from cellferry.model import Worker

LOOK_S = 2.0
"""How often workers are asked while a panel is connected; stretched where there are many."""
WORKERS_A_SECOND = 16
QUICK_S = 0.15
"""The least time between two looks at the boards."""
BUDGET_S = 10.0
"""How often limits are looked at where nothing says that they changed: a ledger in PostgreSQL tells nobody."""
METRICS_S = 2.5
STEP_MS = 50
MOST_WATCHED = 64
TOLD = {
    "type": "object",
    "properties": {"watch": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_WATCHED}},
    "required": ["watch"],
    "additionalProperties": False,
}


@dataclass
class Panel:
    """One connected panel: what it was told last, and whose metrics it wants, from which row on."""

    socket: Any
    told: dict[str, str] = field(default_factory=dict)
    watch: dict[str, int] = field(default_factory=dict)

    def tell(self, section: str, text: str) -> None:
        """Send a section unless this is what the panel knows."""
        if self.told.get(section) != text:
            self.told[section] = text
            self.send(text)

    def send(self, text: str) -> None:
        """Send it whatever the panel knows."""
        try:
            self.socket.write_message(text)
        except WebSocketClosedError:
            pass  # its ``on_close`` comes in a moment


class Hub:
    """The panels of one server, and what they are told. Lives on the server's loop."""

    def __init__(self, app: Any, watcher: Watcher) -> None:
        self.app, self.watcher = app, watcher
        self.panels: dict[Any, Panel] = {}
        self.facts = Facts()
        self._sections: dict[str, Any] = {}
        self._looks = ThreadPoolExecutor(3, thread_name_prefix="cellferry-look")
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="cellferry-route")  # a slow answer makes no look wait
        self.looking_up, self.examining = asyncio.Lock(), asyncio.Lock()
        """Held by the one request that may look for offers, or examine this machine, at a time."""
        self._dirty, self._due, self._metrics_due = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ledger_changed = True
        self._tasks: list[asyncio.Task[None]] = []
        self._budget_at_s, self._notebooks = 0.0, list[str]()
        self._said = ""

    def connect(self, socket: Any) -> None:
        """A panel has come; the first starts the watch."""
        panel = self.panels[socket] = Panel(socket)
        if not self._tasks:
            self._sections, self._budget_at_s, self.facts = {}, 0.0, Facts()
            loops = (self._keep_reading, self._keep_asking, self._keep_measuring)
            self._tasks = [asyncio.create_task(each()) for each in loops]
        for section, data in self._sections.items():
            panel.tell(section, _text(section, data))

    def leave(self, socket: Any) -> None:
        """A panel is gone; the last one ends the watch."""
        self.panels.pop(socket, None)
        if not self.panels:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    def want(self, socket: Any, workers: Sequence[str]) -> None:
        """Whose metrics the panel wants from now on."""
        panel = self.panels[socket]
        panel.watch = {worker: panel.watch.get(worker, 0) for worker in workers}
        self._metrics_due.set()

    def look_again(self) -> None:
        """Something was done: look now."""
        self._ledger_changed = True
        self._due.set()

    async def in_thread(self, work: Any, *args: Any) -> Any:
        """Run what may block, for a route."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def _looking(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._looks, work, *args)

    def workers(self) -> list[state.Json]:
        """The rows of section ``workers``, as told last."""
        rows: list[state.Json] = self._sections.get("workers", [])
        return rows

    async def find(self, worker_id: str) -> Worker:
        """The worker with this id. Raises HTTPError 404."""
        known = next((worker for worker in self.facts.workers if worker.id == worker_id), None) if self.panels else None
        worker: Worker | None = known or await self.in_thread(self.watcher.worker, worker_id)
        if worker is None:
            raise HTTPError(404, "there is no such worker any more")
        return worker

    async def places(self) -> state.Places:
        """Where the notebooks of this server are now."""
        sessions = await self.app.session_manager.list_sessions()
        kernels = {each["kernel"]["id"]: each["path"] for each in sessions if each.get("kernel")}
        return state.Places(str(Path(self.app.root_dir).absolute()), kernels, os.getpid())

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        """Boards, which is quick, and what a person waits to see."""
        stop, loop = threading.Event(), asyncio.get_running_loop()
        threading.Thread(target=self._watch_files, args=(stop, loop), name="cellferry-watch", daemon=True).start()
        seen = None
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                if not self._sections:
                    continue  # the first look tells all
                boards = await self._looking(self.watcher.boards)
                self.facts = replace(self.facts, boards=boards)
                self._tell(state.sections(self.facts, await self.places(), self._sections))
                goes_on = [[(w["worker"], w["state"]) for w in b["workers"]] + [(r["run"], r["status"]) for r in b["runs"]] for b in boards]
                if self._ledger_changed or goes_on != seen:
                    seen = goes_on
                    self._due.set()
                await asyncio.sleep(QUICK_S)
        finally:
            stop.set()

    async def _keep_asking(self) -> None:
        """Workers and the ledger."""
        while True:
            self._due.clear()
            try:
                await self._look()
            except Exception as error:  # whatever it was, the next look may well do
                self._say(f"{type(error).__name__}: {error}")
            await asyncio.sleep(QUICK_S)
            await _within(self._due, max(LOOK_S, len(self.facts.workers) / WORKERS_A_SECOND))

    async def _look(self) -> None:
        found: Facts = await self._looking(self.watcher.look)
        boards = await self._looking(self.watcher.boards)  # asking took its time: what is on the boards may be newer
        self.facts = replace(found.after(self.facts), boards=boards)
        self._say(self.facts.trouble)
        places = await self.places()
        self._tell(state.sections(self.facts, places, self._sections))
        now, notebooks = asyncio.get_running_loop().time(), sorted(set(places.kernels.values()))
        if self._ledger_changed or notebooks != self._notebooks or now - self._budget_at_s > BUDGET_S:
            self._ledger_changed, self._notebooks, self._budget_at_s = False, notebooks, now
            self._tell({"budget": await self._looking(self._budget, self.facts, places)})

    def _budget(self, facts: Facts, places: state.Places) -> state.Json:
        notebooks = {path: str(Path(places.root) / path) for path in places.kernels.values() if places.told(path)}
        rows = shopping.budgets(self.watcher.fleet, list(notebooks.values()))
        paths = {absolute: path for path, absolute in notebooks.items()}
        told = [asdict(row) | {"notebook": paths.get(row.notebook, "")} for row in rows]
        return {"rows": told, "ends": state.ends(facts.workers)}

    def _tell(self, sections: Mapping[str, Any]) -> None:
        for section, data in sections.items():
            if self._sections.get(section) != data:
                self._sections[section] = data
                text = _text(section, data)
                for panel in list(self.panels.values()):
                    panel.tell(section, text)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._said:
            self.app.log.warning("cellferry: the sidebar may miss something: %s", trouble)
        self._said = trouble

    def _watch_files(self, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        def matters(_change: Change, path: str) -> bool:
            return path.endswith(".json") or "ledger" in Path(path).name

        def changed(names: set[str]) -> None:
            self._ledger_changed |= any("ledger" in name for name in names)
            self._dirty.set()

        try:
            for changes in watch(
                *self.watcher.paths(), watch_filter=matters, step=STEP_MS, debounce=4 * STEP_MS, stop_event=stop,
                recursive=False, raise_interrupt=False,
            ):  # fmt: skip
                loop.call_soon_threadsafe(changed, {Path(path).name for _, path in changes})
        except (OSError, RuntimeError) as error:  # no inotify, or the loop is gone: looking goes on by the clock
            self.app.log.debug("cellferry: changes are seen by the clock alone: %s", error)

    # -- metrics ---------------------------------------------------------------------------------------------------

    async def _keep_measuring(self) -> None:
        while True:
            self._metrics_due.clear()
            living = {worker.id: worker for worker in self.facts.workers}
            wanted = {(i, n) for p in self.panels.values() for i, n in p.watch.items() if i in living}
            if wanted:
                asked = [(living[worker_id], since) for worker_id, since in sorted(wanted)]  # type: ignore[index]
                self._tell_metrics(await self._looking(self.watcher.metrics, asked))
            await _within(self._metrics_due, METRICS_S)

    def _tell_metrics(self, answers: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        for panel in list(self.panels.values()):
            for worker_id, since in list(panel.watch.items()):
                told = answers.get((worker_id, since))
                if told is not None and told.get("rows"):
                    begins = int(told["from"])
                    panel.watch[worker_id] = begins + len(told["rows"])
                    panel.send(_text("metrics", {"worker": worker_id, "from": begins, "rows": told["rows"]}))


def _text(section: str, data: Any) -> str:
    return json.dumps({"section": section, "data": data})


async def _within(event: asyncio.Event, most_s: float) -> None:
    """Until the event, or for so long."""
    try:
        await asyncio.wait_for(event.wait(), most_s)
    except TimeoutError:
        pass


class LiveSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):  # type: ignore[misc, unused-ignore]
    """``GET api/live``: the push to one panel. Sends nothing but sections; takes nothing but ``{"watch": [ids]}``."""

    def initialize(self, hub: Hub) -> None:
        self.hub = hub

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the socket, for whoever may use this server."""
        await super().get(*args, **kwargs)

    def get_compression_options(self) -> dict[str, Any]:
        return {"compression_level": 1}  # a thousand runs say much that is the same

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        self.hub.connect(self)

    def on_message(self, message: str | bytes) -> None:
        try:
            told = json.loads(message)
            jsonschema.validate(told, TOLD)
        except (ValueError, jsonschema.ValidationError):
            self.close(1003, "this socket takes only the workers to watch")
            return
        self.hub.want(self, told["watch"])

    def on_close(self) -> None:
        self.hub.leave(self)
