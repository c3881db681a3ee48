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
    replaced = plain_handlers(logger)
    for handler in replaced:
        logger.removeHandler(handler)
    for at, (stream, level, form) in enumerate(wanted):
        made = logging.StreamHandler(getattr(sys, stream))
        made.setLevel(level)
        made.filters = list(replaced[at].filters) if at < len(replaced) else []
        if form is not None:
            made.setFormatter(logging.Formatter(form[0], form[1], form[2]))  # type: ignore[arg-type]
        logger.addHandler(made)


def plain_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Those that ``handlers_of`` describes."""
    return [handler for handler in logger.handlers if _described(handler) is not None]


def look_logging(_shell: Any = None) -> dict[tuple[str, ...], Any]:
    """Filters that the notebook has put on loggers and on their plain handlers, and such handlers of loggers that belong to
    no package; by the keys of ``shell_parts``. Levels, and the root's handlers, go another way (``ambient_sources``)."""
    found: dict[tuple[str, ...], Any] = {}
    root = logging.root
    for name, logger in [("", root), *root.manager.loggerDict.items()]:
        if not isinstance(logger, logging.Logger) or not (logger.filters or logger.handlers):
            continue
        _note_filters(found, ("filters", name, ""), logger)
        for at, handler in enumerate(plain_handlers(logger) if logger.handlers else ()):
            _note_filters(found, ("filters", name, str(at)), handler)
        if logger.handlers and name and _of_no_package(name):
            described = tuple(handlers_of(logger))
            if described:
                found["handlers", name] = described
    return found


def _note_filters(found: dict[tuple[str, ...], Any], key: tuple[str, ...], filterer: logging.Filterer) -> None:
    own = tuple(each for each in filterer.filters if _of_notebook(each))
    if own:
        found[key] = own


def _of_notebook(each: Any) -> bool:
    """A filter that is no library's: a function or an object of the notebook, or logging's own."""
    module = getattr(each, "__module__", None) or type(each).__module__
    return module == "__main__" or type(each) is logging.Filter


def _of_no_package(name: str) -> bool:
    top = name.partition(".")[0]
    return top == "__main__" or top not in sys.modules


def give_logging(_shell: Any, key: tuple[str, ...], value: Any) -> None:
    """Put one entry of ``look_logging`` in force; anything but a tuple: as without it. Raises LookupError where its handler is
    missing."""
    logger = logging.getLogger(key[1] or None)
    wanted = value if type(value) is tuple else ()
    if key[0] == "handlers":
        give_handlers(logger, list(wanted))
        return
    handlers = plain_handlers(logger)
    if key[2] and int(key[2]) >= len(handlers):
        if wanted:
            raise LookupError(f"there is no such handler of logger {key[1] or 'root'!r} in that kernel")
        return
    filterer: Any = handlers[int(key[2])] if key[2] else logger
    filterer.filters = [each for each in filterer.filters if not _of_notebook(each)] + list(wanted)


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
