"""Leaves: memory that travels beside the pickle, in chunks of 1 MiB, hashed on both ends.

XXH3-128 notices change and damage (about 29 GB/s a core); BLAKE3 names content where a name is trusted instead of
the bytes (``content_name``). A leaf is received into the memory that its value keeps.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import xxhash

from cellferry.parcels import vm

CHUNK_BYTES = 1 << 20
DIGEST_BYTES = 16
_THREADED_BYTES = 8 << 20
_RAW_MMAP_BYTES = 1 << 20
_pool: ThreadPoolExecutor | None = None

Spec = list[Any]
"""How the receiver makes the memory: ["raw"], ["buf"] (a pickle 5 buffer) or ["nd", dtype, shape, order]."""


@dataclass
class Leaf:
    """One piece of memory of the sender. ``owner`` keeps it alive; ``digests`` holds 16 bytes a chunk."""

    memory: memoryview
    spec: Spec
    owner: object
    _digests: bytes | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Address and size of the memory."""
        return vm.address(self.memory), self.memory.nbytes

    @property
    def digests(self) -> bytes:
        if self._digests is None:
            self._digests = digests(self.memory)
        return self._digests


def bytes_of(value: Any) -> memoryview:
    """The memory of a contiguous array or any contiguous buffer, as flat bytes, without a copy."""
    if type(value).__module__ == "numpy":
        import numpy as np

        flat = value.reshape(-1) if value.flags.c_contiguous else value.T.reshape(-1)
        return memoryview(flat.view(np.uint8)) if flat.size and flat.dtype.itemsize else memoryview(bytearray(0))
    return memoryview(value).cast("B") if memoryview(value).nbytes else memoryview(bytearray(0))


def readable(leaves: Iterable[Leaf]) -> Iterator[memoryview]:
    """The memory of those leaves in which a text could be, and that are no arrays of texts."""
    return (
        leaf.memory
        for leaf in leaves
        if leaf.spec[0] != "nd" or leaf.spec[1][1:] in ("u1", "i1") or leaf.spec[1][1] == "V"
    )


def allocate(spec: Spec, size: int) -> Any:
    """Writable memory of ``size`` bytes for a leaf; an ndarray that owns its data where the sender had one."""
    if spec[0] == "nd":
        import numpy as np

        if not size:
            return np.zeros(tuple(spec[2]), np.dtype(spec[1]), spec[3])
        made = np.empty(tuple(spec[2]), np.dtype(spec[1]), spec[3])
        if made.nbytes != size:  # what is sent would not fill it
            raise ValueError("an array of another size than its memory")
        return made
    if size < _RAW_MMAP_BYTES:
        return bytearray(size)
    if "numpy" in sys.modules:
        import numpy as np

        return np.empty(size, np.uint8)
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def chunk_count(size: int) -> int:
    return -(-size // CHUNK_BYTES)


def _digest_range(view: memoryview, first: int, last: int) -> bytes:
    digest = xxhash.xxh3_128_digest
    return b"".join(digest(view[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES]) for i in range(first, last))


def digests(view: memoryview) -> bytes:
    """XXH3-128 of every chunk, 16 bytes each; both cores for large memory (xxhash lets go of the GIL)."""
    global _pool
    count = chunk_count(len(view))
    if len(view) < _THREADED_BYTES:
        return _digest_range(view, 0, count)
    if _pool is None or _pool._shutdown:
        _pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "cellferry-hash")
    parts = min(4, os.cpu_count() or 1) * 2
    cuts = [count * i // parts for i in range(parts + 1)]
    return b"".join(_pool.map(lambda i: _digest_range(view, cuts[i], cuts[i + 1]), range(parts)))


def changed_chunks(before: bytes, after: bytes) -> list[int]:
    """Indices of the chunks whose digests differ; the two must have the same length."""
    return [
        at // DIGEST_BYTES
        for at in range(0, len(after), DIGEST_BYTES)
        if before[at : at + DIGEST_BYTES] != after[at : at + DIGEST_BYTES]
    ]


def content_name(view: memoryview) -> str:
    """BLAKE3 of a chunk, in hex: the name that is trusted in place of the bytes themselves."""
    from blake3 import blake3

    return blake3(view).hexdigest()


def pieces(sizes: Sequence[int], step: int) -> Iterator[tuple[int, int, int]]:
    """(leaf, offset, bytes) covering memories of these sizes in steps of at most ``step``."""
    for leaf, size in enumerate(sizes):
        for at in range(0, size, step):
            yield leaf, at, min(step, size - at)
