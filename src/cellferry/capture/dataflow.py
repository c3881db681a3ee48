"""What a cell reads and binds, found in its syntax tree: nothing is run, nothing is guessed from text."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from inspect import CO_COROUTINE

from cellferry.capture.names import Names
from cellferry.capture.scopes import own_bindings
from cellferry.capture.statements import Statements
from cellferry.errors import CellSyntaxError

Expand = Callable[[str], str]
"""IPython syntax to Python, as the door does it for whole cells."""


@dataclass(frozen=True)
class Flow:
    """The names of a cell, seen from its notebook.

    A name is in ``reads`` if some path through the cell may use the value that the notebook held under it before:
    functions and classes that the cell defines count as called. ``required`` is the part that is used on every
    path, so that a name that exists nowhere can be reported before anything is sent. Names of builtins are in both;
    whoever asks looks them up in the notebook first.
    """

    reads: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    """May be bound by the cell, through ``global`` in its functions too."""
    deletes: frozenset[str] = frozenset()
    """May be deleted by the cell; ``except E as name`` deletes ``name``."""
    imports: frozenset[str] = frozenset()
    """Modules that the cell may import, with dots; ``from a import b`` gives ``a``, and ``a.b`` which may be one."""
    star_imports: frozenset[str] = frozenset()
    calls_dynamic: bool = False
    """Uses names that are not in its text (``eval``, ``globals()``, ``%run``): the whole notebook counts as read."""
    awaits: bool = False
    """Has a top-level ``await``, ``async for`` or ``async with``."""
    strings: tuple[str, ...] = ()
    """String literals and words of shell commands, in order and once each: they may name files."""
    hints: frozenset[str] = frozenset()
    """Words in queries and in arguments of magics that may be names of variables (``df.query('a > @limit')``), and names
    that are bound in a ``with`` whose context manager may have swallowed an exception before it: worth sending where
    they exist and can travel, no error where not."""
    fragments: tuple[str, ...] = ()
    """The literal parts of f-strings: no file names, but they may name variables."""
    attributes: frozenset[str] = frozenset()
    """Every attribute that is looked up by name; some may be submodules (``scipy.stats``)."""


def analyse(source: str, expand: Expand | None = None, filename: str = "<cell>") -> Flow:
    """The names of a cell of pure Python; ``expand`` turns IPython syntax inside magics' bodies into Python.

    Cached: asking again about the same text costs a look-up. Raises CellSyntaxError, whose ``__cause__`` is the
    SyntaxError with the line as the cell has it.
    """
    return _analyse(source, expand, filename)


@lru_cache(maxsize=256)
def _analyse(source: str, expand: Expand | None, filename: str) -> Flow:
    visitor = Statements(Names(), lambda text, line: _nested(text, line, expand, filename))
    try:
        tree, awaits = _compiled(source, filename)
        visitor.run(tree)
    except SyntaxError as error:
        raise _syntax_error(error) from error
    except RecursionError:
        # Deeper than this interpreter's stack, say a thousand nested calls: without paths, but still complete.
        return _everything(tree, awaits)
    names = visitor.names
    return Flow(
        frozenset(names.reads), frozenset(names.required), frozenset(names.binds), frozenset(names.deletes),
        frozenset(visitor.imports), frozenset(visitor.star_imports), visitor.dynamic, awaits,
        tuple(visitor.strings), frozenset(visitor.hints | names.maybe), tuple(visitor.fragments),
        frozenset(visitor.attributes),
    )


def _compiled(source: str, filename: str) -> tuple[ast.Module, bool]:
    """The cell's tree, and whether it has a top-level ``await``; SyntaxError for all that Python cannot compile."""
    try:
        with warnings.catch_warnings():
            # The user sees the compiler's warnings once, where the cell runs.
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(tree, filename, "exec", flags, dont_inherit=True)
    except ValueError as error:
        # Null bytes and lone surrogates, which Python reports without a place.
        raise _placeless(str(error), filename) from error
    except (RecursionError, MemoryError) as error:
        # IPython could not run it here either.
        raise _placeless("the cell is nested too deeply for Python", filename) from error
    return tree, bool(code.co_flags & CO_COROUTINE)


def _nested(text: str, line: int, expand: Expand | None, filename: str) -> ast.Module:
    """The tree of a magic's body that begins after ``line`` of the cell.

    Raises SyntaxError with the line as the cell has it, or ValueError where nobody can say whether it is Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(expand(text) if expand is not None else text, filename)
        except SyntaxError as error:
            if expand is None:
                raise ValueError("IPython's own syntax, perhaps") from error
            error.lineno = (error.lineno or 1) + line
            raise


def _placeless(text: str, filename: str) -> SyntaxError:
    return SyntaxError(text, (filename, 1, 1, None))


def _syntax_error(error: SyntaxError) -> CellSyntaxError:
    error.lineno = error.lineno or 1
    place = f"Line {error.lineno}: "
    text = f": `{error.text.strip()}`" if error.text and error.text.strip() else ""
    return CellSyntaxError(
        f"{place}{error.msg}{text}.", "correct the cell and run it again; nothing was sent and nothing was run"
    )


def _everything(tree: ast.Module, awaits: bool) -> Flow:
    nodes = list(ast.walk(tree))
    binds = frozenset(name for node in nodes for name in own_bindings(node))
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return Flow(
        reads=frozenset(n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)),
        binds=binds, deletes=binds, imports=frozenset(imports), calls_dynamic=True, awaits=awaits,
        strings=tuple(dict.fromkeys(
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))),
        attributes=frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
    )
