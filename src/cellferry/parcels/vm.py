"""Straight from one process's memory into another's: ``process_vm_writev`` and ``process_vm_readv`` (Linux).

Only between processes of one user on one machine, and only downwards: a process may reach its own descendants
(ptrace rules), so the client does the copying in both directions. It is the fastest way there is: one copy, into
the memory that the value will keep.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

_SLICE_BYTES = 1 << 24
_THREADS = min(4, os.cpu_count() or 1)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def address(view: memoryview) -> int:
    """Where the bytes of ``view`` (contiguous; read-only is fine) lie in this process."""
    if view.nbytes == 0:
        return 0
    if not view.readonly:
        return ctypes.addressof(ctypes.c_char.from_buffer(view.cast("B")))
    import numpy as np

    return int(np.frombuffer(view.cast("B"), np.uint8).__array_interface__["data"][0])


def _call(name: str, pid: int, here: int, there: int, size: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, name)
    function.restype = ctypes.c_ssize_t
    done = 0
    while done < size:
        local = _Iovec(here + done, min(_SLICE_BYTES, size - done))
        remote = _Iovec(there + done, local.length)
        got = function(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if got <= 0:
            code = ctypes.get_errno()
            raise OSError(code, f"{name}: {os.strerror(code)}")
        done += got


def _spread(name: str, pid: int, pieces: Sequence[tuple[int, int, int]]) -> None:
    cut = []
    for here, there, size in pieces:
        step = max(_SLICE_BYTES, -(-size // _THREADS)) if size > 2 * _SLICE_BYTES else size or 1
        cut += [(here + at, there + at, min(step, size - at)) for at in range(0, size, step)]
    if len(cut) < 2:
        for here, there, size in cut:
            _call(name, pid, here, there, size)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for future in [pool.submit(_call, name, pid, *piece) for piece in cut]:
            future.result()


def write(pid: int, pieces: Sequence[tuple[int, int, int]]) -> None:
    """Copy (address here, address there, bytes) into process ``pid``; raises OSError (EPERM where it is not allowed)."""
    _spread("process_vm_writev", pid, pieces)


def read(pid: int, pieces: Sequence[tuple[int, int, int]]) -> None:
    """Copy (address here, address there, bytes) out of process ``pid``; raises OSError."""
    _spread("process_vm_readv", pid, pieces)


def available() -> bool:
    """Whether this system has the calls at all."""
    return sys.platform == "linux"
