"""The worker's end of making environments: takes a lock from a client, builds, and tells the kernel.

Clients come over connections of their own (see ``desk``), so that an environment is built while the kernel boots and data
arrives. The words on this connection are frames (``parcels.wire``):

    client: environment (ticket, key, lock, wanted, files, credentials) | wheel (a piece of a file) | versions
    worker: want (files that are not here, and how much of them is) | progress | beat | built (versions, seconds) | failed | versions

A client whose connection broke sends its order again, with the same ticket, and goes on with it (``orders``).
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cellferry.environment.building import Built, build
from cellferry.environment.instances import Instance, tidy, versions
from cellferry.environment.lock import NAME
from cellferry.errors import CellferryError, EnvironmentNotBuilt
from cellferry.parcels.wire import Channel
from cellferry.worker.foreign import look_into
from cellferry.worker.keeper import ENDED
from cellferry.worker.orders import Order, WorkerEnds

Tell = Callable[[dict[str, Any]], None]
MOST_ENDED = 20
"""Orders that have ended and whose client may not know yet."""


class Environments:
    """One for each worker. ``instance`` is None where the kernel runs in an environment that is not ours to change."""

    def __init__(self, folder: Path, instance: Instance | None, argv: Sequence[str], tell: Tell) -> None:
        self._folder, self._instance, self._python, self._tell = folder, instance, argv[0], tell
        self._one_at_a_time, self._lock = threading.Lock(), threading.Lock()
        self._orders: dict[str, Order] = {}
        if instance is not None:
            threading.Thread(target=tidy, args=(instance.folder.parent,), name="cellferry-tidy", daemon=True).start()

    def serve(self, channel: Channel, meta: dict[str, Any]) -> None:
        """Answer one frame of a client. Raises WireClosed when it leaves."""
        if meta["op"] == "environment":
            self._environment(channel, meta)
        else:
            channel.send({"op": "versions", **self._versions()})

    def _environment(self, channel: Channel, meta: dict[str, Any]) -> None:
        try:
            order = self._order(meta)
        except OSError as error:
            channel.send(self._settle(str(meta["ticket"]), error))
            return
        order.serve(channel)

    def _order(self, meta: dict[str, Any]) -> Order:
        """The order of this ticket, a new one if it is not known."""
        ticket = str(meta["ticket"])
        with self._lock:
            if ticket not in self._orders:
                ended = [name for name, order in self._orders.items() if order.ended][:-MOST_ENDED]
                for name in [*ended, *(name for name, order in self._orders.items() if order.forsaken)]:
                    self._orders.pop(name).remove()
                self._orders[ticket] = Order(
                    self._folder, meta["files"], lambda: self._instance is not None and self._instance.key != meta["key"],
                    lambda folder, whole, told: self._build(meta, folder, whole, told), lambda how: self._settle(ticket, how),
                )  # fmt: skip
            return self._orders[ticket]

    def _build(self, meta: dict[str, Any], folder: Path, whole: bool, told: Callable[[str], None]) -> Built | None:
        instance = self._instance
        if instance is None:
            raise EnvironmentNotBuilt(
                "this worker's kernel runs in an environment that was there before",
                "end it, and let one be made: %remote down, then %%remote env=auto",
            )
        with self._one_at_a_time:
            if instance.key != meta["key"] and not whole:
                return None  # it was there when the order came, and something else was built since
            (folder / NAME).write_text(meta["lock"], "utf-8")
            credentials = {host: (user, word) for host, (user, word) in meta["credentials"].items()}
            try:
                return build(instance.folder.parent, instance, meta["key"], folder, meta["wanted"], credentials, told)
            except EnvironmentNotBuilt:
                if (self._folder / ENDED).exists():
                    raise WorkerEnds from None
                raise

    def _settle(self, ticket: str, how: Built | Exception) -> dict[str, Any]:
        """Tell the kernel, whose cell waits for it; the frame for the client."""
        if isinstance(how, Exception) or self._instance is None:
            self._tell({"op": "packages", "ticket": ticket, "ok": False})
            what, advice = (how.what, how.advice) if isinstance(how, CellferryError) else (f"{type(how).__name__}: {how}", "")
            return {"op": "failed", "what": what, "advice": advice}
        self._tell({"op": "packages", "ticket": ticket, "ok": True, "site": str(self._instance.site)})
        return {"op": "built", "versions": how.versions, "seconds": how.seconds}

    def _versions(self) -> dict[str, Any]:
        """What the kernel's environment holds, and its Python."""
        if self._instance is not None:
            python = self._instance.site.parent.name.removeprefix("python")
            return {"python": python, "versions": versions(self._instance.site), "own": True}
        try:
            python, found = look_into(self._python)
        except subprocess.CalledProcessError:
            python, found = "", {}
        return {"python": python, "versions": found, "own": False}
