"""Memory beside the pickle: digests, chunks, claims, and straight from process to process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import xxhash
from blake3 import blake3
from hypothesis import given, settings

from cellferry.errors import ChunkMismatch
from cellferry.parcels import vm
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import (
    CHUNK_BYTES,
    Leaf,
    allocate,
    bytes_of,
    changed_chunks,
    chunk_count,
    content_name,
    digests,
    pieces,
)  # fmt: skip

from .two_heaps import TwoHeaps


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9 * CHUNK_BYTES + 5, 20 * CHUNK_BYTES]
)
def test_digests_are_those_of_each_chunk(size: int) -> None:
    data = os.urandom(size)
    expected = b"".join(xxhash.xxh3_128_digest(data[at : at + CHUNK_BYTES]) for at in range(0, size, CHUNK_BYTES))
    assert digests(memoryview(data)) == expected
    assert len(expected) == 16 * chunk_count(size)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 11 * CHUNK_BYTES - 1), max_size=6))
def test_every_changed_byte_is_noticed(places: set[int]) -> None:
    data = bytearray(11 * CHUNK_BYTES)
    before = digests(memoryview(data))
    for place in places:
        data[place] ^= 255
    assert changed_chunks(before, digests(memoryview(data))) == sorted({place // CHUNK_BYTES for place in places})


def test_a_content_name_is_blake3() -> None:
    assert content_name(memoryview(b"abc")) == blake3(b"abc").hexdigest()


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=6), st.integers(1, 900))
def test_pieces_cover_everything_once(sizes: list[int], step: int) -> None:
    covered = [bytearray(size) for size in sizes]
    for leaf, at, size in pieces(sizes, step):
        assert 0 < size <= step
        for place in range(at, at + size):
            covered[leaf][place] += 1
    assert all(set(memory) <= {1} for memory in covered)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 4)), np.array(5),
        np.array(["a", "bc"]), np.zeros(3, "S0"), np.array(["2020-01-01"], "M8[D]"),
    ],
)  # fmt: skip
def test_memory_made_for_an_array_takes_its_bytes(array: Any) -> None:
    order = "C" if array.flags.c_contiguous else "F"
    made = allocate(["nd", array.dtype.str, list(array.shape), order], array.nbytes)
    assert made.flags.owndata and len(bytes_of(made)) == array.nbytes
    bytes_of(made)[:] = bytes_of(array)
    assert np.array_equal(made, array)


@pytest.mark.parametrize("size", [0, 10, 1 << 20, 3 << 20])
def test_raw_memory_is_writable(size: int) -> None:
    view = bytes_of(allocate(["raw"], size))
    assert len(view) == size and not view.readonly


def test_a_leaf_frame_that_does_not_fit_is_refused() -> None:
    inbox = Inbox({"leaves": [[100, ["raw"]]]})
    with pytest.raises(ValueError, match="does not fit"):
        inbox.target(0, 90, 20)
    with pytest.raises(IndexError):
        inbox.target(1, 0, 1)


def test_chunks_that_are_here_already_are_claimed_and_not_sent() -> None:
    ends = TwoHeaps()
    base = np.frombuffer(os.urandom(12 * CHUNK_BYTES), np.uint8).copy()
    ends.here["a"] = base
    ends.send("a")
    copy = base.copy()
    copy[5 * CHUNK_BYTES] ^= 1
    leaf = Leaf(bytes_of(copy), ["nd", "|u1", [len(copy)], "C"], copy)
    inbox = Inbox({"leaves": [[len(copy), leaf.spec]]})
    claims = inbox.claims(ends.far, leaf.digests)
    assert [chunk for _leaf, chunk, _name in claims] == [c for c in range(12) if c != 5]

    def arrive(head: dict[str, Any], parts: list[Any]) -> None:
        inbox.target(head["leaf"], head["at"], len(parts[0]))[:] = parts[0]

    assert stream([leaf], claims, arrive) == CHUNK_BYTES
    inbox.check(leaf.digests)
    assert np.array_equal(inbox.values[0], copy)


def test_a_claim_is_believed_only_by_its_name() -> None:
    data = np.frombuffer(os.urandom(3 * CHUNK_BYTES), np.uint8)
    leaf = Leaf(bytes_of(data), ["raw"], data)
    inbox = Inbox({"leaves": [[len(data), ["raw"]]]})
    liar = [[0, chunk, content_name(memoryview(bytes(CHUNK_BYTES)))] for chunk in range(3)]
    sent: list[int] = []
    assert stream([leaf], liar, lambda head, parts: sent.append(head["at"])) == 3 * CHUNK_BYTES
    with pytest.raises(ChunkMismatch):
        inbox.check(leaf.digests)


def test_values_changed_since_do_not_spoil_a_claim() -> None:
    """What the index believes may be out of date: the name is taken from the bytes themselves."""
    ends = TwoHeaps()
    ends.here["a"] = np.zeros(6 * CHUNK_BYTES, np.uint8)
    ends.send("a")
    ends.there["a"][:] = 7
    zeros = np.zeros(2 * CHUNK_BYTES, np.uint8)
    leaf = Leaf(bytes_of(zeros), ["raw"], zeros)
    inbox = Inbox({"leaves": [[len(zeros), ["raw"]]]})
    claims = inbox.claims(ends.far, leaf.digests)
    assert stream([leaf], claims, lambda head, parts: None) == len(zeros)


_CHILD = """
import ctypes, sys
memory = ctypes.create_string_buffer(bytes(range(256)) * 200_000, 256 * 200_000)
print(ctypes.addressof(memory), flush=True)
sys.stdin.readline()
print(sum(memory.raw[:1000]), flush=True)
"""


@pytest.mark.skipif(not vm.available(), reason="this system cannot copy between processes")
def test_memory_of_a_child_is_read_and_written_in_place() -> None:
    child = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    with child:
        there = int(child.stdout.readline())
        size = 256 * 200_000
        here = bytearray(size)
        try:
            vm.read(child.pid, [(vm.address(memoryview(here)), there, size)])
        except PermissionError:
            child.stdin.write("\n")
            pytest.skip("this sandbox does not allow it")
        assert here == bytes(range(256)) * 200_000
        ones = b"\1" * 1000
        vm.write(child.pid, [(vm.address(memoryview(ones)), there, 1000)])
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline().strip() == "1000"


@pytest.mark.skipif(not vm.available(), reason="this system cannot copy between processes")
def test_memory_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="process_vm_readv"):
        vm.read(os.getpid(), [(vm.address(memoryview(bytearray(10))), 8, 10)])


def test_the_address_of_read_only_memory_is_found_too() -> None:
    data = b"some bytes"
    assert ctypes.string_at(vm.address(memoryview(data)), len(data)) == data
    assert vm.address(memoryview(b"")) == 0


def test_an_empty_heap_claims_nothing() -> None:
    inbox = Inbox({"leaves": [[CHUNK_BYTES, ["raw"]]]})
    assert inbox.claims(Heap({}), bytes(16)) == []
