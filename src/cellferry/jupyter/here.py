"""The local half of a cell that runs everywhere: in the notebook's own shell, as if its first line were not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellferry.jupyter import failures

if TYPE_CHECKING:
    from cellferry.screen import Cell


def run_here(shell: Any, cell: Cell) -> None:
    """Run the body in ``shell``: its outputs, its value and its error are the running cell's own.

    Raises the cell's exception, which IPython has shown already.
    """
    magic = cell.source.lstrip().startswith("%%")
    above = "" if magic else "\n" * cell.lineno_offset  # the notebook's own line numbers
    result = shell.run_cell(above + cell.source, store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        failures.as_shown_already(shell, error)
        raise error
