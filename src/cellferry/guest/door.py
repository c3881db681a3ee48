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
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cellferry.guest.cells import Cells
from cellferry.guest.files import FileWords
from cellferry.guest.journal import Journal
from cellferry.guest.masking import Masking
from cellferry.guest.meeting import agreed, forsaken, join, known, turn_away, wait_for_client
from cellferry.guest.packages import Importer, Packages
from cellferry.guest.queue import Queue
from cellferry.guest.reserve import refusal
from cellferry.guest.showing import Showing
from cellferry.parcels import tls
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.lasting import Lasting
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.outbox import Again
from cellferry.parcels.wire import PREAMBLE, Channel, WireClosed

Job = Callable[[], Any]
_WORD_S = 0.1


class Link(FileWords):
    """One client, whether it is connected at the moment or not. Its frames are read in a thread of its own; cells and comms
    go to the kernel's main thread.

    ``session``: the client's secret, by which it comes back; ``client``: the same for all sessions of its process.
    """

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
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.grown: queue.Queue[bool] = queue.Queue()
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
        return self.door.queue.has(self)

    @property
    def connected(self) -> bool:
        """Whether its client is there at the moment."""
        return self.channel.attached

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
        finally:
            self.door.forget(self)

    def _handle(self, handler: Any, meta: dict[str, Any], buffers: list[Any]) -> None:
        """A frame that cannot be served is answered, for the client waits; the link goes on."""
        try:
            handler(meta, buffers)
        except WireClosed:
            raise
        except Exception as exc:
            self.send(refusal(exc))

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
            self.door.post(lambda: self.cells.run(meta, buffers, None, None, journal))
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
        inbox, waiting = self.inbox, self.waiting
        self.inbox = self.waiting = None
        if inbox is None or waiting is None:
            return
        meta, before, journal = waiting
        try:
            sums = inbox.check(bytes(buffers[0]))
        except Exception as exc:
            self.door.queue.never(journal)
            self.send(refusal(exc))
            return
        self.door.post(lambda: self.cells.run(meta, before, inbox.values, sums, journal))
        self.channel.acknowledge()  # who lets its cell go waits for that

    def _on_claimed(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """The client has what its cell made."""
        self.door.queue.claimed(self, str(meta["run"]))

    def _on_fetch(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.door.post(lambda: self.cells.fetch(meta))

    def _on_pull(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        stream(self.outbox, meta.get("claims", []), self.send)
        self.send({"op": "leaves"})

    def _on_again(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.door.post(lambda: self.cells.again(meta["stay"]))

    def _on_got(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.outbox = []

    def _on_interrupt(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.interrupt()

    def interrupt(self) -> None:
        self.answers.put({"interrupted": True})
        self.door.interrupt()

    def need(self, name: str) -> bool:
        """Ask the client for the package behind a module, while its cell runs; whether it is here now."""
        self.send({"op": "need", "module": name})
        while self in self.door.links:
            try:
                return self.grown.get(timeout=0.2)
            except queue.Empty:
                continue
        return False

    def _on_grown(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.grown.put(bool(meta["ok"]))

    def _on_answer(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.answers.put(meta)

    def _on_comm(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        message = {**meta["message"], "buffers": buffers}
        self.sessions.add(str(message["header"].get("session", "")))
        self.door.post(lambda: self.cells.comm(message))

    def _on_modules(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.door.post(lambda: self.cells.modules(meta, buffers))


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
        self._control = socket.socket(fileno=control)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._meeting = threading.Lock()
        settings = json.loads((folder / "worker.json").read_text())
        self.keep_s = float(settings.get("idle_s", 600))
        """How long a link without a client and without a cell is kept."""
        self._pinned = settings.get("client_cert_pem") if settings.get("transport") == "tls" else None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take connections; jobs run on ``loop``, which is the kernel's."""
        self._loop = loop
        loop.create_task(self._work())
        threading.Thread(target=self._take, name="cellferry-door", daemon=True).start()
        self._tell({"op": "ready"})

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
                continue
            if answer.get("interrupted"):
                raise KeyboardInterrupt("Interrupted by user")
            if answer.get("eof"):
                raise EOFError
            return str(answer["value"])

    def post(self, job: Job) -> None:
        """Run ``job`` (plain or returning a coroutine) on the kernel's main thread, after those before it."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, job)

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
        self.queue.over(journal)

    def interrupt(self) -> None:
        """SIGINT to this kernel and what it started, as a kernel manager on this machine would send it."""
        if os.getpgid(0) == os.getpid():
            os.killpg(os.getpid(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

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

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                result = job()
                if asyncio.iscoroutine(result):
                    await result
            except BaseException:  # one broken job must not end the kernel
                traceback.print_exc(file=sys.__stderr__)

    def _take(self) -> None:
        """Wait for connections from the acceptor; the end of the control socket is the end of the worker."""
        while True:
            try:
                data, fds, _flags, _address = socket.recv_fds(self._control, 4096, 4)
            except OSError:
                data, fds = b"", []
            if not data:
                os.killpg(os.getpgid(0), signal.SIGKILL)
            if not fds:
                self._hear(data)
            for fd in fds:
                self._tell({"op": "taken"})  # from here on it ends with this kernel, and not before
                threading.Thread(
                    target=self._connect, args=(socket.socket(fileno=fd),), name="cellferry-link", daemon=True
                ).start()

    def _hear(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            if message.get("op") == "packages":
                self.packages.told(message)
            elif message.get("op") == "say":
                self._say(message)
        except Exception:  # this thread takes all connections: it must live
            traceback.print_exc(file=sys.__stderr__)

    def _say(self, message: dict[str, Any]) -> None:
        """A word of the worker to whoever is connected; ``why``: and it interrupts the running cell for that."""
        if message.get("why"):
            self.limited = self.limited or str(message["why"])
        for link in list(self.links):
            link.send({"op": "say", "text": str(message["text"])}, event=True)

    def _connect(self, sock: socket.socket) -> None:
        """A client that is new here, or one that comes back to its link."""
        try:
            channel = Channel(tls.taken(sock, PREAMBLE, self.folder, self._pinned))
            hello = channel.recv()[0]
            if agreed(hello) is None:
                turn_away(channel)
                return
            with self._meeting:
                link = self._meet(channel, hello)
        except (OSError, WireClosed, ValueError, TypeError):
            sock.close()
            return
        if link is not None:
            self.tell_state()
            link.serve()

    def _meet(self, channel: Channel, hello: dict[str, Any]) -> Link | None:
        """The new link for this client; None if it came back to one that it has."""
        link, attempt = known(self.links, hello), int(hello.get("attempt", 0))
        if link is not None:
            if attempt <= link.attempt:
                channel.close()  # an older attempt than the one that it goes on with
                return None
            link.attempt = attempt
            if not join(link, channel, hello, resumed=True):
                channel.close()
                link.channel.close()  # they do not agree about what was sent: next time the client is a new one
            return None
        for other in forsaken(self.links, hello):
            other.channel.close()
        link = Link(self, hello)
        join(link, channel, {**hello, "got": 0}, resumed=False)
        self.links.append(link)
        return link

    def tell_state(self) -> None:
        linked = sum(link.channel.attached for link in self.links)
        self._tell({"op": "state", "busy": self.busy, "links": linked, "limit_s": self.limit_s})

    def _tell(self, what: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(what).encode())
        except OSError:
            pass
