"""A cell that was let go: one display under it that tells how it is, until it has ended; and the commands about runs."""

from __future__ import annotations

import html
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cellferry import runs
from cellferry.errors import CellferryError
from cellferry.fleet.bill import note_run, note_runs
from cellferry.fleet.runs import RunRow, find_run, row_of
from cellferry.jupyter.display import Table, as_html, duration_text, size_text

if TYPE_CHECKING:
    from cellferry.jupyter.magic import RemoteMagics
    from cellferry.model import Worker

SHOWN_LINES = 12
LOG_BYTES = 20_000
_LONGEST_LINE = 300
_PAINT_S = 0.25
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
Update = Callable[[str, str], None]


class Watching:
    """Follows one run in a thread of its own and keeps its display up to date; ends with the run, or with ``close``."""

    def __init__(self, magics: RemoteMagics, worker: Worker, run: str) -> None:
        self._fleet = magics.session.fleet
        self._follow = runs.follower(self._fleet, worker, run, self._told)
        self._worker, self._run, self._cost = worker, run, ""
        self._tail: deque[str] = deque([""], maxlen=SHOWN_LINES + 1)
        self._lines = self._others = 0
        self._began, self._trouble, self._painted = time.monotonic(), "", 0.0
        self._update: Update | None = magics.screen.live(*self._face("is there"))
        self._thread = threading.Thread(target=self._watch, name="cellferry-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to look; the run goes on."""
        self._follow.close()

    def _watch(self) -> None:
        state = "was lost"
        try:
            for frame in self._follow.outputs():
                if frame["op"] == "event":
                    self._take(frame["message"])
                elif frame["op"] == "end":
                    state = _how(str(frame["status"]), str(frame.get("ename") or ""))
                    self._cost = note_run(self._fleet, row_of(self._worker, frame))
                self._paint("runs")
        except CellferryError as error:
            self._trouble = error.what
        except Exception as error:  # the display is a courtesy: nothing of it may break the notebook
            self._trouble = f"{type(error).__name__}: {error}"
        finally:
            self._follow.close()
        self._paint(state, last=True)

    def _take(self, message: Any) -> None:
        if message["msg_type"] != "stream":
            self._others += message["msg_type"] in ("display_data", "execute_result")
            return
        text = _COLOURS.sub("", message["content"]["text"])
        first, *rest = text.split("\n")
        self._tail[-1] = (self._tail[-1] + first).rpartition("\r")[2][-_LONGEST_LINE:]
        self._lines += len(rest)
        self._tail.extend(line.rpartition("\r")[2][-_LONGEST_LINE:] for line in rest)

    def _told(self, text: str) -> None:
        self._trouble = text
        self._paint("runs")

    def _paint(self, state: str, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._update is None or (not last and now - self._painted < _PAINT_S):
            return
        self._painted = now
        span = duration_text(now - self._began)
        self._update(*self._face(f"{state} {'after' if last else 'for'} {span}"))

    def _face(self, state: str) -> tuple[str, str]:
        """The display's text and page."""
        lines, displays = f"{self._lines} lines" if self._lines else "", f"{self._others} displays" if self._others else ""
        counted = [lines, displays, self._cost, self._trouble]
        head = "; ".join([f"run {self._run} on worker {self._worker.name} {state}", *filter(None, counted)])
        tail = [line for line in self._tail if line][-SHOWN_LINES:]
        page = f'<div style="opacity: 0.8">{as_html(head)}; <code>%remote attach {html.escape(self._run)}</code></div>'
        if tail:
            page += f'<pre style="margin: 0.3em 0 0 1em; opacity: 0.7">{as_html(chr(10).join(tail))}</pre>'
        return "\n".join([f"{head}; {runs.AGAIN} {self._run}", *tail]), page


def show(magics: RemoteMagics, run: str, worker: str) -> None:
    """Under a cell that was let go: how it is, from now on; in a terminal, one line."""
    there = next((each for each in magics.session.fleet.workers() if each.name == worker), None)
    if there is None or not magics.screen.updates:
        magics.screen.note(f"run {run} goes on on worker {worker}; {runs.AGAIN} {run}")
        return
    magics.watching.append(Watching(magics, there, run))


def _how(status: str, ename: str) -> str:
    return {"ok": "done", "error": f"failed ({ename})", "lost": "was lost"}.get(status, status)


# -- commands ---------------------------------------------------------------------------------------------------------


def listed(magics: RemoteMagics, command: Any) -> Table:
    """``%remote runs``: those that go on or that nobody has brought home; ``--all``: also those that somebody has."""
    rows = runs.known_runs(magics.session.fleet, magics.session.config, magics.screen.note)
    note_runs(magics.session.fleet, rows)
    everything = "all" in command.flags
    shown = [row for row in rows if everything or row.going_on or row.unclaimed]
    return Table(shown, RUNS, "no cell runs, waits or was left")


def attach(magics: RemoteMagics, command: Any) -> None:
    """``%remote attach [RUN]``."""
    from cellferry.journey import RemoteError

    try:
        row = runs.attach(magics.session, command.args[0] if command.args else None)
    except RemoteError as error:
        raise magics.as_local(error) from None
    took = "" if row.took_s is None else f" after {duration_text(row.took_s)}"
    magics.screen.note(f"run {row.run} of worker {row.worker.name} is here{took}")


def interrupt(magics: RemoteMagics, command: Any) -> Table:
    """``%remote interrupt [RUN]``."""
    if command.args:
        row = find_run(magics.session.fleet, command.args[0], magics.host.notebook)
        if not row.going_on:
            return Table((), (), f"run {row.run} has ended: {row.status}")
        runs.interrupt(row)
        return Table((), (), f"run {row.run} is interrupted")
    if magics.opened is not None:
        magics.opened.interrupt()
    return Table((), (), "interrupted" if magics.opened else "nothing is running")


class Log(str):
    """Text that shows itself as text."""

    def __repr__(self) -> str:
        return str(self)


def logs(magics: RemoteMagics, command: Any) -> Log:
    """``%remote logs [RUN]``: the end of what a run has written, and what its worker's watchdog has done."""
    row = find_run(magics.session.fleet, command.args[0] if command.args else None, magics.host.notebook)
    text, decided = runs.written(magics.session.fleet, row)[-LOG_BYTES:], runs.decided(row)
    return Log("\n".join([text.rstrip("\n"), "", "its worker:", *decided]) if decided else text)


RUNS: list[tuple[str, Callable[[RunRow], str]]] = [
    ("run", lambda row: row.run),
    ("worker", lambda row: row.worker.name),
    ("cell", lambda row: f"In [{row.number}]" if row.number else ""),
    ("notebook", lambda row: row.notebook.rpartition("/")[2]),
    ("state", lambda row: _state(row)),
    ("since", lambda row: duration_text(max(0.0, time.time() - (row.began_unix_s or row.asked_unix_s))) + " ago"),
    ("took", lambda row: "" if row.took_s is None else duration_text(row.took_s)),
    ("results", lambda row: size_text(row.size_bytes) if row.size_bytes else row.lost),
]


def _state(row: RunRow) -> str:
    word = {"ok": "done"}.get(row.status, row.status)
    if row.claimed:
        return f"{word}, brought home"
    return f"{word}, nobody waits" if row.unclaimed else word
