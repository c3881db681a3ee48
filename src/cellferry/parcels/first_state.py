"""What a module's source says of its names, for a module that was imported before anybody watched: literals only."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

_PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple, list, dict, set, frozenset)


def as_written(module: ModuleType) -> dict[str, Any]:
    """Names whose value is not the literal that the source binds them to, with that literal.

    Only names that the module's own code binds once and for all at its top level; whatever else it does is not known.
    """
    found = {}
    for name, literal in _literals(_text(module)).items():
        value = vars(module).get(name)
        if name in vars(module) and issubclass(type(value), _PLAIN) and not _equal(value, literal):
            found[name] = literal
    return found


def _equal(value: Any, literal: Any) -> bool:
    try:
        return type(value) is type(literal) and bool(value == literal)
    except Exception:
        return False


def _text(module: ModuleType) -> str:
    try:
        return Path(str(module.__file__)).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _literals(text: str) -> dict[str, Any]:
    """Names that the module binds once at its top level, to a literal, and does not touch again while it is imported."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return {}
    times: Counter[str] = Counter()
    at_once: set[str] = set()
    inside: dict[str, set[str]] = {}
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            times[statement.name] += 1
            inside[statement.name] = _names(statement)
            at_once.update(*map(_names, (*statement.decorator_list, *statement.args.defaults)))
        else:
            times.update(
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
            )
            at_once |= _names(statement) - ({target} if (target := _assignment(statement)[0]) else set())
            if isinstance(statement, ast.ClassDef):
                inside[statement.name] = _names(statement)
    pending = list(at_once)
    while pending:  # what runs while the module is imported may touch whatever it names
        more = inside.pop(pending.pop(), set()) - at_once
        at_once |= more
        pending += more
    found = {}
    for statement in body:
        target, value = _assignment(statement)
        if target is not None and times[target] == 1 and target not in at_once:
            try:
                found[target] = ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
    return found


def _assignment(statement: ast.stmt) -> tuple[str | None, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return statement.target.id, statement.value
    return None, None


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
