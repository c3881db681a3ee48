"""Any machine with sshd: workers in private folders of its user, reached through the ssh connection, nothing else open.

``host=me@box`` on a cell, or ``c.Cellferry.hosts``. The software installs itself without root (``ssh_install``); a worker is
apart from the connection that started it and outlives it. Workers of other people, and of others who share the user there,
are never listed or ended: each carries its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import Any

from cellferry.config import person_of, state_folder
from cellferry.environment.kit import Kit, software_kit
from cellferry.environment.places import cache_folder
from cellferry.environment.sources import read_sources
from cellferry.errors import CellferryError, LinkError, RequestError, StartTimeout, WorkerStartError
from cellferry.model import (
    CellRequest,
    Check,
    Endpoint,
    Hardware,
    Machine,
    Offer,
    Order,
    Quota,
    Worker,
    WorkerId,
)
from cellferry.providers.base import Examined, Market, Progress, Provider, Tagged
from cellferry.providers.gpus import Gpus
from cellferry.providers.ssh_connect import Connections, explained
from cellferry.providers.ssh_far import (
    FIND,
    LOOK,
    Look,
    alive_script,
    end_script,
    known_script,
    read_found,
    read_look,
    start_script,
    stop_script,
    wait_script,
)  # fmt: skip
from cellferry.providers.ssh_install import install, installed, needs_supply, own_indexes, supplied
from cellferry.providers.ssh_tunnel import Supply, Tunnel
from cellferry.providers.told import lease_in, settings_for

ALIVE_S = 1.0
ASK_S = 8.0
"""How long a machine may take to answer a small question."""
STOP_S = 30.0
LOOKED_S = 86400.0
ENDED = {
    "idle": "nobody used it for {idle_s:.0f} s", "money": "its money was spent", "stop": "it was told to stop",
    "signal": "it was told to stop", "folder": "its folder was removed",
    "stuck": "its kernel could not be ended although the cell was over its limit",
}  # fmt: skip


class SshProvider(Provider, Market, Tagged, Examined):
    """Workers on machines of the user's own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections = Connections(self.config)
        self._tunnels: dict[WorkerId, Tunnel] = {}
        self._supplies: dict[str, Supply] = {}
        self._seen: dict[WorkerId, tuple[float, bool]] = {}
        self._looks: dict[str, Look] = {}

    @property
    def name(self) -> str:
        return "ssh"

    @property
    def owner(self) -> str:
        """Whose workers are listed; the fleet puts the same into its orders."""
        return person_of(self.config)

    # -- the market -----------------------------------------------------------------------------------------------

    def offers(self, request: CellRequest) -> Sequence[Offer]:
        found = []
        for host in self._hosts(request):
            try:
                found.append(_offer(host, self._look(host)))
            except LinkError:
                if request.host:
                    raise
                continue  # one of several that is off: the others may do
        return found

    def quotas(self, offers: Sequence[Offer]) -> Sequence[Quota]:
        return ()

    def refresh(self, progress: Progress) -> int:
        self._looks.clear()
        (state_folder(self.config) / "hosts.json").unlink(missing_ok=True)
        return len(self.offers(CellRequest()))

    # -- workers --------------------------------------------------------------------------------------------------

    def start(self, order: Order, progress: Progress) -> Worker:
        host = order.offer.instance if order.offer else (order.request.host or "")
        if not host:
            raise RequestError("provider ssh needs to know which machine", "name it: %%remote host=me@box")
        kit = self._kit()
        worker_id = WorkerId(str(uuid.uuid4()))
        progress(f"{host}: connecting")
        self.connections.reach(host, self.ask)
        return self.connections.run(asyncio.wait_for(self._start(host, order, worker_id, kit, progress), None))

    async def _start(self, host: str, order: Order, worker_id: WorkerId, kit: Kit, progress: Progress) -> Worker:
        began = time.time()
        look = await self._ask_look(host)
        if not await installed(self.connections, host, look, kit):
            with self._lent_supply(host) as supply:
                supply.kept |= await install(self.connections, host, look, kit, supply, progress)
        elif host not in self._supplies and await needs_supply(self.connections, host, look, kit):
            with self._lent_supply(host) as supply:
                await supply.open(self.connections, host)
                supply.kept = True
        environ = {"CELLFERRY_CACHE_DIR": look.cache}
        if host in self._supplies:
            environ |= supplied(self._supplies[host], look.cache)
        settings = settings_for(order, worker_id, "unix", look.cache)
        folder, pid, secret = "", "", secrets.token_hex(32)
        try:
            answer = await self.connections.script(
                host, start_script(settings, f"{look.cache}/software/{kit.key}", environ, f"END-{uuid.uuid4().hex}", secret),
                wait_s=STOP_S,
            )  # fmt: skip
            told = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
            if answer.status != 0 or "folder" not in told:
                raise WorkerStartError(f"no worker could be started on {host}: {answer.err.strip()[-500:]}", f"look there: ssh {host}")
            folder, pid = told["folder"], told["pid"]
            await self._follow(host, folder, pid, order.wait_s, progress)
            progress(f"{host}: the worker accepts connections")
        except BaseException:
            if folder:
                await asyncio.shield(self.connections.script(host, stop_script(folder, pid), wait_s=STOP_S))
            raise
        tunnel = await asyncio.get_running_loop().run_in_executor(
            None, Tunnel, self.connections, host, f"{folder}/worker.sock", secret
        )
        self._tunnels[worker_id] = tunnel
        return Worker(
            worker_id, order.name, self.name, Endpoint("tunnel", path=str(tunnel.path)), order.request.hardware,
            lease=order.lease, started_unix_s=began, token=order.token, offer=order.offer, spot=order.spot,
            machine=f"{host} {folder}",
        )  # fmt: skip

    @contextmanager
    def _lent_supply(self, host: str) -> Iterator[Supply]:
        """The one supply of a machine, shared by all who install there at the moment; gone with the last of them unless one
        of them ``kept`` it."""
        supply = self._supplies.setdefault(host, Supply(own_indexes(read_sources(os.environ))))
        supply.users += 1
        try:
            yield supply
        finally:
            supply.users -= 1
            if not supply.users and not supply.kept:
                self._supplies.pop(host, None)
                supply.close()

    async def _follow(self, host: str, folder: str, pid: str, wait_s: float, progress: Progress) -> None:
        """Until the worker is ready. Raises WorkerStartError with the end of its log, StartTimeout."""
        import asyncssh

        connection = await self.connections.to(host)
        deadline = time.monotonic() + wait_s
        async with connection.create_process("/bin/sh -s") as process:
            process.stdin.write(wait_script(folder, pid))
            process.stdin.write_eof()
            while True:
                silent_s = min(self.config.start_timeout_s * 6, deadline - time.monotonic())
                try:
                    line = (await asyncio.wait_for(process.stdout.readline(), max(0.1, silent_s))).strip()
                except TimeoutError as error:
                    raise StartTimeout(f"the worker on {host} made no progress for {silent_s:.0f} s", f"look there: ssh {host}") from error
                except (asyncssh.Error, OSError) as error:
                    raise explained(host, error) from error
                if line == "ready":
                    return
                if line.startswith("phase"):
                    progress(f"{host}: {line[6:] or 'the worker starts'}")
                    continue
                log = await process.stdout.read()
                raise WorkerStartError(f"the worker on {host} ended while it started; the end of its log:\n{log}", "cellferry doctor")

    def alive(self, worker: Worker) -> bool:
        at, alive = self._seen.get(worker.id, (0.0, True))
        if time.monotonic() - at < ALIVE_S:
            return alive
        host, folder = _place(worker)
        try:
            answer = self.connections.run(self.connections.script(host, alive_script(folder), wait_s=ASK_S))
            alive = answer.out.strip() == "alive"
        except CellferryError:
            pass  # a machine that does not answer is no proof: what was known last holds
        self._seen[worker.id] = (time.monotonic(), alive)
        return alive

    def stop(self, worker: Worker) -> None:
        host, folder = _place(worker)
        try:
            self.connections.run(self.connections.script(host, stop_script(folder), wait_s=STOP_S))
        finally:
            tunnel = self._tunnels.pop(worker.id, None)
            if tunnel is not None:
                tunnel.close()
        self._seen[worker.id] = (time.monotonic() + 1e9, False)

    def describe_end(self, worker: Worker) -> str:
        host, folder = _place(worker)
        try:
            told = self.connections.run(self.connections.script(host, end_script(folder), wait_s=ASK_S)).out
        except CellferryError as error:
            return f"why it ended cannot be found out: {error.what}"
        reason, _, log = told.partition("\n")
        known = ENDED.get(reason.strip())
        if known:
            return known.format(idle_s=worker.lease.idle_s)
        log = log.strip()
        return f"its process on {host} is gone; the end of its log:\n{log}" if log else f"it ended by itself on {host}, its folder is gone"

    def find(self) -> Sequence[Worker]:
        return [worker for host in self._known_hosts() for worker in self._on(host)]

    def reach(self, worker: Worker) -> Worker:
        tunnel = self._tunnels.get(worker.id)
        if tunnel is None:
            host, folder = _place(worker)
            self.connections.reach(host, self.ask)
            secret = self.connections.run(self._known_again(host, folder))
            made = Tunnel(self.connections, host, f"{folder}/worker.sock", secret)
            tunnel = self._tunnels.setdefault(worker.id, made)
            if tunnel is not made:  # another thread was quicker
                made.close()
        return replace(worker, endpoint=Endpoint("tunnel", path=str(tunnel.path)))

    async def _known_again(self, host: str, folder: str) -> str:
        """The secret of a worker that another process has started; "" for one that has none, or that is not this user's.

        One that gets its packages through a process of this user that is gone gets them through this one.
        """
        answer = await self.connections.script(host, known_script(folder), wait_s=ASK_S)
        told = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
        if told.get("supply") and host not in self._supplies:
            supply = Supply(own_indexes(read_sources(os.environ)), told["supply"])
            supply.kept = True
            with contextlib.suppress(CellferryError):  # the port is taken: who the worker knows is alive
                await supply.open(self.connections, host)
                self._supplies.setdefault(host, supply)
        return told.get("proof", "")

    def machines(self) -> Sequence[Machine]:
        return [
            Machine(
                self.name, worker.machine, _place(worker)[0], worker.token, worker.name, self.owner, worker.started_unix_s,
                worker.ledger,
            )
            for worker in self.find()
        ]

    def end_machine(self, machine: Machine) -> None:
        host, _, folder = machine.id.rpartition(" ")
        self.connections.run(self.connections.script(host, stop_script(folder), wait_s=STOP_S))

    def close(self) -> None:
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._tunnels.clear()
        self.connections.close()

    def examine(self) -> Iterator[Check]:
        yield Check("ssh", find_spec("asyncssh") is not None, "asyncssh", "pip install 'cellferry[ssh]'")
        for host in self.config.hosts:
            try:
                look = self.connections.run(self._ask_look(host))
                there = self.connections.run(installed(self.connections, host, look, self._kit()))
            except CellferryError as error:
                yield Check(f"ssh {host}", False, error.what, error.advice)
                continue
            gpus = f"{look.gpus.count}x {look.gpus.name}, " if look.gpus.count else ""
            text = f"{gpus}{look.cpus} CPUs, {look.memory_bytes >> 30} GiB, {look.disk_free_bytes >> 30} GiB of disk free"
            yield Check(f"ssh {host}", True, f"{text}; the software is {'there' if there else 'installed by the first worker'}")

    # -- asking ---------------------------------------------------------------------------------------------------

    def _hosts(self, request: CellRequest) -> Sequence[str]:
        if find_spec("asyncssh") is None:
            raise RequestError("provider ssh needs the package asyncssh", "pip install 'cellferry[ssh]'")
        if request.host:
            return [next((host for host in self.config.hosts if host.rpartition("@")[2] == request.host), request.host)]
        if not self.config.hosts:
            raise RequestError("provider ssh knows no machine", "name one: %%remote host=me@box, or c.Cellferry.hosts = ['me@box']")
        return list(self.config.hosts)

    def _known_hosts(self) -> Sequence[str]:
        return list(dict.fromkeys([*self.config.hosts, *self._looks]))

    def _kit(self) -> Kit:
        return software_kit(cache_folder())

    def _on(self, host: str) -> Iterator[Worker]:
        """Our workers on one machine."""
        answer = self.connections.run(self.connections.script(host, FIND, wait_s=ASK_S))
        for folder, settings, _ready in read_found(answer.out):
            if settings.get("owner") != self.owner:
                continue
            worker_id = WorkerId(settings["worker_id"])
            tunnel = self._tunnels.get(worker_id)
            yield Worker(
                worker_id, settings.get("name", "?"), self.name, Endpoint("tunnel", path=str(tunnel.path) if tunnel else ""),
                Hardware(), lease=lease_in(settings), started_unix_s=settings.get("since_unix_s") or 0.0,
                token=settings.get("token", ""), machine=f"{host} {folder}", ledger=settings.get("ledger", ""),
            )  # fmt: skip

    def _look(self, host: str) -> Look:
        """The machine as it described itself within a day, or does now."""
        kept = state_folder(self.config) / "hosts.json"
        try:
            told = json.loads(kept.read_text("utf-8"))
        except (OSError, ValueError):
            told = {}
        entry = told.get(host)
        if host not in self._looks and entry and time.time() - entry["at"] < LOOKED_S:
            self._looks[host] = Look(**{**entry["look"], "gpus": Gpus(**entry["look"]["gpus"])})
        if host not in self._looks:
            self.connections.reach(host, self.ask)
            self._looks[host] = look = self.connections.run(self._ask_look(host))
            kept.write_text(json.dumps({**told, host: {"at": time.time(), "look": asdict(look)}}), "utf-8")
        return self._looks[host]

    async def _ask_look(self, host: str) -> Look:
        answer = await self.connections.script(host, LOOK, wait_s=30)
        try:
            return read_look(answer.out)
        except ValueError as error:
            raise LinkError(f"{host} cannot be used: {error}", f"a worker needs Linux; look there: ssh {host}") from error


def _offer(host: str, look: Look) -> Offer:
    return Offer(
        "ssh", host, host, gpu=look.gpus.name, gpu_count=look.gpus.count, gpu_memory_bytes=look.gpus.memory_bytes,
        cpus=look.cpus, memory_bytes=look.memory_bytes, arch=look.arch, microusd_per_hour=0, priced_unix_s=time.time(),
        price_source="yours", driver=look.gpus.driver,
    )  # fmt: skip


def _place(worker: Worker) -> tuple[str, str]:
    """Host and folder of a worker."""
    host, _, folder = worker.machine.rpartition(" ")
    return host, folder
