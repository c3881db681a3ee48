"""How long money takes: the transactions around one machine, on SQLite and, if a server is named, on PostgreSQL."""

from __future__ import annotations

import os
import tempfile
import time
import uuid

_NOW = 1_763_985_600.0
_HOUR_MICROUSD = 1_000_000


def measure(postgres_url: str = "", machines: int = 300) -> dict[str, float]:
    """Transactions each second (reserve, started, meter and end of ``machines`` machines, under three limits, one after
    the other), and milliseconds to make a ledger and to open it again. PostgreSQL only with the URL of a database.
    ``fsync_per_s``: 4 KiB appended to a file and brought to the disk, so many a second: nothing durable is quicker.

    Rows go to the disk as they do for a user: into the folder for temporary files, so that should not be in memory.
    """
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["fsync_per_s"] = _fsyncs_per_s(folder, machines)
        found |= {f"sqlite_{name}": value for name, value in _measure("", folder, machines).items()}
        if postgres_url:
            found |= {f"postgres_{name}": value for name, value in _measure(postgres_url, folder, machines).items()}
    return found


def _fsyncs_per_s(folder: str, count: int) -> float:
    handle = os.open(f"{folder}/fsync", os.O_WRONLY | os.O_CREAT)
    begun = time.perf_counter()
    for _turn in range(count):
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
    os.close(handle)
    return count / (time.perf_counter() - begun)


def _measure(url: str, folder: str, machines: int) -> dict[str, float]:
    from cellferry.config import Cellferry
    from cellferry.ledger import Ask, Limit, open_ledger

    config = Cellferry(ledger=url, state_dir=folder)
    begun = time.perf_counter()
    open_ledger(config).close()
    made = time.perf_counter()
    ledger = open_ledger(config)
    opened = time.perf_counter()
    limits = [Limit("notebook", "", 10**12), Limit("day", "", 10**12), Limit("month", "", 10**12)]
    for _turn in range(machines):
        token = uuid.uuid4().hex
        place = ("aws", "us-east-1", "us-east-1a", "p4d.24xlarge", False)
        who = ("me", "first.ipynb", "cell", "default")
        ledger.reserve(Ask(token, *who, *place, _HOUR_MICROUSD, _HOUR_MICROUSD, _NOW, "me@here pid 1"), limits, _NOW)
        ledger.started(token, "{}", _NOW)
        ledger.meter(token, _NOW + 60)
        ledger.end(token, _NOW + 90)
    done = time.perf_counter()
    ledger.close()
    return {
        "per_s": 4 * machines / (done - opened),
        "make_ms": 1e3 * (made - begun),
        "open_ms": 1e3 * (opened - made),
    }


if __name__ == "__main__":
    for name, value in measure(os.environ.get("CELLFERRY_LEDGER", "")).items():
        print(f"{name:20} {value:10.1f}")
