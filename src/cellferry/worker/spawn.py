"""Start one kernel process. Imported before anything else: whatever is imported here delays the first cell."""

from __future__ import annotations

import json
import os
import socket
import subprocess

OOM_SCORE = "300"
"""When memory runs out, Linux should end the remote kernel rather than its server or the user's own notebook."""

KERNEL_ROOM_BYTES = 64 << 20
"""Above the limit of its cells: for the kernel's own work when they have filled theirs (``guest.room``)."""


def spawn_kernel(folder: str, argv: list[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``argv FOLDER --control FD`` in its own process group, with the folder's ``work`` as its directory.

    Returns the process and this side of the control socket. Whoever calls this must be a thread that lives as long
    as the worker: the kernel asks Linux to end it with the thread that started it. Raises OSError.
    """
    write_connection_file(folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        log = os.open(f"{folder}/kernel.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                [*argv, folder, "--control", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=f"{folder}/work",
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        finally:
            os.close(log)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    prefer_for_oom(process.pid)
    limit(process.pid, folder)
    return process, ours


def write_connection_file(folder: str) -> None:
    """``kernel.json``: the kernel's own ZMQ sockets are files in the private folder, never TCP ports.

    One that is there is kept, so that Jupyter's kernel manager finds the next kernel where the previous one was.
    """
    path = f"{folder}/kernel.json"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    content = {
        "transport": "ipc",
        "ip": f"{folder}/kernel",  # ipykernel makes "<ip>-<port>" of it
        **{f"{name}_port": number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)},
        "key": os.urandom(32).hex(),
        "signature_scheme": "hmac-sha256",
    }
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)


def limit(pid: int, folder: str) -> None:
    """Hold the kernel to what its cells asked for, where the machine has more (``limit_cpus``, ``limit_memory_bytes``).

    Memory is that of each process by itself (RLIMIT_DATA: a MemoryError in the cell, not the end of the kernel); whatever
    the kernel starts inherits both.
    """
    try:
        with open(f"{folder}/worker.json", encoding="utf-8") as file:  # noqa: PTH123
            told = json.load(file)
    except (OSError, ValueError):
        return  # a worker without settings says so itself
    cpus, memory_bytes = told.get("limit_cpus"), told.get("limit_memory_bytes")
    if cpus:
        os.sched_setaffinity(pid, sorted(os.sched_getaffinity(0))[:cpus])
    if memory_bytes:
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (memory_bytes, memory_bytes + KERNEL_ROOM_BYTES))


def prefer_for_oom(pid: int) -> None:
    """Make Linux choose this process, and what it starts, when memory runs out; other systems have no such wish."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib is not imported this early
            file.write(OOM_SCORE)
    except OSError:
        pass
