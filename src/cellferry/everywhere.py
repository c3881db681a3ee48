"""Cells that run here and on every worker of the notebook: ``%%remote everywhere``. Beside ``journey``, see decision 007.

Such a cell sets up what no value carries. It runs here first; then on each worker over a link of its own, so that nothing that it
makes or changes there is taken for the notebook's: what it binds stays on its side, and where a later cell reads such a name, the
notebook's value counts. A worker that appears later, or a kernel that takes another's place, is caught up before its next cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cellferry import errors
from cellferry.baggage import frame_of, refuse_secrets
from cellferry.capture.dataflow import analyse
from cellferry.capture.mentions import paths_named
from cellferry.capture.needs import needed
from cellferry.link.session import KernelLink
from cellferry.link.there import There
from cellferry.model import CellRequest, Message
from cellferry.parcels.ambient import at_home
from cellferry.parcels.context import Unpacking
from cellferry.parcels.shell_parts import Key
from cellferry.parcels.shell_state import ShellState
from cellferry.payload import Beside, pack_all
from cellferry.screen import Cell, Host

if TYPE_CHECKING:
    from cellferry.config import Cellferry

_NOBODY_ANSWERS = "it runs everywhere, and gets what its text names, and no more"
Kernel = tuple[str, int]
"""A worker and the process of its kernel: what has run there is gone with either."""


@dataclass
class SetUp:
    """One registered cell. ``version`` grows each time that it is run here."""

    word: str
    cell: Cell
    version: int
    ran_on: dict[str, str] = field(default_factory=dict)
    """Worker -> "" or the name of the exception that ended the cell there, for this version."""


class _Heard:
    """A screen for a cell whose outputs are shown only if it fails; questions cannot be asked there."""

    def __init__(self, screen: Any) -> None:
        self._screen = screen
        self.messages: list[Message] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen, name)

    def publish(self, message: Message) -> None:
        """Keep it."""
        self.messages.append(message)

    def ask(self, prompt: str, password: bool) -> str:
        """See ``screen.Screen``: the cell was answered here, and nobody is asked once more for each worker."""
        raise EOFError


class Everywhere:
    """The set-up cells of one notebook, in the order in which they first came; used from the thread that runs its cells."""

    def __init__(self, config: Cellferry, namespace: dict[str, Any], host: Host) -> None:
        self._config, self._namespace, self._host = config, namespace, host
        self.cells: dict[str, SetUp] = {}
        self._done: dict[Kernel, dict[str, int]] = {}
        self._entries: set[Key] = set()
        self._versions = 0
        self.held: Callable[[Callable[[], object]], AbstractContextManager[None]] = lambda _wake: nullcontext()
        """See ``presses.Presses.held``."""

    def shell_state(self) -> ShellState:
        """A new view of the shell that takes for granted what the set-up cells do on both sides."""
        made = ShellState(getattr(self._host, "shell", None))
        made.agree_about(self._entries)
        return made

    def run(self, cell: Cell, here: Callable[[], None], workers: Mapping[str, There]) -> None:
        """Run the cell here, by ``here``, and on these workers. What ``here`` raises is raised, and nothing is registered then.

        A failure on a worker is shown, and is that worker's own.
        """
        before = self.shell_state()
        before.agree(before.changed())
        here()
        self._entries |= set(before.changed())
        self._versions += 1
        word = cell.word
        known = (
            word
            if word in self.cells
            else next((w for w, old in self.cells.items() if old.cell.source == cell.source), word)
        )
        self.cells[known] = SetUp(word, cell, self._versions)
        for there in workers.values():
            there.shell.agree_about(self._entries)
            if there.link.lost is None:
                self.catch_up(there)

    def drop(self, number: int | None) -> list[SetUp]:
        """Forget one cell by its place in the list, from 1, or all; what it has done stays done. Raises LookupError."""
        words = list(self.cells)
        if number is not None and not 1 <= number <= len(words):
            raise LookupError(number)
        return [self.cells.pop(word) for word in (words if number is None else words[number - 1 : number])]

    def catch_up(self, there: There) -> None:
        """Run on this worker what has not run in its kernel yet, in order."""
        done = self._done.setdefault((there.worker.id, there.link.pid), {})
        for word, setup in list(self.cells.items()):
            if done.get(word) != setup.version:
                done[word] = setup.version
                setup.ran_on[there.worker.name] = self._on(there, setup.cell)

    def _on(self, there: There, cell: Cell) -> str:
        """Run it there; what failed, "" if nothing. Raises KeyboardInterrupt, and what says that the worker is gone."""
        heard = _Heard(self._host.screen)
        name = there.worker.name
        try:
            reply = self._send(there, cell, heard)
        except errors.WorkerError:
            raise
        except errors.CellferryError as error:
            self._host.screen.note(
                f"%%remote everywhere, {cell.word} did not run on worker {name}: {error.what}. {error.advice or ''}".rstrip()
            )
            return type(error).__name__
        if reply["status"] == "ok":
            return ""
        self._host.screen.note(
            f"%%remote everywhere, {cell.word} failed on worker {name}, and there alone: {reply['ename']}: {reply['evalue']}"
        )
        for message in heard.messages:
            self._host.screen.publish(message)
        self._show_traceback(heard, reply)
        return str(reply["ename"])

    def _show_traceback(self, heard: _Heard, reply: Mapping[str, Any]) -> None:
        """As text: the cell's own error message would say that it failed here."""
        lines = "\n".join(reply["traceback"] or [])
        if lines:
            self._host.screen.show_text(lines + "\n")

    def _send(self, there: There, cell: Cell, heard: _Heard) -> dict[str, Any]:
        request = CellRequest(returns=(), line="everywhere")
        flow = analyse(self._host.transform(cell.source), self._host.transform)
        link = KernelLink(there.worker.endpoint, heard, self._namespace, there.worker.name, lambda _when: None)
        apart = There(
            there.worker, link, there.files, there.sources, shell=self.shell_state(), same_folder=there.same_folder
        )
        link.open()
        try:
            beside = Beside(at_home().changed(), apart.shell.outgoing())
            parcel = pack_all(
                needed(flow, self._namespace, self._host.hidden, ()), link.heap, beside, self._host.hidden
            )
            refuse_secrets(request, (), cell, flow, parcel, None, self._namespace, self._host)
            given = [self._namespace.get(name) for name in parcel.roots]
            there.files.send(there.link, there.folder, paths_named(flow, given, parcel.functions), ())
            there.sources.send(there.link, flow.imports, in_place=there.same_folder)
            frame = frame_of(apart, request, cell, flow, parcel, given, self._host, self._namespace, self._config)
            link.pressed = there.link.pressed
            frame["unasked"] = _NOBODY_ANSWERS
            if "home_folder" in frame:
                frame["home_folder"] = _NOBODY_ANSWERS
            link.run({**frame, "stdin": False, "everywhere": True}, parcel)
            parcel.sealed(link.heap)
            with self.held(link.wake):
                returned = _wait(link, Unpacking(self._namespace, worker=there.worker.name))
            link.tell({"op": "claimed", "run": frame["run"]})
            return dict(returned["reply"])
        finally:
            link.close()


def _wait(link: KernelLink, context: Unpacking) -> dict[str, Any]:
    """The frame that ends the cell. The values in it are not taken."""
    interrupts = 0
    while True:
        try:
            return link.home(context).frame
        except KeyboardInterrupt:
            interrupts += 1
            link.interrupted(interrupts)
