"""Cells that only look at arrays (``x.shape``, ``n = x[0] + 1``, ``print(len(x), x.mean())``). Pure.

When a cell has ended, the arrays that it was given are hashed on the worker, for anything may have changed them. A cell
of nothing but the expressions below cannot have, and is spared that pass over memory. It must be the whole cell: any
other call could reach an array through a reference that somebody kept.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

_ATTRIBUTES = frozenset({"shape", "dtype", "nbytes", "size", "ndim", "itemsize", "strides"})
_METHODS = frozenset({
    "sum", "mean", "std", "var", "min", "max", "argmin", "argmax", "any", "all", "prod", "copy", "item", "tolist",
    "nonzero", "cumsum",
})  # fmt: skip
"""Methods of an array that give something new, never a window on it, and write nowhere without a second argument."""

_FUNCTIONS = _METHODS - {"item", "tolist"} | {
    "median", "abs", "sqrt", "exp", "log", "isnan", "isfinite", "count_nonzero", "unique", "sort", "argsort", "shape",
    "size", "ndim",
}  # fmt: skip
_BUILTINS = frozenset({"len", "print", "type", "repr", "str", "float", "int", "bool", "round"})
_KEYWORDS = frozenset({"axis", "keepdims", "ddof", "sep", "end"})
_ATOMS = frozenset({int, float, bool, complex, str, bytes, type(None)})
_SIMPLE_KINDS = "biufcSUMm"
_HARMLESS = (
    ast.Module, ast.Expr, ast.Constant, ast.BoolOp, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Tuple,
    ast.List, ast.Dict, ast.Set, ast.expr_context, ast.operator, ast.unaryop, ast.cmpop,
    ast.boolop, ast.keyword,
)  # fmt: skip

Use = int | str
"""What a cell does with a name. A number: picks an element by so many indices. "look": only reads it, and makes something
new of it if anything. "value": may give it another name. "numpy", "builtin": calls it, as that."""


def only_looked_at(source: str, namespace: Mapping[str, Any]) -> frozenset[str]:
    """The names of numpy arrays that this cell (as Python) is given and cannot change; empty for most cells."""
    uses = _uses(source)
    if not uses or not all(_fits(name, use, namespace) for name, use in uses):
        return frozenset()
    return frozenset(name for name, _use in uses if _is_array(namespace.get(name)))


def _fits(name: str, use: Use, namespace: Mapping[str, Any]) -> bool:
    """Whether the value that the notebook holds under ``name`` makes this use a harmless one."""
    value: Any = namespace.get(name)
    if use == "numpy":
        return type(value) is ModuleType and value.__name__ == "numpy"
    if name not in namespace:  # Python's own function, or what the cell itself has made of harmless parts
        return True
    if use == "builtin":
        return False
    return type(value) in _ATOMS or (_is_array(value) and (use == "look" or use == value.ndim))


def _is_array(value: Any) -> bool:
    kind = type(value)
    plain = kind.__module__ == "numpy" and kind.__qualname__ == "ndarray"
    return plain and value.dtype.kind in _SIMPLE_KINDS and value.dtype.names is None


@lru_cache(maxsize=256)
def _uses(source: str) -> frozenset[tuple[str, Use]]:
    """(name, use) of a cell that only looks; empty for any other."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    reader = _Reader()
    try:
        reader.read(tree)
    except (_Other, RecursionError):
        return frozenset()
    called = {name for name, use in reader.uses if use in ("numpy", "builtin")}
    return frozenset() if called & reader.bound else frozenset(reader.uses)


class _Other(Exception):
    """The cell does something else."""


class _Reader:
    def __init__(self) -> None:
        self.uses: set[tuple[str, Use]] = set()
        self.bound: set[str] = set()

    def read(self, node: ast.AST) -> None:
        how = _READERS.get(type(node))
        if how is not None:
            how(self, node)
        elif isinstance(node, _HARMLESS):
            for child in ast.iter_child_nodes(node):
                self.read(child)
        else:
            raise _Other

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.bound.add(_name(target))
        self.read(node.value)

    def _bare(self, node: ast.Name) -> None:
        self.uses.add((node.id, "value"))

    def _operation(self, node: ast.BinOp | ast.UnaryOp | ast.Compare) -> None:
        for child in ast.iter_child_nodes(node):
            self._look(child)

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            self.uses.add((node.id, "look"))
        else:
            self.read(node)

    def _attribute(self, node: ast.Attribute) -> None:
        if node.attr not in _ATTRIBUTES:
            raise _Other
        self.uses.add((_name(node.value), "look"))

    def _subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Attribute):  # x.shape[0]
            self._attribute(node.value)
        else:
            self.uses.add((_name(node.value), _indices(node.slice)))

    def _call(self, node: ast.Call) -> None:
        if any(keyword.arg not in _KEYWORDS for keyword in node.keywords):
            raise _Other
        for keyword in node.keywords:
            self.read(keyword.value)
        if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS:
            self.uses.add((node.func.id, "builtin"))
            self._arguments(node)
        elif isinstance(node.func, ast.Attribute) and len(node.args) <= 1:
            owner = _name(node.func.value)
            if node.func.attr in _FUNCTIONS and len(node.args) == 1 and isinstance(node.args[0], ast.Name):
                self.uses |= {(owner, "numpy"), (node.args[0].id, "look")}
            elif node.func.attr in _METHODS:
                self.uses.add((owner, "look"))
                self._arguments(node, ast.Constant)
            else:
                raise _Other
        else:
            raise _Other

    def _arguments(self, node: ast.Call, only: type[ast.AST] = ast.AST) -> None:
        for argument in node.args:
            if not isinstance(argument, only):
                raise _Other
            self._look(argument)


def _name(node: ast.AST) -> str:
    if not isinstance(node, ast.Name):
        raise _Other
    return node.id


def _indices(index: ast.AST) -> int:
    """How many whole numbers an index consists of."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    for part in parts:
        value = part.operand if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub) else part
        if not (isinstance(value, ast.Constant) and type(value.value) is int):
            raise _Other
    return len(parts)


_READERS: dict[type[ast.AST], Callable[[_Reader, Any], None]] = {
    ast.Assign: _Reader._assign, ast.Name: _Reader._bare, ast.Attribute: _Reader._attribute,
    ast.Subscript: _Reader._subscript, ast.Call: _Reader._call, ast.BinOp: _Reader._operation,
    ast.UnaryOp: _Reader._operation, ast.Compare: _Reader._operation,
}  # fmt: skip
