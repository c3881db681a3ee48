"""A reader makes nothing of memory that was not sent: what this process has had there before may be a secret."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cellferry.errors import CellferryError, ParcelError
from cellferry.parcels.leaves import allocate
from cellferry.parcels.plain import Decoder, Encoder
from cellferry.parcels.rebuild import array_from_bytes


def decoded(node: Any, *buffers: bytes) -> Any:
    def nobody(oid: int) -> Any:
        raise ParcelError("no such object")

    return Decoder([bytearray(b) for b in buffers], nobody).value(json.loads(json.dumps(node)))


def nothing_but_zeros(made: Any) -> bool:
    return not any(made.tobytes())


@pytest.fixture
def dirty() -> None:
    """Memory of many sizes that numpy may take again, with something in it."""
    for size in (1, 8, 40, 400, 4000, 40_000):
        kept = [np.full(size, 0x5A, np.uint8) for _ in range(50)]
        del kept


@pytest.mark.parametrize("shape", [[5], [50, 20], [40_000], [2, 0], [0]])
@pytest.mark.parametrize(
    "descr",
    [
        "|S0",
        "<U0",
        "S",
        "U",
        "|V0",
        [["a", "|S0"]],
        [["a", "|S0", [3]]],
        [["a", [["b", "<U0"]]]],
        [["a", "|V0"]],
        "<i8",
    ],
)
@pytest.mark.parametrize("kind", ["array", "scalar"])
def test_a_description_that_takes_no_memory_makes_none(dirty: None, kind: str, descr: Any, shape: list[int]) -> None:
    node = ["media", 0, "array", descr, shape, "C", 0] if kind == "array" else ["media", 0, "scalar", descr, 0]
    try:
        made = decoded(node, b"")
    except ParcelError:
        return
    assert made.nbytes == 0 and nothing_but_zeros(made.copy())


def test_a_field_of_no_length_is_refused_beside_others() -> None:
    with pytest.raises(ParcelError):
        decoded(["media", 0, "array", [["a", "|S0"], ["b", "|u1"]], [5], "C", 0], b"12345")
    with pytest.raises(CellferryError):  # what home would refuse stays there
        Encoder({}).node(np.zeros(3, [("a", "S0"), ("b", "u1")]))


def test_pickled_arrays_take_no_memory_that_was_not_sent(dirty: None) -> None:
    for dtype in ("S0", "U0", "i8"):
        assert nothing_but_zeros(array_from_bytes(b"", np.dtype(dtype), (5_000,) if dtype != "i8" else (0,), "C"))
        assert nothing_but_zeros(allocate(["nd", np.dtype(dtype).str, [5_000], "C"], 0))
    with pytest.raises(ValueError):
        allocate(["nd", "<i8", [5_000], "C"], 8)


def test_a_tensor_of_no_memory_is_empty() -> None:
    torch = pytest.importorskip("torch")
    assert decoded(["media", 0, "tensor", "float32", [0, 5], False, False, 0], b"").shape == torch.Size([0, 5])
    with pytest.raises(ParcelError):
        decoded(["media", 0, "tensor", "float32", [5], False, False, 0], b"")
