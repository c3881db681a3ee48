"""The worker's own HTTP routes. Each is for the owner alone (``identity``); answers are JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from cellferry.worker.core import WorkerCore
from cellferry.worker.kernel import tail

LOG_BYTES = 1 << 20
"""The most of a log that is given at once."""

class _Route(APIHandler):
    core: WorkerCore
    done: ClassVar[deque[str]] = deque(maxlen=256)
    """Names of the requests that came last: a client whose connection broke asks again for what was done."""

    def initialize(self, core: WorkerCore) -> None:
        self.core = core

    def first_time(self) -> bool:
        """Whether this request has not been here before."""
        name = self.request.headers.get("Cellferry-Once", "")
        if name and name in self.done:
            return False
        self.done.append(name)
        return True


class Status(_Route):
    """``GET status``: see ``WorkerCore.status``."""

    @authenticated
    async def get(self) -> None:
        self.finish(self.core.status())


class Metrics(_Route):
    """``GET metrics?since=n``: see ``metrics.Sampler.rows``."""

    @authenticated
    async def get(self) -> None:
        self.finish(self.core.sampler.rows(_number(self, "since", 0)))


class Logs(_Route):
    """``GET logs?which=worker|kernel&most=bytes``: ``{"text": ...}``, the end of that log."""

    @authenticated
    async def get(self) -> None:
        which = self.get_query_argument("which", "worker")
        if which not in ("worker", "kernel"):
            raise HTTPError(400, "there are the logs `worker` and `kernel`")
        most = min(_number(self, "most", LOG_BYTES), LOG_BYTES)
        text = await asyncio.get_running_loop().run_in_executor(None, tail, self.core.folder / f"{which}.log", most)
        self.finish({"text": text})


class RunsRoute(_Route):
    """``GET runs``: ``{"runs": [...]}``, see ``worker.runs.listing``."""

    @authenticated
    async def get(self) -> None:
        self.finish({"runs": self.core.runs()})


class Interrupt(_Route):
    """``POST kernel/interrupt``: SIGINT to the kernel's process group. ``{"run": ...}``: only if that run has it; one that waits
    for its turn is taken out of the queue instead."""

    @authenticated
    async def post(self) -> None:
        if self.first_time():
            told = self.get_json_body() or {}
            self.core.interrupt(str(told.get("run", "")) if isinstance(told, dict) else "")
        self.finish({})


class Restart(_Route):
    """``POST kernel/restart``: end the kernel and everything it started; answers when the next one is spawned."""

    @authenticated
    async def post(self) -> None:
        try:
            if self.first_time():
                await asyncio.get_running_loop().run_in_executor(None, self.core.kernel.restart)
        except RuntimeError as error:
            raise HTTPError(500, str(error)) from error
        self.finish({"generation": self.core.kernel.view().generation})


class LeaseRoute(_Route):
    """``POST lease``: ``{"idle_s": ..., "ends_unix_s": ...}``, each if it changes; answers with the status."""

    @authenticated
    async def post(self) -> None:
        try:
            self.core.extend(self.get_json_body() or {})
        except (TypeError, ValueError, AttributeError) as error:
            raise HTTPError(400, f"that is no lease: {error}") from error
        self.finish(self.core.status())


class Stop(_Route):
    """``POST stop``: end the worker. The answer comes first; the connection closes when the worker is gone."""

    @authenticated
    async def post(self) -> None:
        await self.finish({})
        self.core.lease.ask_end("stop")


def _number(route: _Route, name: str, default: int) -> int:
    text = route.get_query_argument(name, str(default))
    if not text.isdecimal():
        raise HTTPError(400, f"{name} is a whole number")
    return int(text)


ROUTES: list[tuple[str, type[Any]]] = [
    (r"/cellferry/v1/status", Status),
    (r"/cellferry/v1/metrics", Metrics),
    (r"/cellferry/v1/logs", Logs),
    (r"/cellferry/v1/runs", RunsRoute),
    (r"/cellferry/v1/kernel/interrupt", Interrupt),
    (r"/cellferry/v1/kernel/restart", Restart),
    (r"/cellferry/v1/lease", LeaseRoute),
    (r"/cellferry/v1/stop", Stop),
]
