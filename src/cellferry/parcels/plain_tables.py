"""Tables as data: which types of Arrow travel, and whether a stream is as small as it looks, read before it is opened.

A few bytes of Arrow can stand for any number of rows (columns of nulls) or of bytes (compressed buffers), and a column of an
extension type runs code of the library that has registered it. So the descriptions of all messages are looked at first
(https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format, tables of
https://flatbuffers.dev/internals/), and what no pandas writes is refused.
"""

from __future__ import annotations

import struct
from typing import Any

_FEW_ROWS = 1 << 20
_ROWS_IN_A_BYTE = 16
"""Eight truth values, each in a column and, for example, in a struct that holds it."""
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
"""Kinds of messages, as the format numbers them."""


def carried(schema: Any) -> bool:
    """Whether every column of a schema is of a type that travels; asked by both ends."""
    return all(_is_carried(field.type, top=True) for field in schema)


def _is_carried(kind: Any, *, top: bool = False) -> bool:
    import pyarrow

    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return False
    if types.is_dictionary(kind):  # deeper down it would be written out, once for each row
        return top and _is_carried(kind.value_type)
    if types.is_map(kind):
        return _is_carried(kind.key_type) and _is_carried(kind.item_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_carried(kind.value_type)
    if types.is_struct(kind):
        return all(_is_carried(kind.field(at).type) for at in range(kind.num_fields))
    simple = (
        types.is_primitive, types.is_null, types.is_decimal, types.is_string, types.is_large_string, types.is_binary,
        types.is_large_binary, types.is_fixed_size_binary,
    )  # fmt: skip
    return any(check(kind) for check in simple)


def check_stream(memory: Any) -> None:
    """Refuse a stream that would take much more memory than it has bytes, or that names an extension type.

    Raises ValueError, or whatever is noticed first (struct.error, IndexError, pyarrow's own) if it is no such stream.
    """
    import pyarrow

    left = max(_FEW_ROWS, _ROWS_IN_A_BYTE * len(memory))
    for message in pyarrow.ipc.MessageReader.open_stream(pyarrow.py_buffer(memory)):
        data = message.metadata.to_pybytes()
        root = _follow(data, 0)
        kind = data[_field(data, root, 1)]
        header = _follow(data, _field(data, root, 2))
        if kind == _SCHEMA:
            if b"ARROW:extension" in data:
                raise ValueError("an extension type")
            continue
        if kind not in (_DICTIONARY, _BATCH):
            raise ValueError("no message of a table")
        left -= _rows(data, _follow(data, _field(data, header, 1)) if kind == _DICTIONARY else header)
        if left < 0:
            raise ValueError("more rows than bytes")


def _rows(data: bytes, batch: int) -> int:
    """Rows of a batch, or of everything in its columns together, whichever is more."""
    if _field(data, batch, 3):
        raise ValueError("compressed")
    place, lengths = _field(data, batch, 0), []
    length = struct.unpack_from("<q", data, place)[0] if place else 0
    if nodes := _field(data, batch, 1):
        at = _follow(data, nodes)
        (count,) = struct.unpack_from("<I", data, at)
        if 16 * count > len(data):
            raise ValueError("more columns than bytes")
        lengths += [struct.unpack_from("<q", data, at + 4 + 16 * n)[0] for n in range(count)]
    if length < 0 or any(each < 0 for each in lengths):
        raise ValueError("a negative length")
    return int(max(length, sum(lengths)))


def _follow(data: bytes, at: int) -> int:
    """Where the offset that stands at ``at`` leads."""
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0 if it has none."""
    listed = table - int(struct.unpack_from("<i", data, table)[0])
    if not 0 <= listed < len(data):
        raise ValueError("a table without its list of fields")
    (size,) = struct.unpack_from("<H", data, listed)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, listed + 4 + 2 * number)
    return table + int(offset) if offset else 0
