"""One client's conversation with the kernel of a worker: cells, values, outputs, comms, files."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from cellferry.errors import LinkError, WorkerLost
from cellferry.link.copying import copy_home, copy_out
from cellferry.link.dial import dial
from cellferry.link.outputs import Outputs, PlainOutputs
from cellferry.link.pressing import Pressing
from cellferry.link.redial import Alive, Redial
from cellferry.link.refused import NeverRan, why_refused
from cellferry.link.returned import Returned
from cellferry.link.silence import FAR_SILENT_S, SILENT_S, Silence
from cellferry.model import PROTOCOL, Endpoint, Message
from cellferry.parcels import vm
from cellferry.parcels.bare import says
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate
from cellferry.parcels.parcel import Parcel, Refused, split_digests, unpack, verify
from cellferry.parcels.plain_parcel import checked_frame, unpack_plain
from cellferry.parcels.wire import HASHED_TEXT, OLDEST_PROTOCOL, Channel, WireClosed
from cellferry.screen import Screen

_BEAT_S = 0.5
_UNDUE = frozenset({"home"})
"""What may take as long as it likes: the user's code runs."""
_ARRIVED_S = 0.01
_MOST_WAITING_BYTES = 64 << 20
"""So much is read from disk, or packed, ahead of a connection that is lost."""
_PYTHON = list(sys.version_info[:2])


class KernelLink:
    """A link to one kernel, which outlives its connections (``link.redial``). One thread runs cells on it; a reader thread
    shows outputs as they come.

    ``alive``: see ``redial.Alive``. ``data_only``: nothing that the worker sends is unpickled (``parcels.plain``).
    """

    def __init__(
        self, endpoint: Endpoint, screen: Screen, namespace: dict[str, Any], name: str, alive: Alive, data_only: bool = False
    ) -> None:
        self.name = name
        self.heap = Heap(namespace)
        self.data_only = data_only
        self.screen, self._outputs = screen, PlainOutputs(name) if data_only else Outputs(name)
        self.on_need: Callable[[str], bool] = lambda _module: False
        """Asked in the thread that waits for the cell when it imports what is not there; True: it is there now."""
        self.asked: dict[str, Callable[[dict[str, Any]], None]] = {
            "ask": self._answer, "need": self._need, "taken": self._note_place, "place": self._note_place,
        }  # fmt: skip
        """What the thread that waits does with other frames on the way, by their ``op``; questions of the cell above all."""
        self.acknowledged = ""
        """The run that the worker has written down last."""
        self.waits = False
        self.agreed = True
        """Both ends know the same objects; not after a cell that the worker refused."""
        self.names: frozenset[str] = frozenset()
        """Variables that were there when this link was opened."""
        self.hashes_alike = False
        """Whether texts have the hashes there that they have here."""
        self.vm, self.pid, self.work = False, 0, ""
        self._endpoint, self._alive = endpoint, alive
        self._frames: queue.SimpleQueue[tuple[dict[str, Any], list[Any]]] = queue.SimpleQueue()
        self._inbox: Inbox | None = None
        self._comms: dict[str, Future[None]] = {}
        self._copies = endpoint.kind == "unix" and vm.available() and not data_only  # it names the process to write into
        self._redial = Redial(endpoint, name, alive, {"vm": self._copies, "worker": name, "data_only": data_only})
        self._channel = self._redial.channel
        self._first: Channel | None = None
        self._told_loss = False
        self.at_work = False
        """Whether a cell is under way there whose ``home`` has not come."""
        self.fetching = False
        """Whether values that stayed there are on their way."""
        self.pressed: Callable[[], bool] = lambda: False
        """Asked while this waits: whether the user interrupts; then the wait raises KeyboardInterrupt."""
        self.asking: Callable[[], AbstractContextManager[None]] = nullcontext
        """Around what this thread does meanwhile that the user may interrupt in the middle."""
        self._run, self._silence = "", Silence(name, SILENT_S if endpoint.kind == "unix" else FAR_SILENT_S)
        self._pressing = Pressing(endpoint, name, screen, self._redial, self._silence, lambda: self._run, self.interrupt)
        self._last = 0  # the frame with which the values of the running cell were complete; 0: its first frame had them

    @property
    def lost(self) -> Exception | None:
        """Why nothing will come over this link any more; None while it lasts."""
        return self._redial.lost

    def open(self) -> None:
        """Connect and wait for the kernel's welcome; raises LinkError, IdentityError or what ``alive`` says."""
        self._first = dial(self._endpoint)
        try:
            self._redial.hello(self._first)
        except WireClosed as exc:
            raise LinkError(f"worker {self.name!r} hung up ({exc})", "run the cell again") from exc
        threading.Thread(target=self._read, args=(self._first,), name="cellferry-read", daemon=True).start()
        welcome, _buffers = self.wait("welcome")
        if not OLDEST_PROTOCOL <= welcome["protocol"] <= PROTOCOL:
            raise LinkError(
                f"the worker speaks protocol {welcome['protocol']}, this cellferry speaks {PROTOCOL}: no cell can run there, but "
                "its status can be asked and it can be ended",
                f"%remote down {self.name}, then run the cell again: it starts a new worker",
            )
        self.heap.by_source = welcome["python"][:2] != _PYTHON
        self.names = frozenset(map(str, welcome.get("names", ())))
        self.hashes_alike = welcome.get("text_hash") == hash(HASHED_TEXT)
        self.vm, self.pid, self.work = self._copies, welcome["pid"], welcome["work"]
        self._silence.pid = self.pid if self._endpoint.kind == "unix" else 0

    def run(self, frame: dict[str, Any], parcel: Parcel) -> int:
        """Send one cell with its parcel; returns the bytes sent. The results are taken with ``home``.

        After KeyboardInterrupt the cell may have been sent if ``at_work`` is true: then ``home`` tells what has become of it.
        """
        before = self._channel.sent_bytes
        self.acknowledged, self._run = "", str(frame.get("run", ""))
        self._outputs.began(frame.get("parent") or {})
        self.at_work = not parcel.bulk
        self._silence.pressed(0)
        self._silence.asked()
        copied = self.supply({"op": "run", **frame}, parcel)
        self._last = self._channel.number if parcel.bulk else 0
        return self._channel.sent_bytes - before + copied

    def supply(self, frame: dict[str, Any], parcel: Parcel) -> int:
        """Send a frame with a parcel and all its leaves; returns bytes that went beside the channel."""
        extra = [parcel.sums] if parcel.bulk and not self.vm else []
        self._send({**frame, "parcel": parcel.meta()}, [*parcel.buffers(), *extra])
        if not parcel.bulk:
            return 0
        want, _buffers = self.wait("want")
        copied = 0
        if self.vm and want["addresses"]:
            self.vm = copy_out(self.pid, parcel, want["addresses"])
            copied = parcel.leaf_bytes if self.vm else 0
        if not copied:
            stream(parcel.leaves, want["claims"], self._send)
        sums = parcel.sums
        self.at_work = True
        self._send({"op": "leaves"}, [sums])
        return copied

    def home(self, context: Unpacking, deadline: float | None = None) -> Returned:
        """Wait for the results of the running cell and make the values; raises WorkerLost, ChunkMismatch, KeyboardInterrupt,
        TimeoutError at ``deadline`` (time.monotonic()).

        After KeyboardInterrupt or TimeoutError it may be called again: the cell is still running.
        """
        before = self._channel.received_bytes
        while True:
            frame, buffers = self.wait("home", deadline)
            self.at_work = False
            self._silence.pressed(0)
            self._silence.show(self.screen)
            if self.data_only:
                self.fetching = False
                return Returned(checked_frame(frame), unpack_plain(self.heap, buffers, self.name), self._channel.received_bytes - before)
            meta = frame["parcel"]
            beside = 0
            if meta["bulk"]:
                values, sums, beside = self._bring(frame)
            else:
                values = buffers[meta["parts"] + 2 :]
                sums = split_digests(meta, bytes(buffers[meta["parts"] + 1]))
                for value, promised in zip(values, sums, strict=True):
                    verify(value, promised)
            try:
                arrived = unpack(self.heap, meta, buffers, values, sums, context)
            except Refused as no:
                # a class that is not here, an __init__ that wants more: that value stays there, the rest comes home
                self._send({"op": "again", "stay": {no.name: says(no.reason)}})
            else:
                self.fetching = False
                return Returned(frame, arrived, self._channel.received_bytes - before + beside)

    def _bring(self, frame: dict[str, Any]) -> tuple[list[Any], list[bytes], int]:
        """The leaves of a bulk parcel from the worker, checked."""
        inbox = Inbox(frame["parcel"])
        beside = 0
        if self.vm and frame["addresses"]:
            self.vm = copy_home(self.pid, inbox, frame["addresses"])
            beside = sum(map(len, inbox.views)) if self.vm else 0
        sums = bytes(self.wait("sums")[1][0])
        if not beside:
            self._inbox = inbox
            self._send({"op": "pull", "claims": inbox.claims(self.heap, sums)})
            self.wait("leaves")
            self._inbox = None
        self._send({"op": "got"})
        return inbox.values, inbox.check(sums), beside

    def fetch(self, oids: Sequence[int]) -> None:
        """Ask for values that stayed there; take them with ``home``."""
        self.fetching, self._run = True, ""
        self._send({"op": "fetch", "oids": list(oids)})

    def tell(self, meta: dict[str, Any], buffers: Sequence[Any] = ()) -> int:
        """Send one frame; answers are taken with ``wait``. For what has a room of its own (``link.chunked``).

        The buffers must stay as they are until ``has_arrived`` is true of the number that this returns.
        """
        self._send(meta, buffers)
        return self._channel.number

    def has_arrived(self, number: int) -> bool:
        """Whether the worker has this frame, and those before it, for certain."""
        return self._channel.has_arrived(number)

    def interrupt(self) -> None:
        """Interrupt the running cell, as the stop button does; from any thread, and at once: it waits for nobody."""
        self._silence.asked()
        try:
            self._channel.send({"op": "interrupt", "run": self._run}, event=True)
        except WireClosed:  # whoever waits for the cell is told so there
            pass

    def interrupted(self, times: int) -> None:
        """The user interrupts for the n-th time while this thread waits for a cell: a cell that does not listen is ended with
        its kernel. Raises WorkerLost for one who interrupts twice while the worker cannot be reached."""
        self._pressing.press(times)
        if self.lost is not None:
            self._check()

    def wake(self) -> None:
        """Have the thread that waits look around; from a signal's handler, too."""
        self._frames.put(({"op": "look"}, []))

    def comm(self, message: Message) -> Future[None]:
        """Pass a comm message of the frontend on; the future is done when the worker has handled it. From any thread."""
        header = message["header"]
        assert isinstance(header, dict)
        done: Future[None] = Future()
        self._comms[str(header["msg_id"])] = done
        plain = {key: message.get(key) for key in ("header", "parent_header", "metadata", "content", "msg_type")}
        buffers = message.get("buffers")
        try:
            self._send({"op": "comm", "message": plain}, list(buffers) if isinstance(buffers, (list, tuple)) else [])
        except WorkerLost:
            done.cancel()
        return done

    def close(self) -> None:
        """Say goodbye; the kernel forgets this link. Repeatable."""
        if self.lost is None:
            self._redial.lost, self._told_loss = WorkerLost("the connection was closed here"), True
        self._redial.close()
        if self._first is not None and not self._channel.attached:
            self._first.close()

    def wait(self, op: str, deadline: float | None = None) -> tuple[dict[str, Any], list[Any]]:
        """The next ``op`` frame; questions of the cell are answered on the way."""
        if op not in _UNDUE:
            self._silence.asked(boots=op == "welcome")
        while True:
            frame, buffers = self._next(deadline)
            if frame["op"] == op:
                return frame, buffers
            if frame["op"] in self.asked:
                self.asked[frame["op"]](frame)
            elif frame["op"] == "refused":
                self.agreed = self.at_work = self.fetching = False
                raise why_refused(self.name, frame)
            elif frame["op"] == "stopping" and (frame["how"], frame["run"]) == ("dropped", self._run):
                raise NeverRan

    def taken(self, *, whole: bool = False) -> None:
        """Wait until the worker has the run on its disk; ``whole``: and all of its values. Raises as ``home`` does."""
        if not self.acknowledged:
            self._note_place(self.wait("taken")[0])
        while whole and not self.has_arrived(self._last):
            self._redial.show(self.screen, self.at_work)
            self._check()
            time.sleep(_ARRIVED_S)

    def _note_place(self, frame: dict[str, Any]) -> None:
        """The worker has the run; ``before``: how many others it runs first."""
        self.acknowledged = str(frame["run"])
        before = int(frame["before"])
        if before:
            self.waits = True
            cells = "1 cell" if before == 1 else f"{before} cells"
            self.screen.progress(f"worker {self.name} is busy: {cells} before this one")
        elif self.waits:
            self.waits = False
            self.screen.progress("")

    def _next(self, deadline: float | None) -> tuple[dict[str, Any], list[Any]]:
        while True:
            self._redial.show(self.screen, self.at_work)
            if self.pressed():
                raise KeyboardInterrupt
            try:
                frame = self._frames.get(timeout=_BEAT_S)
            except queue.Empty:
                if self._redial.away is None:
                    self._silence.show(self.screen)
                self._check()
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError from None
                continue
            if frame[0]["op"] == "look":
                continue
            self._silence.heard()
            if frame[0]["op"] == "closed":
                self._check(closed=True)
            self._silence.show(self.screen)
            self._redial.show(self.screen, self.at_work)
            return frame

    def _check(self, closed: bool = False) -> None:
        """Raise if nothing will come any more."""
        if self.lost is None and not closed and self._redial.away is not None:
            return  # it is seen to
        if self.lost is None:
            reason = self._alive("closed" if closed else "waiting")
            if reason is None and not closed:
                return
            self._redial.lost = reason or WorkerLost("the connection to the worker ended", "run the cell again")
        self._redial.show(self.screen, self.at_work)
        self.close()
        assert self.lost is not None
        self._told_loss = True
        raise self.lost

    def tell_loss(self) -> None:
        """Raise what became of this link between cells, if nobody has been told: values there may be lost with it."""
        if self.lost is not None and not self._told_loss:
            self._check()

    def _need(self, frame: dict[str, Any]) -> None:
        with self.asking():
            grown = self.on_need(str(frame["module"]))
        self._send({"op": "grown", "ok": grown})

    def _answer(self, frame: dict[str, Any]) -> None:
        try:
            with self.asking():
                value = self.screen.ask(self._outputs.asked(frame["prompt"]), frame["password"])
        except EOFError:
            self._send({"op": "answer", "eof": True})
        else:
            self._send({"op": "answer", "value": value})

    def _send(self, meta: dict[str, Any], buffers: Sequence[Any] = ()) -> None:
        try:
            self._channel.send(meta, buffers)
            while self._channel.waiting_bytes > _MOST_WAITING_BYTES and not self._channel.wait_attached(_BEAT_S):
                self._check()
                self._redial.show(self.screen, self.at_work)
        except WireClosed:
            self._check(closed=True)

    def _allocate(self, meta: dict[str, Any], index: int, size: int) -> Any:
        if meta.get("op") == "leaf" and self._inbox is not None:
            return self._inbox.target(meta["leaf"], meta["at"], size)
        parcel = None if self.data_only else meta.get("parcel")
        if parcel is not None and not parcel["bulk"] and index >= parcel["parts"] + 2:
            return allocate(parcel["leaves"][index - parcel["parts"] - 2][1], size)
        return bytearray(size)

    def _read(self, first: Channel) -> None:
        """The reader thread: outputs are shown at once, the rest waits for the thread that runs the cell."""
        try:
            welcome, _buffers = first.recv()
            self._channel.attach(first, 0)
            self._frames.put((welcome, []))
            while True:
                frame, buffers = self._channel.recv(self._allocate)
                op = frame["op"]
                if op == "event":
                    self._silence.heard()
                    if (message := self._outputs.taken(frame["message"], buffers)) is not None:
                        self.screen.publish(message)
                elif op == "say":
                    self.screen.note(self._outputs.said(frame["text"]))
                elif op == "comm_done":
                    done = self._comms.pop(frame["msg_id"], None)
                    if done is not None:
                        done.set_result(None)
                elif op != "leaf":
                    self._frames.put((frame, buffers))
        except (WireClosed, MemoryError, OverflowError, ValueError, RecursionError, LookupError, TypeError) as error:
            if not isinstance(error, WireClosed):  # it does not speak as a worker of ours would: no more is read from it
                what = f"what worker {self.name!r} sent cannot be used: {error!r}"
                self._redial.lost = self.lost or WorkerLost(what, "run the cell again; it connects anew")
        finally:
            for pending in list(self._comms.values()):
                pending.cancel()
            self._frames.put(({"op": "closed"}, []))
