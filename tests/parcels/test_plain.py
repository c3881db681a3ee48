"""Values as data: everything that is data survives; nothing that a hostile worker can send runs, or does worse than fail."""

from __future__ import annotations

import datetime
import json
import math
import os
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellferry.errors import CannotTravel, ParcelError
from cellferry.parcels.plain import Decoder, Encoder, parsed, written


def nobody(oid: int) -> Any:
    raise ParcelError("no such object")


def there_and_back(value: Any) -> Any:
    encoder = Encoder({})
    text = written(encoder.node(value))
    buffers = [bytearray(bytes(memoryview(b).cast("B")) if len(b) else b"") for b in encoder.buffers]
    return Decoder(buffers, nobody).value(parsed(text))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8) | st.complex_numbers()
    | st.dates() | st.datetimes() | st.timedeltas() | st.decimals() | st.times()
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)  # fmt: skip


@given(values)
def test_data_survives(value: object) -> None:
    assert repr(there_and_back(value)) == repr(value)


@given(st.sets(st.integers() | st.text(max_size=3), max_size=5), st.integers(min_value=-(10**400), max_value=10**400))
def test_sets_and_large_numbers(items: set, number: int) -> None:
    assert there_and_back(items) == items and there_and_back(frozenset(items)) == frozenset(items)
    assert there_and_back(number) == number


def test_what_is_met_twice_is_one_object() -> None:
    inner: list = [1]
    array = np.arange(3)
    loop: dict = {"a": inner, "b": [inner, array], "c": array}
    loop["self"] = loop
    found = there_and_back(loop)
    assert found["self"] is found and found["a"] is found["b"][0] and found["c"] is found["b"][1]
    found["c"][0] = 9
    assert found["b"][1][0] == 9


ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(5), np.zeros((0, 3)), np.array(["a", "bc"]),
    np.array([b"x"]), np.array(["2026-01-01"], "M8[D]"), np.arange(10)[::3], np.array([1 + 2j]),
    np.zeros(2, [("a", "i4"), ("b", "f8", (2,))]),
    np.array([True, False]), np.arange(3, dtype=">i4"),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays(array: np.ndarray) -> None:
    found = there_and_back(array)
    assert (
        found.dtype == array.dtype and found.shape == array.shape and (found == array).all() and found.flags.writeable
    )


def test_scalars_frames_and_images() -> None:
    for scalar in (np.float32(1.5), np.int64(3), np.datetime64("2026-01-01"), np.bool_(True), np.str_("x")):
        assert there_and_back(scalar) == scalar and type(there_and_back(scalar)) is type(scalar)
    frame = pd.DataFrame(
        {"x": [1, 2], "s": ["a", None], "t": pd.to_datetime(["2026-01-01", "2026-02-01"])}, index=["p", "q"]
    )
    pd.testing.assert_frame_equal(there_and_back(frame), frame)
    pd.testing.assert_series_equal(there_and_back(frame["x"]), frame["x"])
    table = pa.table({"x": [1, 2]})
    assert there_and_back(table).equals(table)
    for mode in ("RGB", "L", "RGBA", "1", "P"):
        image = Image.linear_gradient("L").convert(mode)
        found = there_and_back(image)
        assert found.mode == mode and found.tobytes() == image.tobytes() and found.getpalette() == image.getpalette()


@pytest.mark.slow
@pytest.mark.every_python
def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (
        torch.arange(6.0).reshape(2, 3).T,
        torch.zeros(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True),
        torch.tensor(3),
    ):
        found = there_and_back(tensor)
        assert (
            torch.equal(found, tensor) and found.dtype == tensor.dtype and found.requires_grad == tensor.requires_grad
        )
    assert isinstance(there_and_back(torch.nn.Parameter(torch.ones(2))), torch.nn.Parameter)


@pytest.mark.parametrize(
    "value", [object(), print, lambda: 1, ValueError("x"), np.array([object()]), os, type, iter([])], ids=lambda v: type(v).__name__
)
def test_what_is_not_data_is_refused_by_the_writer(value: object) -> None:
    for wrapped in (value, [value], {"a": (1, value)}):
        with pytest.raises(CannotTravel):
            Encoder({}).node(wrapped)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded() -> None:
    assert there_and_back(nested(90))
    with pytest.raises(CannotTravel):
        Encoder({}).node(nested(1000))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("exit 77",)


PICKLE = pickle.dumps(Evil())
NPY_OBJECT = ["media", 0, "array", "|O", [1], "C", 0]
HOSTILE_NODES: list[Any] = [
    {"a": 1}, [], [1, 2], ["pickle", 0], ["eval", "1"], ["__reduce__", 0], ["media", 0, "pickle", 0], ["media", 0, "__class__", 0],
    NPY_OBJECT, ["media", 0, "array", [["a", "|O"]], [1], "C", 0], ["media", 0, "array", "<f8", [1 << 60], "C", 0],
    ["media", 0, "array", "<f8", [-1], "C", 0], ["media", 0, "array", "<f8", [1.5], "C", 0], ["media", 0, "array", "<f8", [8], "C", 0],
    ["media", 0, "array", "<f8", ["x"], "C", 0], ["media", 0, "array", "(1000000000,1000000000)f8", [], "C", 0],
    ["media", 0, "scalar", "|O", 0],
    ["media", 0, "tensor", "os", [1], False, False, 0], ["media", 0, "tensor", "load", [1], False, False, 0],
    ["media", 0, "frame", None, 0], ["media", 0, "series", {"a": 1}, 0],
    ["media", 0, "arrow", 0], ["media", 0, "image", "RGB", [1000, 1000], 0, 1],
    ["media", 0, "image", "X", [1, 1], 0, 1], ["bytes", 7], ["bytes", -1], ["bytes", True],
    ["bytes", "0"], ["ref", 5], ["ref", "x"], ["known", 1],
    ["known", "x"], ["known", None], ["list", 0, "text"], ["list", 0, [["list", 0, []]]], ["list"], ["list", 0, [], 1], ["dict", 0, [[1]]],
    ["dict", 0, [[["list", 1, []], 1]]], ["set", 0, [["list", 1, []]]], ["int", "x"], ["int", "9" * 2_000_000], ["float", "1e9"],
    ["made", "datetime", "x"], ["made", "os.system", "x"], ["made", "range", "1"], ["made", "decimal", "x"], ["complex", "a", 1],
    ["tuple", [["bytes", 0], ["bytes", 0]]], nested(5000),
]  # fmt: skip


@pytest.mark.parametrize("node", HOSTILE_NODES, ids=range(len(HOSTILE_NODES)))
def test_a_hostile_worker_is_refused(node: Any) -> None:
    with pytest.raises(ParcelError) as caught:
        Decoder([bytearray(PICKLE), bytearray(8)], nobody).value(node)
    assert "refused" in str(caught.value) or "no such object" in str(caught.value)


def test_arrow_with_an_extension_type_that_unpickles() -> None:
    meta = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": PICKLE}
    schema = pa.schema([pa.field("x", pa.int64(), metadata=meta)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table({"x": [1]}, schema=schema))
    buffers = [bytearray(sink.getvalue())]
    try:
        Decoder(buffers, nobody).value(["media", 0, "frame", None, 0])
    except ParcelError:
        pass


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 200_000, b'"\\ud800', PICKLE])
def test_a_text_that_is_no_tree(text: bytes) -> None:
    with pytest.raises(ParcelError):
        Decoder([], nobody).value(parsed(text))


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 62) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from(["list", "dict", "set", "tuple", "frozenset", "ref", "known", "bytes", "bytearray", "int", "float", "complex", "made",
                       "media", "array", "scalar", "tensor", "frame", "series", "arrow", "image", "<f8", "|O", "C", "RGB", "datetime"]),
    lambda inner: st.lists(inner, max_size=6), max_leaves=30,
)  # fmt: skip


@settings(max_examples=400)
@given(json_trees, st.lists(st.binary(max_size=40), max_size=3))
def test_any_tree_gives_a_value_or_a_refusal(tree: Any, buffers: list[bytes]) -> None:
    try:
        Decoder([bytearray(b) for b in buffers], nobody).value(json.loads(json.dumps(tree)))
    except ParcelError:
        pass


def test_numbers_are_what_they_were() -> None:
    found = there_and_back(
        [1, 1.0, True, -0.0, math.inf, 1 << 60, Decimal("1.10"), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]
    )
    assert [type(x) for x in found[:4]] == [int, float, bool, float] and math.copysign(1, found[3]) == -1
    assert found[4:] == [math.inf, 1 << 60, Decimal("1.10"), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]
