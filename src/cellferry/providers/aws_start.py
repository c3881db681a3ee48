"""One start at AWS, step by step, from an order to a worker; and back to nothing when anything goes wrong."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellferry.environment.kit import Kit, software_kit
from cellferry.environment.places import cache_folder
from cellferry.errors import CellferryError, NoCapacity, Refused, StartTimeout
from cellferry.model import LAST_S, Endpoint, Offer, Order, Worker, WorkerId
from cellferry.providers import aws_boot, aws_finding, aws_launch
from cellferry.providers.aws_errors import NO_CAPACITY, code_of, explained, refused
from cellferry.providers.aws_handover import Door, answers, certificate_at, hand_over
from cellferry.providers.aws_launch import PORT, Image, Launch, Subnet
from cellferry.providers.aws_place import Places
from cellferry.providers.aws_session import Sessions
from cellferry.providers.base import MakeIdentity, Progress
from cellferry.providers.told import settings_for

LOOK_S = 2.0
"""Between two questions to EC2 while a machine boots; each account may ask some tens of times a second."""
CLAIM_MARGIN_S = 120.0
"""How much longer than its start may take a machine waits for its client before it ends itself."""
MOST_S = 86400.0
"""How long a machine may live whose order names no end; no order of the fleet's does that."""
INTERRUPTED_S = 30.0
_DUPLICATE = frozenset({"InvalidGroup.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException"})


class Start:
    """What one order has come to so far. Used by one thread; whoever interrupts it calls ``undo`` afterwards."""

    def __init__(self, sessions: Sessions, places: Places, order: Order, folder: Path, progress: Progress) -> None:
        """``folder``: the order's private folder here, which holds this client's key for that worker alone."""
        assert order.offer is not None
        self._sessions, self._places, self._order, self._progress = sessions, places, order, progress
        self._offer: Offer = order.offer
        self._region, self._folder = self._offer.region, folder
        self._deadline = time.monotonic() + order.wait_s
        self._asked: Future[Any] | None = None
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="cellferry-aws-start")
        self.machine_id = ""

    # -- the steps ------------------------------------------------------------------------------------------------

    def run(self, make_identity: MakeIdentity) -> Worker:
        """Raises CellferryError, with nothing undone yet."""
        client_pem = make_identity(self._folder / "client")
        offer = self._offer
        with ThreadPoolExecutor(4, thread_name_prefix="cellferry-aws-start") as pool:
            image = pool.submit(self._places.image, self._region, offer)
            subnets = pool.submit(self._places.subnets, self._region, offer)
            network = pool.submit(self._places.client_network)
            there = pool.submit(aws_finding.machines_of, self._sessions, self._region, self._order.token)
            found = there.result()
            if not found:
                self.machine_id = self._launch(client_pem, image.result(), subnets.result(), network.result())
            else:
                self.machine_id = str(found[0]["InstanceId"])
        self._progress(f"AWS: {self.machine_id} is given, it boots")
        with ThreadPoolExecutor(1, thread_name_prefix="cellferry-kit") as pool:
            kit = pool.submit(software_kit, cache_folder())  # while the machine boots
            described = self._wait_for_address()
            door = self._wait_for_certificate(described["PublicIpAddress"])
            self._hand_over(door, client_pem, kit)
        return self._worker(door, described["LaunchTime"].timestamp(), described["Placement"]["AvailabilityZone"])

    def _launch(self, client_pem: str, image: Image, subnets: list[Subnet], network: str) -> str:
        order, now = self._order, time.time()
        ends = order.lease.ends_unix_s + LAST_S if order.lease.ends_unix_s is not None else now + MOST_S
        group = self._group(subnets[0].vpc, network, ends, now)
        data = aws_boot.user_data(
            token=order.token, client_cert_pem=client_pem, port=PORT, ends_unix_s=ends,
            unclaimed_s=order.wait_s + CLAIM_MARGIN_S,
        )  # fmt: skip
        launch = Launch(order, self._offer.instance, image, group, data, ends, now)
        return self._spot(launch, subnets) if order.spot else self._on_demand(launch, subnets)

    def _ask(self, operation: str, request: dict[str, Any]) -> Any:
        """One request that may make a machine. In a thread of its own, because an interrupt must not lose the answer:
        that names what has to be ended."""
        self._asked = self._calls.submit(self._sessions.once, self._region, operation, **request)
        return self._asked.result()

    def _group(self, vpc: str, network: str, ends_unix_s: float, now: float) -> str:
        client, request = self._ec2, aws_launch.group_request(self._order, vpc, ends_unix_s, now)
        try:
            group = str(client.create_security_group(**request)["GroupId"])
        except Exception as exc:
            if code_of(exc) not in _DUPLICATE:
                raise self._explained(exc) from exc
            group = aws_finding.group_of(self._sessions, self._region, self._order.token)  # an earlier try of this order's
        aws_finding.admit(self._sessions, self._region, group, network)
        return group

    def _on_demand(self, launch: Launch, subnets: list[Subnet]) -> str:
        """The id of a machine in the first zone that has one."""
        last: CellferryError = NoCapacity("no zone was asked")
        for subnet in subnets:
            self._progress(f"AWS: asks for {launch.instance} in {subnet.zone}")
            try:
                return _given(self._ask("run_instances", aws_launch.run_request(launch, subnet)))[0]
            except Exception as exc:
                last = self._explained(exc, subnet.zone)
                if not isinstance(last, NoCapacity):
                    raise last from exc
        raise last

    def _spot(self, launch: Launch, subnets: list[Subnet]) -> str:
        most = self._offer.spot_microusd_per_hour
        if most is None:
            raise NoCapacity(f"{launch.instance} is not sold as spot in {self._region}")
        subnets = [subnet for subnet in subnets if subnet.public]
        if not subnets:
            raise Refused(
                f"the default subnets of {self._region} give machines no public address, which spot machines need to be reached",
                "aws ec2 modify-subnet-attribute --map-public-ip-on-launch --subnet-id ...; or do without `spot`",
            )
        self._progress(f"AWS: asks for spot {launch.instance} in {', '.join(subnet.zone for subnet in subnets)}")
        try:
            self._ec2.create_launch_template(**aws_launch.template_request(launch))
        except Exception as exc:
            if code_of(exc) not in _DUPLICATE:
                raise self._explained(exc) from exc
        try:
            answer = self._ask("create_fleet", aws_launch.fleet_request(launch, subnets, most))
        except Exception as exc:
            raise self._explained(exc) from exc
        if not _given(answer):
            raise self._of_fleet(answer.get("Errors", ()))
        return _given(answer)[0]

    def _of_fleet(self, errors: Any) -> CellferryError:
        """CreateFleet answers with HTTP 200 and an error for each zone; the one that more than one zone can heal is last."""
        ranked = sorted(errors, key=lambda each: str(each.get("ErrorCode", "")) in NO_CAPACITY)
        if not ranked:
            return NoCapacity(f"AWS gave no spot machine of type {self._offer.instance} in {self._region}, and no reason")
        code, message = str(ranked[0].get("ErrorCode", "")), str(ranked[0].get("ErrorMessage", ""))
        return refused(code, message, region=self._region, offer=self._offer, spot=True, action="ec2:CreateFleet")

    @property
    def _ec2(self) -> Any:
        return self._sessions.client("ec2", self._region)

    def _explained(self, exc: BaseException, zone: str = "") -> CellferryError:
        offer = replace(self._offer, zone=zone or self._offer.zone)
        return explained(exc, region=self._region, offer=offer, spot=self._order.spot)

    # -- the machine boots ----------------------------------------------------------------------------------------

    def _wait(self, what: str) -> None:
        if time.monotonic() > self._deadline:
            raise StartTimeout(
                f"{self._offer.instance} {self.machine_id} in {self._region}: {what} after {self._order.wait_s:.0f} s; it was ended",
                "give it longer: c.Cellferry.attempt_s",
            )
        threading.Event().wait(LOOK_S)

    def _look(self) -> dict[str, Any]:
        """The machine as EC2 describes it, {} if it is not known yet; raises Refused when it has ended."""
        described = aws_finding.instance(self._sessions, self._region, self.machine_id) or {}
        if described.get("State", {}).get("Name") in aws_finding.ENDING:
            reason = described.get("StateReason", {})
            code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
            if code in NO_CAPACITY:
                raise refused(code, message, region=self._region, offer=self._offer, spot=self._order.spot)
            said = aws_boot.end_in(self._console(), self._order.token)
            raise Refused(
                f"{self.machine_id} in {self._region} ended while it started: {message or code}" + (f" ({said})" if said else ""),
                "type: cellferry doctor",
            )
        return described

    def _wait_for_address(self) -> dict[str, Any]:
        while not (described := self._look()).get("PublicIpAddress"):
            self._wait("it has no public address")
        return described

    def _wait_for_certificate(self, host: str) -> Door:
        """The door of the machine, when its console and its port agree on who it is. Raises IdentityError if they do not."""
        fingerprint, told, began = "", 0.0, time.monotonic()
        while True:
            fingerprint = fingerprint or aws_boot.fingerprint_in(self._console(), self._order.token)
            if fingerprint:
                try:
                    return Door(host, PORT, self._folder / "client", certificate_at(host, PORT, fingerprint))
                except OSError:
                    pass  # its port is not open yet
            self._look()
            self._wait(f"nobody answers at {host}:{PORT}" if fingerprint else "its certificate is not on its console")
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._progress(f"AWS: {self.machine_id} boots ({told - began:.0f} s)")

    def _console(self) -> str:
        return console(self._sessions, self._region, self.machine_id)

    def _hand_over(self, door: Door, client_pem: str, kit: Future[Kit]) -> None:
        try:
            hand_over(
                door, kit.result(), cache_folder(), self._settings(client_pem), self._offer.arch, self._progress,
                self._deadline, self._still_there,
            )  # fmt: skip
        except TimeoutError as exc:
            self._deadline = 0.0
            self._wait(f"it did not become a worker ({exc})")

    def _still_there(self) -> None:
        self._look()

    def _settings(self, client_pem: str) -> dict[str, Any]:
        """``worker.json``; it holds no secret."""
        told = settings_for(self._order, WorkerId(self._order.token), "tls")
        return told | {"listen_host": "0.0.0.0", "listen_port": PORT, "client_cert_pem": client_pem}

    def _worker(self, door: Door, started_unix_s: float, zone: str) -> Worker:
        while not answers(door):
            self._wait("its worker does not answer")
        endpoint = Endpoint(
            "tls", host=door.host, port=door.port, worker_cert_pem=door.cert_pem, client_dir=str(door.client_dir)
        )
        return Worker(
            WorkerId(self._order.token), self._order.name, "aws", endpoint, self._order.request.hardware,
            lease=self._order.lease, started_unix_s=started_unix_s, token=self._order.token,
            offer=replace(self._offer, zone=zone), spot=self._order.spot, machine=self.machine_id,
        )  # fmt: skip

    # -- back to nothing ------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """End the machine, if one was given, and remove the template; the group is the caller's. Raises CellferryError."""
        ids = {self.machine_id} if self.machine_id else set()
        if self._asked is not None:
            with contextlib.suppress(Exception):  # nothing was given; or it is found by its tag
                ids.update(_given(self._asked.result(INTERRUPTED_S)))
        ids |= {each["InstanceId"] for each in aws_finding.machines_of(self._sessions, self._region, self._order.token)}
        aws_finding.terminate(self._sessions, self._region, sorted(ids), young=True)
        aws_finding.remove_template(self._sessions, self._region, self._order.token)

    def close(self) -> None:
        self._calls.shutdown(wait=False)


def _given(answer: dict[str, Any]) -> list[str]:
    """The machines in the answer to RunInstances or CreateFleet."""
    return [str(one) for each in answer.get("Instances", ()) for one in each.get("InstanceIds", [each.get("InstanceId")])]


def console(sessions: Sessions, region: str, machine_id: str) -> str:
    """What the machine has written to its console, as EC2 tells whoever may ask it for that: over its own TLS.

    ``Latest`` is of Nitro machines alone; for the older ones there is what was there some minutes ago. "" for none yet.
    """
    client = sessions.client("ec2", region)
    for more in ({"Latest": True}, {}):
        try:
            return str(client.get_console_output(InstanceId=machine_id, **more).get("Output", ""))  # botocore decodes it
        except Exception as exc:
            if code_of(exc) not in ("UnsupportedOperation", "InvalidInstanceID.NotFound", "InvalidParameterCombination"):
                raise explained(exc, region=region) from exc
    return ""
