"""``%%remote`` and ``%remote`` in any IPython shell.

Loading this must stay cheap: what a remote cell needs (``journey`` and everything below it) is imported by the first
one. Nothing here decides anything about a run; it reads the words, calls ``journey.Session`` and shows the outcome.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class

from cellferry.errors import CellferryError, CellSyntaxError, WorkerError
from cellferry.jupyter import failures, left
from cellferry.jupyter.here import run_here
from cellferry.jupyter.host import REMOTE_CALL, ShellHost

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

    from cellferry.journey import RemoteError, Session
    from cellferry.jupyter.detached import Watching
    from cellferry.jupyter.relay import DoorScreen
    from cellferry.model import CellReport, CellRequest

_LOADED = "_cellferry"
_MOST_OFFERED = 5  # values that stayed and are shown each by itself; a line tells of the others


def load(shell: InteractiveShell) -> None:
    """Register the magics in ``shell``; a second call does nothing. Called by ``%load_ext`` and the kernel."""
    if getattr(shell, _LOADED, None) is not None:
        return
    magics = RemoteMagics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.before_cell)
    shell.events.register("post_run_cell", magics.after_cell)
    setattr(shell, _LOADED, magics)
    left.offer(magics, magics.offers.append)
    if getattr(shell, "execution_count", 0) and getattr(shell.displayhook, "exec_result", None) is not None:
        magics.tell_offers()  # a cell is loading the extension; else the first cell is told


def unload(shell: InteractiveShell) -> None:
    """Take the magics away and end the workers of this shell; silent if they were not loaded."""
    magics: RemoteMagics | None = getattr(shell, _LOADED, None)
    if magics is None:
        return
    delattr(shell, _LOADED)
    shell.events.unregister("pre_run_cell", magics.before_cell)
    shell.events.unregister("post_run_cell", magics.after_cell)
    registered = shell.magics_manager.magics
    registered["line"].pop("remote", None)
    for name in ("remote", "everywhere"):
        registered["cell"].pop(name, None)
    magics.close()


def open_session(shell: InteractiveShell, host: ShellHost) -> Session:
    """The way to the workers for one shell, with the settings in force there."""
    from cellferry import config
    from cellferry.journey import Session

    return Session(config.load(getattr(shell, "kernel", None) or shell), shell.user_ns, host)


@functools.lru_cache(maxsize=256)
def read_request(line: str) -> CellRequest:
    """The words after ``%%remote``; the parser is loaded by the first cell."""
    from cellferry import journey

    return journey.read_request(line)


@magics_class
class RemoteMagics(Magics):
    """The two magics of one shell, and the hooks that let local cells use what lives on a worker."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell: Any = shell
        self._session: Session | None = None
        self._opening = threading.RLock()
        self._refusal: failures.Refusal | None = None
        self._local_debug: Any = None
        self._last_line = ""
        self.last_report: CellReport | None = None
        """What the last remote cell did; None before the first and after one that failed."""
        self.watching: list[Watching] = []
        """Displays of cells that were let go."""
        self.offers: list[str] = []
        """Cells that an earlier kernel left, not told yet."""
        self.screen = _screen(shell)
        self.host = ShellHost(shell, self.screen)

    @property
    def session(self) -> Session:
        """The way to the workers, opened by the first use; by one thread, should two come at once."""
        with self._opening:
            if self._session is None:
                self._session = open_session(self._shell, self.host)
                self.screen.connect(self._session)
            return self._session

    @property
    def opened(self) -> Session | None:
        """The session if anything remote was used yet."""
        return self._session

    def close(self) -> None:
        """End the workers and give the shell's hooks back; repeatable."""
        self._unwrap_debug()
        for each in self.watching:
            each.close()
        self.watching.clear()
        session, self._session = self._session, None
        if session is not None:
            self.screen.close()
            session.close()

    @line_cell_magic
    def remote(self, line: str, cell: str | None = None) -> Any:
        """Run a cell on a worker (``%%remote gpu=a100``), or see to the workers (``%remote status``).

        %%remote [key=value ...] [flag ...]
            The cell and everything it needs travel to a worker; its outputs appear here while it runs, and what it
            made or changed comes home. Without words: a CPU worker on this machine.

        %remote status | down [NAME|--all] | interrupt | fetch NAME ... | doctor | ...
            Each shows a short table and returns it as a value.
        """
        try:
            if cell is not None:
                return self.run(line, cell)
            from cellferry.jupyter.commands import run_command

            return run_command(self, line)
        except (CellferryError, KeyboardInterrupt) as error:
            failures.as_advice(error)
            raise
        finally:
            if sys.exc_info()[0] is not None:
                failures.as_shown_whole(self._shell)

    @cell_magic
    def everywhere(self, line: str, cell: str) -> Any:
        """Run a cell here and on every worker of this notebook, now and whenever one starts; as ``%%remote everywhere``."""
        return self._shell.run_cell_magic("remote", f"everywhere {line}".rstrip(), cell)

    def run(self, line: str, body: str) -> Any:
        """Run ``body`` on the worker that ``line`` asks for; errors are made to look as the user expects."""
        request = read_request(line)
        session = self.session
        from cellferry.journey import Cell, RemoteError

        host = self.host
        cell = Cell(body, host.lines_above(body), host.number, host.cell_id)
        if request.everywhere:
            return session.run_everywhere(cell, lambda: run_here(self._shell, cell))
        self._last_line = line
        self.last_report = None
        try:
            host.keep_input()
            host.keep_source(line, body, cell.lineno_offset)
            report = self.last_report = session.run(request, cell)
        except RemoteError as error:
            raise self.as_local(error) from None
        except WorkerError:
            self.screen.worker_lost(request.name)
            raise
        except (CellSyntaxError, SyntaxError) as error:
            cause = error.__cause__ if isinstance(error, CellSyntaxError) else error
            if not isinstance(cause, SyntaxError):
                raise
            shown = failures.syntax_error_lines(self._shell, cause, cell.lineno_offset, host.file)
            raise self.as_local(RemoteError(type(cause).__name__, str(cause), shown)) from None
        if request.estimate:
            from cellferry.jupyter.display import estimate

            return estimate(report, self._offers(request))
        if report.run:
            from cellferry.jupyter import detached

            detached.show(self, report.run, report.worker)
        if report.notes or report.stayed_there:
            self._tell(report)
        return None

    def _tell(self, report: CellReport) -> None:
        from cellferry.jupyter.display import stays, summary, unsaid

        names = self._shell.user_ns
        waiting = self.session.needs_fetch("\n".join(unsaid(report)))
        offered = [name for name in unsaid(report) if name in waiting][:_MOST_OFFERED]
        text = summary(report, offered)
        if text:
            self.screen.note(text)
        for name in offered:
            self.screen.stayed(stays(report.worker, [name]), names[name])

    def _offers(self, request: CellRequest) -> Any:
        """For an estimate: which machines would be tried; None for a worker that is a process of this machine."""
        from cellferry.fleet.states import candidates

        if candidates(request, self.session.config) == ("local",):
            return None
        from cellferry.jupyter import purchases

        return purchases.offers_table(self.session, request)

    def as_local(self, error: RemoteError) -> RemoteError:
        """The error as IPython shows one of a local cell; ``%debug`` then opens where it happened."""
        self._wrap_debug()
        failures.as_the_users(error)
        if not error.traceback:
            failures.as_shown_already(self._shell, error)
        elif self._shell.call_pdb:
            failures.as_debugged_there(self._shell, error)
        return error

    def tell_offers(self, cell: str = "") -> None:
        """Show what can be brought home, once. Not below ``cell`` if it brings one home: that one needs no offer any more,
        and the others wait for the next cell."""
        if cell.split()[:2] == ["%remote", "attach"]:
            self.offers = [offer for offer in self.offers if offer.split()[-1] not in cell.split()]
            return
        brought = self.opened.fleet.brought if self.opened is not None else ()
        while self.offers:
            offer = self.offers.pop(0)
            if offer.split()[-1] not in brought:
                self.screen.note(offer)

    def before_cell(self, info: ExecutionInfo) -> None:
        """IPython's ``pre_run_cell``: bring home what the local cell reads and only a worker has."""
        self.host.begin(info)
        if self.offers:
            self.tell_offers(info.raw_cell or "")
        if self._refusal is not None:
            self._refusal.withdraw()
            self._refusal = None
        session = self._session
        if session is None:
            return
        source = str(getattr(info, "transformed_cell", None) or info.raw_cell)
        if source.startswith(REMOTE_CALL):
            return
        try:
            names = session.needs_fetch(source)
            if names:
                session.fetch(names)
        except (CellferryError, KeyboardInterrupt) as error:
            self._refusal = failures.Refusal(self._shell, error)

    def after_cell(self, _result: object) -> None:
        """IPython's ``post_run_cell``."""
        self.screen.cell_over()

    def _wrap_debug(self) -> None:
        """From the first remote error on, ``%debug`` opens the post-mortem where the last error happened.

        Not at load: finding IPython's own ``%debug`` imports the profiler and more.
        """
        local = self._shell.find_line_magic("debug")
        if local is None or self._local_debug is not None:
            return

        @functools.wraps(local)
        def debug(line: str = "", *args: Any, **kwargs: Any) -> Any:
            # A local error since the remote one is the error that the user means.
            if line.strip() or not self._failed_remotely():
                return local(line, *args, **kwargs)
            return self._shell.find_cell_magic("remote")(self._last_line, "%debug\n")

        self._local_debug = local
        self._shell.magics_manager.magics["line"]["debug"] = debug

    def _unwrap_debug(self) -> None:
        if self._local_debug is not None:
            self._shell.magics_manager.magics["line"]["debug"] = self._local_debug
            self._local_debug = None

    def _failed_remotely(self) -> bool:
        if self._session is None or not self._session.failed_remotely:
            return False
        from cellferry.journey import RemoteError

        return isinstance(getattr(sys, "last_value", None), RemoteError)


def _screen(shell: InteractiveShell) -> DoorScreen:
    from cellferry.jupyter.relay import KernelScreen, TerminalScreen

    return KernelScreen(shell) if getattr(shell, "kernel", None) is not None else TerminalScreen(shell)
