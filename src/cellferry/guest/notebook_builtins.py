"""``__builtins__`` of the notebook's code on a worker: Python's own, but for ``eval``, ``exec`` and ``globals``.

A text that is evaluated may name anything of the notebook; what it names is asked for first. Code of libraries has Python's
own functions. The table of names is a plain dict, so that looking a name up in it costs what it costs everywhere.
"""

# No `from __future__` here: a text that these functions compile must get the features of its caller, not of this file.

import __future__

import builtins
import dis
import sys
from functools import lru_cache
from inspect import CO_OPTIMIZED
from types import CodeType, ModuleType, TracebackType
from typing import Any

from cellferry.guest.asking import ALL, current

_FEATURES = 0
for _feature in __future__.all_feature_names:
    _FEATURES |= getattr(__future__, _feature).compiler_flag
_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "DELETE_GLOBAL"})
_SNAPSHOTS = sys.version_info >= (3, 13)
"""The locals of a running function are shown to ``exec`` as a copy; before, it was the copy that the frame itself keeps."""


def _eval(source: Any, /, globals: Any = None, locals: Any = None) -> Any:
    __tracebackhide__ = True
    source, globals, locals = _prepared(source, "eval", globals, locals, sys._getframe(1))
    try:
        return builtins.eval(source, globals, locals)
    except NameError as error:
        _explain(error)
        raise


def _exec(source: Any, /, globals: Any = None, locals: Any = None, *, closure: Any = None) -> None:
    __tracebackhide__ = True
    source, globals, locals = _prepared(source, "exec", globals, locals, sys._getframe(1))
    try:
        builtins.exec(source, globals, locals, closure=closure)
    except NameError as error:
        _explain(error)
        raise


def _globals() -> dict[str, Any]:
    found = sys._getframe(1).f_globals
    asking = current()
    if asking is not None and found is asking.namespace:
        asking.look_at(ALL)
    return found


for _own, _name in ((_eval, "eval"), (_exec, "exec"), (_globals, "globals")):
    _own.__name__ = _own.__qualname__ = _name
    _own.__module__ = "builtins"
_OWN = {"eval": _eval, "exec": _exec, "globals": _globals}


def _prepared(source: Any, mode: str, globals: Any, locals: Any, frame: Any) -> tuple[Any, Any, Any]:
    """The arguments as Python's own function takes them, with the names of the text asked for."""
    if globals is None:
        globals = frame.f_globals
        if locals is None:
            locals = frame.f_locals
            if _SNAPSHOTS and frame.f_code.co_flags & CO_OPTIMIZED:
                locals = dict(locals)
    asking = current()
    if asking is None or globals is not asking.namespace:
        # Python's own function would take its features from this file
        return (source if isinstance(source, CodeType) else _compiled(source, mode, frame)), globals, locals
    code = source if isinstance(source, CodeType) else _compiled(source, mode, frame)
    names = _names(code)
    asking.look_up(names if locals is None or locals is globals else [name for name in names if name not in locals])
    return code, globals, locals


def _compiled(source: Any, mode: str, frame: Any) -> Any:
    if mode == "eval" and isinstance(source, (str, bytes)):
        source = source.lstrip(" \t" if isinstance(source, str) else b" \t")  # type: ignore[arg-type]
    if not isinstance(source, (str, bytes, bytearray, memoryview)):
        return source  # Python's own function says what is wrong with it
    return compile(source, "<string>", mode, frame.f_code.co_flags & _FEATURES, dont_inherit=True)


_CODES = frozenset(function.__code__ for function in (_eval, _exec, _globals, _prepared, _compiled))


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> frozenset[str]:
    """The global names that ``code``, or code inside it, reads."""
    found = {each.argval for each in dis.get_instructions(code) if each.opname in _READS}
    return frozenset(found).union(*(_names(const) for const in code.co_consts if isinstance(const, CodeType)))


def _explain(error: NameError) -> None:
    asking = current()
    if asking is not None and error.name and (reason := asking.why(error.name)):
        note = f"{error.name}: {reason}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


class _Mirrored(ModuleType):
    """A module whose attributes are set in another one as well."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _set(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        for module in (builtins, _ours):
            vars(module).pop(name, None)


_Mirrored.__name__ = _Mirrored.__qualname__ = "module"
_Mirrored.__module__ = "builtins"
_ours = _Mirrored("builtins")


def _set(name: str, value: Any) -> None:
    for module in (builtins, _ours):
        vars(module)[name] = value


def install(namespace: dict[str, Any]) -> None:
    """Give the code of ``namespace`` these builtins, as Python's own are at the moment; before each cell."""
    if type(builtins) is ModuleType:
        builtins.__class__ = _Mirrored
    mine, theirs = vars(_ours), vars(builtins)
    for name in mine.keys() - theirs.keys():
        del mine[name]
    mine.update(theirs)
    mine.update({name: own for name, own in _OWN.items() if theirs[name] is _PYTHONS[name]})
    namespace["__builtins__"] = _ours


_PYTHONS = {name: getattr(builtins, name) for name in _OWN}


def without_own_frames(error: BaseException) -> None:
    """Take the frames of these functions out of the traceback of ``error`` and of those that led to it: a local cell has
    none there."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _without(each.__traceback__)
        pending += [each.__cause__, each.__context__]


def _without(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code in _CODES:
        traceback = traceback.tb_next
    step = traceback
    while step is not None:
        while step.tb_next is not None and step.tb_next.tb_frame.f_code in _CODES:
            step.tb_next = step.tb_next.tb_next
        step = step.tb_next
    return traceback
