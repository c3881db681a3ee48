"""What a cell mentions beside the values that it uses: files by their names, submodules by attribute. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import PurePath
from types import FunctionType, ModuleType

from cellferry.capture.dataflow import Flow
from cellferry.capture.globals_of import code_names, code_strings

_LONGEST_NAME = 4096
_MOST_IN_LIST = 1000


def submodules_used(
    flow: Flow, values: Iterable[object], functions: Sequence[FunctionType], loaded: Container[str]
) -> list[str]:
    """The loaded submodules that a cell, or a function that goes with it, may use by attribute; parents first.

    ``import xml.dom.minidom`` binds ``xml`` alone: whoever uses ``xml.dom.minidom`` later relies on it being loaded.
    ``values``: those that the cell is given, ``loaded``: ``sys.modules``.
    """
    modules = {value.__name__ for value in values if type(value) is ModuleType} | flow.imports
    if not modules:
        return []
    names = flow.attributes.union(*(code_names(function.__code__) for function in functions))
    found: dict[str, None] = {}
    pending = sorted(modules)
    for parent in pending:
        inner = [full for name in names if (full := f"{parent}.{name}") in loaded and full not in found]
        found.update(dict.fromkeys(inner))
        pending += inner
    return list(found)


def paths_named(flow: Flow, values: Iterable[object], functions: Sequence[FunctionType]) -> list[str]:
    """Texts that may be names of files: in the cell, in the functions that go with it, in the values that it is given."""
    texts = [*flow.strings, *(text for value in values for text in _texts(value))]
    texts += [text for function in functions for text in code_strings(function.__code__)]
    return list(dict.fromkeys(text for text in texts if 0 < len(text) <= _LONGEST_NAME))


def _texts(value: object) -> Iterator[str]:
    if issubclass(type(value), PurePath):
        yield str(value)
    elif type(value) is str:
        yield value
    elif type(value) in (list, tuple) and len(value) <= _MOST_IN_LIST:  # type: ignore[arg-type]
        for item in value:  # type: ignore[attr-defined]
            if issubclass(type(item), (str, PurePath)):
                yield str(item)
