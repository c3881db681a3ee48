"""Names that stand in no code: in texts that somebody looks up in the frame of his caller, or evaluates. Pure.

What asks for a name through ``__main__`` or in the notebook's own ``eval`` is answered while the cell runs (decision 015).
A library that takes hold of a frame reads the namespace itself, and nobody is asked: for those, the names go along.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from cellferry.capture.globals_of import code_names, code_strings

_PANDAS_AND_SQL = ("query", "eval", "evaluate", "sql", "execute", "read_sql", "from_query")
_FORMULAS = (
    "dmatrix", "dmatrices", "model_matrix", "design_matrix", "Formula", "from_formula", "ols", "wls", "gls", "glsar", "rlm", "glm",
    "gee", "logit", "probit", "mnlogit", "poisson", "negativebinomial", "mixedlm", "quantreg", "phreg", "feols", "fepois",
)  # fmt: skip
LOOKS_UP = frozenset({*_PANDAS_AND_SQL, *_FORMULAS})
"""Calls whose texts name variables of whoever calls; ``c.Cellferry.names_in_texts`` adds to them."""
_FRAMES = frozenset({"_getframe", "currentframe", "f_globals", "f_locals"})
_WHOLE = frozenset({"f_globals", "f_locals"})
"""In a function of the notebook: it may read any name, and whoever reads them so cannot be asked."""
_BINDS = _FRAMES | {"user_ns", "user_global_ns", "push", "run_cell", "runsource", "get_ipython", "__main__"}
"""What code mentions that may bind names in its caller's namespace."""
_ENUMERATES = frozenset({"eval", "exec", "globals", "__main__", "unittest", "doctest", "getmembers", "loads", "load"})
"""What code mentions that asks for names while it runs."""
_LONGEST = 1 << 16
_MOST = 1000


@dataclass(frozen=True)
class Texts:
    """What a cell says beside its names. ``strings``: its texts; ``mentions``: every name, attribute and module in it.

    ``alone``: nobody will be there to answer while it runs. ``more``: calls that look up beside those of ``LOOKS_UP``.
    """

    strings: tuple[str, ...] = ()
    mentions: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    alone: bool = False
    more: frozenset[str] = frozenset()

    def words(self) -> set[str]:
        """The words of its texts that could be names."""
        return {word for text in self.strings for word in identifiers(text)}


@dataclass
class Unseen:
    """Finds the names that a cell, its values and the functions among them may look up without naming them in code."""

    texts: Texts
    namespace: Mapping[str, Any]
    hidden: Container[str]
    found: set[str] = field(default_factory=set)
    """All names that were found so far."""
    _texts: list[str] = field(default_factory=list)
    _looks: bool = False
    _whole: bool = False

    def look(
        self, values: Iterable[object], functions: Collection[FunctionType], *, first: bool = False
    ) -> dict[str, Any]:
        """Further names, and what they are: those that ``functions`` of the notebook may look up, and with ``first`` the cell
        itself. ``values``: what it is given."""
        values = list(values)
        if first:
            self._note(self.texts.mentions)
            self._looks = self._looks or _reaches(values, self.texts.mentions, _FRAMES, self.texts.imports)
            self._texts += self.texts.strings
        for function in functions:
            names = code_names(function.__code__)
            self._note(names)
            self._looks = self._looks or _reaches(_globals(function, names), names, _FRAMES)
            self._texts += code_strings(function.__code__)
        self._texts += texts_in(values)
        if not (self._looks or self._whole):
            return {}
        candidates = self.namespace if self._whole else {word for text in self._texts for word in identifiers(text)}
        fresh = [n for n in list(candidates) if n in self.namespace and n not in self.found and n not in self.hidden]
        fresh = [name for name in fresh if not (self._whole and is_shells(name))]
        self.found.update(fresh)
        return {name: self.namespace[name] for name in fresh}

    def _note(self, names: frozenset[str]) -> None:
        self._looks = self._looks or not names.isdisjoint(LOOKS_UP | self.texts.more)
        self._whole = self._whole or not names.isdisjoint(_WHOLE | (_ENUMERATES if self.texts.alone else frozenset()))


def may_be_bound(
    names: Iterable[str],
    texts: Texts,
    values: Iterable[object],
    functions: Iterable[FunctionType],
    loaded: Mapping[str, Any],
) -> set[str]:
    """Those of ``names`` that a call in the cell may bind although no code of the notebook does: a name that a text has, any
    name where a function is called that reaches for its caller's frame or the shell, or that nobody here can look at.

    ``loaded``: ``sys.modules``.
    """
    values, functions = list(values), list(functions)
    unknown = any(name.partition(".")[0] not in loaded for name in texts.imports)
    if unknown or _reaches(values, texts.mentions, _BINDS, texts.imports):
        return set(names)
    if any(_reaches(_globals(f, code_names(f.__code__)), code_names(f.__code__), _BINDS) for f in functions):
        return set(names)
    if any(not code_names(f.__code__).isdisjoint(_BINDS) for f in functions):
        return set(names)
    words = texts.words() | {word for text in texts_in(values) for word in identifiers(text)}
    words |= {word for f in functions for text in code_strings(f.__code__) for word in identifiers(text)}
    return words & set(names)


def is_shells(name: str) -> bool:
    """Whether IPython keeps its records under such a name (``_``, ``__``, ``_i3``, ``_12``, ``_oh``)."""
    return name in _SHELLS or (name.startswith("_") and not name.lstrip("_i").strip("0123456789"))


_SHELLS = frozenset(["In", "Out", "_ih", "_oh", "_dh", "_i", "_ii", "_iii", "_exit_code", "__annotations__"])


def texts_in(values: Iterable[object]) -> Iterator[str]:
    """The texts among values, and in lists, tuples and dicts of theirs."""
    for value in values:
        if type(value) is str:
            yield value
        elif type(value) in (list, tuple, dict) and len(value) <= _MOST:  # type: ignore[arg-type]
            items = value.values() if type(value) is dict else value
            yield from (item for item in list(items) if type(item) is str)  # type: ignore[call-overload]


@lru_cache(maxsize=4096)
def identifiers(text: str) -> frozenset[str]:
    """Words of a text that could be names."""
    spaced = "".join(c if c.isalnum() or c == "_" else " " for c in text[:_LONGEST])
    return frozenset(word for word in spaced.split() if word.isidentifier())


def _globals(function: FunctionType, names: Iterable[str]) -> list[object]:
    table = function.__globals__
    return [table[name] for name in names if name in table]


def _reaches(
    values: Iterable[object], names: Collection[str], words: frozenset[str], imports: Iterable[str] = ()
) -> bool:
    """Whether a library's function among ``values``, or one that a module among them has under one of ``names``, mentions one
    of ``words`` itself or calls one that does. Modules that are imported by name are looked at too."""
    modules = [value for value in values if isinstance(value, ModuleType)]
    for name in imports:
        parent, _, last = name.rpartition(".")
        modules += [module for module in (sys.modules.get(name),) if module is not None]
        values = [*values, *_attributes(sys.modules.get(parent), (last,))]
    found = [*values, *(item for module in modules for item in _attributes(module, names))]
    return any(
        _mentions(code, words, function.__globals__)
        for function in map(_function, found)
        if function is not None
        for code in (function.__code__,)
    )


def _attributes(module: object, names: Iterable[str]) -> list[object]:
    table = vars(module) if isinstance(module, ModuleType) else {}
    return [table[name] for name in names if name in table]


def _function(value: object) -> FunctionType | None:
    """The Python function that a call of ``value`` runs, if that can be seen without running anything."""
    value = value.__func__ if isinstance(value, MethodType) else value
    return value if isinstance(value, FunctionType) and value.__module__ != "__main__" else None


def _mentions(code: CodeType, words: frozenset[str], table: Mapping[str, Any]) -> bool:
    names = code_names(code)
    if not names.isdisjoint(words):
        return True
    called = (_function(table.get(name)) for name in names)
    return any(not code_names(function.__code__).isdisjoint(words) for function in called if function is not None)
