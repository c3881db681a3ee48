"""The kernel "Python 3 (cellferry)": ``ipykernel`` with the magics loaded, and cells sent away by their own metadata.

A cell whose metadata says ``{"cellferry": {"remote": "gpu=a100 budget=5"}}`` runs exactly as if ``%%remote
gpu=a100 budget=5`` stood above it, except that its line numbers are its own.
"""

from __future__ import annotations

from typing import Any, cast

from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQInteractiveShell

import cellferry

_OWN_MAGICS = ("%%remote", "%remote")


class CellferryShell(ZMQInteractiveShell):  # type: ignore[misc, unused-ignore]
    """A shell that reads one marked cell as a call of ``%%remote``."""

    remote_words: str | None = None
    """The words after ``%%remote`` for the cell about to run; None for a local cell."""

    def transform_cell(self, raw_cell: str) -> str:
        """IPython syntax to Python. A marked cell becomes the magic's call, its text untouched, so that history,
        ``In[n]`` and tracebacks have the cell as typed."""
        if self.remote_words is None:
            return str(super().transform_cell(raw_cell))  # type: ignore[no-untyped-call, unused-ignore]
        return f"get_ipython().run_cell_magic('remote', {self.remote_words!r}, {raw_cell!r})\n"

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        """The mark is spent when its magic starts: what the magic itself transforms is plain source."""
        if magic_name == "remote":
            self.remote_words = None
        return super().run_cell_magic(magic_name, line, cell)  # type: ignore[no-untyped-call, unused-ignore]


class CellferryKernel(IPythonKernel):  # type: ignore[misc, unused-ignore]
    """An IPython kernel with ``%%remote`` built in."""

    implementation = "cellferry"
    implementation_version = cellferry.__version__
    shell_class = CellferryShell

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        self._marked_shell = cast(Any, self.shell)
        self._marked_shell.extension_manager.load_extension("cellferry")

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Any = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Any = None,
        cell_id: str | None = None,
    ) -> Any:
        """Run one cell, where its metadata says."""
        self._marked_shell.remote_words = None if silent else remote_words(code, cell_meta)
        try:
            return await super().do_execute(  # type: ignore[no-untyped-call, unused-ignore]
                code, silent, store_history, user_expressions, allow_stdin, cell_meta=cell_meta, cell_id=cell_id
            )
        finally:
            self._marked_shell.remote_words = None


def remote_words(code: str, cell_meta: Any) -> str | None:
    """The words that a cell's metadata puts after ``%%remote``; None if it says nothing.

    A cell that carries its own ``%%remote`` or ``%remote`` means that one, and an empty cell runs nowhere.
    """
    ours = cell_meta.get("cellferry") if isinstance(cell_meta, dict) else None
    words = ours.get("remote") if isinstance(ours, dict) else None
    if not isinstance(words, str) or not code.strip() or code.lstrip().startswith(_OWN_MAGICS):
        return None
    return words
