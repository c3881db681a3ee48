"""Cells that go on without the notebook: let one go, and bring one home from wherever it runs. Beside ``journey``, see
decision 007."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cellferry import errors
from cellferry.capture.bindable import Bindable
from cellferry.config import Cellferry, state_folder
from cellferry.fleet import bill
from cellferry.fleet.dropped import remembered
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.runs import RunRow, find_run, look, not_heard, row_of
from cellferry.link.artifacts import open_store
from cellferry.link.checkpoints import fetch_results, forget_results, stored_results, stored_rows
from cellferry.link.http import WorkerHttp
from cellferry.link.never_sent import is_litter
from cellferry.link.outputs import plain_message
from cellferry.link.reports import RESULT, RemoteError, end_of_worker
from cellferry.link.returned import Returned, not_taken
from cellferry.link.runs import Follower, Stored
from cellferry.link.store_key import master_key
from cellferry.model import CellReport, Endpoint, Hardware, Message, Worker, WorkerId
from cellferry.parcels.ambient import AMBIENT
from cellferry.presses import Presses
from cellferry.screen import Host, Screen

if TYPE_CHECKING:
    from cellferry.link.there import There



class Notebook(Protocol):
    """What is needed of ``journey.Session``."""

    config: Cellferry
    fleet: Fleet
    host: Host
    namespace: dict[str, Any]
    bindable: dict[str, Bindable]

    def down(self, name: str | None = None) -> object:
        """End a worker."""

    def forget(self, there: There) -> None:
        """Close the link to a worker."""

    def connect(self, worker: Worker) -> There:
        """The link to a worker, a new one if there is none."""


GONE = Worker(WorkerId(""), "that has ended", "", Endpoint("unix"), Hardware())
AGAIN = "bring it here with: %remote attach"


def let_go(notebook: Notebook, there: There, run: str) -> CellReport:
    """Leave a cell that was sent to the worker, as soon as the worker has written it down and has its values."""
    there.link.taken(whole=True)
    notebook.fleet.left.add(there.worker.id)
    notebook.forget(there)  # the two ends will not agree on what they both know:
    notebook.connect(there.worker)  # the next cell sends what it needs
    return CellReport(worker=there.worker.name, status="ok", run=run)


def follower(fleet: Fleet, worker: Worker, run: str, told: Callable[[str], None] = lambda _text: None) -> Follower:
    """Whoever wants to see a run: reconnects until the worker is gone."""

    def gone() -> Exception | None:
        return None if fleet.alive(worker) else fleet.diagnose(worker)

    return Follower(worker.endpoint, run, gone, told)


def attach(notebook: Notebook, run: str | None) -> RunRow:
    """Show every output of a run in the running cell, wait for its end, and give the notebook what it made and changed.

    Without ``run``: the latest that nobody waits for. An interrupt here interrupts the run. Raises RunGone, WorkerError,
    ParcelError, and the run's own exception as RemoteError.
    """
    try:
        row = find_run(notebook.fleet, run, notebook.host.notebook, notebook.host.screen.note)
    except errors.RunGone as gone:
        wanted = run or next((kept.run for kept in reversed(stored(notebook.config)) if kept.notebook == notebook.host.notebook), "")
        kept = _from_store(notebook, wanted) if wanted and notebook.config.artifact_store else None
        if kept is not None:
            return kept
        ended = next((row for row in remembered(notebook.config) if run and row.run.startswith(run)), None)
        raise gone if ended is None else errors.RunGone(f"run {ended.run} was dropped: {ended.lost}", "run the cell again") from None
    follow = follower(notebook.fleet, row.worker, row.run, notebook.host.screen.progress)
    try:
        end = _watch(notebook, row.worker, follow)
        if row.claimed:
            notebook.host.screen.note(_with_whom(end))
        try:
            if not row.claimed:
                _bring(notebook, row, follow, end)
        finally:
            _note_cost(notebook, row_of(row.worker, end))
    finally:
        follow.close()
    return row


def _note_cost(notebook: Notebook, ended: RunRow, token: str = "") -> None:
    """Its share of the bill, and a line that says so; the values are here, whatever the ledger says. ``token``: of a worker of
    which only the ledger still knows."""
    screen = notebook.host.screen
    try:
        line = bill.note_run(notebook.fleet, bill.of_the_past(notebook.fleet, ended, token) if token else ended)
    except errors.LedgerError as error:  # only the ledger knows which worker it was
        screen.note(f"run {ended.run} is not in the bill yet: {error.what}; then once more: %remote attach {ended.run}")
        return
    if line:
        screen.note(line)


def stored(config: Cellferry) -> list[RunRow]:
    """The runs whose results are kept in the artifact store, oldest first; none without a store. The workers of most of them are
    gone. Raises LinkError, OSError, PreflightError."""
    if not config.artifact_store:
        return []
    rows = [row_of(GONE, told) for told in stored_rows(open_store(config.artifact_store), master_key(state_folder(config)))]
    return sorted(rows, key=lambda row: row.asked_unix_s)


def known_runs(fleet: Fleet, config: Cellferry, say: Callable[[str], None]) -> list[RunRow]:
    """Every run that a worker can be asked about, that the artifact store keeps, or that was dropped with its worker, oldest first.
    ``say``: told when a worker, the ledger or the store cannot be asked. For doors that list them."""
    looked = look(fleet)
    for line in not_heard(fleet, looked):
        say(line)
    rows = list(looked.rows)
    known = {row.run for row in rows}
    try:
        rows += [row for row in stored(config) if row.run not in known]
    except (errors.CellferryError, OSError) as error:
        say(f"what is kept in the artifact store is not in this list: {getattr(error, 'what', error)}")
    known = {row.run for row in rows}
    rows += [row for row in remembered(config) if row.run not in known]
    return sorted(rows, key=lambda row: row.asked_unix_s)


def _from_store(notebook: Notebook, begins: str) -> RunRow | None:
    """Show and bring home what a worker that has ended put into the artifact store; None where there is no such run, or several."""
    store = open_store(notebook.config.artifact_store)
    kept = stored_results(store)
    found = [name for name in kept if name.startswith(begins)]
    if len(found) != 1:
        return None
    (run,) = found
    with tempfile.TemporaryDirectory(prefix="cellferry-result-") as place:
        fetch_results(store, run, kept[run], Path(place), master_key(state_folder(notebook.config)))
        follow = Stored(run, Path(place))
        notebook.host.screen.note(f"the worker of run {run} has ended; what the run had shown and made was kept in {store.url}")
        end = _watch(notebook, GONE, follow)
        row = row_of(GONE, end)
        try:
            _bring(notebook, row, follow, end)
        finally:
            _note_cost(notebook, row, str(end.get("token", "")))
    return row


def _watch(notebook: Notebook, worker: Worker, follow: Follower) -> dict[str, Any]:
    """Show the outputs; the row with which the run ended. An interrupt is the run's: the third in a row ends its kernel. One that
    waits for its turn is left waiting, and the user leaves. Raises KeyboardInterrupt then, and what ``follow`` says."""
    screen = notebook.host.screen
    show = _Shown(screen.parent(), worker.name, data_only=notebook.config.trust == "data")
    interrupts = 0
    with Presses() as presses:
        while True:
            with presses.held():
                try:
                    with presses.raising():
                        for frame in follow.outputs():
                            if frame["op"] == "event":
                                show.publish(screen, frame["message"])
                            elif frame["op"] == "cut":
                                screen.note(f"... {frame['messages']} outputs were cut here: a run keeps its first and its last ones ...")
                            elif frame["op"] == "beat":
                                _tell_queued(screen, worker, frame)
                            elif frame["op"] == "end":
                                screen.progress("")
                                return frame
                except KeyboardInterrupt:
                    follow.close()
                    if screen.leaving() or not worker.id:
                        raise
                    interrupts += 1
                    _pressed(notebook, worker, follow.run, interrupts)


def _tell_queued(screen: Screen, worker: Worker, beat: dict[str, Any]) -> None:
    queued = beat.get("status") == "queued"
    screen.progress(f"the run waits for its turn on {worker.name}; an interrupt stops waiting for it here" if queued else "")


def _pressed(notebook: Notebook, worker: Worker, run: str, times: int) -> None:
    """The n-th interrupt of somebody who looks at a run. Raises KeyboardInterrupt where there is nothing to wait for."""
    screen = notebook.host.screen
    try:
        status = _status_of(notebook.fleet, worker, run)
        if status == "queued":
            screen.note(f"run {run} still waits for its turn on {worker.name}; {AGAIN} {run}, or drop it: %remote interrupt {run}")
            raise KeyboardInterrupt
        if times == 2:
            screen.note(f"run {run} goes on after an interrupt; a third ends the kernel of {worker.name}, with all that is in it")
        _interrupt(worker, run, hard=times > 2)
    except errors.LinkError as error:
        screen.note(f"the interrupt did not arrive ({error.what}); run {run} goes on; {AGAIN} {run}")
        raise KeyboardInterrupt from error


def _status_of(fleet: Fleet, worker: Worker, run: str) -> str:
    """How the run is now. Raises LinkError."""
    rows = WorkerHttp(worker.endpoint).get("runs").get("runs", ())
    return next((str(row["status"]) for row in rows if row["run"] == run), "")


def interrupt(row: RunRow) -> None:
    """Interrupt the run as the stop button would; one that has not begun is dropped."""
    _interrupt(row.worker, row.run, hard=False)


def _interrupt(worker: Worker, run: str, *, hard: bool) -> None:
    """``hard``: end the kernel, with all that is in it."""
    if hard:
        WorkerHttp(worker.endpoint).post("kernel/restart")
    else:
        WorkerHttp(worker.endpoint).post("kernel/interrupt", {"run": run})


def decided(row: RunRow) -> list[str]:
    """What the watchdog of the run's worker has done and why, a line each, oldest first; none for a worker of an older release.

    Raises LinkError.
    """
    told = WorkerHttp(row.worker.endpoint).get("status").get("decisions", ())
    return [f"{time.strftime('%H:%M:%S', time.localtime(each['unix_s']))} {each['decision']}: {each['reason']}" for each in told]


def written(fleet: Fleet, row: RunRow) -> str:
    """The text that the run has written so far; it is not waited for. Raises RunGone, WorkerError."""
    follow, text = follower(fleet, row.worker, row.run), list[str]()
    try:
        for frame in follow.outputs(wait=False):
            if frame["op"] == "event" and frame["message"]["msg_type"] == "stream":
                text.append(frame["message"]["content"]["text"])
            elif frame["op"] == "cut":
                text.append(f"\n... {frame['messages']} outputs were cut here ...\n")
    finally:
        follow.close()
    return "".join(text)


def _bring(notebook: Notebook, row: RunRow, follow: Follower, end: dict[str, Any]) -> None:
    name = row.worker.name
    if end["status"] == "lost":
        raise errors.KernelDied(
            f"run {row.run} was lost: its kernel on worker {name!r} ended while it ran; its outputs are above",
            "run the cell again",
        )
    data_only = notebook.config.trust == "data"
    returned = follow.result(notebook.namespace, lambda: getattr(notebook.host, "shell", None), name, data_only=data_only)
    if returned is None and row.worker.id and (now := follow.row())["claimed"]:  # while this notebook followed it
        notebook.host.screen.note(_with_whom(now))
        return
    if returned is None:
        why = end.get("lost") or "nothing of it is left there"
        raise errors.RunGone(f"run {row.run} has ended ({end['status']}), {why}; its outputs are above", "run the cell again")
    left = _left_as_data(notebook, row.run, returned) if data_only else []
    frame, roots = returned.frame, dict(returned.arrived.roots)
    result = roots.pop(RESULT, None)
    roots.pop(AMBIENT, None)
    notebook.namespace.update(roots)
    for gone in frame["deleted"]:
        notebook.namespace.pop(gone, None)
    if result is not None:
        notebook.host.result(result)
    follow.claim(notebook.host.notebook)
    notebook.fleet.brought.add(row.run)
    if notebook.config.artifact_store:
        forget_results(open_store(notebook.config.artifact_store), row.run)
    notebook.fleet.left.discard(row.worker.id)  # another run that was left there counts by itself: see ``Fleet.close``
    stayed = left + [f"{n} stayed on the worker: {why}" for n, why in frame["stayed"].items() if why and n != RESULT]
    if row.worker.id:
        stayed += _bring_files(notebook, row, frame.get("files", ()))
    if stayed:
        notebook.host.screen.note("\n".join(stayed))
    reply = frame["reply"]
    if reply["status"] == "error":
        stopped = end_of_worker(frame.get("limited", ""), name) if reply["ename"] == "KeyboardInterrupt" else None
        if stopped is not None:
            if _is_mine(notebook, row):
                notebook.down(name)  # it is ending: the next cell gets another
            raise stopped
        raise RemoteError(reply["ename"], reply["evalue"], list(reply["traceback"] or []))


def _left_as_data(notebook: Notebook, run: str, returned: Returned) -> list[str]:
    """Take only names that the run's cell can bind; of a cell that is not known here, those that nothing here has."""
    may = notebook.bindable.get(run)
    here = notebook.namespace if may is None else ()
    can = may or Bindable(any_other=True)
    return not_taken(returned.take_only(lambda name: can.allows(name, here, notebook.host.hidden), future=False))


def _with_whom(row: Mapping[str, Any]) -> str:
    """Where the values of a run are that were fetched before."""
    by = str(row.get("claimed_by") or "")
    return (
        f"the values of run {row['run']} were fetched before" + (f", by notebook {by}" if by else "") +
        "; only its outputs are shown here"
    )  # fmt: skip


def _is_mine(notebook: Notebook, row: RunRow) -> bool:
    """Whether the run is on a worker of this notebook that lives."""
    return any(worker.id == row.worker.id for worker in notebook.fleet.workers())


def _bring_files(notebook: Notebook, row: RunRow, files: Sequence[dict[str, Any]]) -> list[str]:
    """The files that the run wrote, as for a cell that was waited for; returns notes."""
    names = [name for file in files if not is_litter(name := str(file["path"]))]
    if not names:
        return []
    mine = _is_mine(notebook, row)
    try:
        there = notebook.connect(row.worker)
        try:
            began_ns = int((row.began_unix_s or row.asked_unix_s) * 1e9)
            return there.files.bring(there.link, there.folder, files, began_ns)[1]
        finally:
            if not mine:
                notebook.forget(there)
    except errors.LinkError as error:
        return [f"files that it wrote are still on the worker ({error.what}): {', '.join(names)}; bring them with: %remote get {names[0]}"]


class _Shown:
    """Outputs of another cell, made outputs of the one that shows them: that is where a frontend looks for them."""

    def __init__(self, parent: Message, worker: str, *, data_only: bool) -> None:
        self._header: Any = parent.get("header", {})
        self._worker, self._data_only = worker, data_only

    def publish(self, screen: Screen, message: Message) -> None:
        """Show it under this cell."""
        mine = plain_message(message, self._worker, self._header) if self._data_only else self.as_ours(message)
        if mine is not None:
            screen.publish(mine)

    def as_ours(self, message: Message) -> Message:
        """The message with this cell's header as its parent, and Output widgets that listen to this cell."""
        old: Any = message.get("parent_header") or {}
        if self._header:
            message["parent_header"] = self._header
            content: Any = message.get("content") or {}
            data = content.get("data") if isinstance(content, dict) else None
            state = data.get("state") if isinstance(data, dict) else None
            if isinstance(state, dict) and state.get("msg_id") and state["msg_id"] == old.get("msg_id"):
                message["content"] = copy.deepcopy(content)
                message["content"]["data"]["state"]["msg_id"] = self._header.get("msg_id", "")  # type: ignore[index]
        message["worker"] = self._worker
        return message
