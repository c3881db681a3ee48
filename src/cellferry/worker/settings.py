"""What a worker is told at its start (``worker.json``) and what it tells back (``ready.json``, ``phase``)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cellferry.errors import WorkerStartError
from cellferry.model import PROTOCOL, Lease


@dataclass(frozen=True)
class WorkerSettings:
    """The content of ``worker.json``; the provider writes it, and it holds no secret. Fields are only ever added."""

    worker_id: str
    transport: Literal["unix", "tls"] = "unix"
    protocol: int = PROTOCOL
    idle_s: float = 600.0
    grace_s: float | None = None
    ends_unix_s: float | None = None
    since_unix_s: float | None = None
    microusd_per_hour: int = 0
    name: str = ""
    shared: bool = False
    """Whether a cell asked for it by its name: other processes may, too."""
    token: str = ""
    owner: str = ""
    notebook: str = ""
    client_cert_pem: str = ""
    kernel_python: str = ""
    """Interpreter of the kernel; empty: the worker's own."""
    environment: dict[str, str] | None = None
    """An environment made for the kernel: ``key`` of its lock or "", ``python`` ("3.11"), ``cache`` (a folder)."""
    kernel_module: str = "cellferry.guest"
    listen_host: str = "127.0.0.1"
    """With TLS: the address to listen at; "0.0.0.0" only where a provider lets in nobody but its client."""
    listen_port: int = 0
    """With TLS: 0 for any free one."""

    @property
    def lease(self) -> Lease:
        return Lease(self.idle_s, self.grace_s, self.ends_unix_s, self.since_unix_s)


def read_settings(folder: Path) -> WorkerSettings:
    """Raises WorkerStartError when ``worker.json`` is of another protocol or cannot be read."""
    try:
        content = json.loads((folder / "worker.json").read_text("utf-8"))
        known = {field.name for field in fields(WorkerSettings)}
        settings = WorkerSettings(**{key: value for key, value in content.items() if key in known})
    except (OSError, ValueError, TypeError) as error:
        raise WorkerStartError(f"worker.json in {folder} cannot be read: {error}") from error
    if settings.protocol != PROTOCOL:
        raise WorkerStartError(
            f"this worker speaks protocol {PROTOCOL}, the client asked for {settings.protocol}",
            "install the same version of cellferry on both sides",
        )
    return settings


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Whoever sees ``path`` sees all of it. Readable by this user alone."""
    temporary = path.with_name(path.name + ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    temporary.replace(path)


def mark_phase(folder: str, word: str) -> None:
    """Append one word to ``phase``: the sign of progress that the provider waits for."""
    descriptor = os.open(f"{folder}/phase", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, word.encode() + b"\n")
    finally:
        os.close(descriptor)
