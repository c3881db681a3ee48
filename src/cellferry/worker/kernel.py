"""The kernel process as the worker sees it: alive or ended, how it ended, and the next one.

One thread (``cellferry-kernel``) owns each process from the second on: it starts it, listens to its control socket,
takes its exit status, and starts the next. The first one is started by the launcher before this module is imported.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cellferry.worker.lease import boottime
from cellferry.worker.processes import end_descendants
from cellferry.worker.spawn import spawn_kernel

CONTROL_GONE_S = 2.0
"""A kernel that closed its control socket has this long to end by itself."""
MOST_EARLY_DEATHS = 3
"""Kernels that die one after the other before they were ready are not started for ever."""
LOG_TAIL_BYTES = 4000
MOST_WAITING = 64


@dataclass(frozen=True)
class KernelEnd:
    """How one kernel process ended."""

    generation: int
    exitcode: int | None
    """None when a signal ended it."""
    signal: str | None
    oom: bool
    """Linux ended it because memory ran out."""
    log_tail: str
    asked: bool
    """It was ended by a restart that the client asked for."""
    at_s: float
    """Seconds on the clock of ``lease.boottime``."""
    why: str = ""
    """Why the worker itself ended it, if it did."""


@dataclass(frozen=True)
class KernelView:
    """The kernel at one moment. ``state`` is "dead" only when no new one is started either."""

    state: Literal["running", "dead"]
    pid: int
    generation: int
    ready: bool
    last_end: KernelEnd | None


class Kernel:
    """Supervises the kernel. All methods may be called from every thread."""

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        first: tuple[subprocess.Popen[bytes], socket.socket],
        *,
        on_state: Callable[[int, bool, float | None], None],
        on_end: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        """``first`` is what ``spawn_kernel`` returned. The callbacks run in the supervising thread:

        ``on_state(links, busy, limit_s)`` when the kernel reports, ``on_end()`` when a kernel has ended and before the next one
        starts, or when none will, ``on_ready()`` each time that a kernel has initialised.
        """
        self._folder, self._argv = folder, list(argv)
        self._process, self._control = first
        self._on_state, self._on_end, self._on_ready = on_state, on_end, on_ready
        self._changed = threading.Condition()
        self._generation, self._ready, self._dead = 1, False, False
        self._last_end: KernelEnd | None = None
        self._early_deaths = 0
        self._ending = self._restarting = False
        self._waiting: deque[socket.socket] = deque()
        self._handed: deque[socket.socket] = deque()
        """Connections on their way to the kernel, which has not said yet that it has them: the next one's, if it dies first."""
        self._when_ready: list[Callable[[], None]] = []
        self._oom_kills = _oom_kills()
        self._log_start = 0
        self._ended_for = ""
        self._told: dict[str, dict[str, object]] = {}
        self._thread = threading.Thread(target=self._supervise, name="cellferry-kernel", daemon=True)

    def start(self) -> None:
        """Begin to supervise the process that was given."""
        self._thread.start()

    def view(self) -> KernelView:
        with self._changed:
            return KernelView(
                state="dead" if self._dead else "running",
                pid=self._process.pid,
                generation=self._generation,
                ready=self._ready,
                last_end=self._last_end,
            )

    def hand_over(self, connection: socket.socket) -> None:
        """Give a client's connection to the kernel, or to the next one if this one dies before it took it. Closes it here."""
        with self._changed:
            if self._dead or self._ending or len(self._waiting) + len(self._handed) >= MOST_WAITING:
                connection.close()
                return
            self._waiting.append(connection)
            self._flush()

    def tell(self, what: dict[str, object]) -> None:
        """Send the kernel a message (``op`` and more), and each kernel that follows it the last one of every ``ticket``."""
        with self._changed:
            self._told[str(what.get("ticket", ""))] = what
            self._send(what)

    def say(self, text: str, why: str = "") -> None:
        """Tell whoever is linked; ``why``: the reason for which the running cell is about to be interrupted."""
        with self._changed:
            self._send({"op": "say", "text": text, "why": why})

    def stop_run(self, run: str) -> None:
        """Have the kernel interrupt a run that has not begun, as far as is known here."""
        with self._changed:
            self._send({"op": "stop", "run": run})

    def interrupt(self) -> None:
        """SIGINT to the kernel and what it started in its group: arrives also while a C call holds the interpreter.

        A kernel that has not initialised yet runs no cell, and would be ended by the signal: it gets none.
        """
        with self._changed:
            if self._ready:
                self._signal(signal.SIGINT)

    def terminate(self, why: str) -> None:
        """SIGTERM to the kernel's group, because its cell does not end: ``why`` is for whoever asks how it ended."""
        with self._changed:
            self._ended_for = why
            self._signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """SIGKILL to the kernel's group; the next kernel follows. Also ends one that is stopped. Waits for nothing."""
        with self._changed:
            self._ended_for = why
            self._signal(signal.SIGKILL)

    def when_ready(self, call: Callable[[], None]) -> None:
        """Call once as soon as a kernel has initialised; at once if the present one has."""
        with self._changed:
            if not self._ready:
                self._when_ready.append(call)
                return
        call()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return when the kernel has initialised, when it has died instead, or after the time."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._last_end or self._ending, timeout=timeout_s)

    def restart(self) -> None:
        """End the kernel and all that it started; returns when the next one is spawned, RuntimeError if none can be."""
        with self._changed:
            before = self._generation
            self._restarting = True
            self._signal(signal.SIGKILL)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._generation > before or self._ending, timeout=10)
            if self._generation == before:
                raise RuntimeError("the kernel could not be started again; kernel.log and worker.log say why")

    def end(self, *, term_s: float, why: str = "") -> None:
        """End the kernel for good, with everything that it and its predecessors started; start no other. ``why``: as in
        ``terminate``."""
        with self._changed:
            self._ending = True
            self._ended_for = why or self._ended_for
            self._changed.notify_all()
        end_descendants(term_s=term_s)
        with self._changed:
            self._drop_waiting()

    @property
    def process_id(self) -> int | None:
        """The child whose exit status belongs to this supervisor."""
        return self._process.pid

    # -- the supervising thread ---------------------------------------------------------------------------------

    def _supervise(self) -> None:
        try:
            self._supervise_all()
        except BaseException:  # nobody would start a kernel again, nor say that there is none: the keeper ends the rest
            traceback.print_exc()
            os._exit(1)

    def _supervise_all(self) -> None:
        while True:
            self._follow()
            self._note_end()
            self._on_end()
            if self._ending:
                return
            end_descendants(term_s=0)  # what the dead kernel started belongs to nobody now
            if not self._next():
                return

    def _follow(self) -> None:
        """Listen to the control socket until the process has ended."""
        pid_fd = os.pidfd_open(self._process.pid)
        poller = select.poll()
        poller.register(pid_fd, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        timeout_ms: float | None = None
        try:
            while True:
                ready = {fd for fd, _ in poller.poll(timeout_ms)}
                if self._control.fileno() in ready and not self._hear():
                    poller.unregister(self._control)
                    timeout_ms = CONTROL_GONE_S * 1000
                elif pid_fd in ready:
                    return
                elif not ready:
                    self._signal(signal.SIGKILL)
                    timeout_ms = None
        finally:
            os.close(pid_fd)

    def _hear(self) -> bool:
        """Take one message of the kernel; False at the end of the socket."""
        try:
            datagram = self._control.recv(65536)
        except ConnectionResetError:
            return False
        if not datagram:
            return False
        try:
            message = json.loads(datagram)
            if message["op"] == "state":
                limit_s = message.get("limit_s")
                self._ended_for = self._ended_for if message["busy"] else ""  # it has listened after all
                self._on_state(int(message["links"]), bool(message["busy"]), None if limit_s is None else float(limit_s))
            elif message["op"] == "ready":
                self._note_ready()
            elif message["op"] == "taken":
                with self._changed:
                    self._handed.popleft().close()
        except (ValueError, LookupError, TypeError) as error:
            # The socket lives in the user's process: what comes out of it must not end this thread.
            print(f"a message of the kernel was not understood: {error!r}", flush=True)
        with self._changed:
            self._flush()
        return True

    def _note_ready(self) -> None:
        with self._changed:
            self._ready, self._early_deaths = True, 0
            self._log_start = _size(self._folder / "kernel.log")  # the greetings of a start explain no death
            waiting, self._when_ready = self._when_ready, []
            self._changed.notify_all()
        for call in (self._on_ready, *waiting):
            call()

    def _note_end(self) -> None:
        status = self._process.wait()
        signum = signal.Signals(-status).name if status < 0 else None
        with self._changed:
            oom = signum == "SIGKILL" and _oom_kills() > self._oom_kills
            self._last_end = KernelEnd(
                generation=self._generation,
                exitcode=status if status >= 0 else None,
                signal=signum,
                oom=oom,
                log_tail=tail(self._folder / "kernel.log", LOG_TAIL_BYTES, start=self._log_start),
                asked=self._restarting or bool(self._ended_for),
                at_s=boottime(),
                why=self._ended_for,
            )
            self._changed.notify_all()
            self._control.close()
            while self._handed:
                self._waiting.appendleft(self._handed.pop())
            self._early_deaths += 0 if self._ready or self._restarting else 1

    def _next(self) -> bool:
        """Start the next kernel; False when the worker ends instead."""
        with self._changed:
            while not self._ending:
                if self._early_deaths < MOST_EARLY_DEATHS and self._spawn():
                    return True
                self._dead = True
                self._drop_waiting()
                self._on_end()  # again: now it is known that no other follows
                self._changed.wait_for(lambda: self._restarting or self._ending)
                self._early_deaths = 0
            return False

    def _spawn(self) -> bool:
        self._log_start = _size(self._folder / "kernel.log")
        self._oom_kills = _oom_kills()
        try:
            self._process, self._control = spawn_kernel(str(self._folder), self._argv)
        except OSError as error:
            print(f"a new kernel cannot be started: {error}", flush=True)
            self._restarting = False
            self._early_deaths = MOST_EARLY_DEATHS
            return False
        self._generation += 1
        self._ready = self._restarting = self._dead = False
        self._ended_for = ""
        for what in self._told.values():
            self._send(what)
        self._flush()
        self._changed.notify_all()
        return True

    def _send(self, what: dict[str, object]) -> None:
        try:
            self._control.send(json.dumps(what).encode(), socket.MSG_DONTWAIT)
        except OSError:
            pass  # this kernel is gone: the next one is told when it is there; or it is stopped and hears nothing

    def _flush(self) -> None:
        while self._waiting:
            try:
                socket.send_fds(self._control, [b'{"op":"conn"}'], [self._waiting[0].fileno()], socket.MSG_DONTWAIT)
            except OSError:
                return  # this kernel is gone: the connection waits for the next one
            self._handed.append(self._waiting.popleft())

    def _drop_waiting(self) -> None:
        for connections in (self._waiting, self._handed):
            while connections:
                connections.popleft().close()

    def _signal(self, signum: signal.Signals) -> None:
        if self._process.returncode is not None:
            return  # its number may be another process's by now
        try:
            os.killpg(self._process.pid, signum)
        except ProcessLookupError:
            pass


def tail(path: Path, most_bytes: int, start: int = 0) -> str:
    """The end of a log, at most ``most_bytes`` of it, nothing before byte ``start``; empty if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - most_bytes))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _oom_kills() -> int:
    """How many processes Linux has ended for want of memory since it booted; 0 where that is not told."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
