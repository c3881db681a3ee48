"""``python -m cellferry.jupyter.starting``: start one worker for a notebook, in a process of its own that can be interrupted.

A start waits for networks for minutes; SIGINT is what every provider tidies up after, and only a process has one of its own.
The order comes over standard input, because a setting may hold a secret; what becomes of it goes to standard output, one JSON
object a line::

    {"said": LINE} ...   then one of   {"worker": RECORD}   {"failed": WHAT, "advice": ADVICE}   {"cancelled": true}
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # a server that a shell script started in the background ignores SIGINT, and so would this process: before the slow imports
    signal.signal(signal.SIGINT, signal.default_int_handler)

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.fleet import acting
from cellferry.fleet.board import Board
from cellferry.fleet.fleet import Fleet
from cellferry.model import Worker


def order_for(config: Cellferry, name: str, words: str, notebook: str) -> bytes:
    """What the process reads: the settings as they are here, and what to start."""
    settings = {trait: getattr(config, trait) for trait in config.trait_names(config=True)}
    return json.dumps({"settings": settings, "name": name, "words": words, "notebook": notebook}).encode()


def heard(line: bytes) -> dict[str, Any]:
    """What a line says; {} for one that is not ours: a library has written it."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def tell(**what: Any) -> None:
    """One line for whoever started this process; it may be gone, and the start goes on."""
    with suppress(OSError):
        print(json.dumps(what), flush=True)


class Telling(Board):
    """Keeps no board of its own: whoever started this process has one."""

    def starting(self, name: str, words: str, progress: Callable[[str], None], notebook: str = "") -> Callable[[str], None]:
        return progress

    def started(self, worker: Worker) -> None:
        """Told with its record."""

    def failed(self, name: str, error: BaseException) -> None:
        """Told by ``main``."""


def main() -> int:
    """Start what standard input says. Interrupted, it leaves nothing: not even a worker that has just been started."""
    from cellferry.journey import read_request

    order = json.loads(sys.stdin.buffer.read())
    config = Cellferry(**order["settings"])
    fleet = Fleet(config, order["notebook"], board=Telling(config))
    interrupted: list[int] = []
    try:
        worker = fleet.start(order["name"], read_request(order["words"]), lambda line: tell(said=line))
        signal.signal(signal.SIGINT, lambda signum, _frame: interrupted.append(signum))
        acting.hand_over(fleet, worker)
        if interrupted:
            acting.end(fleet, worker)
            tell(cancelled=True)
        else:
            from cellferry.ledger import worker_to_record

            tell(worker=worker_to_record(worker))
    except KeyboardInterrupt:
        tell(cancelled=True)
    except CellferryError as error:
        tell(failed=error.what, advice=error.advice)
    finally:
        fleet.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
