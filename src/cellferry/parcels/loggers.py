"""Handlers of loggers that write to the output of cells: what they are, as plain data, and the same ones elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

Described = tuple[str, int, tuple[str | None, str | None, str] | None]
"""Stream ("stderr" or "stdout"), level, and the format with that of dates and its style."""


def handlers_of(logger: logging.Logger) -> list[Described]:
    """The logger's plain handlers for this process's ``sys.stdout`` or ``sys.stderr``, in order; no others."""
    return [described for handler in logger.handlers if (described := _described(handler)) is not None]


def give_handlers(logger: logging.Logger, wanted: list[Described]) -> None:
    """Make ``handlers_of(logger)`` be ``wanted``; other handlers stay."""
    if handlers_of(logger) == wanted:
        return
    for handler in [handler for handler in logger.handlers if _described(handler) is not None]:
        logger.removeHandler(handler)
    for stream, level, form in wanted:
        made = logging.StreamHandler(getattr(sys, stream))
        made.setLevel(level)
        if form is not None:
            made.setFormatter(logging.Formatter(form[0], form[1], form[2]))  # type: ignore[arg-type]
        logger.addHandler(made)


def _described(handler: Any) -> Described | None:
    form = handler.formatter
    if type(handler) is not logging.StreamHandler or type(form) not in (type(None), logging.Formatter):
        return None
    stream = next((name for name in ("stderr", "stdout") if handler.stream is getattr(sys, name)), None)
    if stream is None or form is None:
        return None if stream is None else (stream, handler.level, None)
    styles: dict[str, Any] = logging._STYLES
    style = next(mark for mark, (kind, _default) in styles.items() if type(form._style) is kind)
    return stream, handler.level, (form._fmt, form.datefmt, style)
