"""Connections of clients to this kernel: taken over from the worker's acceptor, one reader thread each."""

from __future__ import annotations

import asyncio
import json
import math
import os
import queue
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from cellferry.guest import forked
from cellferry.guest.cells import Cells
from cellferry.guest.files import FileWords
from cellferry.guest.jobs import Failed, Job, Jobs
from cellferry.guest.journal import Journal
from cellferry.guest.masking import Masking
from cellferry.guest.meeting import wait_for_client
from cellferry.guest.packages import Importer, Packages
from cellferry.guest.questions import Questions
from cellferry.guest.queue import Queue
from cellferry.guest.reception import Reception
from cellferry.guest.reserve import refusal
from cellferry.guest.room import beyond_the_limit, fullness
from cellferry.guest.showing import Showing
from cellferry.guest.stops import TURN, Stops, Turn, Verdict
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.lasting import Lasting
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.outbox import Again
from cellferry.parcels.wire import WireClosed

_WORD_S = 0.1


class Link(FileWords, Questions):
    """One client, whether it is connected at the moment or not. Its frames are read in a thread of its own; cells and comms
    go to the kernel's main thread.

    ``session``: the client's secret, by which it comes back; ``client``: the same for all sessions of its process.
    """

    door: Door

    def __init__(self, door: Door, hello: dict[str, Any]) -> None:
        self.door = door
        self.session, self.client = str(hello.get("session", "")), str(hello.get("client", ""))
        self.attempt = int(hello.get("attempt", 0))
        self.channel = Lasting(
            lambda: wait_for_client(door, self), beat_s=float(hello.get("beat_s", 0)), silent_s=float(hello.get("silent_s", 0))
        )
        self.vm = bool(hello.get("vm"))
        self.stop_after_s = math.inf
        """How long its client may be gone before its running cell is interrupted."""
        self.sessions: set[str] = set()
        self.begin_questions()
        self.inbox: Inbox | None = None
        self.waiting: tuple[dict[str, Any], list[Any], Journal] | None = None
        self.outbox: list[Leaf] = []
        self.cells = Cells(self, door.kernel, door.folder)
        self._on_checkpoint = self.cells.renew
        self.cells.heap.by_source = hello.get("python", here := list(sys.version_info[:2])) != here
        self.cells.data_only = bool(hello.get("data_only"))
        self.cells.worker = hello.get("worker", "")

    @property
    def at_work(self) -> bool:
        """Whether a cell of this client runs, or waits for its turn."""
        return bool(self.door.queue.has(self))

    @property
    def connected(self) -> bool:
        """Whether its client is there at the moment."""
        return self.channel.attached

    @property
    def gone_s(self) -> float:
        """How long its client has been away; 0 while it is there."""
        since_s = self.channel.broken_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def serve(self) -> None:
        """Read until the client says goodbye, or has been gone for too long."""
        try:
            while True:
                meta, buffers = self.channel.recv(self._allocate)
                handler = getattr(self, "_on_" + str(meta.get("op")), None)
                if handler is not None:  # a word from a newer client is no reason to hang up
                    self._handle(handler, meta, buffers)
        except WireClosed:
            pass
        except Exception as exc:  # no memory for a frame, for one: its client waits
            with beyond_the_limit():
                self.refuse(exc)
            raise
        finally:
            with beyond_the_limit():
                self.door.forget(self)

    def _handle(self, handler: Any, meta: dict[str, Any], buffers: list[Any]) -> None:
        """A frame that cannot be served is answered, for the client waits; the link goes on."""
        try:
            handler(meta, buffers)
        except WireClosed:
            raise
        except Exception as exc:
            self.refuse(exc)

    def refuse(self, error: BaseException, stage: str = "values") -> None:
        """Tell the client, which waits for an answer, that there will be none. ``stage``: what failed, the way of the "values" to
        the cell or that of its "results"."""
        self.send({**refusal(error), "stage": stage, "memory": fullness()})

    def _post(self, job: Job) -> None:
        """A job that answers with ``home``; whatever it raises is the answer otherwise."""

        def answer() -> Any:
            self.cells.answered = False
            return job()

        self.door.post(answer, lambda error: None if self.cells.answered else self.refuse(error, "results"))

    def _post_run(self, meta: dict[str, Any], buffers: list[Any], leaves: Any, sums: Any, journal: Journal) -> None:
        def failed(error: BaseException) -> None:
            if not self.cells.answered:
                self.refuse(error, "results")
            self.cells.broke(journal, error)

        self.door.post(lambda: self.cells.run(meta, buffers, leaves, sums, journal), failed)

    def send(self, meta: dict[str, Any], buffers: Any = (), *, event: bool = False, again: Again | None = None) -> None:
        """Send a frame, or keep it for a client that is away. ``event``: an output, which never waits for the network."""
        try:
            self.channel.send(meta, buffers, event=event, again=again)
        except WireClosed:
            pass

    def _allocate(self, meta: dict[str, Any], index: int, size: int) -> Any:
        if meta.get("op") == "leaf" and self.inbox is not None:
            return self.inbox.target(meta["leaf"], meta["at"], size)
        return self.cells.allocate(meta, index, size)

    def _on_bye(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.channel.close()

    def _on_run(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.sessions.add(str(meta["parent"].get("header", {}).get("session", "")))
        self.stop_after_s = math.inf if meta.get("stop_after_s") is None else float(meta["stop_after_s"])
        journal = self.door.queue.take(self, meta)
        if not meta["parcel"]["bulk"]:
            self._post_run(meta, buffers, None, None, journal)
            return
        try:
            self.inbox, self.waiting = Inbox(meta["parcel"]), (meta, buffers, journal)
        except Exception:
            self.door.queue.never(journal)
            raise
        claims = self.inbox.claims(self.cells.heap, buffers[-1]) if not self.vm else []
        self.send({"op": "want", "claims": claims, "addresses": self.inbox.addresses() if self.vm else []})

    def _on_leaf(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """The bytes went straight into their leaf."""

    def _on_leaves(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """All leaves of the parcel in waiting are here; ``buffers[0]``: their digests."""
        if self.all_supplied(bytes(buffers[0])):
            return
        inbox, waiting = self.inbox, self.waiting
        self.inbox = self.waiting = None
        if inbox is None or waiting is None:
            return
        meta, before, journal = waiting
        try:
            sums = inbox.check(bytes(buffers[0]))
        except Exception as exc:
            self.door.queue.never(journal)
            self.refuse(exc)
            return
        self._post_run(meta, before, inbox.values, sums, journal)
        self.channel.acknowledge()  # who lets its cell go waits for that

    def _on_claimed(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """The client has what its cell made."""
        self.door.queue.claimed(self, str(meta["run"]))

    def _on_fetch(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self._post(lambda: self.cells.fetch(meta))

    def _on_pull(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        stream(self.outbox, meta.get("claims", []), self.send)
        self.send({"op": "leaves"})

    def _on_again(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self._post(lambda: self.cells.again(meta["stay"]))

    def _on_got(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.outbox = []

    def _on_interrupt(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        run = str(meta.get("run", ""))  # a client of an earlier release means whatever runs
        self.send({"op": "stopping", "run": run, "how": self.interrupt(run)})

    def interrupt(self, run: str = "") -> Verdict:
        """Interrupt a run of this client, wherever it is on its way; says what comes of that."""
        journal = self.door.queue.waiting(run)
        how = self.door.stops.stop(run, waits=journal is not None) if run else "signal"
        if how == "signal":
            self.answers.put({"interrupted": True})
            if not run:
                self.door.interrupt()
        elif how == "dropped" and journal is not None:
            self.door.queue.never(journal)
        return how

    def _on_comm(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        message = {**meta["message"], "buffers": buffers}
        self.sessions.add(str(message["header"].get("session", "")))
        self.door.post(lambda: self.cells.comm(message))

    def _on_modules(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.door.post(lambda: self.cells.modules(meta, buffers), self.refuse)


class Door(Showing):
    """All links of this kernel, and the queue of jobs for its main thread."""

    def __init__(self, folder: Path, control: int, kernel: Any, streams: tuple[Any, ...]) -> None:
        self.folder = folder
        self.kernel = kernel
        self.links: list[Link] = []
        self.pid = os.getpid()
        self.busy = False
        self.own_error = False
        self.running: Link | None = None
        self.limit_s: float | None = None
        self.limited = ""
        """Why the worker interrupted the running cell ("money", "notice", "cell"), if it did."""
        self.masking = Masking()
        self.queue = Queue(folder / "runs")
        self.packages = Packages()
        self.importer = Importer()
        self._streams = streams
        self.control = socket.socket(fileno=control)
        self.stops = Stops(Turn(folder / TURN), self.interrupt)
        self._jobs = Jobs()
        settings = json.loads((folder / "worker.json").read_text())
        self.keep_s = float(settings.get("idle_s", 600))
        """How long a link without a client and without a cell is kept."""
        grace_s = settings.get("grace_s")
        self.grace_s = math.inf if grace_s is None else float(grace_s)
        """How long the worker outlives its notebook."""
        pinned = settings.get("client_cert_pem") if settings.get("transport") == "tls" else None
        self._reception = Reception(self, self.control, pinned)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take connections; jobs run on ``loop``, which is the kernel's."""
        forked.watch(self)
        self._jobs.open(loop)
        self._reception.open()
        self.tell({"op": "ready"})

    def serves(self, stream: Any) -> bool:
        return any(stream is known for known in self._streams)

    def owns(self, header: dict[str, Any] | None) -> bool:
        """Whether a message with this parent header belongs to a client of ours."""
        session = (header or {}).get("session")
        if session is not None and any(session in link.sessions for link in self.links):
            return True
        return self.queue.of(header) is not None

    def ask(self, prompt: str, password: bool) -> str:
        """A line from the user of the running cell; KeyboardInterrupt or EOFError as at a local prompt."""
        link = self.running
        if link is None:
            raise EOFError
        while not link.answers.empty():
            link.answers.get_nowait()
        self.show_rest()
        link.send({"op": "ask", "prompt": self.masking.text(str(prompt)), "password": password})
        while True:
            try:
                answer = link.answers.get(timeout=0.2)
            except queue.Empty:
                if link.gone_s > self.keep_s:
                    raise EOFError("nobody is there to answer") from None
                continue
            if answer.get("interrupted"):
                raise KeyboardInterrupt("Interrupted by user")
            if answer.get("eof"):
                raise EOFError
            return str(answer["value"])

    def post(self, job: Job, failed: Failed | None = None) -> None:
        """Run ``job`` on the kernel's main thread, see ``Jobs``."""
        self._jobs.post(job, failed)

    def set_busy(self, link: Link | None, limit_s: float | None = None) -> None:
        """``link``: whose cell begins, None: it is over. ``limit_s``: how long the worker lets it run."""
        self.running, self.busy = link, link is not None
        self.limit_s, self.limited = limit_s, ""
        self.importer.ask = link.need if link is not None else None
        self.tell_state()

    def why_limited(self, interrupted: bool) -> str:
        """Why the worker ended the cell, "" if it did not. Its word and its signal come two ways: the word may still be heard."""
        deadline = time.monotonic() + _WORD_S
        while interrupted and not self.limited and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.limited

    def over(self, journal: Journal) -> None:
        """That run has ended, well or not: the next one may be told that it is its turn."""
        self.stops.over(journal.run)
        self.queue.over(journal)

    def interrupt(self) -> None:
        """SIGINT to this kernel and what it started, as a kernel manager on this machine would send it."""
        if os.getpgid(0) == os.getpid():
            os.killpg(os.getpid(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    def stop(self, run: str) -> None:
        """Somebody else than its client interrupts a run."""
        owner = self.queue.owner(run)
        if owner is not None:
            owner.send({"op": "stopping", "run": run, "how": owner.interrupt(run)}, event=True)
        elif (journal := self.queue.waiting(run)) is not None and self.stops.stop(run, waits=True) == "dropped":
            self.queue.never(journal)

    def forget(self, link: Link) -> None:
        """The client is gone for good: what it started stays until the lease says otherwise."""
        link.answers.put({"eof": True})
        link.channel.close()
        waiting, link.waiting = link.waiting, None
        if waiting is not None:
            self.queue.never(waiting[2])
        if link in self.links:
            self.links.remove(link)
        self.left(link)
        self.tell_state()

    def left(self, link: Link) -> None:
        """Its client is gone, for good or not: what it asked for belongs to nobody, and can be had by whoever comes."""
        if self.queue.left(link):  # its cell has ended and was not fetched, or is about to
            self.post(link.cells.keep)

    def hear(self, data: bytes) -> None:
        """A message of the worker. Raises for one that cannot be understood."""
        message = json.loads(data)
        if message.get("op") == "packages":
            self.packages.told(message)
        elif message.get("op") == "stop":
            self.stop(str(message["run"]))
        elif message.get("op") == "say":
            self._say(message)

    def new_link(self, hello: dict[str, Any]) -> Link:
        """For a client that is new here."""
        return Link(self, hello)

    def _say(self, message: dict[str, Any]) -> None:
        """A word of the worker to whoever is connected; ``why``: and it interrupts the running cell for that."""
        if message.get("why"):
            self.limited = self.limited or str(message["why"])
        for link in list(self.links):
            link.send({"op": "say", "text": str(message["text"])}, event=True)

    def tell_state(self) -> None:
        linked = sum(link.channel.attached for link in self.links)
        self.tell({"op": "state", "busy": self.busy, "links": linked, "limit_s": self.limit_s})

    def tell(self, what: dict[str, Any]) -> None:
        try:
            self.control.send(json.dumps(what).encode())
        except OSError:
            pass
