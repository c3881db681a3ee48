"""Texts of numpy's arrays and pandas' and polars' tables, which lie in one memory without anything in between, so that no form
has an end there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

_FIRST, _LAST = 1000, 200
"""Rows that are looked at."""


def is_table(kind: type) -> bool:
    """Whether it is one of these libraries' own types: a subclass may bring code of its own."""
    return any(kind is found for top in _TYPES if top in sys.modules for found in _types_of(top))


_TYPES = {"numpy": ["ndarray"], "pandas": ["DataFrame", "Series", "Index"], "polars": ["DataFrame", "Series"]}


def _types_of(library: str) -> list[Any]:
    return [getattr(sys.modules[library], name, None) for name in _TYPES[library]]


def texts_of(table: Any) -> Iterator[tuple[str, str | bytes]]:
    """The first and the last texts of each column, with its name."""
    for name, column in _columns(table):
        for rows in _rows(column):
            for value in rows:
                if type(value) is str or type(value) is bytes:
                    yield str(name), value


def _columns(table: Any) -> list[tuple[Any, Any]]:
    if type(table).__name__ == "ndarray":
        return [("", table)] if table.dtype.kind in "SU" else []
    if type(table).__name__ != "DataFrame":
        return [(table.name, table)]
    if type(table).__module__.startswith("polars"):
        return [(column.name, column) for column in table.get_columns()]
    labels = table.columns
    named = [
        (labels[at], table.iloc[:, at]) for at, dtype in enumerate(table.dtypes) if _is_text(dtype) and at < _FIRST
    ]
    return [*named, ("", table.columns), ("", table.index)]


def _rows(column: Any) -> list[list[Any]]:
    if type(column).__name__ == "ndarray":
        return [column.flat[:_FIRST].tolist(), column.flat[max(_FIRST, column.size - _LAST) :].tolist()]
    if not _is_text(column.dtype):
        return []
    rows = getattr(column, "iloc", column)
    return [rows[:_FIRST].to_list(), rows[max(_FIRST, len(column) - _LAST) :].to_list()]


def _is_text(dtype: Any) -> bool:
    sort = str(dtype).lower()
    return sort in _TEXTS or sort.startswith("string")


_TEXTS = {"object", "str", "category", "categorical", "binary"}
