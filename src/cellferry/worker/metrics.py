"""What the worker's machine does, sampled every few seconds and kept for a quarter of an hour, so that a plot has a past.

``psutil`` reads a few files of ``/proc``; where there is ``nvidia-smi`` one process of it stays and prints a line for each GPU.
A sample costs well under a millisecond of processor time.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import psutil

EVERY_S = 5.0
KEPT_S = 15 * 60.0
QUERY = ("nvidia-smi", "--query-gpu=index,name,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
MIB = 1 << 20
GPU_STALE_S = 3 * EVERY_S
"""What ``nvidia-smi`` said longer ago is not shown: it has ended, or hangs with the driver."""


class Sampler:
    """The samples of one worker. ``rows`` may be called from every thread."""

    def __init__(self, every_s: float = EVERY_S, query: tuple[str, ...] = QUERY, clock: Callable[[], float] = time.time) -> None:
        self._every_s, self._query, self._clock = every_s, query, clock
        self._rows: deque[dict[str, Any]] = deque(maxlen=round(KEPT_S / every_s))
        self._taken = 0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._gpus: dict[str, tuple[float, dict[str, Any]]] = {}
        self._smi: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin; the threads end with the process, or with ``close``."""
        for work in (self._sample_on, self._listen_on):
            threading.Thread(target=work, name="cellferry-metrics", daemon=True).start()

    def close(self) -> None:
        """End the threads and ``nvidia-smi``. A worker that ends does not need it: everything below it is ended."""
        self._ended.set()
        if self._smi is not None:
            self._smi.terminate()

    def rows(self, since: int = 0) -> dict[str, Any]:
        """``{"from": n, "rows": [...]}``: the samples from number ``since`` on, as far as they are kept; ``n`` is the number of
        the first one. A number that was never given means: from the beginning."""
        with self._lock:
            first = self._taken - len(self._rows)
            begins = first if since > self._taken else max(first, since)
            return {"from": begins, "rows": list(self._rows)[begins - first :]}

    def _sample_on(self) -> None:
        psutil.cpu_percent()  # the first answer is the mean since the machine's start
        net, at_s = psutil.net_io_counters(), time.monotonic()
        while not self._ended.wait(self._every_s):
            memory, now_net, now_s = psutil.virtual_memory(), psutil.net_io_counters(), time.monotonic()
            span_s, before = max(now_s - at_s, 1e-3), net
            row = {
                "at_unix_s": self._clock(), "cpu": round(psutil.cpu_percent() / 100, 4),
                "memory_used_bytes": memory.total - memory.available, "memory_total_bytes": memory.total,
                "net_in_bytes_s": round(max(0, now_net.bytes_recv - before.bytes_recv) / span_s),
                "net_out_bytes_s": round(max(0, now_net.bytes_sent - before.bytes_sent) / span_s), "gpus": self._gpus_now(),
            }  # fmt: skip
            net, at_s = now_net, now_s
            with self._lock:
                self._rows.append(row)
                self._taken += 1

    def _gpus_now(self) -> list[dict[str, Any]]:
        now_s = time.monotonic()
        return [gpu for _, (at_s, gpu) in sorted(self._gpus.items()) if now_s - at_s < self._every_s + GPU_STALE_S]

    def _listen_on(self) -> None:
        """Take what ``nvidia-smi`` prints; one that ends is started again, one that is not there ends this thread."""
        try:
            while not self._ended.is_set():
                for line in self._lines():
                    read = read_gpu(line)
                    if read is not None:
                        self._gpus[read[0]] = (time.monotonic(), read[1])
                if self._ended.wait(self._every_s):
                    return
        except OSError:
            return

    def _lines(self) -> Iterator[str]:
        interval = str(max(1, round(self._every_s)))
        self._smi = subprocess.Popen(
            [*self._query, "-l", interval], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._smi.stdout is not None
        with self._smi.stdout as lines:
            yield from lines
        self._smi.wait()


def read_gpu(line: str) -> tuple[str, dict[str, Any]] | None:
    """One line of ``QUERY``: the GPU's number and what it does; None for one that says nothing ("[N/A]" is 0)."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 5 or not parts[0].isdigit():
        return None
    use, used, total = (float(text) if text.replace(".", "", 1).isdigit() else 0.0 for text in parts[2:])
    told = {
        "name": parts[1], "use": round(min(1.0, use / 100), 4), "memory_used_bytes": int(used) * MIB,
        "memory_total_bytes": int(total) * MIB,
    }  # fmt: skip
    return parts[0].rjust(4), told
