"""Python's scopes: which names a body binds, and whose variable a name in a nested scope is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

Key = str | tuple[int, str]
"""A variable of the module (its name), or of a class body (the frame's number and the name)."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Kind(Enum):
    """What sort of scope a frame is; they differ in who can see their names."""

    MODULE = auto()
    CLASS = auto()
    FUNCTION = auto()
    COMPREHENSION = auto()
    TYPES = auto()
    """Type parameters (``def f[T]``): names of its own, yet a class around it stays visible through it."""


@dataclass(eq=False)
class Frame:
    """One scope while it is visited. ``names`` are bound in it, but for those declared global or nonlocal."""

    kind: Kind
    number: int = 0
    names: set[str] = field(default_factory=set)
    global_names: set[str] = field(default_factory=set)
    nonlocal_names: set[str] = field(default_factory=set)
    private: str | None = None
    """Name of the innermost class, for the mangling of ``__private`` names."""


def resolve(frames: list[Frame], name: str) -> Key | None:
    """Whose variable ``name`` is in the innermost of ``frames``; None for a local or free variable of a function.

    ``name`` is mangled already. A class's variable may still be absent when it is read: Python then looks
    among the module's names.
    """
    direct = True
    for frame in reversed(frames):
        kind = frame.kind
        if kind is Kind.MODULE:
            return name
        if kind is Kind.CLASS:
            if name == "__class__" and not direct:
                return None
            if not direct:
                continue
        if name in frame.global_names:
            return name
        if name in frame.names and name not in frame.nonlocal_names:
            return (frame.number, name) if kind is Kind.CLASS else None
        if kind is not Kind.TYPES:
            direct = False
    return name


def mangle(name: str, private: str | None) -> str:
    """``__x`` inside class ``A`` is ``_A__x``; everything else is itself."""
    if private is None or not name.startswith("__") or name.endswith("__") or "." in name:
        return name
    bare = private.lstrip("_")
    return f"_{bare}{name}" if bare else name


def function_frame(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, private: str | None) -> Frame:
    """The scope of a function's body: parameters and every name that the body binds."""
    frame = Frame(Kind.FUNCTION, private=private)
    arguments = node.args
    for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if arg is not None:
            frame.names.add(mangle(arg.arg, private))
    bind_names(frame, [node.body] if isinstance(node, ast.Lambda) else node.body)
    return frame


def class_frame(node: ast.ClassDef, number: int) -> Frame:
    """The scope of a class body."""
    frame = Frame(Kind.CLASS, number, {"__module__", "__qualname__"}, private=node.name)
    bind_names(frame, node.body)
    return frame


def comprehension_frame(generators: Iterable[ast.comprehension], private: str | None) -> Frame:
    """The scope of a comprehension: the targets of its loops, and nothing that ``:=`` binds."""
    frame = Frame(Kind.COMPREHENSION, private=private)
    for generator in generators:
        bind_names(frame, [generator.target])
    return frame


def elements(node: ast.AST) -> Iterator[ast.expr]:
    """What a comprehension puts together; ``{**part for part in parts}`` (3.15) has a key and no value."""
    for name in ("key", "value", "elt"):
        part = getattr(node, name, None)
        if part is not None:
            yield part


def types_frame(node: ast.AST, private: str | None) -> Frame | None:
    """The scope of ``[T, *Ts, **P]`` of a function, class or alias; None where there are none."""
    parameters = getattr(node, "type_params", None)
    if not parameters:
        return None
    return Frame(Kind.TYPES, names={mangle(p.name, private) for p in parameters}, private=private)


def bind_names(frame: Frame, nodes: Iterable[ast.AST]) -> None:
    """Add to ``frame`` the names that ``nodes`` bind in it, nested scopes excluded."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        cls = type(node)
        if cls in _BINDERS:
            for name in own_bindings(node):
                frame.names.add(mangle(name, frame.private))
        elif cls is ast.Global or cls is ast.Nonlocal:
            declared = frame.global_names if cls is ast.Global else frame.nonlocal_names
            declared.update(mangle(name, frame.private) for name in node.names)  # type: ignore[attr-defined]
        if cls in _SCOPES:
            pending.extend(_same_scope(node))
        elif cls is not ast.Name and cls is not ast.Constant:
            # By hand: ast.iter_child_nodes takes most of the time of a whole analysis.
            for field in node._fields:
                value = getattr(node, field, None)
                if type(value) is list:
                    pending.extend(item for item in value if isinstance(item, ast.AST))
                elif isinstance(value, (ast.expr, ast.pattern)):
                    pending.append(value)


def own_bindings(node: ast.AST) -> Iterator[str]:
    """The names that this node itself binds or deletes, its children left out; not mangled."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias):
        if node.name != "*":
            yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    """What of a nested scope is evaluated in the scope that holds it, or may bind there by ``:=``."""
    if isinstance(node, FUNCTIONS):
        yield from node.decorator_list
        yield from node.args.defaults
        yield from (d for d in node.args.kw_defaults if d is not None)
    elif isinstance(node, ast.ClassDef):
        yield from (*node.decorator_list, *node.bases, *node.keywords)
    elif isinstance(node, ast.Lambda):
        yield from node.args.defaults
        yield from (d for d in node.args.kw_defaults if d is not None)
    elif isinstance(node, COMPREHENSIONS):
        yield from elements(node)
        for generator in node.generators:
            yield from (generator.iter, *generator.ifs)


_BINDERS = frozenset({ast.Name, *FUNCTIONS, ast.ClassDef, ast.alias, ast.ExceptHandler, ast.MatchAs, ast.MatchStar,
                      ast.MatchMapping})
_SCOPES = frozenset({*FUNCTIONS, ast.ClassDef, ast.Lambda, *COMPREHENSIONS})
