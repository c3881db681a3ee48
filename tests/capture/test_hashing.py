"""Which cells depend on the hashes of texts."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pytest

from cellferry.capture.hashing import depends_on_hashes, keeps_hash


class Computed:
    """Its hash is made anew each time."""

    def __hash__(self) -> int:
        return hash(("computed", 1))


class Kept:
    """It has computed its hash once."""

    def __init__(self) -> None:
        self._hash = hash("kept")

    def __hash__(self) -> int:
        return self._hash


class Inheriting(Kept):
    """Has it from its base."""


class Anew(Kept):
    """What travels of it has no hash."""

    def __reduce__(self) -> tuple[Callable[[], Hashable], tuple[()]]:
        return (Anew, ())


def splits(word: str) -> bool:
    return hash(word) % 2 == 0


def counts(word: str) -> int:
    return len(word)


@pytest.mark.parametrize(
    ("kind", "keeps"), [(int, False), (Computed, False), (Kept, True), (Inheriting, True), (Anew, False), (frozenset, False)]
)
def test_types_that_keep_their_hash(kind: type, keeps: bool) -> None:
    assert keeps_hash(kind) is keeps


@pytest.mark.parametrize(
    ("reads", "namespace", "functions", "depends"),
    [
        ({"hash"}, {}, [], True),
        ({"print"}, {}, [], False),
        ({"hash"}, {"hash": counts}, [], False),  # the notebook's own
        ({"splits"}, {"splits": splits}, [splits], True),
        ({"counts"}, {"counts": counts}, [counts], False),
    ],
)
def test_cells_that_depend_on_hashes(reads: set[str], namespace: dict[str, object], functions: list, depends: bool) -> None:
    assert depends_on_hashes(reads, namespace, functions, []) is depends
    assert depends_on_hashes(reads, namespace, functions, [Kept])
