"""Plain data is as small as it looks, and what one value cannot do costs the others nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.errors import CannotTravel, ParcelError
from cellferry.parcels.plain import Decoder, Encoder
from cellferry.parcels.plain_parcel import PlainLoad, pack_plain, settle_plain, unpack_plain

from .two_heaps import TwoHeaps

SAME_HASH = (1 << 61) - 1
"""Python's whole numbers are hashed modulo this one."""


def decoded(node: Any, *buffers: bytes) -> Any:
    def nobody(oid: int) -> Any:
        raise ParcelError("no such object")

    return Decoder([bytearray(b) for b in buffers], nobody).value(json.loads(json.dumps(node)))


def there_and_back(value: Any) -> Any:
    encoder = Encoder({})
    return decoded(encoder.node(value), *encoder.buffers)


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def bring(heaps: TwoHeaps, *names: str) -> PlainLoad:
    """Names and changes home as data."""
    load = PlainLoad({name: heaps.there[name] for name in names}, heaps.given)
    buffers = [bytearray(memoryview(b).cast("B")) for b in pack_plain(heaps.far, load)]
    arrived = unpack_plain(heaps.near, buffers, "w")
    settle_plain(heaps.near, arrived)
    heaps.here.update(arrived.roots)
    return load


@pytest.mark.parametrize("option", ["zstd", "lz4"])
def test_compressed_tables_are_refused(option: str) -> None:
    small = stream(pa.table({"a": np.zeros(20_000_000, np.uint8)}), compression=option)
    before = pa.total_allocated_bytes()
    with pytest.raises(ParcelError):
        decoded(["media", 0, "frame", None, 0], small)
    assert len(small) < 1 << 20 and pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(50_000_000),
        pa.ListArray.from_arrays(pa.array([0, 50_000_000], pa.int32()), pa.nulls(50_000_000)),
        pa.RunEndEncodedArray.from_arrays(pa.array([50_000_000], pa.int32()), pa.array(["x"])),
        pa.array(["x" * 100] * 3, pa.string_view()),
        pa.ListArray.from_arrays([0, 1], pa.array(["x" * 100]).dictionary_encode()),
        pa.ListArray.from_arrays([0, 1], pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8()))),
    ],
    ids=["nulls", "list of nulls", "runs", "views", "nested dictionary", "nested extension"],
)
@pytest.mark.parametrize("kind", ["frame", "series", "arrow"])
def test_columns_that_stand_for_more_than_their_bytes_are_refused(column: pa.Array, kind: str) -> None:
    table = stream(pa.table({"value": column}))
    with pytest.raises(ParcelError):
        decoded(["media", 0, kind, 0] if kind == "arrow" else ["media", 0, kind, None, 0], table)


TABLE = stream(
    pa.table({"a": [1, 2], "b": ["x", None], "c": [[1], [2, 3]], "d": pa.array(["u", "v"]).dictionary_encode()})
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(TABLE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(TABLE)),
)
def test_a_damaged_table_is_a_table_or_refused(changes: list[tuple[int, int]], length: int) -> None:
    damaged = bytearray(TABLE)
    for at, byte in changes:
        damaged[at] = byte
    for memory in (damaged, damaged[:length]):
        try:
            decoded(["media", 0, "frame", None, 0], bytes(memory))
        except ParcelError:
            pass


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": [None, None], "c": pd.Categorical(["u", "v"]), "e": [[1], [2, 3]]}, index=["p", "q"]),
        pd.DataFrame({"t": pd.to_datetime(["2020", "2021"]).tz_localize("UTC"), "s": ["x", None]}),
        pd.DataFrame(index=range(5)),
        pd.DataFrame({"b": np.zeros(3_000_000, bool), "c": np.ones(3_000_000, bool)}),
        pd.DataFrame({name: range(10) for name in "abc"}).set_index(["a", "b"]),
    ],
    ids=["nulls", "times", "no columns", "truth values", "two indices"],
)
def test_everyday_frames_are_not_refused(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


@pytest.mark.parametrize("size", [[40_000, 40_000], [1 << 30, 1 << 30], [0, 5]])
@pytest.mark.parametrize("mode", ["1", "L", "RGBA"])
def test_an_image_has_all_its_pixels_before_there_is_room_for_it(mode: str, size: list[int]) -> None:
    with pytest.raises(ParcelError):
        decoded(["media", 0, "image", mode, size, 0, 1], b"", b"x" * 7)


@pytest.mark.parametrize("kind", ["dict", "set", "frozenset"])
def test_keys_that_were_chosen_to_collide_are_refused(kind: str) -> None:
    keys = [["int", str(n * SAME_HASH)] for n in range(5000)]
    node = {"dict": ["dict", 0, [[key, 0] for key in keys]], "set": ["set", 0, keys], "frozenset": ["frozenset", keys]}[
        kind
    ]
    with pytest.raises(ParcelError):
        decoded(node)


@given(
    st.sets(
        st.integers() | st.floats(allow_nan=False) | st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=300
    )
)
def test_everyday_keys_are_not(keys: set[Any]) -> None:
    assert there_and_back(keys) == keys and there_and_back(dict.fromkeys(keys)) == dict.fromkeys(keys)


@pytest.mark.parametrize(
    "value",
    [pd.DataFrame({"p": pd.period_range("2020", periods=3, freq="M")}), 1 << (1 << 23), -(1 << (1 << 23))],
    ids=["periods", "digits", "negative digits"],
)
def test_what_home_would_refuse_stays_and_costs_the_rest_nothing(value: Any) -> None:
    with pytest.raises(CannotTravel):
        Encoder({}).node(value)
    heaps = TwoHeaps()
    heaps.there.update(odd=value, fine=[1])
    load = bring(heaps, "odd", "fine")
    assert heaps.here["fine"] == [1] and list(load.stayed) == ["odd"]


def test_the_longest_numbers_that_go_are_read() -> None:
    assert there_and_back(number := (1 << 4 * ((1 << 20) - 3)) - 1) == number and there_and_back(-number) == -number


@pytest.mark.parametrize("kind", ["d = {}", "d = []"])
def test_a_change_that_cannot_go_home_leaves_both_ends_agreed(kind: str) -> None:
    heaps = TwoHeaps()
    exec(kind, heaps.here)
    heaps.here["other"] = [0]
    add = "d['x'] = s; d['y'] = object()" if "{" in kind else "d.append(s); d.append(object())"
    heaps.send("d", "other")
    exec(f"s = [1]; {add}; other.append(s)", heaps.there)
    load = bring(heaps, "s")
    assert len(load.lost) == 1 and not heaps.here["d"]
    assert heaps.here["other"][1] is heaps.here["s"] and heaps.here["s"] == [1]
    heaps.send("d", "other")
    assert len(heaps.there["d"]) == 2, "as a cell there left it"
    heaps.here["d"].clear()
    exec("other.append(2)", heaps.there)
    bring(heaps)
    assert heaps.here["other"] == [0, [1], 2]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_nothing_refers_to_what_was_begun_and_did_not_travel(order: tuple[str, str]) -> None:
    heaps = TwoHeaps()
    heaps.here.update({name: [] for name in order})
    heaps.send(*order)
    exec("s = [1]; a.append(s); a.append(object()); b.append(s)", heaps.there)
    assert bring(heaps).lost == ["list"]
    assert heaps.here["b"] == [[1]]
