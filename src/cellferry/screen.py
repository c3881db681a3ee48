"""What ``journey`` may ask of a door: the cell as it was typed, the screen under it, the shell behind it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cellferry.model import Message


class Screen(Protocol):
    """Where a remote cell's messages appear: the door's side of the relay (``jupyter/relay.py`` implements it).

    ``publish`` and ``lost`` are called from the link's reader thread, the others from the thread that runs the cell.
    """

    def parent(self) -> Message:
        """The frontend's own request (header and all) that remote messages must carry as their parent; {} in a terminal."""

    def allow_stdin(self) -> bool:
        """Whether the frontend can answer ``input()``."""

    def publish(self, message: Message) -> None:
        """Show one iopub message from the worker (stream, display_data, execute_result, update_display_data,
        clear_output, comm_open, comm_msg, comm_close; never status, execute_input or error), header and
        parent_header as the worker made them. Messages may arrive after their cell has ended."""

    def ask(self, prompt: str, password: bool) -> str:
        """Ask the user for a line (``input()`` / ``getpass``); raises KeyboardInterrupt if interrupted, EOFError at end."""

    def leaving(self) -> bool:
        """Asked after KeyboardInterrupt: whether it came because this kernel is about to end or to be restarted."""

    def note(self, text: str) -> None:
        """Show one short line from cellferry itself under the cell."""

    def show_text(self, text: str) -> None:
        """Show text as the cell's standard error would be shown, its colours kept."""

    def progress(self, text: str) -> None:
        """Show ``text`` in the one line that tells how far a transfer is, in place of what stood there; "": take it away."""


@dataclass(frozen=True)
class Cell:
    """A cell as the door saw it. ``lineno_offset``: lines of the notebook's cell above ``source``."""

    source: str
    lineno_offset: int
    number: int
    cell_id: str | None = None

    @property
    def word(self) -> str:
        """See ``cell_word``."""
        return cell_word(self.cell_id, self.number)


def cell_word(cell_id: str | None, number: int) -> str:
    """How a cell is named in receipts and checkpoints: by its id, which outlives the kernel, or by its number."""
    return cell_id or f"In[{number}]"


class Host(Protocol):
    """The shell behind a door (``jupyter.host``)."""

    screen: Screen
    hidden: Container[str]

    @property
    def notebook(self) -> str:
        """The notebook's path, or whatever names it best: for limits and reports."""

    @property
    def kernel_id(self) -> str:
        """The Jupyter server's name for this kernel, "" outside of one."""

    def transform(self, source: str) -> str:
        """IPython syntax to Python."""

    def result(self, value: Any) -> None:
        """Make ``value`` the running cell's ``Out[n]`` and ``_`` without showing it."""

    @property
    def file(self) -> str | None:
        """The file name under which the running cell was compiled here; the worker uses the same."""

    def source_of(self, file: str) -> tuple[int, str] | None:
        """Number and text of the notebook cell that was compiled as ``file``; None if it was no cell."""

    def inputs(self) -> tuple[list[str], list[str]]:
        """What was typed, and what IPython made of it, from the first cell to the running one."""

    def payloads(self, payloads: Sequence[dict[str, Any]]) -> None:
        """Pass on what the remote cell asked of the frontend beside its outputs (``name?``)."""

    def future_flags(self, more: int = 0) -> int:
        """The compiler's ``from __future__`` flags in force for the next cell, after adding ``more``."""
