"""The queue of jobs for the kernel's main thread. Behind each stands a client that waits for an answer."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from typing import Any

from cellferry.guest.room import beyond_the_limit

Job = Callable[[], Any]
Failed = Callable[[BaseException], None]


class Jobs:
    """``post`` may be called from every thread once ``open`` was."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: asyncio.Queue[tuple[Job, Failed | None]] = asyncio.Queue()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Jobs run on ``loop``, which is the kernel's."""
        self._loop = loop
        self._task = loop.create_task(self._work())  # a task that nobody holds may be collected

    def post(self, job: Job, failed: Failed | None = None) -> None:
        """Run ``job`` (plain or returning a coroutine) after those before it. ``failed``: told what it raised, for whoever waits."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, (job, failed))

    async def _work(self) -> None:
        while True:
            job, failed = await self._jobs.get()
            try:
                result = job()
                if asyncio.iscoroutine(result):
                    await result
            except BaseException as error:  # one broken job must not end the kernel, nor leave its client waiting
                _give_up(error, failed)


def _give_up(error: BaseException, failed: Failed | None) -> None:
    try:
        with beyond_the_limit():
            traceback.print_exception(error, file=sys.__stderr__)
            if failed is not None:
                failed(error)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
