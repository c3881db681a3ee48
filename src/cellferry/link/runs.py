"""Follow a run from wherever its client is gone: its outputs from a number on, then its results. Talks to the worker's server,
so it does not matter whether the kernel that ran the cell still lives, or is busy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cellferry.errors import LinkError, ParcelError, RunGone, WorkerLost
from cellferry.link.checkpoints import UNTOLD
from cellferry.link.dial import dial
from cellferry.link.returned import Returned
from cellferry.model import Endpoint
from cellferry.parcels.bulk import Inbox
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate
from cellferry.parcels.parcel import Refused, split_digests, unpack, verify
from cellferry.parcels.plain_parcel import checked_frame, unpack_plain
from cellferry.parcels.wire import PACKAGES_ALPN, PACKAGES_PREAMBLE, Buffer, Channel, WireClosed

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
Gone = Callable[[], Exception | None]


class Follower:
    """One run on one worker. Connects by itself, and again when the connection breaks."""

    def __init__(self, endpoint: Endpoint, run: str, gone: Gone, told: Callable[[str], None] = lambda _text: None) -> None:
        """``gone``: asked when the worker does not answer; None: try again, else what to raise. ``told``: gets a line while
        there is no connection, "" when there is one again."""
        self.run, self.last, self.ended = run, 0, False
        self._endpoint, self._gone, self._told = endpoint, gone, told
        self._channel: Channel | None = None
        self._inbox: Inbox | None = None

    def outputs(self, *, wait: bool = True) -> Iterator[dict[str, Any]]:
        """Frames "event" (``message``, ``n``), "cut", "beat", last "end" (a row of the worker's list); each output once.

        Without ``wait`` it ends with what there is now. Raises RunGone when the worker does not know the run, and what
        ``gone`` says. Between two frames the caller may leave, and come back with another call.
        """
        pause_s = 0.0
        while True:
            try:
                channel = self._open()
                channel.send({"op": "follow", "run": self.run, "after": self.last, "wait": wait})
                while True:
                    frame, buffers = channel.recv()
                    if pause_s:
                        self._told("")
                        pause_s = 0.0
                    if frame["op"] == "none":
                        raise RunGone(str(frame["what"]), "see what there is: %remote runs")
                    if frame["op"] == "event":
                        self.last = int(frame["n"])
                        frame["message"]["buffers"] = buffers
                    yield frame
                    if frame["op"] == "end":
                        self.ended = True
                        return
            except (WireClosed, LinkError) as exc:
                pause_s = self._wait(pause_s, exc)

    def result(self, namespace: dict[str, Any], shell: Any, worker: str, *, data_only: bool) -> Returned | None:
        """What the run made and changed, not applied yet; None where nothing was kept. Raises ChunkMismatch, WorkerLost, and
        ParcelError, too, for a value that cannot be made here.
        """
        try:
            return self._take(namespace, shell, worker, data_only=data_only)
        except WireClosed as exc:
            self.close()
            again = WorkerLost("the connection ended while the results came home", "once more brings them: %remote attach")
            raise self._gone() or again from exc
        except Refused as refused:
            self.close()
            raise ParcelError(
                f"{refused.name} cannot be made here ({type(refused.reason).__name__}: {refused.reason}); the results stay on the worker",
                "import or install what it needs, then bring them: %remote attach",
            ) from refused.reason

    def row(self) -> dict[str, Any]:
        """How the run is now: a row of the worker's list. Raises as ``outputs`` does."""
        return next(frame for frame in self.outputs(wait=False) if frame["op"] == "end")

    def claim(self, by: str) -> None:
        """Tell the worker that its results are with the notebook ``by``: it does not keep them any longer."""
        with suppress(WireClosed, LinkError):  # then it keeps them in vain, until it ends
            channel = self._open()
            channel.send({"op": "claimed", "run": self.run, "by": by})
            channel.recv()

    def close(self) -> None:
        """Leave; the run goes on. From any thread."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _take(self, namespace: dict[str, Any], shell: Any, worker: str, *, data_only: bool) -> Returned | None:
        channel = self._open()
        channel.send({"op": "result", "run": self.run})
        if channel.recv()[0]["op"] != "ok":
            return None
        return self.values(channel, namespace, shell, worker, data_only=data_only)

    def values(self, channel: Channel, namespace: dict[str, Any], shell: Any, worker: str, *, data_only: bool) -> Returned:
        """What stands in a file of results, read from wherever it comes. Raises WireClosed, Refused, ChunkMismatch."""
        before = channel.received_bytes
        frame, buffers = channel.recv() if data_only else channel.recv(self._allocate)
        heap = Heap(namespace)
        if data_only or frame.get("plain"):
            return Returned(checked_frame(frame), unpack_plain(heap, buffers, worker), channel.received_bytes - before)
        meta = frame["parcel"]
        if meta["bulk"]:
            self._inbox = Inbox(meta)
            while (told := channel.recv(self._allocate))[0]["op"] != "sums":
                pass  # the bytes went straight into their leaf
            values, sums = self._inbox.values, self._inbox.check(bytes(told[1][0]))
            self._inbox = None
        else:
            values, sums = buffers[meta["parts"] + 2 :], split_digests(meta, bytes(buffers[meta["parts"] + 1]))
            for value, promised in zip(values, sums, strict=True):
                verify(value, promised)
        arrived = unpack(heap, meta, buffers, values, sums, Unpacking(namespace, shell=shell, worker=worker))
        return Returned(frame, arrived, channel.received_bytes - before)

    def _allocate(self, meta: dict[str, Any], index: int, size: int) -> Any:
        if meta.get("op") == "leaf" and self._inbox is not None:
            return self._inbox.target(meta["leaf"], meta["at"], size)
        parcel = meta.get("parcel")
        if parcel is not None and not parcel["bulk"] and index >= parcel["parts"] + 2:
            return allocate(parcel["leaves"][index - parcel["parts"] - 2][1], size)
        return bytearray(size)

    def _open(self) -> Channel:
        if self._channel is None:
            self._channel = dial(self._endpoint, PACKAGES_PREAMBLE, PACKAGES_ALPN)
        return self._channel

    def _wait(self, pause_s: float, exc: Exception) -> float:
        """Before the next try; raises what ``gone`` says."""
        self.close()
        error = self._gone()
        if error is not None:
            raise error from exc
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s or FIRST_PAUSE_S)
        self._told(f"no connection to the worker ({exc}); the cell goes on there; trying again")
        time.sleep(pause_s * random.uniform(0.5, 1.0))
        return pause_s


class _FileStream:
    """A file as the stream of a channel that is only read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def sendv(self, parts: Sequence[Buffer]) -> None:
        raise OSError("a file does not listen")

    def sendv_now(self, parts: Sequence[Buffer]) -> list[memoryview]:
        raise OSError("a file does not listen")

    def send_rest(self, rest: Sequence[Buffer]) -> None:
        raise OSError("a file does not listen")

    def set_timeout(self, seconds: float | None) -> None:
        """A file never keeps anybody waiting."""

    def recv_into(self, target: memoryview) -> int:
        return self._file.readinto(target)  # type: ignore[attr-defined, no-any-return]

    def abandon(self) -> None:
        self._file.close()

    def close(self) -> None:
        self._file.close()


class Stored(Follower):
    """A run whose worker is gone, of which something was put into the artifact store: it is in ``folder`` ("outputs", "result")."""

    def __init__(self, run: str, folder: Path) -> None:
        super().__init__(Endpoint("unix"), run, lambda: WorkerLost(f"run {run} cannot be followed: its worker is gone"))
        self._folder = folder

    def outputs(self, *, wait: bool = True) -> Iterator[dict[str, Any]]:
        """As they were shown; then "end", also where there are none."""
        end: dict[str, Any] = {"op": "end", **UNTOLD, "run": self.run}
        with suppress(FileNotFoundError, WireClosed), (self._folder / "outputs").open("rb") as file:
            channel = Channel(_FileStream(file))
            while (frame := (told := channel.recv())[0])["op"] != "end":
                if frame["op"] == "event":
                    frame["message"]["buffers"] = told[1]
                yield frame
            end = frame
        self.ended = True
        yield end

    def claim(self, by: str) -> None:
        """There is nobody to tell."""

    def _take(self, namespace: dict[str, Any], shell: Any, worker: str, *, data_only: bool) -> Returned | None:
        try:
            file = (self._folder / "result").open("rb")
        except FileNotFoundError:
            return None
        with file:
            return self.values(Channel(_FileStream(file)), namespace, shell, worker, data_only=data_only)
