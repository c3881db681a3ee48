"""What every provider tells a new worker (``worker.json``, read by ``worker.settings``); it holds no secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cellferry.model import PROTOCOL, Lease, Order, WorkerId
from cellferry.providers.environ import hash_seed


def settings_for(order: Order, worker_id: WorkerId, transport: str, cache: str = "") -> dict[str, Any]:
    """The content of ``worker.json`` as far as it is the same everywhere. ``cache``: folder there for environments.

    Providers add where the worker is to listen, and the client's certificate.
    """
    lease, chosen = order.lease, order.request.environment
    settings: dict[str, Any] = {
        "protocol": PROTOCOL,
        "transport": transport,
        "idle_s": lease.idle_s,
        "grace_s": lease.grace_s,
        "ends_unix_s": lease.ends_unix_s,
        "since_unix_s": lease.since_unix_s,
        "microusd_per_hour": order.microusd_per_hour,
        "worker_id": worker_id,
        "name": order.name,
        "shared": bool(order.request.name),
        "token": order.token,
        "owner": order.owner,
        "ledger": order.ledger,
        "notebook": order.notebook,
        "client_pid": os.getpid(),
        "hash_seed": hash_seed(),
    }
    if chosen.kind == "python":
        settings["kernel_python"] = chosen.python
    elif chosen.kind == "made":
        settings["environment"] = {"key": chosen.key, "python": chosen.python, "cache": cache}
    return settings


def lease_in(settings: Mapping[str, Any]) -> Lease:
    """The lease that a worker was told, for a process that finds it."""
    told: dict[str, Any] = {key: settings.get(key) for key in ("idle_s", "grace_s", "ends_unix_s", "since_unix_s")}
    return Lease(**told)
