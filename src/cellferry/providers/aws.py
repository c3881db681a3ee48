"""Machines at AWS: each start makes one EC2 instance that becomes a worker, and each end leaves nothing of it.

The steps of a start are in ``aws_start``; what runs on the machine is ``aws_machine``; every error of AWS is put into words
in ``aws_errors``. Nothing here touches the network before a method is called that says so.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cellferry.config import person_of, state_folder
from cellferry.errors import CellferryError, LinkError, RequestError
from cellferry.model import (
    CellRequest,
    Check,
    Endpoint,
    Hardware,
    Lease,
    Machine,
    Offer,
    Order,
    Quota,
    Worker,
    WorkerId,
)
from cellferry.placement.snapshot import merge_live, read_prices, snapshot_offers, write_prices
from cellferry.providers import aws_finding
from cellferry.providers.aws_boot import end_in
from cellferry.providers.aws_launch import PORT
from cellferry.providers.aws_place import Places
from cellferry.providers.aws_prices import live_offers
from cellferry.providers.aws_quotas import Quotas
from cellferry.providers.aws_session import Sessions
from cellferry.providers.aws_start import Start, console
from cellferry.providers.base import Examined, Market, Progress, Provider, Tagged

ALIVE_S = 3.0
"""How long an answer to "is it alive?" holds; AWS is asked only when the machine's port does not answer."""
TOUCH_S = 0.7
KNOWN = "worker.json"

REASONS = {
    "Server.SpotInstanceTermination": "AWS took the spot machine back",
    "Server.SpotInstanceShutdown": "AWS took the spot machine back",
    "Client.UserInitiatedShutdown": "somebody ended the machine at AWS",
    "Client.InstanceTerminated": "somebody ended the machine at AWS",
    "Server.InternalError": "the machine at AWS failed",
    "Server.ScheduledStop": "AWS ended the machine for maintenance",
}
"""State reasons of EC2: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html"""
ENDED_ITSELF = {
    "idle": "nobody used it for {idle_s:.0f} s",
    "100": "nobody used it for {idle_s:.0f} s",
    "104": "its money was spent",
    "105": "AWS took the spot machine back",
    "106": "its kernel could not be ended although the cell was over its limit",
    "stop": "it was told to stop",
    "signal": "it was told to stop",
    "unclaimed": "nobody came to use it",
    "failed": "it could not become a worker",
}
"""The last word that the machine wrote: the reason, or the exit status of a worker whose folder is gone (``worker.keeper``)."""


class AwsProvider(Provider, Market, Tagged, Examined):
    """EC2, in the regions of ``c.Cellferry.aws_regions``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sessions = Sessions(self.config)
        self._places = Places(self.config, self._sessions)
        self._quotas = Quotas(self._sessions)
        self._tidying = aws_finding.Tidying(self._sessions)
        self._lock = threading.Lock()
        self._seen: dict[WorkerId, tuple[float, bool]] = {}

    @property
    def name(self) -> str:
        return "aws"

    @property
    def owner(self) -> str:
        """Whose machines ``machines`` lists; the fleet puts the same into its orders."""
        return person_of(self.config)

    # -- one worker -----------------------------------------------------------------------------------------------

    def start(self, order: Order, progress: Progress) -> Worker:
        if order.offer is None:
            raise RequestError("provider aws needs to know which machine", "see which there are: cellferry offers provider=aws")
        order = order if order.token else replace(order, token=str(uuid.uuid4()))
        assert order.offer is not None
        region, folder = order.offer.region, self._folder(order.token)
        start = Start(self._sessions, self._places, order, folder, progress)
        try:
            worker = start.run(self.make_identity)
            self._remember(worker)
        except BaseException:
            try:
                start.undo()
                self._tidying.groups(region, order.token)
            except CellferryError as trouble:
                # What failed first is what the user should know; that something may be left must not be lost either.
                progress(f"AWS: {trouble.what}; whatever is left ends by itself, and `cellferry reap` finds it")
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            start.close()
        self._note(worker, True)
        return worker

    def alive(self, worker: Worker) -> bool:
        with self._lock:
            at, alive = self._seen.get(worker.id, (0.0, False))
        if at and (time.monotonic() - at < ALIVE_S):
            return alive
        alive = _touches(worker.endpoint) or self._exists(worker)
        self._note(worker, alive)
        return alive

    def stop(self, worker: Worker) -> None:
        region = self._region(worker)
        ids = {each["InstanceId"] for each in aws_finding.machines_of(self._sessions, region, worker.token)}
        aws_finding.terminate(self._sessions, region, sorted(ids | {worker.machine} - {""}))
        self._tidy(region, worker.token)
        self._note(worker, False)

    def describe_end(self, worker: Worker) -> str:
        region = self._region(worker)
        try:
            described = aws_finding.instance(self._sessions, region, worker.machine)
            if described is None:
                return "AWS does not know its machine any more"
            said = end_in(console(self._sessions, region, worker.machine), worker.token)
        except CellferryError as error:
            return f"why its machine {worker.machine} ended cannot be found out: {error.what}"
        words, reason = said.split(), described.get("StateReason", {})
        # its own word first: it knows of a notice, after which AWS may say no more than that the machine was ended
        why = ENDED_ITSELF.get(words[-1] if words else "", "").format(idle_s=worker.lease.idle_s)
        why = why or REASONS.get(reason.get("Code", ""), "")
        if why:
            return why
        return f"its machine switched itself off ({said or reason.get('Message') or described['State']['Name']})"

    def find(self) -> Sequence[Worker]:
        known = {worker.machine: worker for worker in map(_recalled, self._known()) if worker is not None}
        if not known:
            return []
        return [known[machine.id] for machine in aws_finding.find_machines(self._sessions, "") if machine.id in known]

    def reach(self, worker: Worker) -> Worker:
        """Let this client in from where it is now: it may have moved to another network since the start."""
        if _touches(worker.endpoint):
            return worker
        self._places.forget_address()
        try:
            region = self._region(worker)
            group = aws_finding.group_of(self._sessions, region, worker.token)
            if group:
                aws_finding.admit_only(self._sessions, region, group, self._places.client_network())
        except CellferryError as exc:
            raise LinkError(f"worker {worker.name!r} at AWS cannot be reached: {exc.what}", exc.advice) from exc
        return worker

    def close(self) -> None:
        self._tidying.close()

    # -- the market -----------------------------------------------------------------------------------------------

    def offers(self, request: CellRequest) -> Sequence[Offer]:
        regions = set(self.config.aws_regions)
        every = merge_live(snapshot_offers("aws"), read_prices(self._prices()))
        return [offer for offer in every if offer.region in regions]

    def quotas(self, offers: Sequence[Offer]) -> Sequence[Quota]:
        return self._quotas.of(offer for offer in offers if offer.provider == "aws")

    def refresh(self, progress: Progress) -> int:
        found = live_offers(self._sessions, snapshot_offers("aws"), progress)
        asked = set(self._sessions.regions)
        others = [offer for offer in read_prices(self._prices()) if offer.region not in asked]
        write_prices(self._prices(), [*others, *found])
        return len(found)

    def request_quota(self, code: str, region: str, value: int) -> str:
        """Ask AWS for a higher quota ("L-417A185B"); what it answered, in a sentence. Raises CellferryError."""
        return self._quotas.request(code, region, value)

    # -- what is tagged -------------------------------------------------------------------------------------------

    def machines(self) -> Sequence[Machine]:
        return aws_finding.find_machines(self._sessions, self.owner)

    def end_machine(self, machine: Machine) -> None:
        if machine.id.startswith("i-"):
            aws_finding.terminate(self._sessions, machine.region, [machine.id])
        if machine.token:
            self._tidy(machine.region, machine.token)

    def examine(self) -> Iterator[Check]:
        from cellferry.providers.aws_doctor import checks

        yield from checks(self.config, self._sessions, self._places, self._quotas)

    # -- what this machine knows of its workers -------------------------------------------------------------------

    def _folder(self, token: str) -> Path:
        """Private: it holds the key of this client for one worker."""
        folder = state_folder(self.config) / "workers" / token
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _prices(self) -> Path:
        return state_folder(self.config) / "prices" / "aws.csv"

    def _known(self) -> list[Path]:
        return sorted((state_folder(self.config) / "workers").glob(f"*/{KNOWN}"))

    def _remember(self, worker: Worker) -> None:
        """So that another process of this user's can use it, too. No secret: the key lies beside it."""
        content = {
            "provider": "aws", "id": worker.id, "name": worker.name, "host": worker.endpoint.host, "port": worker.endpoint.port,
            "cert_pem": worker.endpoint.worker_cert_pem, "hardware": asdict(worker.hardware), "lease": asdict(worker.lease),
            "offer": asdict(worker.offer) if worker.offer else None, "spot": worker.spot, "machine": worker.machine,
            "started_unix_s": worker.started_unix_s,
        }  # fmt: skip
        path = self._folder(worker.token) / KNOWN
        part = path.with_suffix(".part")
        part.touch(0o600)
        part.write_text(json.dumps(content), "utf-8")
        part.replace(path)

    def _tidy(self, region: str, token: str) -> None:
        aws_finding.remove_template(self._sessions, region, token)
        self._tidying.groups(region, token)
        shutil.rmtree(state_folder(self.config) / "workers" / token, ignore_errors=True)

    def _note(self, worker: Worker, alive: bool) -> None:
        with self._lock:
            self._seen[worker.id] = (time.monotonic(), alive)

    def _region(self, worker: Worker) -> str:
        return worker.offer.region if worker.offer else self._sessions.regions[0]

    def _exists(self, worker: Worker) -> bool:
        """Whether AWS knows it and it is not ending. Where AWS cannot be asked, nobody knows better: True."""
        try:
            described = aws_finding.instance(self._sessions, self._region(worker), worker.machine)
        except CellferryError:
            return True
        return described is not None and described["State"]["Name"] in ("pending", "running")


def _touches(endpoint: Endpoint) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((endpoint.host, endpoint.port or PORT), TOUCH_S):
        return True
    return False


def _recalled(path: Path) -> Worker | None:
    """The worker that ``_remember`` wrote down; None if it was another provider's, or is just being removed."""
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["provider"] != "aws":
            return None
        endpoint = Endpoint(
            "tls", host=told["host"], port=told["port"], worker_cert_pem=told["cert_pem"], client_dir=str(path.parent / "client")
        )
        return Worker(
            WorkerId(told["id"]), told["name"], "aws", endpoint, Hardware(**told["hardware"]), lease=Lease(**told["lease"]),
            started_unix_s=told["started_unix_s"], token=path.parent.name,
            offer=Offer(**told["offer"]) if told["offer"] else None, spot=told["spot"], machine=told["machine"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
