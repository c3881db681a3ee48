"""One of several processes that want the same money; told by its arguments: URL ("" for a file), state folder, what, who.

``race``: says "ready", waits for a line, wants one dollar under a limit of one, says who got it.
``storm``: reserves, starts, meters and ends until it is killed or told to stop; says every token that it holds.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading

from asks import DOLLAR, NOW, ask

from cellferry.config import Cellferry
from cellferry.errors import BudgetExceeded
from cellferry.ledger import Ledger, Limit, open_ledger

LIMIT = Limit("day", "", DOLLAR)


def race(ledger: Ledger, who: str) -> None:
    try:
        ledger.reserve(ask(who, client=f"host pid {os.getpid()}", worker=who), [LIMIT], NOW)
        print("won", flush=True)
    except BudgetExceeded as error:
        print("lost to", error.what.rpartition("worker ")[2].split()[0], flush=True)


def storm(ledger: Ledger, who: str) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    for n in itertools.count():
        if stop.is_set():
            break
        token = f"{who}-{n}"
        try:
            ledger.reserve(ask(token, DOLLAR // 4), [LIMIT], NOW)
        except BudgetExceeded:
            continue
        print(token, flush=True)
        ledger.started(token, "", NOW)
        ledger.meter(token, NOW + 1)
        ledger.end(token, NOW + 1)


if __name__ == "__main__":
    url, folder, what, who = sys.argv[1:]
    opened = open_ledger(Cellferry(ledger=url, state_dir=folder))
    if what == "race":
        print("ready", flush=True)
        sys.stdin.readline()
    {"race": race, "storm": storm}[what](opened, who)
    opened.close()
