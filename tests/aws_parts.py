"""For the tests of provider aws: a machine as a process of this one, and a cell through a real link."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from cellferry.config import Cellferry
from cellferry.link.identity import make_identity
from cellferry.link.session import KernelLink
from cellferry.model import PROTOCOL, CellRequest, Endpoint, Lease, Offer, Order
from cellferry.parcels.context import Unpacking
from cellferry.parcels.packing import pack
from cellferry.parcels.parcel import settle
from cellferry.parcels.plan import PackPlan
from cellferry.providers.aws import AwsProvider
from cellferry.providers.aws_boot import fingerprint_in, program
from cellferry.providers.aws_handover import Door, certificate_at

PATIENCE_S = 60.0
TOKEN = "11111111-2222-3333-4444-555555555555"


REGION = "us-east-1"
CPU = Offer(
    "aws", REGION, "t3.medium", cpus=2, quota="L-1216C47A", quota_units=2, microusd_per_hour=41_600,
    spot_microusd_per_hour=2_000_000,
)  # fmt: skip


class Enough(Exception):
    """Raised out of a start that has come far enough for a test."""


def until_line(word: str, error: type[BaseException] = Enough) -> Callable[[str], None]:
    """A progress that ends the start at the first line with ``word`` in it."""

    def progress(line: str) -> None:
        if word in line:
            raise error(line)

    return progress


def aws_order(token: str = "t-1", offer: Offer = CPU, **more: Any) -> Order:
    lease = Lease(600.0, None, time.time() + 3600)
    one = Order(CellRequest(), "train", lease, offer, token=token, owner="ann", ledger="l-1", notebook="a/b.ipynb",
                wait_s=180.0)  # fmt: skip
    return replace(one, **more)


def aws_provider(cloud: Any, state: Path, **more: Any) -> AwsProvider:
    """A provider for a cloud in a box, whose environment is set already."""
    settings = {
        "state_dir": str(state), "aws_regions": [REGION], "person": "ann", "aws_client_network": f"{cloud.client_address}/32",
    } | more  # fmt: skip
    return AwsProvider(Cellferry(**settings), lambda folder: make_identity(folder).cert_pem)


def eventually(condition: Callable[[], Any], what: str = "", patience_s: float = PATIENCE_S) -> Any:
    """The first true value of ``condition``; fails if none comes."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what or condition}"
        select.select([], [], [], 0.01)
    return value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class ProcessMachine:
    """``aws_machine`` as a process of this machine, in a folder of its own. Nothing is ever switched off."""

    folder: Path
    python: str = sys.executable
    metadata: str = ""
    unclaimed_s: float = 60.0
    offline: bool = False
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.client = self.folder / "client"
        self.client_pem = make_identity(self.client).cert_pem
        self.console = self.folder / "console"
        self.console.touch()
        settings = {
            "token": TOKEN, "client_cert_pem": self.client_pem, "host": "127.0.0.1", "port": self.port,
            "folder": str(self.folder / "machine"), "unclaimed_s": self.unclaimed_s, "console": [str(self.console)],
            "metadata": self.metadata,
        }  # fmt: skip
        (self.folder / "machine").mkdir(mode=0o700)
        (self.folder / "boot.json").write_text(json.dumps(settings))
        source = program()
        if self.offline:  # what a machine has whose network leads nowhere
            source = source.replace('"LANG": "C.UTF-8",', '"LANG": "C.UTF-8", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",')
        (self.folder / "boot.py").write_text(source)
        with (self.folder / "boot.log").open("wb") as log:
            self.process = subprocess.Popen(
                [self.python, "-I", str(self.folder / "boot.py"), str(self.folder / "boot.json")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env={**os.environ},
            )  # fmt: skip

    @property
    def worker_folder(self) -> Path:
        return self.folder / "machine" / "worker"

    def log(self) -> str:
        return (self.folder / "boot.log").read_text()

    def fingerprint(self) -> str:
        def look() -> str:
            assert self.process.poll() is None, self.log()
            return fingerprint_in(self.console.read_text(), TOKEN)

        return str(eventually(look, "the fingerprint on the console"))

    def door(self) -> Door:
        pem = certificate_at("127.0.0.1", self.port, self.fingerprint())
        return Door("127.0.0.1", self.port, self.client, pem)

    def settings(self, lease: Lease) -> dict[str, Any]:
        """A worker's settings, as the provider makes them."""
        return {
            "protocol": PROTOCOL, "transport": "tls", "worker_id": TOKEN, "idle_s": lease.idle_s, "grace_s": lease.grace_s,
            "client_cert_pem": self.client_pem, "listen_host": "127.0.0.1", "listen_port": self.port,
        }  # fmt: skip

    def endpoint(self, pem: str) -> Endpoint:
        return Endpoint("tls", host="127.0.0.1", port=self.port, worker_cert_pem=pem, client_dir=str(self.client))

    def close(self) -> None:
        """End it and everything below it, and prove that."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            for child in children:
                if child.is_running():
                    child.terminate()
            self.process.terminate()
            _, alive = psutil.wait_procs(children, timeout=20)
            assert not alive, alive
        self.process.wait(20)


def run_cell(endpoint: Endpoint, code: str, **values: Any) -> dict[str, Any]:
    """The names that one cell binds on a worker, through a link as the notebook's."""
    screen: Any = None
    link = KernelLink(endpoint, screen, values, "w", lambda closed: None)
    link.open()
    try:
        parcel = pack(link.heap, dict(values), PackPlan())
        link.run(
            {
                "code": code, "above": "", "cell_id": None, "number": 1, "parent": {}, "stdin": False, "unbind": [],
                "returns": None, "fetch_limit": 1 << 20, "file": None, "cells": {}, "flags": 0, "unchanged": [],
                "imports": [], "submodules": [],
            },
            parcel,
        )  # fmt: skip
        parcel.sealed(link.heap)
        returned = link.home(Unpacking(values), time.monotonic() + PATIENCE_S)
        assert returned.frame["reply"]["status"] == "ok", returned.frame["reply"]
        settle(link.heap, returned.arrived)
        return dict(returned.arrived.roots)
    finally:
        link.close()
