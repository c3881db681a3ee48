"""The runner's side of ``benchmarks.host``: one process for each contender, its log, and its certain end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contender import Samples
from benchmarks.host import SETUP

SETUP_TIMEOUT_S = 120.0
STEP_TIMEOUT_S = 180.0
END_TIMEOUT_S = 30.0
LOG_TAIL = 1500


class ContenderFailed(Exception):
    """A contender did not start, did not answer in time, or raised; the message says which, with the end of its log."""


class Host:
    """One contender in its process."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str], serial: int) -> None:
        self.name = name
        self.folder = folder
        self.ready = False
        self._log = folder / f"{name}-{serial}.log"
        reader, writer = os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.host", name, str(writer)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writer,), env=dict(environ),
                start_new_session=True,
            )
        os.close(writer)
        self._replies = os.fdopen(reader, "rb", buffering=0)
        self._pending = b""

    def ensure_ready(self) -> None:
        """Set the contender up, once."""
        if not self.ready:
            self._ask(SETUP, {}, SETUP_TIMEOUT_S)
            self.ready = True

    def measure(self, kind: str, args: Mapping[str, Any]) -> Samples:
        """Let the contender do one step."""
        return self._ask(kind, args, STEP_TIMEOUT_S)

    def close(self) -> None:
        """End the contender; by force when it does not leave by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._replies.close()

    def _ask(self, kind: str, args: Mapping[str, Any], timeout_s: float) -> Samples:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"kind": kind, "args": dict(args)}).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._read_line(timeout_s))
        except BrokenPipeError:
            raise ContenderFailed(f"{self.name}: its process ended before {kind}; {self._tail()}") from None
        if "error" in answer:
            raise ContenderFailed(f"{self.name}: {kind}: {answer['error']}; {self._tail()}")
        samples: Samples = answer["samples"]
        return samples

    def _read_line(self, timeout_s: float) -> bytes:
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._replies], [], [], timeout_s)
            if not ready:
                raise ContenderFailed(f"{self.name}: no answer in {timeout_s:.0f} s; {self._tail()}")
            got = self._replies.read(1 << 16)
            if not got:
                raise ContenderFailed(f"{self.name}: its process ended; {self._tail()}")
            self._pending += got
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _tail(self) -> str:
        text = self._log.read_text(errors="replace")[-LOG_TAIL:].strip()
        return f"end of its log:\n{text}" if text else "its log is empty"


class Pool:
    """The hosts that are up; each is started at its first use and ended when no later row needs it."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._hosts: dict[str, Host] = {}
        self._serial = 0

    def get(self, name: str) -> Host:
        """The contender's running, set-up host."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = self.fresh(name)
        host.ensure_ready()
        return host

    def fresh(self, name: str) -> Host:
        """A new host that is not kept (the caller closes it) and not set up: for cold starts."""
        self._serial += 1
        return Host(name, self._folder, self._environ, self._serial)

    def drop(self, name: str) -> None:
        """End a contender if it is up."""
        host = self._hosts.pop(name, None)
        if host is not None:
            host.close()

    def close(self) -> None:
        """End them all."""
        for name in list(self._hosts):
            self.drop(name)
