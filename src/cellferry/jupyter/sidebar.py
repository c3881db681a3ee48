"""The sidebar's own handlers, thin: each asks the same Python that the magic uses. See docs/reference/server.md."""

from __future__ import annotations

import atexit
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join

from cellferry import __version__
from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.fleet import acting, shopping
from cellferry.fleet.board import Board
from cellferry.fleet.doctor import examine
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.states import candidates
from cellferry.fleet.watching import Watcher
from cellferry.jupyter.launching import Launcher
from cellferry.jupyter.live import Hub, LiveSocket
from cellferry.jupyter.routes import PREFIX, Route, Told, guarded
from cellferry.jupyter.terminals import OneTerminal, Terminals, TerminalSocket

PROTOCOL = 1
"""Of these routes; the front end compares it with its own."""
LOG_BYTES = 200_000
STARTING = "starting:"
WORDS = {"type": "string", "maxLength": 2000, "pattern": r"^[^\n\r\x00]*$"}
NOTEBOOK = {"type": "string", "maxLength": 4096, "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))[^\x00]*$"}
USD = {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000}


def _schema(required: str, **properties: Any) -> dict[str, Any]:
    """Of a body with exactly these fields; ``required`` names those that must be there."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


class Version(Route):
    """``GET api/version``: the front end compares it with its own."""

    @guarded
    async def get(self) -> None:
        self.answer({"version": __version__, "protocol": PROTOCOL})


class Words(Route):
    """``GET api/words``: what may be written after ``%%remote``."""

    @guarded
    async def get(self) -> None:
        self.answer({"options": await self.hub.in_thread(_options)})


class CheckWords(Route):
    """``POST api/check``: whether words mean something; it is no error if they do not."""

    @guarded
    async def post(self) -> None:
        words = self.body(_schema("words", words=WORDS))["words"]
        self.answer(await self.hub.in_thread(_checked, words, self.hub.watcher.config))


class Offers(Route):
    """``POST api/offers``: what could be had, cheapest first. One at a time; asks no machine that is not configured here."""

    @guarded
    async def post(self) -> None:
        words = self.body(_schema("", words=WORDS)).get("words", "")
        async with self.hub.looking_up:
            self.answer(await self.hub.in_thread(_offers, self.hub.watcher, words))


class Doctor(Route):
    """``POST api/doctor``: what is there, and what is not configured yet. Tries a worker, which takes a second or two. One at a
    time."""

    @guarded
    async def post(self) -> None:
        self.body(_schema(""))
        async with self.hub.examining:
            checks = await self.hub.in_thread(_checks, self.hub.watcher)
        self.answer({"checks": [{k: check[k] for k in ("ok", "name", "found", "advice")} for check in checks]})


class Budget(Route):
    """``PUT api/budget``: set a limit, or forget it."""

    @guarded
    async def put(self) -> None:
        periods = {"enum": ["notebook", "day", "month"]}
        told = self.body(_schema("period usd", period=periods, usd={"anyOf": [USD, {"type": "null"}]}, notebook=NOTEBOOK))
        notebook = told.get("notebook", "")
        if told["period"] == "notebook" and not notebook:
            raise Told(400, "say whose limit it is", "name the notebook")
        path = str(Path((await self.hub.places()).root) / notebook) if notebook else ""
        microusd = None if told["usd"] is None else round(told["usd"] * 1e6)
        await self.hub.in_thread(_set_limit, self.hub.watcher.config, path, told["period"], microusd)
        self.hub.look_again()
        self.answer({})


class Workers(Route):
    """``POST api/workers``: start one; how it gets on comes by the push."""

    def initialize(self, hub: Hub, launcher: Launcher) -> None:  # type: ignore[override, unused-ignore]
        super().initialize(hub)
        self.launcher = launcher

    @guarded
    async def post(self) -> None:
        told = self.body(_schema("words notebook", words=WORDS, notebook=NOTEBOOK))
        self.answer({"name": await self.launcher.start(told["words"], told["notebook"])}, 202)


class OneWorker(Route):
    """``DELETE api/workers/ID``: end it; cancel its start; of one that could not be started: forget it."""

    def initialize(self, hub: Hub, board: Board, launcher: Launcher) -> None:  # type: ignore[override, unused-ignore]
        super().initialize(hub)
        self.board, self.launcher = board, launcher

    @guarded
    async def delete(self, worker_id: str) -> None:
        self.body(_schema(""))
        if worker_id.startswith(STARTING):
            await self._forget(worker_id)
            return
        worker = await self.hub.find(worker_id)
        ended = await self.hub.in_thread(acting.end, self.hub.watcher.fleet, worker)
        self.hub.look_again()
        self.answer(asdict(ended))

    async def _forget(self, worker_id: str) -> None:
        row = next((row for row in self.hub.workers() if row["id"] == worker_id), None)
        if row is None:
            raise Told(404, "there is no such worker any more")
        if row["state"] == "failed":
            self.board.gone(row["name"])
        else:
            await self.launcher.cancel(row["name"], int(worker_id.split(":")[1]))
        self.answer({"name": row["name"]})


class Extend(Route):
    """``POST api/workers/ID/extend``: more money, and with it time."""

    @guarded
    async def post(self, worker_id: str) -> None:
        usd = self.body(_schema("usd", usd=USD))["usd"]
        worker = await self.hub.find(worker_id)
        watcher = self.hub.watcher
        lease = await self.hub.in_thread(acting.extend, watcher.config, watcher.fleet, worker, round(usd * 1e6))
        self.hub.look_again()
        self.answer({"ends_unix_s": lease.ends_unix_s})


class Interrupt(Route):
    """``POST api/workers/ID/interrupt``: stop the running cell."""

    @guarded
    async def post(self, worker_id: str) -> None:
        self.body(_schema(""))
        await self.hub.in_thread(acting.interrupt, await self.hub.find(worker_id))
        self.answer({})


class Logs(Route):
    """``GET api/workers/ID/logs?which=worker|kernel``: the end of that log, as JSON."""

    @guarded
    async def get(self, worker_id: str) -> None:
        which = self.get_query_argument("which", "worker")
        if which not in ("worker", "kernel"):
            raise Told(400, "there are the logs `worker` and `kernel`")
        worker = await self.hub.find(worker_id)
        self.answer({"text": await self.hub.in_thread(acting.log_of, worker, which, LOG_BYTES)})


# -- what runs in a thread ------------------------------------------------------------------------------------------


def _options() -> list[dict[str, Any]]:
    from cellferry.journey import OPTIONS

    return [
        {"name": option.name, "meaning": option.meaning, "example": option.example, "flag": option.read is None}
        for option in OPTIONS.values()
        if not option.later
    ]


def _checked(words: str, config: Cellferry) -> dict[str, Any]:
    from cellferry.journey import read_request

    try:
        candidates(read_request(words), config)
    except CellferryError as error:
        return {"ok": False, "message": error.what, "advice": error.advice, "words": words}
    return {"ok": True, "message": "", "advice": "", "words": shlex.join(shlex.split(words))}


def _offers(watcher: Watcher, words: str) -> dict[str, Any]:
    from cellferry.journey import parse_command

    request, asked = parse_command(f"offers {words}").request, shlex.split(words)
    known = {name for host in watcher.config.hosts for name in (host, host.rpartition("@")[2])}
    if request.host and request.host not in known:  # the words may be somebody else's: they came with a notebook
        advice = f"if you know it: c.Cellferry.hosts = [{request.host!r}]; a cell that you run asks it, too"
        return {"offers": [], "problems": [f"{request.host} was not asked: it is none of your configured hosts. {advice}"]}
    try:
        rows = shopping.offers(watcher.fleet, request, watcher.config)
    except CellferryError as error:
        return {"offers": [], "problems": [" ".join(filter(None, (error.what, error.advice)))]}
    told = [asdict(row) | {"words": shlex.join(shopping.words_for(row, asked))} for row in rows]
    return {"offers": sorted(told, key=_price), "problems": []}


def _price(row: dict[str, Any]) -> tuple[bool, int]:
    prices = [row[key] for key in ("microusd_per_hour", "spot_microusd_per_hour") if row[key] is not None]
    return not prices, min(prices, default=0)


def _checks(watcher: Watcher) -> list[dict[str, Any]]:
    fleet, config = watcher.fleet, watcher.config
    found = [*examine(config), *shopping.examine(fleet, config), *shopping.not_set_up(fleet, config)]
    return [asdict(check) for check in found]


def _set_limit(config: Cellferry, notebook: str, period: str, microusd: int | None) -> None:
    fleet = Fleet(config, notebook)
    try:
        fleet.purse.set_limit(period, microusd)
    finally:
        fleet.close()


# -- all of them ----------------------------------------------------------------------------------------------------

WORKER = r"api/workers/([0-9A-Za-z_.-]+)"


def serve(app: Any, config: Cellferry) -> None:
    """Put the routes below ``/cellferry/`` of this server. Called once, at its start; nothing runs before the first panel."""
    board = Board(config)
    atexit.register(board.close)
    hub = Hub(app, Watcher(config, board))
    both = {"hub": hub, "launcher": Launcher(hub, board)}
    one = {**both, "board": board}
    only = {"hub": hub}
    routes: list[tuple[str, type[Any], dict[str, Any]]] = [
        (r"api/version", Version, only),
        (r"api/live", LiveSocket, only),
        (r"api/words", Words, only),
        (r"api/check", CheckWords, only),
        (r"api/offers", Offers, only),
        (r"api/doctor", Doctor, only),
        (r"api/budget", Budget, only),
        (r"api/workers", Workers, both),
        (r"api/workers/((?i:starting(?::|%3a)\d+(?::|%3a))[^/]+)", OneWorker, one),
        (WORKER, OneWorker, one),
        (WORKER + r"/extend", Extend, only),
        (WORKER + r"/interrupt", Interrupt, only),
        (WORKER + r"/logs", Logs, only),
        (WORKER + r"/terminals/api/terminals", Terminals, only),
        (WORKER + r"/terminals/api/terminals/(\w+)", OneTerminal, only),
        (WORKER + r"/terminals/terminals/websocket/(\w+)", TerminalSocket, only),
    ]
    base = app.web_app.settings["base_url"]
    app.web_app.add_handlers(".*$", [(url_path_join(base, PREFIX, path), *rest) for path, *rest in routes])
