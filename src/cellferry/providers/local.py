"""The embedded default: a worker that is a process on this machine, in a private folder of its own.

The folder holds everything of the worker (socket, keys, logs, the remote working directory). It goes with the worker:
``stop`` removes it, and a worker that ends itself because nobody is left to stop it removes it as well.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellferry.errors import CellferryError, DiskFull, RequestError, WorkerStartError
from cellferry.model import CellRequest, Endpoint, Hardware, Lease, Offer, Order, Quota, Worker, WorkerId
from cellferry.presses import unbroken
from cellferry.providers.base import Market, Progress, Provider
from cellferry.providers.environ import inherited
from cellferry.providers.gpus import gpus_here, memory_here_bytes
from cellferry.providers.process_end import end_session, is_worker, read_tail, runs, wait_for_exit
from cellferry.providers.told import lease_in, settings_for
from cellferry.shared_folder import our_folders, read_ours

PREFIX = "cf-"
LONGEST_BASE = 70
"""A unix socket's path is at most 107 bytes; the folder's name and the names of the sockets in it need the rest."""
DISK_LOW_BYTES = 1 << 20
STOP_S = 7.0
"""A worker ends itself within about six seconds, whatever its kernel does; after this it is killed."""
LOOK_S = 0.003
STALE_S = 3600.0

ENDED_ITSELF = {
    0: "it was told to stop",
    100: "nobody used it for {lease.idle_s:.0f} s",
    101: "this notebook was not connected to it for {lease.grace_s:.0f} s",
    102: "its folder was removed",
    104: "its money was spent",
    105: "the provider took its machine back",
    106: "its kernel could not be ended although the cell was over its limit",
}
"""What the exit status of a worker means that ended on purpose (``worker.keeper.EXIT_CODES``)."""

PHASE_TEXT = {
    "": "the worker's process is started",
    "environment": "the environment of the worker's kernel is made",
    "python": "the worker's Python runs, its kernel is starting",
    "listening": "the worker accepts connections",
    "kernel": "the kernel is up",
    "server": "the server is up",
}


class LocalProvider(Provider, Market):
    """Workers on this machine. Needs nothing but this Python environment."""

    kernel_module = "cellferry.guest"
    """What runs as the kernel; the provider's tests put a stand-in here."""
    prefix = PREFIX
    """What the names of the workers' folders begin with."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._processes: dict[WorkerId, subprocess.Popen[bytes]] = {}

    @property
    def name(self) -> str:
        return "local"

    def start(self, order: Order, progress: Progress) -> Worker:
        folder: Path | None = None
        process: subprocess.Popen[bytes] | None = None
        try:
            worker_id = WorkerId(str(uuid.uuid4()))
            with unbroken():
                folder = Path(tempfile.mkdtemp(prefix=self.prefix, dir=self._base()))
            self._write_settings(folder, worker_id, order)
            with unbroken():
                process = _launch(folder)
            self._remove_stale()  # while the new process starts
            ready = self._wait_until_ready(folder, process, progress)
        except BaseException as error:
            if process is not None and folder is not None:
                end_session(process.pid, folder)
                process.wait()
            full = folder is not None and _is_full(folder, error)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            if full or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise _disk_full(folder) from error
            if isinstance(error, OSError):
                raise WorkerStartError(
                    f"the local worker cannot be started: {error}",
                    "set c.Cellferry.worker_dir to a folder that you can write to, or type `cellferry doctor` in a terminal",
                ) from error
            raise
        self._processes[worker_id] = process
        worker = _describe(folder, order.name, worker_id, order.lease, order.request.hardware, ready)
        return replace(worker, token=order.token, offer=order.offer, spot=order.spot)

    def alive(self, worker: Worker) -> bool:
        process = self._processes.get(worker.id)
        if process is not None:
            return process.poll() is None
        return worker.pid is not None and worker.folder is not None and is_worker(worker.pid, worker.folder)

    def stop(self, worker: Worker) -> None:
        process = self._processes.get(worker.id)
        if worker.pid is not None and worker.folder is not None:
            if self.alive(worker):
                # The keeper passes this on; the server then ends the kernel and all that it started.
                os.kill(worker.pid, signal.SIGTERM)
                wait_for_exit(worker.pid, STOP_S)
            end_session(worker.pid, worker.folder)
        if process is not None:
            process.wait()
            # The exit status is kept for ``describe_end``; one small object for each worker of this process.
        if worker.folder is not None:
            shutil.rmtree(worker.folder, ignore_errors=True)

    def describe_end(self, worker: Worker) -> str:
        process = self._processes.get(worker.id)
        code = process.poll() if process is not None else None
        if code in ENDED_ITSELF:
            return ENDED_ITSELF[code].format(lease=worker.lease)
        log = read_tail(worker.folder / "worker.log", lines=8) if worker.folder else ""
        return f"its process {_how(code)}" + (f"; the end of its log:\n{log}" if log else "")

    def find(self) -> Sequence[Worker]:
        found = []
        for folder in self._folders():
            try:
                settings, ready = _read(folder / "worker.json"), _read(folder / "ready.json")
                if is_worker(int(ready["pid"]), folder):
                    lease = lease_in(settings)
                    worker_id = WorkerId(settings["worker_id"])
                    worker = _describe(folder, settings.get("name", "?"), worker_id, lease, Hardware(), ready)
                    found.append(replace(worker, token=settings.get("token", "")))
            except (OSError, ValueError, KeyError):
                continue  # just starting, or just being removed
        return found

    def offers(self, request: CellRequest) -> Sequence[Offer]:
        gpus = gpus_here()
        return [
            Offer(
                self.name, "here", socket.gethostname(), gpu=gpus.name, gpu_count=gpus.count,
                gpu_memory_bytes=gpus.memory_bytes, cpus=os.cpu_count() or 1, memory_bytes=memory_here_bytes(),
                arch=platform.machine(), microusd_per_hour=0, priced_unix_s=time.time(), price_source="yours",
                driver=gpus.driver,
            )
        ]  # fmt: skip

    def quotas(self, offers: Sequence[Offer]) -> Sequence[Quota]:
        return ()

    def refresh(self, progress: Progress) -> int:
        return 0

    # -- the folder ---------------------------------------------------------------------------------------------

    def _bases(self) -> list[Path]:
        """Where worker folders may be: the setting, or the user's runtime folder and the temporary one."""
        if self.config.worker_dir:
            return [Path(self.config.worker_dir).expanduser()]
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        places = [Path(place) for place in (runtime, tempfile.gettempdir()) if place]
        if not any(_is_short(place) for place in places):
            places.append(Path("/tmp"))
        return [place for place in dict.fromkeys(places) if place.is_dir()]

    def _base(self) -> Path:
        bases = self._bases()
        if self.config.worker_dir:
            bases[0].mkdir(mode=0o700, parents=True, exist_ok=True)
        fitting = [base for base in bases if _is_short(base) and os.access(base, os.W_OK)]
        if not fitting:
            raise WorkerStartError(
                f"there is no folder for the local worker: {', '.join(map(str, bases))} cannot be written, or its path "
                f"is longer than the {LONGEST_BASE} bytes that a unix socket allows",
                'set a short one: c.Cellferry.worker_dir = "/tmp/me"',
            )
        # The remote working directory is in there too, and a runtime folder is often a small one in memory.
        return max(fitting, key=lambda base: shutil.disk_usage(base).free)

    def _folders(self) -> Iterator[Path]:
        for base in self._bases():
            yield from our_folders(base, self.prefix)

    def _remove_stale(self) -> None:
        """Remove the folders of workers that crashed and whose notebook is gone too: nobody else does."""
        for folder in self._folders():
            try:
                settings = _read(folder / "worker.json")
                pids = [int(settings["client_pid"])]
                if (folder / "ready.json").exists():
                    pids.append(int(_read(folder / "ready.json")["pid"]))
                stale = not any(map(runs, pids))
            except (OSError, ValueError, KeyError):
                stale = _age_s(folder) > STALE_S
            if stale:
                shutil.rmtree(folder, ignore_errors=True)

    def _write_settings(self, folder: Path, worker_id: WorkerId, order: Order) -> None:
        settings = settings_for(order, worker_id, self.config.local_transport, self.config.cache_dir)
        settings["kernel_module"] = self.kernel_module
        settings |= self._limits(order.request.hardware)
        if self.config.local_transport == "tls":
            # Beside the worker's own keys, since the two ends are one user on one machine, and to go with the folder.
            (folder / "client").mkdir(mode=0o700)
            settings["client_cert_pem"] = self.make_identity(folder / "client")
        (folder / "worker.json").touch(0o600)
        (folder / "worker.json").write_text(json.dumps(settings), "utf-8")

    def _limits(self, asked: Hardware) -> dict[str, Any]:
        """What the kernel is held to: the cells said how much they want, and others want something too.

        Raises RequestError for more than this machine has.
        """
        cpus, memory_bytes = len(os.sched_getaffinity(0)), memory_here_bytes()
        if (asked.cpus or 0) > cpus or (asked.memory_bytes or 0) > memory_bytes:
            raise RequestError(
                f"this machine has {cpus} CPUs and {memory_bytes / (1 << 30):.1f} GiB of memory, the cell asks for more",
                "ask for less, or name a provider with larger machines: %%remote provider=demo cpus=16",
            )
        return {"limit_cpus": asked.cpus, "limit_memory_bytes": asked.memory_bytes}

    # -- the start ----------------------------------------------------------------------------------------------

    def _wait_until_ready(self, folder: Path, process: subprocess.Popen[bytes], progress: Progress) -> dict[str, Any]:
        """The content of ``ready.json``; WorkerStartError when the process ends or stands still."""
        seen, length, deadline = "", 0, time.monotonic() + self.config.start_timeout_s
        progress(PHASE_TEXT[""])  # at least this: it may be ready before the first look
        while not (folder / "ready.json").exists():
            phase = read_tail(folder / "phase", lines=1)
            if phase != seen:
                seen = phase
                progress(PHASE_TEXT.get(phase, phase))
            if (size := _size(folder / "phase")) != length:
                length, deadline = size, time.monotonic() + self.config.start_timeout_s
            if wait_for_exit(process.pid, LOOK_S):
                raise _start_error(folder, f"ended while it started: its process {_how(process.wait())}")
            if time.monotonic() > deadline:
                still = f"made no progress for {self.config.start_timeout_s:.0f} s"
                raise _start_error(folder, f"{still} (last: {PHASE_TEXT.get(seen, seen)})")
        return _read(folder / "ready.json")


def _is_short(base: Path) -> bool:
    return len(os.fsencode(base)) <= LONGEST_BASE


def _launch(folder: Path) -> subprocess.Popen[bytes]:
    # Nor JPY_*: what this notebook's server told this kernel about itself would make the remote one look for that server.
    environ = inherited(os.environ)
    log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cellferry.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environ,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _describe(
    folder: Path, name: str, worker_id: WorkerId, lease: Lease, hardware: Hardware, ready: dict[str, Any]
) -> Worker:
    if ready["transport"] == "tls":
        endpoint = Endpoint(
            "tls",
            host=ready["host"],
            port=ready["port"],
            worker_cert_pem=ready["cert_pem"],
            client_dir=str(folder / "client"),
        )
    else:
        endpoint = Endpoint("unix", path=ready["path"])
    return Worker(
        worker_id,
        name,
        "local",
        endpoint,
        hardware,
        folder=folder,
        pid=ready["pid"],
        lease=lease,
        started_unix_s=(folder / "worker.json").stat().st_mtime,
    )


def _start_error(folder: Path, what: str) -> CellferryError:
    log = read_tail(folder / "worker.log", lines=12) or "(nothing)"
    return WorkerStartError(
        f"the local worker {what}; the end of its log:\n{log}",
        "type `cellferry doctor` in a terminal: it checks what a worker needs",
    )


def _is_full(folder: Path, error: BaseException) -> bool:
    return isinstance(error, (OSError, WorkerStartError)) and shutil.disk_usage(folder).free < DISK_LOW_BYTES


def _disk_full(folder: Path | None) -> DiskFull:
    place = folder.parent if folder is not None else tempfile.gettempdir()
    return DiskFull(
        f"no space is left in {place}, where the local worker keeps its files",
        "free some, or choose another place: c.Cellferry.worker_dir",
    ).not_again()


def _how(code: int | None) -> str:
    if code is None:
        return "is gone"
    if code < 0 or code > 128:
        signum = -code if code < 0 else code - 128
        try:
            return f"was killed by {signal.Signals(signum).name}"
        except ValueError:
            pass
    return f"ended with exit code {code}"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read_ours(path.parent, path.name))
    return content


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
