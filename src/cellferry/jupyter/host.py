"""What ``journey`` needs to know of the notebook it serves: its names, its syntax, its outputs, the running cell."""

from __future__ import annotations
import __future__

import builtins
import functools
import linecache
import operator
import os
import re
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

    from cellferry.screen import Screen

_FUTURE_FLAGS = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
REMOTE_CALL = "get_ipython().run_cell_magic('remote',"
"""How IPython's own reading of a ``%%remote`` cell begins."""
_SHELL_NAMES = frozenset({"In", "Out", "get_ipython", "_ih", "_oh", "_dh", "_i", "_ii", "_iii", "__builtins__"})
_SHELL_VALUES = frozenset({"exit", "quit", "open"})


class HiddenNames(Container[str]):
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

    def __init__(self, shell: InteractiveShell, screen: Screen) -> None:
        self.shell: Any = shell
        self.screen: Screen = screen
        self.hidden: Container[str] = HiddenNames(shell)
        self._raw = ""
        # The body is read by the door, by the capture and by the hook before the next cell: once is enough.
        self._read = ("", "")
        self._cell_id: str | None = None
        try:
            self._began_in = os.getcwd()  # noqa: PTH109
        except OSError:  # it has been removed
            self._began_in = ""

    def begin(self, info: ExecutionInfo) -> None:
        """Remember the cell that IPython is about to run; called before each cell."""
        self._raw = info.raw_cell or ""
        self._cell_id = info.cell_id
        self._read = ("", "")

    def transform(self, source: str) -> str:
        """IPython syntax to Python, as this shell's own cells are read (its input transformers included)."""
        if source != self._read[0]:
            self._read = (source, str(self.shell.transform_cell(source)))
        return self._read[1]

    @property
    def number(self) -> int:
        """The n of the running cell's ``In[n]``."""
        return int(self.shell.displayhook.prompt_count)

    @property
    def cell_id(self) -> str | None:
        """The frontend's identifier of the running cell, if it gave one."""
        return self._cell_id

    @property
    def notebook(self) -> str:
        """Its path, where the frontend tells it (Jupyter: ``JPY_SESSION_NAME``; VS Code); else the working directory in which this
        was loaded: a cell may go elsewhere, and it is the same notebook."""
        told = self.shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
        return os.path.join(self._began_in, str(told)) if told else self._began_in  # noqa: PTH118 - an absolute one stays

    @property
    def kernel_id(self) -> str:
        """The Jupyter server's name for this kernel: it names the connection file by it. "" outside of one."""
        app = getattr(getattr(self.shell, "kernel", None), "parent", None)
        found = re.fullmatch(r"kernel-(.+)\.json", Path(getattr(app, "connection_file", "")).name)
        return found[1] if found else ""

    @property
    def file(self) -> str | None:
        """The file name under which the running cell was compiled, which tracebacks know as ``Cell In[n]``."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name == "<module>" and frame.f_globals is self.shell.user_ns:
                return frame.f_code.co_filename
            frame = frame.f_back
        return None

    def lines_above(self, body: str) -> int:
        """How many lines of the running cell stand above ``body`` (the ``%%remote`` line, outer cell magics)."""
        raw = self._raw.lstrip("\n")
        at = raw.find(body.rstrip("\n"))
        return raw.count("\n", 0, at) if at >= 0 else 1

    def keep_source(self, line: str, body: str, lines_above: int) -> None:
        """Let tracebacks and ``inspect`` here find the body under the cell's own file name and line numbers.

        What IPython itself keeps there is the call of the magic, one line long.
        """
        name = self.file
        if name is not None:
            text = f"#%%remote {line}".rstrip() + "\n" * lines_above + self.transform(body)
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)

    def keep_input(self) -> None:
        """Let ``In[n]`` of the running cell be what was typed, and not the call of the magic that came of it."""
        inputs, number = self.shell.history_manager.input_hist_parsed, self.number
        if number < len(inputs) and inputs[number].startswith(REMOTE_CALL):
            inputs[number] = self._raw.rstrip("\n")

    def inputs(self) -> tuple[list[str], list[str]]:
        """What was typed, and what IPython made of it, from the first cell to the running one."""
        history, end = self.shell.history_manager, self.number + 1
        return history.input_hist_raw[:end], history.input_hist_parsed[:end]

    def source_of(self, file: str) -> tuple[int, str] | None:
        """Number and text of the notebook cell that was compiled as ``file``; None if it was no cell."""
        number: int | None = getattr(self.shell.compile, "_filename_map", {}).get(file)
        if number is None:
            return None
        return number, "".join(linecache.getlines(file))

    def future_flags(self, more: int = 0) -> int:
        """The ``from __future__`` flags with which this shell compiles its next cell, after adding ``more``.

        A ``from __future__`` import holds for all later cells of a notebook, wherever they run.
        """
        self.shell.compile.flags |= more & _FUTURE_FLAGS
        return int(self.shell.compile.flags & _FUTURE_FLAGS)

    def payloads(self, payloads: Sequence[dict[str, Any]]) -> None:
        """Pass on what the remote cell asked of the frontend beside its outputs (``name?``, ``%load``)."""
        for payload in payloads:
            self.shell.payload_manager.write_payload(payload)

    def result(self, value: Any) -> None:
        """Make ``value`` the running cell's ``Out[n]`` and ``_``; its display has come with the worker's messages."""
        hook = self.shell.displayhook
        hook.check_for_underscore()
        hook.update_user_ns(value)
        hook.fill_exec_result(value)
