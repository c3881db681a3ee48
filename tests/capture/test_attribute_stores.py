"""Attributes that a text sets on something else."""

from __future__ import annotations

import pytest

from cellferry.capture.attribute_stores import attribute_stores


@pytest.mark.parametrize(
    ("source", "chains"),
    [
        ("Image.MAX = None", {("Image", "MAX")}),
        ("a.b.C.d: int = 1", {("a", "b", "C", "d")}),
        ("a.b += 1", {("a", "b")}),
        ("del a.b", {("a", "b")}),
        ("a.b, (c.d, e) = 1, (2, 3)", {("a", "b"), ("c", "d")}),
        ("for a.b in x: pass", {("a", "b")}),
        ("def f():\n    Image.MAX = 1", {("Image", "MAX")}),
        ("setattr(pd.DataFrame, 'shout', f)", {("pd", "DataFrame", "shout")}),
        ("delattr(a, 'b')", {("a", "b")}),
        ("setattr(a, name, 1)", set()),
        ("self.x = 1", set()),
        ("f().x = 1", set()),
        ("x = a.b", set()),
        ("a.b = ", set()),
    ],
)
def test_what_a_text_sets(source: str, chains: set[tuple[str, ...]]) -> None:
    assert attribute_stores(source) == chains
