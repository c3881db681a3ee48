"""The client's end of a link whose connection broke: dial again until it goes on, or until it is known that it never will."""

from __future__ import annotations

import os
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cellferry.errors import CellferryError, IdentityError, LinkError, WorkerLost
from cellferry.link.dial import dial
from cellferry.link.http import WorkerHttp
from cellferry.model import Endpoint
from cellferry.parcels.lasting import Lasting
from cellferry.parcels.wire import OLDEST_PROTOCOL, PROTOCOL, Channel, WireClosed
from cellferry.screen import Screen

When = Literal["waiting", "away", "closed"]
Alive = Callable[[When], Exception | None]
"""What is known of the worker: None, or the error that explains why nothing will come. "waiting": asked now and then, quick;
"away": the connection is gone and may come back, only what is certain counts; "closed": it ended for good, so there is an error."""

BEAT_S = 2.0
SILENT_S = 6.0
"""Where a connection can end without a sign: how often the worker gives one, and after how long the client asks."""
ASK_S = 3.0
"""How long the worker's server may take to answer before the network, and not the kernel, is held for what is silent."""
TUNNEL_SILENT_S = 30.0
"""As ``SILENT_S`` for the worker: behind a tunnel it does not see that its client's machine is gone."""
HANDSHAKE_S, WELCOME_S = 10.0, 5.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 15.0
SHOWN_AFTER_S = 1.0
NOTED_AFTER_S = 10.0

CLIENT = secrets.token_hex(16)
"""Which process this is, for workers: a link that it has given up is not kept for it."""


@dataclass
class Away:
    """A connection that is lost at the moment (times on time.monotonic()). ``warned``: the user has interrupted once."""

    since_s: float
    """When it was lost."""
    next_s: float = 0.0
    warned: bool = False

    def pause_s(self) -> float:
        """How long to wait for the next try: the longer the less it matters, and not all clients at the same moment."""
        gone_s = time.monotonic() - self.since_s
        return min(max(gone_s / 4, FIRST_PAUSE_S), LAST_PAUSE_S) * random.uniform(0.8, 1.2)

    def told(self, name: str, meanwhile: str = "") -> str:
        """A line about it for whoever waits; ``name``: of the worker."""
        now = time.monotonic()
        left_s = self.next_s - now
        again = f"trying again in {left_s:.0f} s" if left_s >= 1 else "trying again"
        return f"connection to {name} lost {_span(now - self.since_s)} ago; {meanwhile}{again}"


class Redial:
    """Keeps ``channel`` connected. ``dial_again`` runs in the link's reader thread; everything else may come from any."""

    def __init__(self, endpoint: Endpoint, name: str, alive: Alive, told: dict[str, Any]) -> None:
        """``told``: what else the worker is told about this client with each ``hello``."""
        self.name, self.away, self.lost = name, None, None  # type: tuple[str, Away | None, Exception | None]
        self._endpoint, self._alive, self._told = endpoint, alive, told
        self._session, self._attempt = secrets.token_hex(16), 0
        self._closing = threading.Event()
        self._dialled: Channel | None = None
        self._back: Away | None = None
        self._shown = False
        remote = endpoint.kind != "unix"
        self.channel = Lasting(
            self.dial_again, beat_s=2 * BEAT_S if remote else 0, silent_s=SILENT_S if remote else 0, on_silence=self._answers
        )

    def hello(self, channel: Channel) -> None:
        """Say who calls; the kernel answers when it can."""
        self._attempt += 1
        tunnel = self._endpoint.kind == "tunnel"
        channel.send({
            "op": "hello", "protocol": PROTOCOL, "oldest": OLDEST_PROTOCOL, "session": self._session, "client": CLIENT,
            "attempt": self._attempt, "got": self.channel.detach(), "pid": os.getpid(), "python": list(sys.version_info[:2]),
            "beat_s": BEAT_S if self._endpoint.kind != "unix" else 0, "silent_s": TUNNEL_SILENT_S if tunnel else 0, **self._told,
        })  # fmt: skip

    def dial_again(self) -> None:
        """Return when the channel has a new connection; raises WireClosed, with ``lost`` set, when there will be none."""
        away = self.away = Away(self.channel.broken_s or time.monotonic())
        threading.Thread(target=self._ask, args=(away,), name="cellferry-ask", daemon=True).start()
        while not self._closing.is_set():
            try:
                self._resume()
            except IdentityError as error:
                self.lost = self.lost or error
            except (LinkError, WireClosed):
                pass
            else:
                self.away, self._back = None, away
                return
            if self.lost is not None:
                break
            pause_s = away.pause_s()
            away.next_s = time.monotonic() + pause_s
            self._closing.wait(pause_s)
            away.next_s = 0.0
        raise WireClosed("the link is closed")

    def give_up(self) -> WorkerLost:
        """The user does not want to wait any longer for a worker that cannot be reached."""
        since_s = self.away.since_s if self.away else time.monotonic()
        error = WorkerLost(
            f"the connection to worker {self.name!r} has been lost for {_span(time.monotonic() - since_s)}, and you stopped "
            "waiting for it; the cell goes on there",
            "when the worker can be reached again, collect what the cell made: %remote attach",
        ).not_again()
        error.goes_on = True
        self.lost = self.lost or error
        return error

    def show(self, screen: Screen, at_work: bool) -> None:
        """Say under the cell how it stands, or take that away. Called now and then by the thread that waits."""
        away, now = self.away, time.monotonic()
        if away is not None and self.lost is None:
            if now - away.since_s >= SHOWN_AFTER_S:
                self._shown = True
                screen.progress(away.told(self.name, "the cell goes on there; " if at_work else ""))
            return
        back, self._back = away or self._back, None
        if self._shown:
            self._shown = False
            screen.progress("")
            if back is not None and self.lost is None and now - back.since_s >= NOTED_AFTER_S:
                screen.note(f"the connection to {self.name} was lost for {_span(now - back.since_s)}; nothing is missing")

    def close(self) -> None:
        """Repeatable."""
        self._closing.set()
        if self.channel.attached:
            try:
                self.channel.send({"op": "bye"}, event=True)
            except WireClosed:
                pass
        self.channel.close()

    def _resume(self) -> None:
        """One try. Raises LinkError, IdentityError or WireClosed; sets ``lost`` if the kernel does not know this link."""
        channel = self._dialled = dial(self._endpoint, wait_s=HANDSHAKE_S)
        try:
            channel.stream.set_timeout(WELCOME_S)
            self.hello(channel)
            welcome = channel.recv()[0]
            channel.stream.set_timeout(None)
            if welcome.get("resumed") and self.channel.attach(channel, int(welcome.get("got", 0))):
                return
        except BaseException:
            channel.close()
            raise
        channel.close()
        if self._closing.is_set() or self.lost is not None:
            raise WireClosed("the link is closed")
        self.lost = self._alive("away") or WorkerLost(
            f"worker {self.name!r} does not know this notebook any more: its kernel was replaced, or the connection was lost for "
            "longer than an unused worker is kept",
            "run the cell again: it connects anew",
        )  # fmt: skip

    def _ask(self, away: Away) -> None:
        """Find out, beside the dialling, whether it is certain that there is nothing to come back to."""
        while not self._closing.wait(away.pause_s()) and self.away is away and self.lost is None:
            try:
                reason = self._alive("away")
            except (CellferryError, OSError):
                continue  # it cannot be told: then it is not certain
            if reason is not None and self.away is away:
                self.lost = self.lost or reason
                if self._dialled is not None:
                    self._dialled.close()  # nothing will come of it

    def _answers(self) -> bool:
        """Whether the network is well and only the kernel is silent: code that holds the interpreter gives no sign of life."""
        try:
            WorkerHttp(self._endpoint, timeout_s=ASK_S).get("status")
        except LinkError:
            return False
        return True


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
