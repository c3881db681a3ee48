"""Cells that an earlier kernel of this notebook left running, offered again when the magics are loaded.

Loading must stay cheap: workers on this machine are known by their folders, of which only names are read; the ledger, for
workers elsewhere, is asked in a thread of its own, and only if there is one.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cellferry.shared_folder import is_there, our_folders, read_ours

if TYPE_CHECKING:
    from cellferry.jupyter.magic import RemoteMagics

_LEDGER = "ledger.sqlite"


def offer(magics: RemoteMagics, say: Callable[[str], None]) -> None:
    """Say what can be brought home: at once for workers on this machine, before the next cell for others."""
    notebook = magics.host.notebook
    for run, number in left_here(notebook):
        say(offer_text(run, number))
    if _has_ledger() or _has_store(magics):
        threading.Thread(target=_look_elsewhere, args=(magics, notebook), name="cellferry-left", daemon=True).start()


def left_here(notebook: str) -> Iterator[tuple[str, int]]:
    """(run, cell number) of this notebook's cells that nobody waits for, on workers that are processes of this machine."""
    for base in _bases():
        for folder in our_folders(base, "cf-"):
            for mark in sorted(folder.glob("runs/*/orphan")):
                run = mark.parent.name
                try:
                    told = json.loads(read_ours(folder, "runs", run, "run.json"))
                    left = is_there(folder, "runs", run, "orphan") and not is_there(folder, "runs", run, "claimed")
                    if left and told["notebook"] == notebook:
                        yield str(told["run"]), int(told["number"] or 0)
                except (OSError, ValueError, KeyError, TypeError):
                    continue  # just ending


def offer_text(run: str, number: int) -> str:
    """One line of advice."""
    cell = f"cell In [{number}]" if number else "a cell"
    return f"{cell} of this notebook was left on a worker: its outputs and values come with %remote attach {run}"


def _bases() -> list[Path]:
    told = os.environ.get("CELLFERRY_WORKER_DIR")
    places = [told] if told else [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]
    return list(dict.fromkeys(Path(place).expanduser() for place in places if place))


def _has_ledger() -> bool:
    if os.environ.get("CELLFERRY_LEDGER"):
        return True
    folder = os.environ.get("CELLFERRY_STATE_DIR") or Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "cellferry"
    return (Path(folder).expanduser() / _LEDGER).exists()


def _has_store(magics: RemoteMagics) -> bool:
    config = getattr(getattr(magics.shell, "kernel", None) or magics.shell, "config", {})
    return bool(os.environ.get("CELLFERRY_ARTIFACT_STORE") or config.get("Cellferry", {}).get("artifact_store"))


def _look_elsewhere(magics: RemoteMagics, notebook: str) -> None:
    try:
        from cellferry.runs import known_runs

        rows = known_runs(magics.session.fleet, magics.session.config, lambda _line: None)
    except Exception:  # a thread's traceback would stand under some cell
        return  # it is an offer: `%remote runs` says what is wrong
    found = [row for row in rows if row.unclaimed and row.notebook == notebook and (row.worker.token or not row.worker.id)]
    magics.offers += [offer_text(row.run, row.number) for row in found]
