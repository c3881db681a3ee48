"""What ``journey`` needs to know of the notebook it serves: its names, its syntax, its outputs, the running cell."""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

    from cellferry.jupyter.relay import DoorScreen

_SHELL_NAMES = frozenset({"In", "Out", "get_ipython", "_ih", "_oh", "_dh", "_i", "_ii", "_iii", "__builtins__"})
_SHELL_VALUES = frozenset({"exit", "quit", "open"})


class HiddenNames:
    """The names of the notebook that belong to IPython and never travel; ``name in hidden`` asks."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell

    def __contains__(self, name: object) -> bool:
        if name in _SHELL_NAMES:
            return True
        if name in _SHELL_VALUES:
            # A user may call a variable of their own `exit`; only the shell's object stays.
            return self._shell.user_ns.get(name) is self._shell.user_ns_hidden.get(name, builtins)
        return isinstance(name, str) and name.startswith("_i") and name[2:].isdigit()


class ShellHost:
    """The notebook as ``journey`` sees it; one for each shell, used from the thread that runs cells."""

    def __init__(self, shell: InteractiveShell, screen: DoorScreen) -> None:
        self._shell: Any = shell
        self.screen = screen
        self.hidden = HiddenNames(shell)
        self._raw = ""
        self._cell_id: str | None = None

    def begin(self, info: ExecutionInfo) -> None:
        """Remember the cell that IPython is about to run; called before each cell."""
        self._raw = info.raw_cell or ""
        self._cell_id = info.cell_id

    def transform(self, source: str) -> str:
        """IPython syntax to Python, as this shell's own cells are read (its input transformers included)."""
        return str(self._shell.transform_cell(source))

    @property
    def number(self) -> int:
        """The n of the running cell's ``In[n]``."""
        return int(self._shell.displayhook.prompt_count)

    @property
    def cell_id(self) -> str | None:
        """The frontend's identifier of the running cell, if it gave one."""
        return self._cell_id

    def lines_above(self, body: str) -> int:
        """How many lines of the running cell stand above ``body`` (the ``%%remote`` line, outer cell magics)."""
        raw = self._raw.lstrip("\n")
        at = raw.find(body.rstrip("\n"))
        return raw.count("\n", 0, at) if at >= 0 else 1

    def result(self, value: Any) -> None:
        """Make ``value`` the running cell's ``Out[n]`` and ``_``; its display has come with the worker's messages."""
        hook = self._shell.displayhook
        hook.check_for_underscore()
        hook.update_user_ns(value)
        hook.fill_exec_result(value)


def cell_file() -> str | None:
    """The file name under which IPython compiled the running cell, as tracebacks show it; None outside of one."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in ("<module>", "<cell line: 1>") and "get_ipython" in frame.f_globals:
            return frame.f_code.co_filename
        frame = frame.f_back  # type: ignore[assignment]
    return None
