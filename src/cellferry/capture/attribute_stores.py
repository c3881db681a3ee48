"""Which attributes of something else a piece of code sets: ``Image.MAX_IMAGE_PIXELS = None``, ``setattr(json, "dumps", f)``.

Whoever sets an attribute of an installed module or class changes what every cell sees of it. Pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

Chain = tuple[str, ...]
"""A name, attributes, and the attribute that is set: ``("pd", "DataFrame", "shout")``."""

_SETTERS = frozenset(["setattr", "delattr"])


@lru_cache(maxsize=1024)
def attribute_stores(source: str) -> frozenset[Chain]:
    """The chains that ``source`` (Python) may set or delete, in functions as well; none for a text that does not parse.

    Chains that begin with ``self`` are left out: they are about the code's own objects.
    """
    if "." not in source and "attr" not in source:
        return frozenset()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    return frozenset(
        chain for node in ast.walk(tree) for chain in _stored(node) if len(chain) > 1 and chain[0] != "self"
    )


def _stored(node: ast.AST) -> Iterator[Chain]:
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield _chain(node)
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _SETTERS
        and len(node.args) > 1
    ):
        name = node.args[1]
        if isinstance(name, ast.Constant) and type(name.value) is str and (owner := _chain(node.args[0])):
            yield (*owner, name.value)


def _chain(node: ast.AST) -> Chain:
    """The names of a dotted expression; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()
