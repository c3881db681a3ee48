"""46 places in which people keep keys, each as a function from a key to what a cell would need."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import logging
import os
import types
from collections.abc import Callable
from typing import Any, NamedTuple

PLACES: dict[str, Callable[[str], Any]] = {}


def place(make: Callable[[str], Any]) -> Callable[[str], Any]:
    PLACES[make.__name__] = make
    return make


def notebook(source: str, key: str) -> Any:
    """What a cell with this source binds to ``x``."""
    scope: dict[str, Any] = {"__name__": "__main__", "KEY": key}
    exec(source.replace("{KEY}", repr(key)), scope)
    return scope["x"]


def of_notebook(name: str, source: str) -> None:
    PLACES[name] = functools.partial(notebook, source)


class Pair(NamedTuple):
    user: str
    password: str


@dataclasses.dataclass
class Settings:
    host: str
    key: str


@dataclasses.dataclass(slots=True)
class Slotted:
    host: str
    key: str


class Table(collections.OrderedDict):  # type: ignore[type-arg]
    pass


class Text(str):
    pass


PLACES["text"] = lambda key: key
PLACES["text_inside_of_a_text"] = lambda key: f"curl -H 'X-Key: {key}' https://example.org"
PLACES["bytes"] = lambda key: key.encode()
PLACES["bytearray"] = lambda key: bytearray(key.encode())
PLACES["list"] = lambda key: ["a", key]
PLACES["tuple"] = lambda key: ("a", key)
PLACES["set"] = lambda key: {"a", key}
PLACES["frozenset"] = lambda key: frozenset(["a", key])
PLACES["dict"] = lambda key: {"a": key}
PLACES["key_of_a_dict"] = lambda key: {key: 1}
PLACES["deep"] = lambda key: {"a": [({"b": [[{"c": (key,)}]]},)]}
PLACES["as_large_as_environ"] = lambda key: {
    **{f"VARIABLE_{n}": "x" * 30 for n in range(150)},
    **dict(os.environ),
    "Z": key,
}
PLACES["last_of_500"] = lambda key: [{"id": n, "note": "nothing"} for n in range(500)] + [{"id": 500, "note": key}]
PLACES["ordered_dict"] = lambda key: collections.OrderedDict(a=key)
PLACES["default_dict"] = lambda key: collections.defaultdict(list, a=[key])
PLACES["counter"] = lambda key: collections.Counter([key])
PLACES["chain_map"] = lambda key: collections.ChainMap({"a": key})
PLACES["user_dict"] = lambda key: collections.UserDict(a=key)
PLACES["deque"] = lambda key: collections.deque([key])
PLACES["subclass_of_dict"] = lambda key: Table(a=key)
PLACES["subclass_of_str"] = lambda key: Text(key)
PLACES["mapping_proxy"] = lambda key: types.MappingProxyType({"a": key})
PLACES["simple_namespace"] = lambda key: types.SimpleNamespace(a=key)
PLACES["named_tuple"] = lambda key: Pair("me", key)
PLACES["dataclass"] = lambda key: Settings("h", key)
PLACES["slots"] = lambda key: Slotted("h", key)
PLACES["partial"] = lambda key: functools.partial(print, key)
PLACES["exception"] = lambda key: ValueError(f"bad key {key}")
PLACES["json_text"] = lambda key: json.dumps({"service": {"id": 1, "value": key}}, indent=1)
PLACES["in_a_long_log"] = lambda key: "\n".join(f"line {n} of a log" for n in range(2000)) + f"\nconnected with {key}\n"
PLACES["log_record"] = lambda key: logging.LogRecord("a", 10, "f.py", 1, "sent %s", (key,), None)
of_notebook("closure", "def outer(value):\n    def inner():\n        return value\n    return inner\nx = outer(KEY)")
of_notebook("constant_of_a_function", "def x():\n    return {KEY}")
of_notebook("default_argument", "def x(value={KEY}):\n    return 1")
of_notebook("keyword_default", "def x(*, value={KEY}):\n    return 1")
of_notebook("lambda", "x = lambda: {KEY}")
of_notebook("attribute_of_a_function", "def x():\n    return 1\nx.value = KEY")
of_notebook("class_attribute", "class x:\n    value = {KEY}")
of_notebook("class_of_an_instance", "class C:\n    value = {KEY}\nx = C()")
of_notebook("method", "class C:\n    def get(self):\n        return {KEY}\nx = C()")
of_notebook("instance", "class C:\n    pass\nx = C()\nx.value = KEY")
of_notebook(
    "own_state",
    "class C:\n    def __getstate__(self):\n        return (KEY.encode(), 1)\n    def __setstate__(self, s):\n        pass\nx = C()",
)
of_notebook("enum", "import enum\nclass C(enum.Enum):\n    A = {KEY}\nx = C.A")


@place
def frame(key: str) -> Any:
    import pandas as pd

    return pd.DataFrame({"id": range(1000), "note": ["nothing"] * 700 + [key] + ["nothing"] * 299})


@place
def array_of_texts(key: str) -> Any:
    import numpy as np

    return np.array(["a", key, "b"])


@place
def session(key: str) -> Any:
    import requests

    made = requests.Session()
    made.headers["X-Service"] = key
    return made
