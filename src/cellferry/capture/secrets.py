"""Does anything that a cell would send look like a credential? Decided before anything is sent; best effort.

What is looked at is what the packing wrote (``Parcel.written``), not the notebook's values anew: whatever travels, by whatever way
its type packs itself, was in the pickler's hands. What keys look like is in ``secret_forms``.
"""

from __future__ import annotations

import ast
import enum
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pickle import PickleBuffer
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from cellferry.capture.frame_texts import is_table, texts_of
from cellferry.capture.inside import inside
from cellferry.capture.secret_forms import Found, forms_in, is_random, kind_by_name, kind_of_secret
from cellferry.capture.stuck import class_dict, class_mro, class_origin
from cellferry.errors import LooksSecret

PRAGMA = re.compile(r"#\s*pragma:\s*allowlist[ -]secret")
_COMMENT = re.compile(r"#.*")
_ENVIRONMENT = "the value of a secret environment variable"
_SHORTEST, _SURELY = 8, 16
"""Of what is certainly a secret: one of so many characters is seen as a whole text, or inside of another."""

_HEAD, _TAIL = 48 << 10, 16 << 10
"""Of a longer text or memory only its first and last characters are looked at."""

_MOST, _SAMPLE = 96 << 10, 32 << 10
"""Characters of a parcel that are all looked at. Of more, so many in tables, in the first texts, and in some of the others."""

_MOST_ENTRIES, _MOST_TABLES, _MOST_STEPS = 1000, 1000, 20_000


@dataclass(frozen=True)
class Suspect:
    """``where``: a name with the path to the value, or a line; ``kind``: what it looks like. Never the secret itself."""

    where: str
    kind: str
    name: str = ""
    """The variable that has to be named to let it pass; "" for a literal."""

    def error(self) -> LooksSecret:
        if self.name:
            allow = f"%%remote allow={self.name}"
        else:
            allow = "end the line with `# pragma: allowlist secret`"
        return LooksSecret(
            f"{self.where} looks like a credential ({self.kind}); nothing was sent",
            f"keep it in an environment variable and name that: %%remote secrets=NAME; or, if it may go: {allow}",
        )


# ---- in what is packed ----------------------------------------------------------------------------------------------


def look(written: Iterable[object], known: Iterable[str] = ()) -> Iterator[Found]:
    """What looks like a credential among objects that a pickler wrote; runs none of their code.

    ``known``: texts that are credentials for certain (the values of environment variables that are named so).
    """
    texts, tables, frames = _sorted(written)
    if not (texts or tables or frames):
        return
    half = _MOST_TABLES // 2
    if len(tables) > _MOST_TABLES:
        tables = [*tables[:half], *tables[half :: -(-(len(tables) - half) // half)]]
    entries = [entry for table in tables for entry in _entries(table)] + frames
    texts += _texts_of(frames)
    for name, value in entries:
        yield from _by_name(name, value)
    certain = {text for text in known if len(text) >= _SHORTEST}
    for part in _parts(texts, entries):
        yield from _known_in(part, certain)
        yield from forms_in(part)


def text_in(written: Iterable[object]) -> str:
    """Every text among these objects, in one: to see whether another has it as well."""
    texts, _tables, frames = _sorted(written)
    return "\0".join([*texts, *_texts_of(frames)])


def by_name(name: str, value: object) -> Found | None:
    """What a value is because of the name that it goes by."""
    return next(_by_name(name, value), None)


def _sorted(written: Iterable[Any]) -> tuple[list[str], list[Any], list[tuple[str, str | bytes]]]:
    """The texts, what has names for its parts, and the columns of tables of texts."""
    every = list(written)
    texts = [item for item in every if type(item) is str and len(item) >= _SHORTEST]
    tables: list[Any] = []
    frames: list[tuple[str, str | bytes]] = []
    sorts = dict(_USUAL)
    for item in [item for item in every if type(item) is not str]:
        kind = type(item)
        sort = sorts.get(id(kind))
        if sort is None:
            sort = sorts[id(kind)] = _sort_of(kind)
        if sort is _Sort.OTHER:
            continue
        if sort is _Sort.TEXT:
            texts.append(str.__str__(item))
        elif sort is _Sort.MEMORY:
            texts.append(_decoded(item))
        elif sort is _Sort.FRAME:
            frames += texts_of(item)
        elif sort is _Sort.TABLE or (len(item) == 2 and type(item[0]) is str):
            tables.append(item)
    return [_shortened(text) for text in texts] if max(map(len, texts), default=0) > _HEAD else texts, tables, frames


def _shortened(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\0{text[-_TAIL:]}"


def _texts_of(frames: Sequence[tuple[str, str | bytes]]) -> list[str]:
    return [value if type(value) is str else value.decode("latin-1") for _name, value in frames]  # type: ignore[union-attr]


class _Sort(enum.Enum):
    """``PAIR``: perhaps the item of a mapping that packs itself in a way of its own."""

    TEXT, MEMORY, TABLE, FRAME, PAIR, OTHER = range(6)


_USUAL = {
    id(kind): _Sort.OTHER
    for kind in (int, float, bool, type(None), list, set, frozenset, complex, type, CodeType, BuiltinFunctionType)
}
"""By id, as all of these: a metaclass may answer when its class is looked up."""


def _sort_of(kind: Any) -> _Sort:
    if issubclass(kind, str):
        return _Sort.TEXT
    if issubclass(kind, (bytes, bytearray, memoryview, PickleBuffer)):
        return _Sort.MEMORY
    if kind is tuple:
        return _Sort.PAIR
    if is_table(kind):
        return _Sort.FRAME
    if kind is FunctionType or issubclass(kind, (dict, tuple)):
        return _Sort.TABLE
    slots = any("__slots__" in class_dict(base) for base in class_mro(kind))
    return _Sort.TABLE if slots and class_origin(kind)[0] not in ("builtins", "types") else _Sort.OTHER


def _decoded(memory: Any) -> str:
    view = memory.raw() if type(memory) is PickleBuffer else memoryview(memory)
    raw = view.cast("B") if view.contiguous and view.nbytes else b""
    parts = [bytes(raw[:_HEAD])]
    if len(raw) > _HEAD:
        parts.append(bytes(raw[max(_HEAD, len(raw) - _TAIL) :]))
    if parts[0][1:2] + parts[0][3:4] == b"\0\0":  # characters of four or two bytes
        parts = [part[:: 2 if parts[0][2:3] != b"\0" else 4] for part in parts]
    return "\0".join(part.decode("latin-1") for part in parts)


def _entries(table: Any) -> list[tuple[str, object]]:
    """Names and values in a table: of a dict, a named tuple, slots, the arguments and the closure of a function."""
    kind = type(table)
    if issubclass(kind, dict):
        return [(key, value) for key, value in islice(dict.items(table), _MOST_ENTRIES) if type(key) is str]
    if kind is FunctionType:
        return _of_function(table)
    if issubclass(kind, tuple):
        if kind is tuple:
            return [table]
        fields = next(
            (found for owner in class_mro(kind) if type(found := class_dict(owner).get("_fields")) is tuple), ()
        )
        return list(zip(fields, tuple.__iter__(table), strict=False))
    return [(step.label[1:], step.value) for step in islice(inside(table), _MOST_ENTRIES) if step.label.startswith(".")]


def _of_function(function: FunctionType) -> list[tuple[str, object]]:
    code = function.__code__
    arguments = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    found: list[tuple[str, object]] = list(zip(arguments[len(arguments) - len(given) :], given, strict=False))
    found += (function.__kwdefaults__ or {}).items()
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:
            continue  # a variable that is not bound yet
    return found


def _by_name(name: str, value: object) -> Iterator[Found]:
    if type(value) in (list, tuple) and name.lower() in ("auth", "basic_auth", "credentials"):
        pair = list(value)  # type: ignore[call-overload]
        if len(pair) == 2 and all(type(each) is str for each in pair) and is_random(pair[1]):
            yield Found("Basic Authorization", pair[1])
        return
    if type(value) is bytes and len(value) <= _TAIL:
        value = value.decode("latin-1")
    if type(value) is str and (kind := kind_by_name(name, value)) is not None:
        yield Found(kind, value)


def _parts(texts: Sequence[str], entries: Sequence[tuple[str, object]]) -> Iterator[str]:
    """The texts in some long ones. Of many, those of tables first, then the first ones and some of the others."""
    if sum(map(len, texts)) <= _MOST:
        yield "\0".join(texts)
        return
    yield "\0".join(_within(value if type(value) is str else name for name, value in entries))
    first = list(_within(texts))
    yield "\0".join(first)
    rest = texts[len(first) :]
    step = max(1, sum(map(len, rest)) // _SAMPLE)
    yield "\0".join(_within(rest[::-step]))


def _within(texts: Iterable[str]) -> Iterator[str]:
    left = _SAMPLE
    for text in texts:
        yield text[: _HEAD + _TAIL + 1]
        left -= len(text)
        if left <= 0:
            return


def _known_in(part: str, certain: set[str]) -> Iterator[Found]:
    for text in certain:
        if text in part and (len(text) >= _SURELY or text in part.split("\0")):
            yield Found(_ENVIRONMENT, text)


def path_of(token: str, name: str, value: object) -> str:
    """How a user would write the way to the text with ``token`` in ``value``; "" if it was not met soon."""
    pending: deque[tuple[str, Any]] = deque([(name, value)])
    seen: dict[int, object] = {}
    while pending and len(seen) < _MOST_STEPS:
        path, item = pending.popleft()
        text = item if type(item) is str else item.decode("latin-1") if type(item) is bytes else None
        if text is not None:
            if token in text:
                return path
            continue
        if id(item) not in seen:
            seen[id(item)] = item
            pending += [(path + step.label, step.value) for step in islice(inside(item), _MOST_ENTRIES)]
    return ""


# ---- in the text of a cell ------------------------------------------------------------------------------------------


def find_in_source(source: str, above: int = 0, known: Iterable[str] = ()) -> Suspect | None:
    """The first string literal or comment of a cell that is a credential; ``source`` is Python, ``above``: lines of the cell
    before it, ``known``: as for values. A pragma on its line lets it pass."""
    certain = tuple(text for text in known if len(text) >= _SHORTEST and text in source)
    found = _in_source(source, certain)
    return Suspect(f"the text in line {found[0] + above} of the cell", found[1]) if found else None


@lru_cache(maxsize=512)
def _in_source(source: str, certain: tuple[str, ...]) -> tuple[int, str] | None:
    """Line and kind."""
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line) if "#" in line else None
        kind = kind_of_secret(comment[0]) if comment else None
        if kind is not None and not PRAGMA.search(line):
            return number, kind
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for name, node in _literals(tree):
        text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")  # type: ignore[union-attr]
        if len(text) < _SHORTEST:
            continue
        kind = next((found.kind for found in _known_in(text, set(certain))), None) or kind_of_secret(text)
        kind = kind or (kind_by_name(name, text) if name else None)
        if kind is not None and not any(PRAGMA.search(line) for line in lines[node.lineno - 1 : node.end_lineno]):
            return node.lineno, kind
    return None


def _literals(tree: ast.AST) -> Iterator[tuple[str, ast.Constant]]:
    """Texts in a tree, with the name that each is bound or passed to ("" for none)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield from ((_target(t), node.value) for t in node.targets if _is_text(node.value))
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and _is_text(node.value):
            yield _target(node.target), node.value  # type: ignore[misc]
        elif isinstance(node, ast.keyword) and _is_text(node.value):
            yield node.arg or "", node.value  # type: ignore[misc]
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if _is_text(value):
                    yield str(key.value) if isinstance(key, ast.Constant) else "", value  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and _is_text(node):
            yield "", node


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _target(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PASSPHRASE|_PWD$|_AUTH", re.IGNORECASE)


def secret_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those environment variables whose names say that they are secrets."""
    return {name: environ[name] for name in environ if _is_secret_name(name) and is_random(environ[name])}


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None
