"""How errors look in a notebook: the user's own as IPython shows a local one, cellferry's as a short message."""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from IPython.core.error import InputRejected

from cellferry.errors import CellferryError
from cellferry.presses import one_less

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_RED, _PLAIN = "\x1b[31m", "\x1b[39m"


def as_the_users(error: Any) -> None:
    """Make a ``journey.RemoteError`` look like the exception it reports: its name, text and traceback lines.

    Only the class changes, so ``except RemoteError`` still catches it.
    """
    base: Any = type(error)
    error.__class__ = _remote_class(base, error.ename or "RemoteError")


@lru_cache(maxsize=256)
def _remote_class(base: type[Exception], ename: str) -> type[Exception]:
    def __str__(self: Any) -> str:
        return str(self.evalue)

    def _render_traceback_(self: Any) -> list[str]:
        lines = list(self.traceback)
        return lines or [f"{_RED}{self.ename}{_PLAIN}: {self.evalue}"]

    body = {"__str__": __str__, "_render_traceback_": _render_traceback_, "__module__": "builtins"}
    return type(ename, (base,), body)


def as_shown_already(shell: Any, error: BaseException) -> None:
    """Make IPython fail the cell with ``error`` and show nothing: the worker has shown it in its own way.

    IPython reports a usage error or an exception group as text on stderr, without a traceback of its own to send.
    """
    show = shell.showtraceback

    def once(*args: Any, **kwargs: Any) -> None:
        shell.showtraceback = show
        # Something else may come first if the user's own code caught the error.
        if sys.exc_info()[1] is error:
            shell._last_traceback = []
        else:
            show(*args, **kwargs)

    shell.showtraceback = once


def as_debugged_there(shell: Any, error: BaseException) -> None:
    """After ``%pdb`` the worker has opened its debugger where the cell failed: none is opened here, in frames of ours."""
    show = shell.showtraceback

    def once(*args: Any, **kwargs: Any) -> None:
        shell.showtraceback = show
        wanted = shell.call_pdb
        try:
            shell.call_pdb = wanted and sys.exc_info()[1] is not error
            show(*args, **kwargs)
        finally:
            shell.call_pdb = wanted

    shell.showtraceback = once


def as_shown_whole(shell: Any) -> None:
    """Have the error that ends a remote cell shown in spite of an interrupt: who presses twice would else see neither."""
    show = shell.showtraceback
    if getattr(show, "whole", False):  # the last one was caught by the user's code
        return

    def once(*args: Any, **kwargs: Any) -> None:
        shell.showtraceback = show
        with one_less():
            shell.showtraceback(*args, **kwargs)

    once.whole = True  # type: ignore[attr-defined]
    shell.showtraceback = once


def as_advice(error: BaseException) -> None:
    """Make IPython show this error of cellferry (or an interrupt) by its message alone, without our own frames."""
    lines = message_lines(error)
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]


def message_lines(error: BaseException) -> list[str]:
    """What failed, and on the next line what to type; as IPython colours the last line of a traceback."""
    name = type(error).__name__
    what = error.what if isinstance(error, CellferryError) else str(error)
    lines = [f"{_RED}{name}{_PLAIN}: {what}"]
    if isinstance(error, CellferryError) and error.advice:
        lines.append(f"  -> {error.advice}")
    return lines


def syntax_error_lines(shell: Any, error: SyntaxError, lines_above: int, file_name: str | None) -> list[str]:
    """How IPython would show the syntax error of a cell's body, with the notebook cell's own name and line numbers.

    ``error`` is moved to where it is in the notebook.
    """
    if error.lineno is not None:
        error.lineno += lines_above
    if error.end_lineno is not None:
        error.end_lineno += lines_above
    if file_name is not None:
        error.filename = file_name
    return list(shell.SyntaxTB.structured_traceback(type(error), error, []))


class Refusal(ast.NodeTransformer):
    """Stops one local cell before it runs, showing ``error``: a value that it names could not come home.

    IPython has no other way to refuse a cell from a hook: errors in ``pre_run_cell`` are printed and ignored.
    """

    def __init__(self, shell: InteractiveShell, error: BaseException) -> None:
        self._shell: Any = shell
        self._error = error
        shell.ast_transformers.append(self)

    def withdraw(self) -> None:
        """The refused cell is over, whether it came to be compiled or not."""
        if self in self._shell.ast_transformers:
            self._shell.ast_transformers.remove(self)

    def visit(self, node: ast.AST) -> Any:
        """Called by IPython with the cell's syntax tree."""
        self.withdraw()
        lines = message_lines(self._error)
        shown = type(type(self._error).__name__, (InputRejected,), {"_render_traceback_": lambda _self: lines})
        raise shown(str(self._error)) from None
