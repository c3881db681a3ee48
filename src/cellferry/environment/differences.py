"""How the packages of two environments differ, and which differences can break a pickle. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cellferry.model import PackageRow

_PARTS = {"numpy": 1, "pandas": 1, "torch": 2, "scikit-learn": 2, "pyarrow": 1, "scipy": 1, "polars": 1}
"""Up to which part of the version two ends must agree for each other's pickles to be safe.

numpy 2 moved the modules that pickles name (https://numpy.org/doc/stable/numpy_2_0_migration_guide.html); pandas moves its
internals between major versions; torch promises nothing across minor ones; scikit-learn warns on any difference and
breaks across minor ones (https://scikit-learn.org/stable/model_persistence.html).
"""


@dataclass(frozen=True)
class Difference:
    """A distribution (or ``Python``) whose versions ``here`` and ``there`` cannot be trusted to read each other's pickles."""

    name: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.name} {self.here} here, {self.there} on the worker"


def risky(here: Mapping[str, str], there: Mapping[str, str], used: Iterable[str]) -> list[Difference]:
    """Those of ``used`` (normalised names) whose difference can break a pickle; both sides must have them."""
    found = []
    for name in sorted(set(used) & set(_PARTS)):
        if name in here and name in there and _head(here[name], _PARTS[name]) != _head(there[name], _PARTS[name]):
            found.append(Difference(name, here[name], there[name]))
    return found


def _head(version: str, parts: int) -> list[str]:
    return version.partition("+")[0].split(".")[:parts]


def rows(
    here: Mapping[str, str], there: Mapping[str, str], sent: Iterable[str], used: Iterable[str], *, shared: bool
) -> list[PackageRow]:
    """The table of ``%remote env``: everything that is there, and what is used here and missing there.

    ``sent``: names that went from here as wheels. ``shared``: both are one environment.
    """
    names = sorted(set(there) | set(used)) if not shared else sorted(there)
    from_here = set(sent)
    return [
        PackageRow(name, here.get(name, ""), there.get(name, ""), _why(name, here, there, from_here, shared))
        for name in names
    ]


def _why(name: str, here: Mapping[str, str], there: Mapping[str, str], sent: set[str], shared: bool) -> str:
    mine, theirs = here.get(name, ""), there.get(name, "")
    if shared:
        return "the same environment"
    if not theirs:
        return "not there"
    if not mine:
        return "needed there, not installed here"
    if mine == theirs:
        return "sent from here" if name in sent else ""
    if mine.partition("+")[0] == theirs.partition("+")[0]:
        return "the same version, built for that machine"
    return "can break pickles" if risky(here, there, [name]) else "another version"
