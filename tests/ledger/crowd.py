"""Many processes that start a worker each at the same moment; told by its arguments: URL ("" for a file), state folder, how many.

They are forked from one that has loaded everything, so that they meet in the ledger and not before it. Says what each ended with, and
the longest that one of them waited for a single change.
"""

from __future__ import annotations

import os
import sys
import time

from asks import DOLLAR, NOW, ask

from cellferry.config import Cellferry
from cellferry.ledger import Ledger, Limit, Receipt, open_ledger

LIMIT = Limit("day", "", 1000 * DOLLAR)


def start_one(ledger: Ledger, who: str) -> float:
    """What a notebook does for one worker and one cell; the longest step in seconds."""
    receipt = Receipt(who, "cell", "ana", "a.ipynb", "c", who, NOW, NOW + 1, 5, False, f"run of {who}")
    steps = [
        lambda: ledger.limits("ana", "a.ipynb"),
        lambda: ledger.reserve(ask(who, DOLLAR), [LIMIT], NOW),
        lambda: ledger.started(who, "", NOW),
        lambda: ledger.meter(who, NOW + 1),
        lambda: ledger.note_cell(receipt),
        lambda: ledger.end(who, NOW + 2),
    ]
    longest = 0.0
    for step in steps:
        began = time.monotonic()
        step()
        longest = max(longest, time.monotonic() - began)
    return longest


def child(config: Cellferry, who: str, gate: int) -> str:
    os.read(gate, 1)  # until all are there, and the other end is closed
    try:
        ledger = open_ledger(config)
        try:
            return f"ok {start_one(ledger, who):.3f}"
        finally:
            ledger.close()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def main(url: str, folder: str, count: int) -> None:
    import cellferry.ledger.opening  # noqa: F401 - with the database behind it

    config = Cellferry(ledger=url, state_dir=folder)
    gate, opens = os.pipe()
    said, says = os.pipe()
    children = []
    for number in range(count):
        pid = os.fork()
        if not pid:
            os.close(opens)
            os.write(says, f"{child(config, f'w{number}', gate)}\n".replace("\n  ", " ").encode())
            os._exit(0)
        children.append(pid)
    os.close(says)
    os.close(opens)
    for pid in children:
        os.waitpid(pid, 0)
    with os.fdopen(said) as lines:
        print(lines.read(), end="", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
